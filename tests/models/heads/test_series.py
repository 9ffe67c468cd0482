"""Models of numbers: what they learn, how far they see, and what they refuse."""

import pytest
import torch

from hfseq import LSTMConfig, LSTMForCausalLM, LSTMForSeriesPrediction, TransformerConfig, TransformerForMaskedLM
from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY

SMALL = {"feature_size": 2, "embedding_size": 4, "hidden_size": 6, "vocab_size": len(VOCABULARY)}


def make(seed=0, **options):
    torch.manual_seed(seed)
    return LSTMForSeriesPrediction(LSTMConfig(**{**SMALL, **options})).eval()


def series(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_it_equals_torch_lstm_on_the_same_weights():
    model = make(prediction_length=3, num_targets=1)
    values = series(4, 9, 2)
    peer = torch.nn.LSTM(4, 6, batch_first=True)
    loop = model.model.layers[0].forward_loop
    with torch.no_grad():
        peer.weight_ih_l0.copy_(loop.weight_ih)
        peer.weight_hh_l0.copy_(loop.weight_hh)
        peer.bias_ih_l0.copy_(loop.bias)
        peer.bias_hh_l0.zero_()
        linear = model.model.embed_values
        read = peer(values @ linear.weight.T + linear.bias)[0]
        expected = (read @ model.head.weight.T + model.head.bias).view(4, 9, 3, 1)
    assert_same(model(values).prediction, expected)


def test_no_step_sees_what_follows():
    model = make(num_hidden_layers=2)
    values = series(1, 8, 2)
    changed = values.clone()
    changed[:, 5:] += 1
    before, after = model(values).prediction, model(changed).prediction
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.equal(before[:, 5:], after[:, 5:])


def test_missing_numbers_do_not_count_in_the_loss():
    model = make(prediction_length=2)
    values, labels = series(3, 5, 2), series(3, 5, 2, 2, seed=1)
    known = labels.clone()
    known[0, 1, 1, 0] = known[2, 4] = -100
    asked = known != -100
    expected = (model(values).prediction - labels)[asked].square().mean()
    assert_same(model(values, labels=known).loss, expected)
    assert_same(model(values, labels=known, num_items_in_batch=100).loss, expected * asked.sum() / 100)
    assert model(values, labels=torch.full_like(labels, -100)).loss == 0
    assert_same(make()(values, labels=labels[:, :, 0]).loss, make()(values, labels=labels[:, :, :1]).loss)


@pytest.mark.parametrize("distribution", ["point", "gaussian"])
def test_going_on_equals_reading_what_was_said(distribution):
    """Three steps at a time, with and without padding: as a loop that reads the whole series anew."""
    model = make(prediction_length=3, distribution=distribution)
    values, mask = series(2, 6, 2), torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 0]])
    found = model.forecast(values, mask, steps=8)
    for row in range(2):
        read = values[row : row + 1, mask[row].bool()]
        for _ in range(3):
            read = torch.cat([read, model(read).prediction[:, -1]], dim=1)
        assert_same(found.prediction[row], read[0, int(mask[row].sum()) :][:8])
    assert found.parameters.shape == (2, 8, 2, model.density.num_parameters) and found.samples is None
    assert_same(found.prediction[:, :3], model.forecast(values, mask).prediction)


def test_futures_are_drawn_by_a_seed_and_spread():
    model = make(distribution="mixture", num_mixtures=2)
    draws = [
        model.forecast(series(2, 6, 2), steps=5, num_samples=7, generator=torch.Generator().manual_seed(1))
        for _ in "12"
    ]
    assert torch.equal(draws[0].samples, draws[1].samples) and draws[0].samples.shape == (7, 2, 5, 2)
    assert draws[0].samples.std(0).min() > 0


def test_what_it_cannot_reach_is_refused():
    model = make(prediction_length=3, num_targets=1)
    with pytest.raises(ValueError, match="this model says 3 steps ahead .* 1 numbers a step, but it reads 2"):
        model.forecast(series(1, 4, 2), steps=4)
    with pytest.raises(ValueError, match="steps=0 must be 1 or more"):
        model.forecast(series(1, 4, 2), steps=0)
    with pytest.raises(ValueError, match="nothing to draw from"):
        model.forecast(series(1, 4, 2), num_samples=2)


def test_labels_of_another_shape_or_kind_are_named():
    model, values = make(prediction_length=3), series(2, 4, 2)
    for labels in (series(2, 4, 2), series(2, 4, 3, 1), torch.ones(2, 4, 3, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"floating-point numbers of shape \(2, 4, 3, 2\)"):
            model(values, labels=labels)


def test_models_that_cannot_read_numbers_say_so():
    with pytest.raises(ValueError, match="set feature_size in the config"):
        make(feature_size=None)
    with pytest.raises(ValueError, match="must not read the future"):
        make(bidirectional=True)
    with pytest.raises(ValueError, match="predicts token ids, and feature_size=2 reads numbers"):
        LSTMForCausalLM(LSTMConfig(**SMALL))
    with pytest.raises(ValueError, match="predicts token ids, and feature_size=2 reads numbers"):
        TransformerForMaskedLM(TransformerConfig(feature_size=2, hidden_size=8))


def test_numbers_in_double_precision_are_read():
    model = make()
    assert_same(model(series(1, 4, 2).double()).prediction, model(series(1, 4, 2)).prediction)

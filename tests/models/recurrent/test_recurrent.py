"""What is special about the recurrent families: they equal torch's own loops, and they start as documented."""

import json

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hfseq import (
    FAMILIES,
    LSTMConfig,
    LSTMForSequenceClassification,
    LSTMModel,
    RNNConfig,
    RNNForSequenceClassification,
    RNNModel,
)
from hfseq.models.heads.classification import sequence_loss
from hfseq.models.heads.pooling import SequencePooling
from hfseq.models.recurrent import fused
from hfseq.models.recurrent.backbone import LockedDropout, RecurrentConfig
from tests.closeness import assert_same
from tests.contract.promises import edit_weights
from tests.rounds import for_each

CLASSIFIERS = [
    name
    for name, family in FAMILIES.items()
    if "text-classification" in family.heads and issubclass(family.config, RecurrentConfig)
]
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
LENGTHS = torch.tensor([9, 1, 4, 6, 9])


@pytest.fixture(params=["fused", "without_kernels"])
def route(request, monkeypatch):
    """With the kernels, and as on a machine without them."""
    if request.param == "without_kernels":
        monkeypatch.setattr(fused, "kernels", lambda *_: None)


def twins(name, *, layers=2, bidirectional=True, dtype=torch.float32):
    """Our backbone, and torch's packed loop over the same embeddings with the same weights."""
    torch.manual_seed(0)
    ours = (
        FAMILIES[name]
        .backbone(
            FAMILIES[name].config(
                vocab_size=30,
                embedding_size=7,
                hidden_size=5,
                num_hidden_layers=layers,
                bidirectional=bidirectional,
                hidden_dropout=0.0,
            )
        )
        .to(dtype)
    )
    theirs = TORCH[name](7, 5, layers, batch_first=True, bidirectional=bidirectional).to(dtype)
    with torch.no_grad():
        for parameter in ours.parameters():  # no zero biases: they would hide an exchange of gates
            parameter.uniform_(-0.5, 0.5)
        for parameter in theirs.parameters():
            parameter.zero_()
        for mine, other in shared_parameters(ours, theirs):
            other[-len(mine) :] = mine
    return ours, theirs


def shared_parameters(ours, theirs):
    """Ours, and torch's whose last rows it equals: of its second bias, only what the GRU resets is not superfluous."""
    for index, layer in enumerate(ours.layers):
        for loop, suffix in ((layer.forward_loop, ""), (layer.backward_loop, "_reverse")):
            if loop is not None:
                other = {kind: getattr(theirs, f"{kind}_l{index}{suffix}") for kind in KINDS}
                yield loop.weight_ih, other["weight_ih"]
                yield loop.weight_hh, other["weight_hh"]
                yield loop.bias, other["bias_ih"]
                if loop.bias_hh is not None:
                    yield loop.bias_hh, other["bias_hh"]


def run_packed(theirs, embeds, lengths):
    packed = pack_padded_sequence(embeds, lengths, batch_first=True, enforce_sorted=False)
    output, states = theirs(packed)
    return pad_packed_sequence(output, batch_first=True, total_length=embeds.shape[1])[0], states


@pytest.mark.usefixtures("route")
@for_each("bidirectional", [False, True])
@for_each("side", ["right", "left"])
@for_each("name", TORCH)
def test_equals_packed_torch_in_outputs_and_gradients(name, side, bidirectional):
    ours, theirs = twins(name, bidirectional=bidirectional)
    ids = torch.randint(1, 30, (5, 9))
    right = (torch.arange(9) < LENGTHS[:, None]).long()
    mask = right if side == "right" else right.flip(1)
    moved = torch.where(right.bool(), ids, 0)
    if side == "left":
        shift = [row.roll(9 - int(length)) for row, length in zip(moved, LENGTHS, strict=True)]
        moved = torch.stack(shift)
    embeds = ours.embed_tokens(torch.where(right.bool(), ids, 0)).detach().requires_grad_()
    expected, _ = run_packed(theirs, embeds, LENGTHS)
    output = ours(moved, mask).last_hidden_state
    real = output[mask.bool()]
    assert_same(real, expected[right.bool()])

    weights = torch.randn(int(LENGTHS.sum()), output.shape[-1])
    (real * weights).sum().backward()
    (expected[right.bool()] * weights).sum().backward()
    for mine, other in shared_parameters(ours, theirs):
        assert_same(mine.grad, other.grad[-len(mine) :])
    token_gradient = torch.zeros_like(ours.embed_tokens.weight)
    token_gradient.index_add_(0, ids[right.bool()], embeds.grad[right.bool()])
    assert_same(ours.embed_tokens.weight.grad, token_gradient)


@pytest.mark.usefixtures("route")
@for_each("name", TORCH)
@for_each("steps", [1, 9])
def test_outputs_that_are_changed_leave_the_state_as_it_was(name, steps):
    ours, _ = twins(name, layers=1, bidirectional=False, dtype=torch.float64)
    with torch.no_grad():
        outputs = ours(torch.randint(1, 30, (5, steps)))
        before = [state.clone() for state in outputs.cache.layers[0].states]
        outputs.last_hidden_state.mul_(0.5)
    assert all(map(torch.equal, outputs.cache.layers[0].states, before))


@pytest.mark.usefixtures("route")
@for_each("name", TORCH)
def test_states_equal_packed_torch_from_a_given_state(name):
    ours, theirs = twins(name, layers=1, bidirectional=False, dtype=torch.float64)
    ids = torch.randint(1, 30, (5, 9))
    mask = (torch.arange(9) < LENGTHS[:, None]).long()
    first = ours(ids, mask, use_cache=True).past_key_values
    _, states = run_packed(theirs, ours.embed_tokens(ids), LENGTHS)
    states = states if name == "lstm" else (states,)
    for state, reference in zip(first.layers[0].states, states, strict=True):
        assert_same(state, reference[0], 1e-12)
    again = ours(ids, mask.repeat(1, 2), past_key_values=first).past_key_values
    packed = pack_padded_sequence(ours.embed_tokens(ids), LENGTHS, batch_first=True, enforce_sorted=False)
    _, states = theirs(packed, states if name == "lstm" else states[0])
    states = states if name == "lstm" else (states,)
    for state, reference in zip(again.layers[0].states, states, strict=True):
        assert_same(state, reference[0], 1e-12)


@pytest.mark.parametrize("name", TORCH)
def test_each_gate_starts_orthogonal_with_the_documented_biases(name, tmp_path):
    model = FAMILIES[name].backbone(FAMILIES[name].config(vocab_size=500, embedding_size=48, hidden_size=32))
    model.save_pretrained(tmp_path)
    for fresh in (model, type(model).from_pretrained(tmp_path)):
        loop = fresh.layers[0].forward_loop
        for gate in loop.weight_hh.split(32):
            assert_same(gate @ gate.T, torch.eye(32))
        bound = (6 / (48 + 32)) ** 0.5
        assert 0.9 * bound < loop.weight_ih.abs().max() <= bound
        assert loop.bias_hh is None or not loop.bias_hh.any()
        forget = loop.bias.split(32)[1] if name == "lstm" else torch.ones(1)
        assert (forget == 1).all() and loop.bias.sum() == (32 if name == "lstm" else 0)
        assert not fresh.embed_tokens.weight[0].any()
        assert abs(fresh.embed_tokens.weight[1:].std() - 0.1) < 0.005


def test_forget_bias_comes_from_the_config_also_for_a_missing_layer(tmp_path):
    config = {"vocab_size": 20, "embedding_size": 4, "hidden_size": 4, "forget_bias": 2.0}
    LSTMModel(LSTMConfig(**config)).save_pretrained(tmp_path)
    grown = LSTMModel.from_pretrained(tmp_path, num_hidden_layers=2, strict=False)
    for layer in grown.layers:
        assert layer.forward_loop.bias.tolist() == [0] * 4 + [2] * 4 + [0] * 8


def test_a_checkpoint_with_more_layers_than_the_config_is_refused(tmp_path):
    LSTMForSequenceClassification(LSTMConfig(vocab_size=20, num_hidden_layers=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="unexpected .*layers.1"):
        LSTMModel.from_pretrained(tmp_path, num_hidden_layers=1)
    LSTMModel(LSTMConfig(vocab_size=20, num_hidden_layers=2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="unexpected .*layers.1"):
        LSTMForSequenceClassification.from_pretrained(tmp_path, num_hidden_layers=1)


class RenamedClassifier(LSTMForSequenceClassification):
    """As somebody's own subclass."""


@pytest.mark.parametrize("model_class", [LSTMForSequenceClassification, RenamedClassifier])
def test_a_lost_classifier_is_no_new_head(model_class, tmp_path):
    LSTMForSequenceClassification(LSTMConfig(vocab_size=20)).save_pretrained(tmp_path)
    edit_weights(tmp_path, lambda tensors: tensors.pop("classifier.weight"))
    with pytest.raises(ValueError, match="lacks classifier.weight"):
        model_class.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="lacks classifier.weight"):
        model_class.from_pretrained(tmp_path)


@pytest.mark.usefixtures("route")
@for_each("pooling", ["last", "mean", "max", "attention"])
def test_a_relu_state_that_grows_does_not_overflow_over_the_padding(pooling):
    config = RNNConfig(vocab_size=9, nonlinearity="relu", hidden_size=8, hidden_dropout=0.0, pooling=pooling)
    model = RNNForSequenceClassification(config).eval()
    model.model.layers[0].forward_loop.weight_hh.data = 1.3 * torch.eye(8)
    ids, mask = torch.randint(1, 9, (2, 400)), torch.ones(2, 400, dtype=torch.long)
    mask[:, 5:] = 0
    outputs = model(ids, mask, labels=torch.tensor([0, 1]))
    assert_same(outputs.logits, model(ids[:, :5]).logits)
    outputs.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.usefixtures("route")
@for_each("name", CLASSIFIERS)
def test_autocast_to_bfloat16_works_on_any_cpu(name):
    family = FAMILIES[name]
    model = family.heads["text-classification"](family.config(vocab_size=30, bidirectional=True)).train()
    ids, mask = torch.randint(1, 30, (3, 5)), torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [0] * 4 + [1]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(ids, mask, labels=torch.tensor([0, 1, 0])).loss
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.usefixtures("route")
def test_relu_network_equals_torch():
    model = RNNModel(RNNConfig(vocab_size=9, embedding_size=3, hidden_size=4, nonlinearity="relu", hidden_dropout=0.0))
    inputs, loop = torch.randn(2, 5, 3), model.layers[0].forward_loop
    reference = nn.RNN(3, 4, nonlinearity="relu", batch_first=True)
    weights = {"weight_ih_l0": loop.weight_ih, "weight_hh_l0": loop.weight_hh, "bias_ih_l0": loop.bias}
    reference.load_state_dict(weights | {"bias_hh_l0": torch.zeros(4)})
    output = model(inputs_embeds=inputs).last_hidden_state
    assert_same(output, reference(inputs)[0])
    assert (output >= 0).all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_whole_model_gives_the_same_with_and_without_kernels(name, monkeypatch):
    family = FAMILIES[name]
    torch.manual_seed(0)
    model = family.heads["text-classification"](
        family.config(vocab_size=30, embedding_size=6, hidden_size=6, num_hidden_layers=2, bidirectional=True)
    ).eval()
    ids, mask = torch.randint(1, 30, (3, 5)), torch.tensor([[1] * 5, [0, 0, 1, 0, 1], [1, 1, 0, 0, 0]])
    logits = model(ids, mask).logits
    monkeypatch.setattr(fused, "kernels", lambda *_: None)
    assert_same(model(ids, mask).logits, logits)


def test_pooling_by_hand():
    hidden = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [9.0, 90.0]], [[-1.0, -4.0], [7.0, 7.0], [7.0, 7.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    expected = {
        "last": [[2.0, 20.0], [-1.0, -4.0]],
        "mean": [[1.5, 15.0], [-1.0, -4.0]],
        "max": [[2.0, 20.0], [-1.0, -4.0]],
        "mean_max": [[1.5, 15.0, 2.0, 20.0], [-1.0, -4.0, -1.0, -4.0]],
    }
    for kind, value in expected.items():
        pooling = SequencePooling(kind=kind, hidden_size=2, has_backward_half=False)
        assert pooling(hidden, mask)[0].tolist() == value
        assert pooling.output_size == len(value[0])
    both_ends = SequencePooling(kind="last", hidden_size=2, has_backward_half=True)(hidden, mask)[0]
    assert both_ends.tolist() == [[2.0, 10.0], [-1.0, -4.0]]  # the backward half ends at the first token


def test_attention_weights_are_returned_and_sum_to_one_over_real_tokens():
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, pooling="attention")).eval()
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])
    outputs = model(torch.randint(1, 20, (2, 4)), mask, output_attentions=True)
    (weights,) = outputs.attentions
    assert_same(weights.sum(1), torch.tensor([1.0, 0.0]))
    assert not weights[~mask.bool()].any()


def test_dropout_kinds():
    ones = torch.ones(3, 6, 50)
    locked = LockedDropout(0.5).train()(ones)
    assert (locked == locked[:, :1]).all() and 0.2 < (locked == 0).float().mean() < 0.8
    assert torch.equal(LockedDropout(0.5).eval()(ones), ones)
    model = LSTMModel(LSTMConfig(vocab_size=200, embedding_dropout=0.5, hidden_dropout=0.0)).train()
    ids = torch.arange(1, 200).repeat(2, 1)
    embeds = model(ids, output_hidden_states=True).hidden_states[0]
    blanked = (embeds == 0).all(-1)
    assert torch.equal(blanked[0], blanked[1])  # every occurrence of a word, or none
    assert 0.3 < blanked.float().mean() < 0.7
    assert not (model.eval()(ids, output_hidden_states=True).hidden_states[0] == 0).all(-1).any()


@pytest.mark.parametrize("kind", ["element", "locked"])
def test_dropout_acts_in_training_only(kind):
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, hidden_dropout=0.5, dropout_kind=kind))
    ids = torch.randint(1, 20, (2, 5))
    assert torch.equal(model.eval()(ids).logits, model(ids).logits)
    assert not torch.equal(model.train()(ids).logits, model(ids).logits)


def test_frozen_embeddings_get_no_gradient_and_stay_frozen_after_loading(tmp_path):
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, freeze_embeddings=True))
    model.save_pretrained(tmp_path)
    for fresh in (model, LSTMForSequenceClassification.from_pretrained(tmp_path)):
        fresh(torch.randint(1, 20, (2, 5)), labels=torch.tensor([0, 1])).loss.backward()
        assert fresh.get_input_embeddings().weight.grad is None
        assert fresh.classifier.weight.grad.any()


def test_losses_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    classes = sequence_loss(logits, torch.tensor([0, -100]), "single_label_classification")
    assert_same(classes.item(), torch.log(1 + torch.exp(torch.tensor(-2.0))).item())
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    several = sequence_loss(logits, labels, "multi_label_classification")
    expected = -(logits.sigmoid().log() * labels + (1 - logits.sigmoid()).log() * (1 - labels)).mean()
    assert_same(several.item(), expected.item())
    assert sequence_loss(logits[:, :1], torch.tensor([1.0, 2.0]), "regression").item() == pytest.approx((1 + 4) / 2)
    assert sequence_loss(logits[:, :1], torch.tensor([1.0, 2.0]), "regression", 10).item() == pytest.approx(0.5)


def test_wrong_labels_are_named():
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="regression needs one number per label"):
        sequence_loss(logits, torch.tensor([1.0, 2.0]), "regression")
    with pytest.raises(ValueError, match="set problem_type to 'regression'"):
        sequence_loss(logits, torch.tensor([1.0, 2.0]), "single_label_classification")


def test_problem_type_is_inferred_once_and_kept():
    cases = {
        "regression": (1, torch.tensor([0.5, 1.5])),
        "single_label_classification": (3, torch.tensor([0, 2])),
        "multi_label_classification": (3, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])),
    }
    for problem_type, (num_labels, labels) in cases.items():
        model = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, num_labels=num_labels))
        assert model.config.problem_type is None
        assert model(torch.randint(1, 20, (2, 5)), labels=labels).loss.isfinite()
        assert model.config.problem_type == problem_type

"""The window network: a convolution over time, that sees so far and no further, whatever pads the text."""

import pytest
import torch
from torch import nn

from hfseq import WindowConfig, WindowForSequenceClassification, WindowForTokenClassification, WindowModel
from hfseq.models.token_order import TokenOrder
from hfseq.models.windows.window import WindowLayer
from tests.closeness import assert_same, difference

IDS = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 3]])


def small(**options):
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_size": 5, "hidden_size": 4, "initializer_range": 1.0}
    model = WindowModel(WindowConfig(**{**sizes, **options})).eval().double()
    for layer in model.layers:
        nn.init.normal_(layer.linear.bias)  # or a window of zeros would look like none
    return model


def convolution_of(layer):
    """The layer as torch has it; its padding is the same on both sides, so the text is padded by hand."""
    width = layer.left + 1 + layer.right
    hidden_size, inputs = layer.linear.weight.shape
    convolution = nn.Conv1d(inputs // width, hidden_size, width).double()
    with torch.no_grad():
        convolution.weight.copy_(layer.linear.weight.view(hidden_size, width, -1).transpose(1, 2))
        convolution.bias.copy_(layer.linear.bias)
    return convolution


@pytest.mark.parametrize(("left", "right"), [(2, 2), (3, 0), (0, 1), (0, 0), (9, 9)])
@pytest.mark.parametrize("act", ["tanh", "hardtanh", "relu"])
def test_it_is_a_convolution_over_time(left, right, act):
    model = small(left=left, right=right, num_hidden_layers=2, hidden_act=act)
    values, function = model.embed_tokens(IDS).transpose(1, 2), getattr(nn.functional, act)
    for layer in model.layers:
        values = function(convolution_of(layer)(nn.functional.pad(values, (left, right))))
    assert_same(model(IDS).last_hidden_state, values.transpose(1, 2), 1e-12)


def test_its_gradients_are_those_of_the_convolution():
    layer = WindowLayer(input_size=3, hidden_size=4, left=2, right=1, hidden_act="tanh").double()
    convolution = convolution_of(layer)
    inputs = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    same = inputs.detach().clone().requires_grad_()
    layer(inputs, TokenOrder(2, 6, None)).pow(2).sum().backward()
    torch.tanh(convolution(nn.functional.pad(same.transpose(1, 2), (2, 1)))).pow(2).sum().backward()
    assert_same(inputs.grad, same.grad, 1e-12)
    assert_same(layer.linear.weight.grad.view(4, 4, 3), convolution.weight.grad.transpose(1, 2), 1e-12)
    assert_same(layer.linear.bias.grad, convolution.bias.grad, 1e-12)


def test_a_word_is_what_the_formula_says():
    """By hand: the third word of a text, from two words before it and one after."""
    model = small(left=2, right=1)
    words = model.embed_tokens(IDS[0, [0, 1, 2, 3]]).flatten()
    layer = model.layers[0].linear
    assert_same(model(IDS).last_hidden_state[0, 2], torch.tanh(layer.weight @ words + layer.bias), 1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_it_sees_so_far_and_no_further(depth):
    model = small(left=2, right=1, num_hidden_layers=depth)
    before = model(IDS).last_hidden_state
    for place in range(IDS.shape[1]):
        changed = IDS.clone()
        changed[0, place] = 10
        moved = (model(changed).last_hidden_state != before).any(-1)[0].nonzero().flatten().tolist()
        first, last = max(place - depth, 0), min(place + 2 * depth, IDS.shape[1] - 1)
        assert moved == list(range(first, last + 1)), place


@pytest.mark.parametrize(
    "mask",
    [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 1]],
    ids=["right", "left", "holes", "ends"],
)
def test_padding_wherever_it_stands_changes_no_word(mask):
    model = small(num_hidden_layers=2)
    mask = torch.tensor([mask])
    padded = torch.full((1, 6), 11)
    padded[mask.bool()] = IDS[0, :3]
    found = model(padded, mask).last_hidden_state
    assert_same(found[mask.bool()], model(IDS[:, :3]).last_hidden_state[0], 1e-12)
    assert not found[~mask.bool()].any()


def test_what_stands_at_padding_may_be_no_number():
    model = small()
    embeds = model.embed_tokens(IDS).detach()
    embeds[0, 5:] = float("nan")
    mask = torch.tensor([[1] * 5 + [0] * 3])
    found = model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    assert_same(found[0, :5], model(IDS[:, :5]).last_hidden_state[0], 1e-12)


def test_a_layer_that_reads_padding_is_seen(monkeypatch):
    """The usual padded convolution: a hole parts two words."""
    monkeypatch.setattr(TokenOrder, "to_front", lambda order, values, backward=False: values)
    monkeypatch.setattr(TokenOrder, "put_back", lambda order, values, backward=False: values)
    model, mask = small(), torch.tensor([[1, 0, 1, 1]])
    alone = model(IDS[:, [0, 2, 3]]).last_hidden_state[0]
    assert difference(model(IDS[:, :4], mask).last_hidden_state[mask.bool()], alone) > 0.1


def test_the_order_of_words_counts_inside_a_window_and_not_outside():
    """What a bag cannot tell apart; and the maximum over a text forgets where a window stood."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_size": 5, "hidden_size": 4, "num_labels": 2, "initializer_range": 1.0}
    alone = WindowForSequenceClassification(WindowConfig(**sizes, left=0, right=0)).eval()
    windows = WindowForSequenceClassification(WindowConfig(**sizes, left=1, right=0)).eval()
    assert_same(alone(IDS.flip(1)).logits, alone(IDS).logits)
    assert difference(windows(IDS.flip(1)).logits, windows(IDS).logits) > 1e-2


def test_it_learns_a_tag_that_only_the_next_word_tells():
    torch.manual_seed(0)
    sizes = {"vocab_size": 10, "embedding_size": 8, "hidden_size": 16, "num_labels": 2, "hidden_dropout": 0.0}
    losses = {}
    for right in (0, 1):
        model = WindowForTokenClassification(WindowConfig(**sizes, left=0, right=right, classifier_dropout=0.0))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for _ in range(80):
            ids = torch.randint(1, 10, (16, 12))
            labels = torch.cat((ids[:, 1:] % 2, torch.full((16, 1), -100)), 1)
            loss = model(ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[right] = loss.item()
    assert losses[1] < 0.1 and losses[0] > 0.6  # ln 2 = 0.69 is to guess


def test_vectors_of_another_width_are_named():
    with pytest.raises(ValueError, match=r"inputs_embeds of shape \(1, 3, 7\) must be 5 wide \(config.embedding_size"):
        small()(inputs_embeds=torch.zeros(1, 3, 7, dtype=torch.float64))


def test_a_state_is_nothing_it_could_take():
    with pytest.raises(TypeError, match="WindowModel does not read 'past_key_values'"):
        small()(IDS, past_key_values=object())


def test_a_direction_is_told_by_the_window():
    assert WindowConfig(right=1).bidirectional and not WindowConfig(right=0).bidirectional
    assert WindowConfig(hidden_size=7).output_size == 7


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_holds_for_any_mask():
    model = small(num_hidden_layers=2).requires_grad_(False)
    mask = torch.tensor([[1, 1, 0, 1, 1, 0, 0, 0]])
    traced = torch.jit.trace(lambda ids, mask: model(ids, mask, return_dict=False)[0], (IDS, mask))
    other = torch.tensor([[0, 1, 1, 1, 0, 0, 1, 1]])
    assert_same(traced(IDS, other), model(IDS, other).last_hidden_state, 1e-12)

"""A cell of the user's own: five lines, and everything that the built-in families can do."""

import copy
import pickle

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModel, AutoModelForSequenceClassification

from hfseq import CELLS, CustomConfig, CustomForSequenceClassification, register_cell
from hfseq.models.recurrent.cells import Cell
from hfseq.models.recurrent.loop import RecurrentLoop
from hfseq.models.token_order import TokenOrder
from tests.closeness import assert_same
from tests.models.recurrent.loops import BATCHES, HIDDEN, ROUTES, TOLERANCES, assert_close, make_loop, run
from tests.rounds import for_each


@pytest.fixture(autouse=True)
def only_built_in_cells():
    """Forget what a test registers."""
    before = dict(CELLS)
    yield
    CELLS.clear()
    CELLS.update(before)


def keeper(ops, gates, states, params):
    (f, g), (h, s), (scale,) = gates, states, params["scale"]
    keep = ops.sigmoid(f)
    h = keep * h + (1 - keep) * ops.tanh(g)
    return h, s + scale * ops.exp(-ops.relu(h)) / 2


def keeper_by_hand(loop, inputs, order, states, with_state):
    """The same, one text after the other."""
    states = states or loop.start(inputs)
    outputs, reached = torch.zeros(*inputs.shape[:2], HIDDEN, dtype=inputs.dtype), []
    for row, tokens in enumerate(inputs):
        h, s = states[0][row], states[1][row]
        positions = [t for t in range(len(tokens)) if order.real is None or order.real[row, t]]
        for t in reversed(positions) if loop.backward else positions:
            f, g = (loop.weight_ih @ tokens[t] + loop.weight_hh @ h + loop.bias).split(HIDDEN)
            f = 1 / (1 + torch.exp(-f))
            h = f * h + g.tanh() - f * g.tanh()
            s = s + 0.5 * loop.params["scale"][0] * torch.exp(-h.clamp(min=0))
            outputs[row, t] = h
        reached.append(torch.stack([h, s]))
    return outputs, tuple(torch.stack(reached, dim=1))


@pytest.fixture
def registered():
    register_cell(gates=("f", "g"), states=("h", "s"), params={"scale": (0.5,)}, gate_bias={"f": 2.0})(keeper)
    return CELLS["keeper"]


@for_each("kind", BATCHES)
@for_each("dtype", TOLERANCES)
@for_each("route", ["fused", "without_kernels"])
def test_it_equals_its_formula_with_its_gradient(registered, route, dtype, kind):
    batch = BATCHES[kind]
    exact = run(keeper_by_hand, make_loop(registered, backward=batch.backward), batch)
    loop = make_loop(registered, dtype=dtype, backward=batch.backward)
    assert_close(run(ROUTES[route], loop, batch), exact, TOLERANCES[dtype])


def test_it_starts_as_it_says(registered):
    loop = RecurrentLoop(registered, input_size=3, hidden_size=4)
    assert loop.bias.tolist() == [2.0] * 4 + [0.0] * 4 and loop.params["scale"].tolist() == [[0.5] * 4]


def small_model(**options):
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "embedding_size": 8, "hidden_size": 8, "hidden_dropout": 0.0, "classifier_dropout": 0.0}
    return CustomForSequenceClassification(CustomConfig(cell="keeper", **(sizes | options)))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_model_of_it_trains_saves_and_loads(tmp_path, bidirectional):
    model = small_model(bidirectional=bidirectional).train()
    ids = torch.randint(1, 20, (16, 6))
    labels, mask = (ids[:, 0] > 9).long(), (torch.arange(6) < torch.randint(1, 7, (16, 1))).long()
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.02), []
    for _ in range(40):
        loss = model(ids, mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is CustomForSequenceClassification and loaded.config.cell == "keeper"
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert torch.equal(loaded(ids, mask).logits, model(ids, mask).logits)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(ids, mask).logits, model(ids, mask).logits)
        assert again.model.layers[0].forward_loop.cell is CELLS["keeper"]


@pytest.mark.usefixtures("registered")
def test_a_model_of_it_carries_all_its_states():
    model = small_model().eval().model
    ids = torch.randint(1, 20, (2, 6))
    whole = model(ids, use_cache=True)
    first = model(ids[:, :4], use_cache=True)
    rest = model(ids[:, 4:], past_key_values=first.past_key_values, use_cache=True)
    assert_same(rest.last_hidden_state, whole.last_hidden_state[:, 4:])
    for a, b in zip(rest.past_key_values.layers[0].states, whole.past_key_values.layers[0].states, strict=True):
        assert_same(a, b)
    assert len(rest.past_key_values.layers[0].states) == 2


@pytest.mark.usefixtures("registered")
def test_a_checkpoint_of_a_cell_that_nobody_registered_says_what_to_do(tmp_path):
    small_model().save_pretrained(tmp_path)
    del CELLS["keeper"]
    for auto_class in (AutoModel, AutoModelForSequenceClassification):
        with pytest.raises(Exception, match="no cell is called 'keeper'.*register_cell.*import the module"):
            auto_class.from_pretrained(tmp_path)
    with pytest.raises(StrictDataclassError, match="no cell is called 'minimal'.*minimal_gated"):
        CustomConfig(cell="minimal")


def test_blocks_must_fit_the_width():
    assert CustomConfig(cell="lstm_blocks", hidden_size=12).make_cell().block_size == 4
    with pytest.raises(StrictDataclassError, match="divisible by 4, got 10"):
        CustomConfig(cell="lstm_blocks", hidden_size=10)


def test_a_name_of_ours_is_not_given_away():
    with pytest.raises(ValueError, match="'lstm' is a cell of hfseq.*register_cell\\('lstm_2'"):
        register_cell("lstm", gates=("f",))(keeper)
    register_cell("mine", gates=("f", "g"))(keeper)
    register_cell("mine", gates=("f", "g"))(lambda *_: ())  # as when a notebook's cell is run again
    assert CELLS["mine"].equation is not keeper and isinstance(CELLS["mine"], Cell)


def one_state_too_few(ops, gates, states, params):
    return (ops.tanh(gates[0]),)


def late_gate_not_called(ops, gates, states, params):
    return (ops.tanh(gates[0]) * states[0],)


def late_gate_called_with_two_vectors(ops, gates, states, params):
    (r, n), (h,) = gates, states
    return (ops.tanh(n(r * h)) + n(h),)


def foreign_operand(ops, gates, states, params):
    return (gates[0] * "2",)


MISTAKES = {
    one_state_too_few: ({"gates": ("g",), "states": ("h", "c")}, ValueError, "returns 1 states.*'h', 'c'"),
    late_gate_not_called: ({"gates": ("r", "n"), "late": "n"}, ValueError, "never calls its late gate 'n'"),
    late_gate_called_with_two_vectors: ({"gates": ("r", "n"), "late": "n"}, ValueError, "one vector only"),
    foreign_operand: ({"gates": ("g",)}, TypeError, "an equation combines.*not '2'"),
}


@pytest.mark.parametrize("equation", MISTAKES)
def test_a_mistake_in_an_equation_is_named(equation):
    attributes, error, message = MISTAKES[equation]
    with pytest.raises(error, match=message):
        use_a_cell(equation, attributes, "fused")


def test_a_state_too_few_is_named_without_the_kernels_too():
    attributes, error, message = MISTAKES[one_state_too_few]
    with pytest.raises(error, match=message):
        use_a_cell(one_state_too_few, attributes, "without_kernels")


def use_a_cell(equation, attributes, route):
    register_cell("mistake", **attributes)(equation)
    loop = make_loop(CELLS["mistake"], dtype=torch.float32)
    return ROUTES[route](loop, torch.randn(2, 3, 3), TokenOrder(2, 3, None))

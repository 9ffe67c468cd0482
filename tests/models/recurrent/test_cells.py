"""Each cell is the textbook's, on every route, in both precisions, for every kind of batch, with its gradients."""

import dataclasses
from functools import cache, partial

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.func import functional_call

from hfseq import LSTMConfig, RNNConfig
from hfseq.kernels.cells import symbols
from hfseq.models import token_order
from hfseq.models.recurrent import fused
from hfseq.models.recurrent import loop as loop_module
from hfseq.models.recurrent.cells import Cell, gru_cell, lstm_cell, rnn_cell
from tests.closeness import assert_same
from tests.models.recurrent import textbook
from tests.models.recurrent.loops import (
    BATCHES,
    BUILT_IN,
    HIDDEN,
    INPUT,
    ROUTES,
    TOLERANCES,
    assert_close,
    make_loop,
    run,
    without_torch,
)
from tests.rounds import for_each, run_rounds

# The traced route and the plain reference differ from "without kernels" only for the cells that torch has itself.
WAYS = [
    pytest.param(name, route, dtype, id=f"{name}-{route}-{str(dtype).removeprefix('torch.')}")
    for name, cell in BUILT_IN.items()
    for route in ROUTES
    for dtype in TOLERANCES
    if cell.torch_mode is not None or route in ("fused", "without_kernels")
]
every_way = pytest.mark.parametrize(("name", "route", "dtype"), WAYS)
both_routes = for_each("route", ["fused", "without_kernels"])
# Both directions, states that come in and states that are asked for, padding on the right and holes.
TWO_BATCHES = ("ragged-backward-from-a-state", "holes-and-an-empty-row-from-a-state")


@cache
def exact(name, kind):
    """The textbook's answer in float64."""
    loop = make_loop(BUILT_IN[name], backward=BATCHES[kind].backward)
    return run(textbook.route(name), loop, BATCHES[kind])


def check(name, route, dtype, kind):
    loop = make_loop(BUILT_IN[name], dtype=dtype, backward=BATCHES[kind].backward)
    assert_close(run(ROUTES[route], loop, BATCHES[kind]), exact(name, kind), TOLERANCES[dtype])


def check_batches(name, route, dtype, kinds):
    run_rounds((kind, partial(check, name, route, dtype, kind)) for kind in kinds)


def test_the_textbook_has_every_cell():
    assert textbook.FORMULAS.keys() == textbook.GATES.keys() == BUILT_IN.keys() and len(BUILT_IN) >= 15


@every_way
def test_equals_the_textbook_in_outputs_states_and_gradients(name, route, dtype):
    """Float64 tells an error from a rounding, so there every batch is compared."""
    check_batches(name, route, dtype, BATCHES if dtype == torch.float64 else TWO_BATCHES)


@pytest.mark.slow
@every_way
def test_equals_the_textbook_for_every_batch(name, route, dtype):
    check_batches(name, route, dtype, BATCHES)


# The comparison must be seen to fail: each of these is a mistake that such code could have.


def wrong_derivative(monkeypatch):
    monkeypatch.setitem(symbols._CHAIN_RULE, "tanh", lambda y, d: [d * (1.0 - y)])


def reversed_padding(monkeypatch):
    monkeypatch.setattr(token_order.TokenOrder, "backward", property(lambda order: order.forward.flip(1)))


def state_of_the_longest_row(monkeypatch):
    monkeypatch.setattr(
        token_order.Packing, "reached", lambda packing, trace, initial: trace[:, -1:].expand_as(initial)
    )


def one_more_row_alive(monkeypatch):
    monkeypatch.setattr(token_order.Packing, "previous", lambda packing, trace: trace[packing.first :])


@pytest.mark.parametrize("plant", [wrong_derivative, reversed_padding, state_of_the_longest_row, one_more_row_alive])
def test_the_comparison_sees_a_planted_fault(plant, monkeypatch):
    kind = "ragged-backward-from-a-state"
    check("gru", "fused", torch.float64, kind)
    monkeypatch.setitem(BUILT_IN, "gru", dataclasses.replace(BUILT_IN["gru"]))  # another cell: compiled anew
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check("gru", "fused", torch.float64, kind)


@for_each("letters", ["fi", "io", "go"])
def test_the_comparison_sees_exchanged_gates(letters, monkeypatch):
    def exchanged(name, loop, token):
        gates = original(name, loop, token)
        for weights in (gates.w, gates.u, gates.b):
            weights[letters[0]], weights[letters[1]] = weights[letters[1]], weights[letters[0]]
        return gates

    expected, original = exact("lstm", "ragged"), textbook.Gates
    monkeypatch.setattr(textbook, "Gates", exchanged)
    wrong = run(textbook.route("lstm"), make_loop(BUILT_IN["lstm"]), BATCHES["ragged"])
    with pytest.raises(AssertionError):
        assert_close(wrong, expected, TOLERANCES[torch.float32])


@both_routes
@pytest.mark.parametrize("name", BUILT_IN)
def test_gradcheck(name, route, monkeypatch):
    if route == "without_kernels":
        monkeypatch.setattr(fused, "kernels", lambda *_: None)
    cell = BUILT_IN[name] if route == "fused" else without_torch(BUILT_IN[name])
    loop = make_loop(cell, hidden_size=4)
    order = token_order.TokenOrder(3, 3, torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]]))
    torch.manual_seed(0)
    shapes = [(3, 3, 3), *[(3, 4)] * len(cell.states)]
    inputs, *states = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    names, parameters = zip(*loop.named_parameters(), strict=True)

    def function(inputs, *tensors):
        states, values = tensors[: len(cell.states)], tensors[len(cell.states) :]
        outputs, reached = functional_call(loop, dict(zip(names, values, strict=True)), (inputs, order, states))
        return outputs, *reached

    assert torch.autograd.gradcheck(function, (inputs, *states, *parameters), fast_mode=True)


@for_each("peephole", [True, False])
@for_each("output_gate", [True, False])
@for_each("forget_gate", [True, False])
@for_each("input_gate", [True, False])
def test_each_part_of_the_lstm_can_be_left_out(input_gate, forget_gate, output_gate, peephole):
    cell = lstm_cell(input_gate, forget_gate, output_gate, peephole)
    letters = "i" * input_gate + "f" * forget_gate + "g" + "o" * output_gate
    assert "".join(cell.gates) == letters
    loop = make_loop(cell)
    token, (h, c) = torch.randn(5, 3, dtype=torch.float64), torch.randn(2, 5, HIDDEN, dtype=torch.float64)
    with torch.no_grad():
        a = token @ loop.weight_ih.T + loop.bias + h @ loop.weight_hh.T
        a = dict(zip(letters, a.chunk(len(letters), -1), strict=True))
        p = dict(zip(letters.replace("g", ""), loop.params.get("peephole", ()), strict=False))
        i = torch.sigmoid(a["i"] + p.get("i", 0) * c) if input_gate else 1
        f = torch.sigmoid(a["f"] + p.get("f", 0) * c) if forget_gate else 1
        after = f * c + i * torch.tanh(a["g"])
        o = torch.sigmoid(a["o"] + p.get("o", 0) * after) if output_gate else 1
        order = token_order.TokenOrder(5, 1, None)
        _, reached = ROUTES["without_kernels"](loop, token[:, None], order, (h, c))
    assert len(p) == (len(letters) - 1) * peephole
    for state, expected in zip(reached, (o * torch.tanh(after), after), strict=True):
        assert_same(state, expected, 1e-12)


def size(cell, width=HIDDEN, inputs=INPUT):
    loop = loop_module.RecurrentLoop(cell, input_size=inputs, hidden_size=width)
    return sum(parameter.numel() for parameter in loop.parameters())


def test_parameter_counts_are_the_published_ones():
    h, i = HIDDEN, INPUT
    gate = h * h + h * i + h
    assert size(rnn_cell()) == size(rnn_cell(residual="plain")) == gate
    assert size(rnn_cell(residual="forget")) == 2 * gate
    assert size(lstm_cell()) == 4 * gate
    assert size(gru_cell("before")) == 3 * gate
    assert size(gru_cell("after")) == 3 * gate + h  # the bias inside the reset
    assert 4 * size(lstm_cell(coupled=True)) == 3 * size(lstm_cell())
    for switch in ("input_gate", "forget_gate", "output_gate"):
        assert size(lstm_cell(**{switch: False})) == 3 * gate
    assert size(lstm_cell(peephole=True)) == 4 * gate + 3 * h
    assert size(BUILT_IN["minimal_gated"]) == 2 * gate
    # no bias before the norms, and behind them: two gains and a bias a gate, gain and bias of the cell
    assert size(lstm_cell(layer_norm=True)) == 4 * (h * h + h * i) + 4 * 3 * h + 2 * h


@for_each("block_size", [2, 4, 5])
def test_cells_of_a_memory_block_share_their_gates(block_size):
    cell = lstm_cell(block_size=block_size)
    blocks = HIDDEN // block_size
    assert cell.gate_sizes(HIDDEN) == [blocks, blocks, HIDDEN, blocks]
    assert size(cell) == (3 * blocks + HIDDEN) * (HIDDEN + INPUT + 1)
    loop = make_loop(cell)
    whole = make_loop(lstm_cell())
    with torch.no_grad():  # an ordinary LSTM with equal gates in the cells of a block
        for name, parameter in loop.named_parameters():
            i, f, g, o = parameter.split(cell.gate_sizes(HIDDEN))
            rows = [torch.cat([gate] * block_size) for gate in (i, f, o)]
            whole.get_parameter(name).copy_(torch.cat([*rows[:2], g, rows[2]]))
    batch = BATCHES["left-padded-from-a-state"]
    expected = run(ROUTES["without_kernels"], whole, batch).values
    for route in ("fused", "without_kernels"):
        for name, value in run(ROUTES[route], loop, batch).values.items():
            assert_same(value, expected[name], 1e-12)


def set_gates(loop, **biases):
    """Small weights, and these biases: the gates are what their biases make them."""
    with torch.no_grad():
        for weight in (loop.weight_ih, loop.weight_hh):
            weight.mul_(0.1)
        for gate, bias in biases.items():
            index = loop.cell.gates.index(gate)
            loop.bias[index * HIDDEN : (index + 1) * HIDDEN] = bias


@both_routes
@for_each("dtype", TOLERANCES)
def test_the_error_carousel_keeps_the_cell_and_its_gradient_over_200_steps(route, dtype):
    loop = make_loop(lstm_cell(), dtype=dtype)
    set_gates(loop, f=100.0, i=-100.0)
    h, c = torch.randn(2, 3, HIDDEN, dtype=dtype)
    c.requires_grad_()
    _, (_, kept) = ROUTES[route](
        loop, torch.randn(3, 200, INPUT, dtype=dtype), token_order.TokenOrder(3, 200, None), (h, c)
    )
    assert_same(kept, c)
    kept.sum().backward()
    assert_same(c.grad, 1)


@both_routes
def test_a_residual_carries_the_gradient_over_150_steps_where_the_vanilla_network_loses_it(route):
    size_of_gradient = {}
    for residual in ("none", "plain", "forget"):
        loop = make_loop(rnn_cell("tanh", residual), dtype=torch.float32)
        set_gates(loop, **({"f": 100.0} if residual == "forget" else {}))
        h = torch.zeros(2, HIDDEN, requires_grad=True)
        torch.manual_seed(0)
        _, (reached,) = ROUTES[route](loop, torch.randn(2, 150, INPUT), token_order.TokenOrder(2, 150, None), (h,))
        reached.sum().backward()
        size_of_gradient[residual] = h.grad.norm().item()
    assert size_of_gradient["none"] < 1e-12
    assert size_of_gradient["plain"] > 0.1 and size_of_gradient["forget"] > 0.1


def test_a_saturated_forget_gate_loses_what_the_residual_carries():
    loop = make_loop(rnn_cell("tanh", "forget"))
    set_gates(loop, f=-100.0)
    h = torch.randn(2, HIDDEN, dtype=torch.float64)
    order, inputs = token_order.TokenOrder(2, 1, None), torch.randn(2, 1, INPUT, dtype=torch.float64)
    _, (reached,) = loop(inputs, order, (h,))
    update = torch.tanh(inputs[:, 0] @ loop.weight_ih[HIDDEN:].T + h @ loop.weight_hh[HIDDEN:].T + loop.bias[HIDDEN:])
    assert_same(reached, update, 1e-12)


MISTAKES = [
    ("must name plain gates", {"gates": ("n", "f"), "split": ("n",)}),
    ("then the late one 'n'", {"gates": ("n", "f"), "late": "n"}),
    ("each once", {"gates": ("f",), "split": ("f",), "late": "f"}),
    ("must name plain gates", {"gates": ()}),
    (r"gate_bias: \['x'\] is not among", {"gates": ("f",), "gate_bias": {"x": 1.0}}),
    (r"shared: \['x'\] is not among", {"gates": ("f",), "shared": ("x",)}),
    ("must begin with 'h'", {"gates": ("f",), "states": ("c", "h")}),
]


@for_each(("message", "attributes"), MISTAKES)
def test_a_cell_that_cannot_be_stacked_is_refused(message, attributes):
    with pytest.raises(ValueError, match=message):
        Cell(lambda *_: (), **attributes)


def test_switches_that_contradict_one_another_are_refused():
    for switches, message in (
        ({"coupled": True, "input_gate": False}, "leave input_gate and forget_gate on"),
        ({"coupled": True, "forget_gate": False}, "leave input_gate and forget_gate on"),
        ({"peephole": True, "block_size": 2}, "choose"),
        ({"block_size": 3}, "does not divide hidden_size"),
    ):
        with pytest.raises(StrictDataclassError, match=message):
            LSTMConfig(hidden_size=8, **switches)
    with pytest.raises(StrictDataclassError, match="residual"):
        RNNConfig(residual="highway")

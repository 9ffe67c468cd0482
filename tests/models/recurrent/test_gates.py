"""`output_gates`: the values are those of a loop written by hand, for every cell, and of equations of one's own."""

from functools import partial

import pytest
import torch

from hfseq import CustomConfig, CustomModel, LSTMConfig, LSTMForCausalLM, LSTMModel, register_cell
from hfseq.models.recurrent.cells import CELLS, Cell
from tests.closeness import assert_same
from tests.models.recurrent import textbook
from tests.models.recurrent.loops import BATCHES, BUILT_IN, make_loop, reference_route
from tests.rounds import for_each, run_rounds

sigmoid, tanh = torch.sigmoid, torch.tanh


def gates_of_lstm(a, p, h, c, *, letters="ifgo"):
    return {letter: (tanh if letter == "g" else sigmoid)(a(letter, h)) for letter in letters}


def gates_of_peephole(a, p, h, c):
    p_i, p_f, p_o = p["peephole"]
    i, f, g = sigmoid(a("i", h) + p_i * c), sigmoid(a("f", h) + p_f * c), tanh(a("g", h))
    return {"i": i, "f": f, "g": g, "o": sigmoid(a("o", h) + p_o * (f * c + i * g))}


def gates_of_blocks(a, p, h, c):
    shared = {letter: sigmoid(a(letter, h)).repeat(textbook.BLOCK) for letter in "if"}
    return {**shared, "g": tanh(a("g", h)), "o": sigmoid(a("o", h)).repeat(textbook.BLOCK)}


def gates_of_layer_norm(a, p, h, c):
    from_input = torch.cat([a.input(letter) for letter in "ifgo"])
    from_state = torch.cat([a.state(letter, h) for letter in "ifgo"])
    norm = torch.nn.functional.layer_norm
    total = norm(from_input, from_input.shape, p["input_gain"].flatten(), p["gate_bias"].flatten())
    i, f, g, o = (total + norm(from_state, from_state.shape, p["state_gain"].flatten())).chunk(4)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": tanh(g), "o": sigmoid(o)}


def gates_of_gru(a, p, h):
    r = sigmoid(a("r", h))
    n = tanh(a.input("n") + r * (a.state("n", h) + a.b_hh))
    return {"r": r, "z": sigmoid(a("z", h)), "n": n}


def gates_of_gru_reset_before(a, p, h):
    r = sigmoid(a("r", h))
    return {"r": r, "z": sigmoid(a("z", h)), "n": tanh(a("n", r * h))}


def gates_of_minimal(a, p, h):
    f = sigmoid(a("f", h))
    return {"f": f, "n": tanh(a("n", f * h))}


BY_HAND = {
    "rnn_tanh": lambda a, p, h: {"n": tanh(a("n", h))},
    "rnn_relu": lambda a, p, h: {"n": torch.relu(a("n", h))},
    "rnn_sigmoid": lambda a, p, h: {"n": sigmoid(a("n", h))},
    "residual": lambda a, p, h: {"n": tanh(a("n", h))},
    "residual_forget": lambda a, p, h: {"f": sigmoid(a("f", h)), "n": tanh(a("n", h))},
    "lstm": gates_of_lstm,
    "lstm_forget_only": partial(gates_of_lstm, letters="fg"),
    "lstm_forget_input": partial(gates_of_lstm, letters="ifg"),
    "lstm_peephole": gates_of_peephole,
    "lstm_coupled": partial(gates_of_lstm, letters="fgo"),
    "lstm_blocks": gates_of_blocks,
    "lstm_layer_norm": gates_of_layer_norm,
    "gru": gates_of_gru,
    "gru_reset_before": gates_of_gru_reset_before,
    "minimal_gated": gates_of_minimal,
}


def by_hand(name, loop, inputs, order, states):
    """Each gate and state (B, T, H), zero at padding: one text, one token at a time."""
    cell, states = loop.cell, states or loop.start(inputs)
    shape = (*inputs.shape[:2], loop.hidden_size)
    shown = {letter: torch.zeros(shape, dtype=inputs.dtype) for letter in (*cell.gates, *cell.states)}
    for row, tokens in enumerate(inputs):
        own = [state[row] for state in states]
        positions = [t for t in range(len(tokens)) if order.real is None or order.real[row, t]]
        for t in reversed(positions) if loop.backward else positions:
            a = textbook.Gates(name, loop, tokens[t])
            values = BY_HAND[name](a, loop.params, *own)
            own = textbook.FORMULAS[name](a, loop.params, *own)
            for letter, value in [*values.items(), *zip(cell.states, own, strict=True)]:
                shown[letter][row, t] = value
    return shown


@torch.no_grad()
def check(name, kind):
    batch = BATCHES[kind]
    loop = make_loop(BUILT_IN[name], backward=batch.backward)
    inputs, states = batch.make(loop.cell, torch.float64)
    outputs, reached, values = loop(inputs, batch.order(), states, output_gates=True)
    assert list(values) == [*loop.cell.gates, *loop.cell.states]
    assert_same(values, by_hand(name, loop, inputs, batch.order(), states), 1e-12)
    expected = reference_route(loop, inputs, batch.order(), states)
    assert torch.equal(outputs, expected[0]) and torch.equal(outputs, values["h"])
    assert all(torch.equal(*pair) for pair in zip(reached, expected[1], strict=True))


def test_each_cell_is_written_by_hand():
    assert set(BY_HAND) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_gates_and_states_are_those_of_a_loop_by_hand(name):
    run_rounds((kind, partial(check, name, kind)) for kind in BATCHES)


def own_cell(equation, *, states=("h",), gates=("f", "n"), **fields):
    return Cell(equation, gates=gates, states=states, **fields)


def one_step(cell):
    """The sums of a step of two texts, and what it shows."""
    torch.manual_seed(0)
    width, gates = 3, len(cell.gates)
    sums, weights = torch.randn(2, gates * width).double(), torch.randn(gates * width, width).double()
    states = tuple(torch.randn(2, width).double() for _ in cell.states)
    values = {}
    cell.step(sums, states, weights, None, None, values)
    totals = (sums + states[0] @ weights.T).chunk(gates, -1)
    return dict(zip(cell.gates, totals, strict=True)), states, values


def test_a_gate_that_no_function_meets_is_its_sum():
    """Also where the new memory, of which it is a part, meets one."""

    def equation(ops, gates, states, params):
        (f, n), (_, c) = gates, states
        keep = ops.sigmoid(f)
        c = keep * c + (1.0 - keep) * n
        return ops.tanh(c), c

    sums, (_, c), values = one_step(own_cell(equation, states=("h", "c")))
    keep = torch.sigmoid(sums["f"])
    new = keep * c + (1 - keep) * sums["n"]
    assert_same(values, {"f": keep, "n": sums["n"], "h": torch.tanh(new), "c": new}, 1e-12)


def test_the_first_function_counts_and_every_sign_is_kept():
    def equation(ops, gates, states, params):
        (f, n), (h,) = gates, states
        f = ops.exp(-(1.0 - f) / 2.0 + 3.0)
        return (ops.tanh(2.0 / (f + ops.tanh(n - h * 0.5))),)

    sums, (h,), values = one_step(own_cell(equation))
    f, n = torch.exp(-(1 - sums["f"]) / 2 + 3), torch.tanh(sums["n"] - h * 0.5)
    assert_same(values, {"f": f, "n": n, "h": torch.tanh(2 / (f + n))}, 1e-12)


def test_a_gate_called_as_a_state_keeps_a_name_of_its_own():
    def equation(ops, gates, states, params):
        (f, new), (_, c) = gates, states
        c = ops.sigmoid(f) * c + ops.tanh(new)
        return ops.tanh(c), c

    sums, _, values = one_step(own_cell(equation, gates=("f", "c"), states=("h", "c")))
    assert list(values) == ["f", "c_gate", "h", "c"]
    assert_same(values["c_gate"], torch.tanh(sums["c"]), 1e-12)


def test_a_late_gate_that_is_never_called_has_no_value():
    cell = own_cell(lambda ops, gates, states, params: (ops.sigmoid(gates[0]),), late="n")
    with pytest.raises(ValueError, match="never calls its late gate 'n'"):
        one_step(cell)


def test_a_registered_cell_shows_its_gates():
    @register_cell("keeper_of_gates", gates=("f", "g"))
    def keeper(ops, gates, states, params):
        (f, g), (h,) = gates, states
        keep = ops.sigmoid(f)
        return (keep * h + (1 - keep) * ops.tanh(g),)

    try:
        model = CustomModel(CustomConfig(cell="keeper_of_gates", vocab_size=10, hidden_size=4)).eval()
        (values,) = model(torch.tensor([[1, 2, 3]]), output_gates=True).gates
    finally:
        del CELLS["keeper_of_gates"]
    before = torch.nn.functional.pad(values["h"], (0, 0, 1, 0))[:, :-1]
    assert_same(values["h"], values["f"] * before + (1 - values["f"]) * values["g"])


IDS, MASK = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def lstm(model_class=LSTMModel, **options):
    torch.manual_seed(0)
    return model_class(LSTMConfig(vocab_size=10, hidden_size=6, embedding_size=5, **options)).double().eval()


@for_each("options", [{}, {"num_hidden_layers": 2, "bidirectional": True}])
def test_all_else_is_the_same(options):
    model = lstm(**options)
    shown, usual = model(IDS, MASK, output_gates=True, output_hidden_states=True), model(IDS, MASK)
    assert_same(shown.last_hidden_state, usual.last_hidden_state, 1e-12)
    assert len(shown.hidden_states) == 1 + model.config.num_hidden_layers
    assert torch.equal(shown.hidden_states[-1], shown.last_hidden_state)


def test_gradients_flow_through_what_is_shown():
    """Also where the layers are computed a second time for them."""
    found = []
    for checkpointing in (False, True):
        model = lstm(hidden_dropout=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        (values,) = model(IDS, MASK, use_cache=False, output_gates=True).gates
        sum(value.square().sum() for value in values.values()).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(gradient.any() for gradient in found[0].values())
    assert_same(found[1], found[0], 1e-12)


def test_a_recorded_past_shows_the_same():
    """Assisted decoding reads token by token, to be able to go back."""
    model = lstm()
    cache = model(IDS[:, :1], use_cache=True).cache
    for layer in cache.layers:
        layer.activate_past_recording()
    rest = model(IDS[:, 1:], cache=cache, output_gates=True).gates
    whole = model(IDS, output_gates=True).gates
    assert_same(rest, [{name: value[:, 1:] for name, value in values.items()} for values in whole], 1e-12)


def test_generation_of_a_model_that_shows_its_gates():
    usual, showing = lstm(LSTMForCausalLM), lstm(LSTMForCausalLM, output_gates=True)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(showing.generate(IDS[:1], **options), usual.generate(IDS[:1], **options))


def test_no_gate_is_computed_for_nobody(monkeypatch):
    monkeypatch.setattr("hfseq.models.recurrent.loop.RecurrentLoop._watched", None)
    monkeypatch.setattr("hfseq.models.recurrent.cells.run_watched", None)
    model = lstm()
    assert model(IDS, MASK, output_gates=False).gates is None

"""The loop around the cells: packing, the routes through it, widths, precisions, copies, graphs."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from hfseq import FAMILIES, LSTMConfig, LSTMForSequenceClassification
from hfseq.kernels.cells import sequence
from hfseq.models.recurrent import fused
from hfseq.models.recurrent.loop import RecurrentLoop
from hfseq.models.token_order import Packing, TokenOrder
from tests.closeness import assert_same, difference
from tests.models.recurrent import textbook
from tests.models.recurrent.loops import BATCHES, BUILT_IN, HIDDEN, INPUT, RAGGED, ROUTES, TOLERANCES, make_loop
from tests.rounds import for_each

# One of each kind: plain gates, a split gate, a late gate, means over the row.
KINDS_OF_CELL = ["lstm", "gru", "gru_reset_before", "lstm_layer_norm"]


def values(route, loop, inputs, order, states=None):
    """Outputs and states side by side, (B, T + states, H)."""
    outputs, reached = ROUTES[route](loop, inputs, order, states)
    return torch.cat([outputs, torch.stack(reached, dim=1)], dim=1)


# Order and packing


def test_token_order_brings_real_tokens_first_in_each_reading_order():
    order = TokenOrder(1, 5, torch.tensor([[0, 1, 0, 1, 1]]))
    assert order.forward.tolist() == [[1, 3, 4, 0, 2]] and order.backward.tolist() == [[4, 3, 1, 0, 2]]


def test_packing_holds_the_rows_that_are_alive_step_by_step():
    packing = Packing([3, 2, 1, 0])
    assert (packing.sizes, packing.first, packing.offsets) == ([3, 2, 1], 3, [0, 3, 5])
    trace = torch.tensor([[-1.0], [-2.0], [-3.0], [11.0], [21.0], [31.0], [12.0], [22.0], [13.0]])  # row r, step t: rt
    assert packing.previous(trace)[:, 0].tolist() == [-1, -2, -3, 11, 21, 12]
    initial = torch.tensor([[[-1.0], [-2.0], [-3.0], [-4.0]]])
    assert packing.reached(trace[None], initial).flatten().tolist() == [13, 22, 31, -4]


@for_each("backward", [False, True])
@for_each("kind", BATCHES)
def test_packed_tokens_go_back_to_where_they_were(kind, backward):
    order = BATCHES[kind].order()
    tokens = torch.randn(5, 6, 2)
    kept = tokens if order.real is None else tokens * order.real[..., None]
    assert torch.equal(order.unpack(order.pack(tokens, backward), backward), kept)
    rows = torch.randn(1, 5, 2)
    assert torch.equal(order.unsort(order.sort(rows)), rows)


# Routes that the comparison in test_cells.py, which trains, does not take


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, torch.float32) for name in BUILT_IN] + [(name, torch.float64) for name in KINDS_OF_CELL]
)
@for_each("route", ["fused", "without_kernels"])
def test_inference_equals_the_textbook(name, route, dtype):
    for kind, batch in BATCHES.items():
        loop = make_loop(BUILT_IN[name], backward=batch.backward)
        inputs, states = batch.make(loop.cell, torch.float64)
        with torch.no_grad():
            expected, expected_states = textbook.route(name)(loop, inputs, batch.order(), states, with_state=True)
            loop, inputs = loop.to(dtype), inputs.to(dtype)
            states = None if states is None else tuple(state.to(dtype) for state in states)
            outputs, reached = ROUTES[route](loop, inputs, batch.order(), states)
        assert_same(outputs, expected, TOLERANCES[dtype][0], what=kind)
        for state, expected_state in zip(reached, expected_states, strict=True):
            assert_same(state, expected_state, TOLERANCES[dtype][0], what=kind)


@pytest.mark.parametrize("mask", [None, RAGGED], ids=["even", "ragged"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh"])
def test_torchs_loop_hears_of_gradients_whatever_the_mode(name, mask, monkeypatch):
    """On a GPU cuDNN refuses to go back through a loop that was told it is no training: a model in eval mode too."""
    cell, told = BUILT_IN[name], []
    function = getattr(torch, cell.torch_mode.lower())

    def noting(*arguments):
        told.append(arguments[6 if mask is None else 7])
        return function(*arguments)

    monkeypatch.setattr(torch, cell.torch_mode.lower(), noting)
    loop, order, inputs = make_loop(cell, dtype=torch.float32), TokenOrder(5, 6, mask), torch.randn(5, 6, INPUT)
    for training, with_gradients in itertools.product((False, True), repeat=2):
        with torch.set_grad_enabled(with_gradients):
            ROUTES["without_kernels"](loop.train(training), inputs, order)
    assert told == [False, True, False, True]


@for_each("rows", [1, 3, 8, 40, 128, 130])  # on both sides of the limits of the kernels
@pytest.mark.parametrize("name", BUILT_IN)
def test_one_token_at_a_time_equals_the_whole_text(name, rows):
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    inputs = torch.randn(rows, 4, INPUT)
    states = tuple(torch.randn(rows, HIDDEN) for _ in loop.cell.states)
    whole = values("without_kernels", loop, inputs, TokenOrder(rows, 4, None), states)
    with torch.no_grad():
        outputs = []
        for t, mask in enumerate((None, torch.ones(rows, 1), None, torch.ones(rows, 1))):
            output, states = loop(inputs[:, t : t + 1], TokenOrder(rows, 1, mask), states)
            outputs.append(output)
    pieces = torch.cat([*outputs, torch.stack(states, dim=1)], dim=1)
    assert_same(pieces, whole)


@pytest.mark.parametrize("lengths", ["any", "one is long"])  # a step has many rows, or most have few
@pytest.mark.parametrize("name", KINDS_OF_CELL)
def test_a_large_ragged_batch_equals_torch_with_and_without_gradients(name, lengths):
    loop = make_loop(BUILT_IN[name], dtype=torch.float32, backward=True)
    mask = torch.arange(9) < (torch.randint(0, 10, (60, 1)) if lengths == "any" else torch.tensor([[9], *[[1]] * 59]))
    inputs = torch.randn(60, 9, INPUT)
    expected = values("without_kernels", loop, inputs, TokenOrder(60, 9, mask))
    for with_gradients in (False, True):
        with torch.set_grad_enabled(with_gradients):
            assert_same(values("fused", loop, inputs, TokenOrder(60, 9, mask)), expected)


@for_each("width", [1, 5, 8, 13, 16, 37, 100])
@pytest.mark.parametrize("name", KINDS_OF_CELL)
def test_any_width_fills_the_vectors_of_the_kernels(name, width):
    loop = make_loop(BUILT_IN[name], dtype=torch.float32, hidden_size=width)
    order, inputs = TokenOrder(5, 6, RAGGED), torch.randn(5, 6, INPUT)
    states = [torch.randn(5, width, requires_grad=True) for _ in loop.cell.states]
    gradients = {}
    for route in ("fused", "without_kernels"):
        result = values(route, loop, inputs, order, states)
        # Of a mean over few elements the reciprocal root is large, and errors grow with it.
        gradients[route] = [result, *torch.autograd.grad((result**2).sum(), [*states, *loop.parameters()])]
        with torch.no_grad():
            assert_same(values(route, loop, inputs, order, states), result)
    assert_same(gradients["fused"], gradients["without_kernels"], 1e-4, scale=1e-2)


def test_only_what_needs_a_gradient_gets_one_and_it_is_the_same():
    loop = make_loop(BUILT_IN["gru"], dtype=torch.float32)
    inputs, states = BATCHES["ragged-backward-from-a-state"].make(loop.cell, torch.float32)
    order = TokenOrder(5, 6, RAGGED)
    leaves = [inputs, *states, *loop.parameters()]
    every = torch.autograd.grad(values("fused", loop, inputs, order, states).sum(), leaves)  # expanded gradients, too
    for leaf, expected in zip(leaves, every, strict=True):
        for other in leaves:
            other.requires_grad_(other is leaf)
        (alone,) = torch.autograd.grad(values("fused", loop, inputs, order, states).sum(), [leaf])
        assert torch.equal(alone, expected)


def test_a_second_derivative_through_the_kernels_is_an_error_and_no_wrong_number():
    loop = make_loop(BUILT_IN["lstm"])
    inputs, _ = BATCHES["ragged"].make(loop.cell, torch.float64)
    outputs, _ = loop(inputs, TokenOrder(5, 6, RAGGED))
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad((outputs**2).sum(), [inputs], create_graph=True)


# A run that has diverged must not look healthy


@for_each("poison", [float("nan"), float("inf"), -float("inf")])
@for_each("with_gradients", [True, False])
@pytest.mark.parametrize("name", BUILT_IN)
def test_nan_goes_in_and_comes_out_as_on_torch(name, with_gradients, poison):
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    inputs = torch.randn(5, 6, INPUT)
    inputs[2, 1, 0] = poison
    nan = {}
    for route in ("fused", "reference"):
        with torch.set_grad_enabled(with_gradients):
            result = values(route, loop, inputs, TokenOrder(5, 6, RAGGED))
        nan[route] = [result.isnan()]
        if with_gradients and poison != poison:
            nan[route] += [g.isnan().any() for g in torch.autograd.grad(result.sum(), [*loop.parameters()])]
    assert nan["fused"][0].any() or poison == poison
    for fused_nan, reference_nan in zip(nan["fused"], nan["reference"], strict=True):
        assert torch.equal(fused_nan, reference_nan)


@for_each("name", BUILT_IN)
def test_nan_weights_reach_every_output(name):
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    inputs = torch.randn(2, 3, INPUT)
    for parameter in loop.parameters():
        whole = parameter.detach().clone()
        parameter.data.fill_(float("nan"))
        outputs, _ = loop(inputs, TokenOrder(2, 3, None))
        assert outputs[:, -1].isnan().all()
        parameter.data = whole


# Precisions


@for_each("with_gradients", [True, False])
@for_each("name", KINDS_OF_CELL)
def test_autocast_on_a_cpu_without_bfloat16_products_is_accurate(name, with_gradients, monkeypatch):
    monkeypatch.setattr(fused, "_has_bfloat16", lambda: False)
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    inputs, order = torch.randn(5, 6, INPUT), TokenOrder(5, 6, None)
    with torch.set_grad_enabled(with_gradients):
        expected = values("without_kernels", loop, inputs, order)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = values("fused", loop, inputs, order)
    assert result.dtype == torch.float32
    assert_same(result, expected)


@pytest.mark.parametrize("name", ["rnn_tanh", "lstm", "gru"])
def test_autocast_on_torchs_loop_below_avx512_is_accurate(name, monkeypatch):
    monkeypatch.setattr(
        "hfseq.models.recurrent.loop.is_avx512", lambda: False
    )  # where it is asked, whatever this CPU has
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    inputs, order = torch.randn(5, 6, INPUT), TokenOrder(5, 6, RAGGED)
    expected = values("without_kernels", loop, inputs, order)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = values("without_kernels", loop, inputs, order)
    assert_same(result, expected)


@pytest.mark.parametrize("name", KINDS_OF_CELL)
def test_products_in_bfloat16_stay_near(name, monkeypatch):
    monkeypatch.setattr(fused, "_has_bfloat16", lambda: True)
    loop = make_loop(BUILT_IN[name], dtype=torch.float32)
    order, inputs = TokenOrder(5, 6, RAGGED), torch.randn(5, 6, INPUT, requires_grad=True)
    leaves = [inputs, *loop.parameters()]
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            result = values("fused", loop, inputs, order)
        assert result.dtype == torch.float32
        results.append([result, *torch.autograd.grad((result**2).sum(), leaves)])
    (exact, *gradients), (near, *near_gradients) = results
    assert 0 < difference(near, exact) < 2e-2
    for gradient, other in zip(gradients, near_gradients, strict=True):
        assert (gradient - other).norm() < 3e-2 * gradient.norm()


def test_a_model_in_bfloat16_runs_without_the_kernels():
    loop = make_loop(BUILT_IN["gru_reset_before"], dtype=torch.float32)
    inputs, order = torch.randn(5, 6, INPUT), TokenOrder(5, 6, RAGGED)
    expected, _ = loop(inputs, order)
    outputs, _ = loop.bfloat16()(inputs.bfloat16(), order)
    assert outputs.dtype == torch.bfloat16
    assert_same(outputs, expected, 3e-2)


# Copies, and machines that lack something


@for_each("name", BUILT_IN)
@for_each("again", [copy.deepcopy, lambda loop: pickle.loads(pickle.dumps(loop))])
def test_a_copy_has_the_very_cell(name, again):
    loop = make_loop(BUILT_IN[name])
    other = again(loop)
    assert other.cell is loop.cell
    inputs, order = torch.randn(5, 6, INPUT, dtype=torch.float64), TokenOrder(5, 6, RAGGED)
    assert torch.equal(values("fused", loop, inputs, order), values("fused", other, inputs, order))


@for_each("name", [name for name, family in FAMILIES.items() if hasattr(family.config, "make_cell")])
def test_configs_and_names_mean_one_cell(name):
    config = FAMILIES[name].config(**({"feature_size": 8} if name == "captioner" else {}))
    assert config.make_cell() is config.make_cell() is copy.deepcopy(config.make_cell())
    assert config.make_cell() in BUILT_IN.values()


def test_a_pickled_model_answers_the_same():
    model = LSTMForSequenceClassification(LSTMConfig(vocab_size=20, hidden_size=8, peephole=True)).eval()
    ids = torch.randint(1, 20, (2, 5))
    assert torch.equal(pickle.loads(pickle.dumps(model))(ids).logits, model(ids).logits)


def test_a_cell_without_a_name_says_why_it_cannot_be_copied():
    with pytest.raises(TypeError, match="register_cell"):
        pickle.dumps(make_loop(BUILT_IN["lstm"]).cell.__class__(lambda *_: (), gates=("f",)))


def test_kernels_of_another_interface_are_left_alone(monkeypatch):
    monkeypatch.setattr(sequence, "INTERFACE", fused.INTERFACE + 1)
    fused.kernels.cache_clear()
    try:
        assert fused.kernels() is None
    finally:
        fused.kernels.cache_clear()


def test_everything_works_where_numba_is_not_installed(run_python):
    result = run_python(
        """
        import sys
        sys.modules["numba"] = None  # what makes `import numba` an ImportError
        import torch
        from hfseq import GRUConfig, GRUForSequenceClassification
        from hfseq.models.recurrent import fused
        model = GRUForSequenceClassification(GRUConfig(vocab_size=9, hidden_size=4, bidirectional=True))
        model(torch.tensor([[1, 2, 0]]), torch.tensor([[1, 1, 0]]), labels=torch.tensor([1])).loss.backward()
        print(fused.kernels(), all(p.grad is not None for p in model.parameters()))
        """
    )
    assert result.stdout.split() == ["None", "True"], result.stderr


# Graphs


class Outputs(nn.Module):
    """A loop as a graph sees it: tensors in, tensors out."""

    def __init__(self, loop: RecurrentLoop) -> None:
        super().__init__()
        self.loop = loop

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.loop(inputs, TokenOrder(*inputs.shape[:2], mask), with_state=False)[0]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru_reset_before"])
def test_an_exported_graph_reads_any_mask(name, backward):
    module = Outputs(make_loop(BUILT_IN[name], dtype=torch.float32, backward=backward)).eval()
    inputs = torch.randn(5, 6, INPUT)
    exported = torch.export.export(module, (inputs, torch.ones(5, 6, dtype=torch.long))).module()
    for batch in BATCHES.values():
        mask = torch.ones(5, 6, dtype=torch.long) if batch.mask is None else batch.mask
        assert_same(exported(inputs, mask), module(inputs, mask))


def test_shapes_are_known_on_the_meta_device():
    loop = make_loop(BUILT_IN["lstm_layer_norm"]).to("meta")
    outputs, states = loop(torch.empty(5, 6, INPUT, dtype=torch.float64, device="meta"), TokenOrder(5, 6, None))
    assert outputs.shape == (5, 6, HIDDEN) and [state.shape for state in states] == [(5, HIDDEN)] * 2

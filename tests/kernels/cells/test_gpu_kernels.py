"""The Triton kernels give the numbers of the equation, in Triton's interpreter where there is no GPU."""

import os
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton was imported before: set TRITON_INTERPRET=1 for the session", allow_module_level=True)
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip("triton")

from hfseq.kernels.cells import gpu, gpu_source  # noqa: E402
from hfseq.models.recurrent.cells import CELLS, Cell  # noqa: E402
from hfseq.models.recurrent.loop import RecurrentLoop  # noqa: E402
from hfseq.models.token_order import Packing  # noqa: E402
from tests.closeness import difference  # noqa: E402

STYLES = pytest.mark.parametrize("persistent", [False, True], ids=["alternating", "persistent"])
RAGGED, EVEN = (4, 2, 1, 0), (4, 4, 4)


def everything(ops, gates, states, params):
    """Every operation, every kind of gate, a state that is one number a row, and a param that does nothing."""
    (i, n, z), (h, c, m), (p,) = gates, states, params["p"]
    kept = ops.sigmoid(i) * c + ops.exp(0.0 - n[0] * n[0]) * n[1] / (2.0 + ops.relu(p) * ops.relu(p))
    met = (kept - ops.mean(kept)) * ops.rsqrt(ops.mean(kept * kept) + 1.0)
    new = ops.tanh(z(met * h)) + ops.relu(c - p) * m
    return new, met, ops.mean(new) - 0.5


EVERYTHING = Cell(
    everything,
    gates=("i", "n", "z"),
    states=("h", "c", "m"),
    split=("n",),
    late="z",
    params={"p": (0.3,), "idle": (1.0, 2.0)},
)


def reference(cell, packing, inputs, states, weights):
    """`Cell.step` for the rows alive."""
    gates, states, outputs = torch.nn.functional.linear(inputs, weights.weight_ih, weights.bias), [*states], []
    for size, now in zip(packing.sizes, packing.offsets, strict=True):
        alive = tuple(state[:size] for state in states)
        new = cell.step(gates[now : now + size], alive, weights.weight_hh, weights.bias_hh, weights.params)
        outputs.append(new[0])
        states = [
            torch.cat((after.expand(size, state.shape[1]), state[size:]))
            for after, state in zip(new, states, strict=True)
        ]
    return torch.cat(outputs), torch.stack(states)


class Problem:
    """A loop with no weight at zero, a packed batch, and gradients to send back."""

    def __init__(self, cell, lengths, width, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)

        def random(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)

        self.cell, self.packing = cell, Packing(lengths)
        self.loop = RecurrentLoop(cell, input_size=3, hidden_size=width).to(DEVICE, dtype)
        with torch.no_grad():
            for parameter in self.loop.parameters():
                parameter.copy_(0.4 * random(*parameter.shape))
        self.inputs = random(sum(lengths), 3).requires_grad_()
        self.states = random(len(cell.states), len(lengths), width).requires_grad_()
        self.incoming = random(sum(lengths), width), random(len(cell.states), len(lengths), width)

    def solve(self, engine, **options):
        """Outputs, states reached, and all gradients."""
        results = engine(self.cell, self.packing, self.inputs, self.states, self.loop.weights(), **options)
        leaves = self.inputs, self.states, *self.loop.parameters()
        return [*results, *torch.autograd.grad(results, leaves, self.incoming, materialize_grads=True)]

    def error(self, **options):
        """The largest difference from the reference, relative to the largest number."""
        return difference(self.solve(gpu.run, **options), self.solve(reference), scale=1)


@STYLES
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_equals_its_equation_on_a_ragged_batch(name, persistent):
    width = 20 if CELLS[name].block_size > 1 else 5
    assert Problem(CELLS[name], RAGGED, width, torch.float64).error(persistent=persistent) < 1e-12


@STYLES
@pytest.mark.parametrize("width", [16, 20])
@pytest.mark.parametrize("lengths", [EVEN, RAGGED], ids=["even", "ragged"])
def test_every_operation_and_kind_of_gate_at_every_width(lengths, width, persistent):
    assert Problem(EVERYTHING, lengths, width).error(persistent=persistent) < 1e-5


@STYLES
def test_rows_are_shared_out_among_several_programs(persistent):
    lengths = sorted((1 + row % 3 for row in range(37)), reverse=True)
    assert Problem(EVERYTHING, lengths, 20, torch.float64).error(persistent=persistent) < 1e-12


@STYLES
def test_products_can_be_taken_in_a_narrower_dtype(persistent):
    # The interpreter's own product takes bfloat16 for integers.
    narrow = torch.float16 if persistent and DEVICE == "cpu" else torch.bfloat16
    error = Problem(CELLS["lstm"], RAGGED, 16).error(persistent=persistent, product_dtype=narrow)
    assert 1e-5 < error < 3e-2


@STYLES
def test_a_wrong_derivative_would_be_noticed(persistent, monkeypatch):
    monkeypatch.setitem(gpu_source._EXPRESSIONS, "where_positive", "tl.where({} > 0, {}, 1.0)")
    gpu._kernels.cache_clear()
    assert Problem(EVERYTHING, RAGGED, 16).error(persistent=persistent) > 1e-3
    gpu._kernels.cache_clear()


@STYLES
def test_no_number_is_read_back_from_the_device(persistent):
    class NoReading(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function is not torch.ops.aten._local_scalar_dense.default
            return function(*args, **(kwargs or {}))

    problem = Problem(EVERYTHING, EVEN, 16)
    with NoReading():
        problem.solve(gpu.run, persistent=persistent)
        with pytest.raises(AssertionError):
            problem.inputs[0, 0].item()


def test_small_weights_are_kept_in_a_program_unless_the_equation_takes_a_mean(monkeypatch):
    chosen = []
    monkeypatch.setattr(gpu, "_shared_memory", lambda device: 166912)
    monkeypatch.setattr(gpu._TimeLoop, "apply", lambda plan, *tensors: chosen.append(plan.persistent))
    for name, width in (("lstm", 64), ("lstm", 65), ("rnn_tanh", 128), ("lstm_layer_norm", 16)):
        weights = RecurrentLoop(CELLS[name], input_size=3, hidden_size=width).weights()
        gpu.run(CELLS[name], Packing(EVEN), torch.zeros(12, 3), torch.zeros(1, 3, width), weights)
    assert chosen == [True, False, True, False]


def test_only_tensors_on_a_gpu_fit_and_only_when_asked():
    here = torch.zeros(1)
    there, double = (SimpleNamespace(device=torch.device("cuda:0"), dtype=d) for d in (torch.float32, torch.float64))
    assert not gpu.fits(there, None)
    gpu.enable()
    assert gpu.fits(there, None) and gpu.fits(double)
    assert not gpu.fits(here) and not gpu.fits(there, double) and not gpu.fits(there, here)
    gpu.enable(False)
    assert not gpu.fits(there, None)


@pytest.mark.slow
def test_the_compiler_takes_every_kernel(run_python):
    """The interpreter allows more than the compiler, which needs no GPU to make machine code for one."""
    result = run_python(
        """
        import torch, triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from hfseq.kernels.cells import gpu
        from hfseq.models.recurrent.cells import CELLS

        INTEGERS = ("now", "start", "first", "size", "plane", "d_plane", "width")
        TABLES = ("lengths", "offsets", "starts")
        made = []
        for cell in ("gru", "minimal_gated"):
            for name, kernel in vars(gpu._kernels(CELLS[cell], torch.float32)).items():
                if not isinstance(kernel, triton.runtime.jit.JITFunction):
                    continue
                shape = gpu._persistent_shape(20) if "PRECISION" in kernel.arg_names else gpu._pointwise_shape(20)
                warps = shape.pop("num_warps")
                absent = {"params", "d_params", *(() if cell == "gru" else ("bias_hh",))} & {*kernel.arg_names}
                constants = shape | dict.fromkeys(absent)
                types = {key: "constexpr" for key in constants}
                types |= {key: "i32" for key in INTEGERS} | {key: "*i64" for key in TABLES}
                signature = {key: types.get(key, "*fp32") for key in kernel.arg_names}
                source = ASTSource(kernel, signature, constants)
                triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": warps}).asm["cubin"]
                made.append(name)
        print(*made)
        """,
        TRITON_INTERPRET="0",
    )
    always = ["forward", "backward", "persistent_forward", "persistent_backward"]
    assert result.stdout.split() == [*always, *always, "early", "early_backward"], result.stderr

"""The time loop on a GPU, with Triton kernels printed from a cell's equation. EXPERIMENTAL, and off unless asked for.

These kernels have run in Triton's interpreter and gone through its compiler, but never on a GPU: nothing uses them
until `enable()` is called, and whoever does that should compare a few batches with the torch route first.

    alternating   per step, torch's product and one kernel for all between two products: any width
    persistent    one kernel for all steps: a program keeps the recurrent weights and the states of 16 rows: small widths

Both keep the batch as `sequence.py` does, step by step with the rows still alive, and leave the input product and the
weights' gradients to torch. Nothing is read back from the GPU, and an even batch sends it no list either, so that a
CUDA graph can capture the loop once its kernels are compiled.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import triton
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

from .cpu import Output, Place, Traced, _backward_outputs, _forward_outputs, _import
from .sequence import DTYPES, _Blocks, _Products
from .symbols import Node

if TYPE_CHECKING:
    from ..models.cells import Cell
    from ..models.loop import Packing, Weights

INTERFACE = 1  # as in models/fused.py

_HELD_BYTES = 64 * 1024  # recurrent weights that a program can keep: a quarter of a multiprocessor's registers
_switch = {"on": False}


def enable(on: bool = True) -> None:
    """Run recurrent layers that are on a GPU through this module (experimental: see above), or no longer."""
    _switch["on"] = on


def fits(*tensors: torch.Tensor | None) -> bool:
    """Whether `enable` was called, and these tensors are on one GPU, all float32 or all float64."""
    kinds = {(tensor.device, tensor.dtype) for tensor in tensors if tensor is not None}
    return _switch["on"] and len(kinds) == 1 and all(d.type == "cuda" and dtype in DTYPES for d, dtype in kinds)


def run(
    cell: "Cell",
    packing: "Packing",
    inputs: torch.Tensor,
    states: torch.Tensor,
    weights: "Weights",
    product_dtype: torch.dtype | None = None,
    persistent: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `sequence.run`; `persistent` says which kind of kernel, None goes by the size of the recurrent weights."""
    if persistent is None:
        held = len(cell.gates) * _block(states.shape[-1]) ** 2 * (product_dtype or inputs.dtype).itemsize
        persistent = inputs.dtype == torch.float32 and held <= _HELD_BYTES
    plan = Plan(cell, packing, product_dtype, persistent)
    with torch.cuda.device_of(inputs):  # Triton launches on the current device
        return _TimeLoop.apply(plan, inputs, states, *weights)


class Plan(NamedTuple):
    """What carries no gradient: see `run`."""

    cell: "Cell"
    packing: "Packing"
    product_dtype: torch.dtype | None
    persistent: bool


class Kept(NamedTuple):
    """What forward leaves for backward, step by step; shapes as in `sequence.py`.

    Attributes:
        gates: (n, G H) whole pre-activations.
        split: (n, S H) the recurrent products that the equation keeps apart.
        vectors: (n, H) what the late gate's weights meet, if there is one.
        trace: (number of states, first + n, H) initial states, then those after each step.
        params: (P, H) or None.
    """

    gates: torch.Tensor
    split: torch.Tensor
    vectors: torch.Tensor
    trace: torch.Tensor
    params: torch.Tensor | None


class Gradients(NamedTuple):
    """What backward fills, but for `outputs`; `states` starts as the gradient of the states reached."""

    outputs: torch.Tensor
    states: torch.Tensor
    gates: torch.Tensor
    split: torch.Tensor


class _TimeLoop(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, plan: Plan, inputs: torch.Tensor, states: torch.Tensor, *tensors: Any) -> Any:
        weight_ih, weight_hh, bias, bias_hh, params = tensors
        cell, first, n, width = plan.cell, plan.packing.first, len(inputs), weight_hh.shape[1]
        gates = _Products(plan.product_dtype).of(inputs, weight_ih.t())
        if bias is not None:
            gates += bias
        split, vectors = (inputs.new_empty(n, k * width) for k in (len(cell.split), cell.late is not None))
        trace = inputs.new_empty(len(cell.states), first + n, width)
        trace[:, :first] = states[:, :first]
        kept = Kept(gates, split, vectors, trace, None if params is None else params.contiguous())
        (_persistent_forward if plan.persistent else _alternating_forward)(plan, weight_hh, bias_hh, kept)
        ctx.plan, ctx.has = plan, (bias is not None, bias_hh is not None)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, *kept)
        return trace[0, first:], plan.packing.reached(trace, states)

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cuda")
    def backward(ctx: Any, d_outputs: torch.Tensor, d_reached: torch.Tensor) -> Any:
        inputs, weight_ih, weight_hh, *saved = ctx.saved_tensors
        plan, kept, products = ctx.plan, Kept(*saved), _Products(ctx.plan.product_dtype)
        d_states = d_reached.clone(memory_format=torch.contiguous_format)
        d_gates, d_split = torch.empty_like(kept.gates), torch.empty_like(kept.split)
        gradients = Gradients(d_outputs.contiguous(), d_states, d_gates, d_split)
        with torch.cuda.device_of(inputs):
            backward = _persistent_backward if plan.persistent else _alternating_backward
            d_params = backward(plan, weight_hh, kept, gradients)
        blocks, h_before = _Blocks.of(plan.cell, weight_hh.shape[1]), plan.packing.previous(kept.trace[0])
        met = ((d_gates[:, blocks.plain], h_before), (d_split, h_before), (d_gates[:, blocks.late], kept.vectors))
        return (
            None,
            products.of(d_gates, weight_ih) if ctx.needs_input_grad[1] else None,
            d_states if ctx.needs_input_grad[2] else None,
            products.of(d_gates.t(), inputs),
            torch.cat([products.of(d_gate.t(), vector) for d_gate, vector in met if d_gate.shape[1]]),
            d_gates.sum(0) if ctx.has[0] else None,
            d_split.sum(0) if ctx.has[1] else None,
            d_params,
        )


def _block(width: int) -> int:
    """Elements of a row in a kernel: a power of two, and what a product on tensor cores takes at least."""
    return max(16, triton.next_power_of_2(width))


def _pointwise_shape(width: int) -> dict[str, int]:
    """Rows and threads of a program between two products: about four elements a thread."""
    block = _block(width)
    rows = max(1, 512 // block)
    return {"ROWS": rows, "BLOCK": block, "num_warps": min(16, rows * block // 128)}


def _alternating_forward(plan: Plan, weight_hh: torch.Tensor, bias_hh: torch.Tensor | None, kept: Kept) -> None:
    cell, packing, products, width = plan.cell, plan.packing, _Products(plan.product_dtype), weight_hh.shape[1]
    sizes, first, kernels = packing.sizes, packing.first, print_cell(cell, DTYPES[kept.gates.dtype])
    blocks, shape = _Blocks.of(cell, width), _pointwise_shape(width)
    plain_hh, split_hh, late_hh = (products.cast(weight_hh[block].t()) for block in blocks)
    plain_steps, split_steps = kept.gates[:, blocks.plain].split(sizes), kept.split.split(sizes)
    late_steps, vector_steps = kept.gates[:, blocks.late].split(sizes), kept.vectors.split(sizes)
    for t, (size, now, start) in enumerate(zip(sizes, packing.offsets, packing.before, strict=True)):
        h, grid = kept.trace[0, start : start + size], (triton.cdiv(size, shape["ROWS"]),)
        arguments = (*kept, now, start, first, size, kept.trace.stride(0), width)
        products.add_to(plain_steps[t], h, plain_hh)
        if cell.split:
            products.into(split_steps[t], h, split_hh, bias_hh)
        if cell.late is not None:
            kernels.early[grid](*arguments, **shape)
            products.add_to(late_steps[t], vector_steps[t], late_hh)
        kernels.forward[grid](*arguments, **shape)


def _alternating_backward(
    plan: Plan, weight_hh: torch.Tensor, kept: Kept, gradients: Gradients
) -> torch.Tensor | None:
    cell, packing, products, width = plan.cell, plan.packing, _Products(plan.product_dtype), weight_hh.shape[1]
    sizes, first, kernels = packing.sizes, packing.first, print_cell(cell, DTYPES[kept.gates.dtype])
    blocks, shape = _Blocks.of(cell, width), _pointwise_shape(width)
    plain_hh, split_hh, late_hh = (products.cast(weight_hh[block]) for block in blocks)
    d_plain_steps, d_split_steps = gradients.gates[:, blocks.plain].split(sizes), gradients.split.split(sizes)
    d_late_steps, d_h = gradients.gates[:, blocks.late].split(sizes), gradients.states[0]
    d_vector, d_params = kept.vectors.new_empty(first, kept.vectors.shape[1]), _shares(kept, first, shape["ROWS"])
    planes = kept.trace.stride(0), gradients.states.stride(0)
    for t in reversed(range(len(sizes))):
        size, grid = sizes[t], (triton.cdiv(sizes[t], shape["ROWS"]),)
        arguments = (*kept, *gradients, d_vector, d_params, packing.offsets[t], packing.before[t], size, *planes, width)
        if cell.late is not None:
            kernels.early_backward[grid](*arguments, **shape)
            products.into(d_vector[:size], d_late_steps[t], late_hh)
        kernels.backward[grid](*arguments, **shape)
        products.add_to(d_h[:size], d_plain_steps[t], plain_hh)
        if cell.split:
            products.add_to(d_h[:size], d_split_steps[t], split_hh)
    return None if d_params is None else d_params.sum(0)


def _shares(kept: Kept, rows: int, rows_per_program: int) -> torch.Tensor | None:
    """Each program's own share of the params' gradient: atomic sums would differ from run to run, and queue."""
    if kept.params is None:
        return None
    return kept.params.new_zeros(triton.cdiv(rows, rows_per_program), *kept.params.shape)


def _persistent_forward(plan: Plan, weight_hh: torch.Tensor, bias_hh: torch.Tensor | None, kept: Kept) -> None:
    first, shape = plan.packing.first, _persistent_shape(weight_hh.shape[1])
    weight_hh = _Products(plan.product_dtype).cast(weight_hh).contiguous()
    print_cell(plan.cell, DTYPES[kept.gates.dtype]).persistent_forward[(triton.cdiv(first, shape["ROWS"]),)](
        *(*kept, weight_hh, bias_hh, *_schedule(plan.packing, weight_hh.device)),
        *(first, kept.trace.stride(0), weight_hh.shape[1]),
        **shape,
    )


def _persistent_backward(plan: Plan, weight_hh: torch.Tensor, kept: Kept, gradients: Gradients) -> torch.Tensor | None:
    first, shape = plan.packing.first, _persistent_shape(weight_hh.shape[1])
    weight_hh, d_params = _Products(plan.product_dtype).cast(weight_hh).contiguous(), _shares(kept, first, shape["ROWS"])
    print_cell(plan.cell, DTYPES[kept.gates.dtype]).persistent_backward[(triton.cdiv(first, shape["ROWS"]),)](
        *(*kept, *gradients, d_params, weight_hh, *_schedule(plan.packing, weight_hh.device)),
        *(first, kept.trace.stride(0), gradients.states.stride(0), weight_hh.shape[1]),
        **shape,
    )
    return None if d_params is None else d_params.sum(0)


def _persistent_shape(width: int) -> dict[str, Any]:
    """16 rows are the least that a product on tensor cores takes, and the fewer, the more programs share a batch."""
    block = _block(width)
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return {"ROWS": 16, "BLOCK": block, "PRECISION": precision, "num_warps": 4 if block <= 64 else 8}


def _schedule(packing: "Packing", device: torch.device) -> list[torch.Tensor]:
    """Steps of each row, and of each step where it lies and where the states before it do."""
    if packing.even:
        offsets = torch.arange(len(packing.sizes), device=device) * packing.first
        return [torch.full((packing.first,), len(packing.sizes), device=device), offsets, offsets]
    return [torch.tensor(numbers, device=device) for numbers in (packing.lengths, packing.offsets, packing.before)]


_EXPRESSIONS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "sigmoid": "tl.sigmoid({})",
    "tanh": "2 * tl.sigmoid(2 * {}) - 1",
    "relu": "tl.where({0} < 0, 0.0, {0})",
    "exp": "tl.exp({})",
    "rsqrt": "tl.rsqrt({})",
    "where_positive": "tl.where({} > 0, {}, 0.0)",
    "mean": "tl.sum(tl.where(inside, {}, 0.0), 1, keep_dims=True) / width",
}
"""A node in Triton, on blocks of (ROWS or 1, BLOCK or 1): a whole row is there, so a mean is one sum."""

_KEPT = "all_gates, all_split, all_vectors, trace, params"
_GRADIENTS = "all_d_outputs, d_states, all_d_gates, all_d_split"
_SCHEDULE = "lengths, offsets, starts, first"
_SHAPE = "width, ROWS: tl.constexpr, BLOCK: tl.constexpr"
_POINTWISE = "@triton.jit(do_not_specialize=['now', 'start', 'first', 'size'])"  # or some batches would compile anew

_ROWS = """
program = tl.program_id(0)
row = program * ROWS + tl.arange(0, ROWS)[:, None]
j = tl.arange(0, BLOCK)[None, :]
inside = j < width
"""
_ONE_STEP = "now, start, keep = tl.cast(now, tl.int64), tl.cast(start, tl.int64), (row < size) & inside"
_ALL_STEPS = """
i = tl.arange(0, BLOCK)[:, None]
square = (i < width) & inside
length, exists = tl.load(lengths + row, mask=row < first, other=0), (row < first) & inside
steps = tl.load(lengths + program * ROWS)
"""
_EACH_STEP = "now, start, keep = tl.load(offsets + t), tl.load(starts + t), (length > t) & inside"
_FORWARD_PLACES = """
gates, split = all_gates + now * ({gates} * width), all_split + now * ({split} * width)
before, after, vector = trace + start * width, trace + (first + now) * width, all_vectors + now * width
"""
_BACKWARD_PLACES = """
gates, split = all_gates + now * ({gates} * width), all_split + now * ({split} * width)
d_gates, d_split = all_d_gates + now * ({gates} * width), all_d_split + now * ({split} * width)
before, d_output = trace + start * width, all_d_outputs + now * width
"""


@cache
def print_cell(cell: "Cell", dtype: str) -> ModuleType:
    """A cell's kernels; Triton compiles each at its first launch, and again for other widths and devices."""
    traced = Traced(cell)
    backward = _backward_outputs(traced)
    writers = [_Writer(cell, traced, dtype) for _ in range(6)]
    kernels = [
        writers[0].forward("forward", _forward_outputs(traced)),
        writers[1].backward("backward", backward),
        writers[2].persistent_forward(_forward_outputs(traced)),
        writers[3].persistent_backward(backward),
    ]
    if traced.late is not None and traced.vector is not None:
        kernels.append(writers[4].forward("early", [Output(traced.vector, Place("vector", "row * width"))]))
        kernels.append(writers[5].backward("early_backward", [_late_gradient(traced)]))
    return _import("\n\n\n".join(["import triton\nimport triton.language as tl", *kernels]) + "\n")


def _late_gradient(traced: Traced) -> Output:
    assert traced.late is not None
    (gradient,) = traced.gradients(with_vector=False, wanted=[traced.late])
    return Output(gradient, Place("d_gates", traced.places[traced.late].index))


class _Writer:
    """Writes one kernel; a node becomes a variable when a line first needs it."""

    def __init__(self, cell: "Cell", traced: Traced, dtype: str) -> None:
        self.cell, self.traced, self.dtype = cell, traced, dtype
        self.names: dict[Node, str] = {}
        self.lines: list[str] = []
        self.indent = "    "
        self.plain = len(cell.gates) - len(cell.split) - (cell.late is not None)

    def write(self, *texts: str) -> None:
        """Add lines at the current depth."""
        counts = {"gates": len(self.cell.gates), "split": len(self.cell.split)}
        for text in texts:
            text = text.format(**counts) if text in (_FORWARD_PLACES, _BACKWARD_PLACES) else text
            self.lines += [self.indent + line for line in text.strip().splitlines()]

    def value(self, node: Node) -> str:
        """The variable that holds this node from here on."""
        if node not in self.names:
            operands = [self.value(operand) for operand in node.operands]
            name = f"v{len(self.names)}"
            self.write(f"{name} = {self._expression(node, operands)}")
            self.names[node] = name
        return self.names[node]

    def _expression(self, node: Node, operands: Sequence[str]) -> str:
        if node.operation == "number":
            return f"tl.full((1, 1), {node.number!r}, tl.{self.dtype})"
        if node.operation != "input":
            return _EXPRESSIONS[node.operation].format(*operands)
        array, index = self.traced.places[node]
        return f"tl.load({array} + {index} + j, mask={'inside' if array == 'params' else 'keep'}, other=0.0)"

    def store(self, value: str, place: Place) -> None:
        """Write a row's numbers to memory."""
        self.write(f"tl.store({place.array} + {place.index} + j, {value}, mask=keep)")

    def forward(self, name: str, outputs: Sequence[Output]) -> str:
        """One step of a pointwise kernel."""
        self.write(_ROWS, _ONE_STEP, _FORWARD_PLACES)
        for output in outputs:
            self.store(self.value(output.node), output.place)
        return self._function(_POINTWISE, name, f"{_KEPT}, now, start, first, size, plane")

    def backward(self, name: str, outputs: Sequence[Output]) -> str:
        """One step of a pointwise kernel's gradient."""
        self.write(_ROWS, _ONE_STEP, _BACKWARD_PLACES)
        values = [self.value(output.node) for output in outputs]  # all, before the states' gradients are overwritten
        for value, output in zip(values, outputs, strict=True):
            if output.accumulate:
                self.write(f"share = {self._share(output)}")
                self.write(f"tl.store(share, tl.load(share, mask=inside) + {_over_rows(value)}, mask=inside)")
            else:
                self.store(value, output.place)
        arguments = f"{_KEPT}, {_GRADIENTS}, d_vector, d_params, now, start, size, plane, d_plane"
        return self._function(_POINTWISE, name, arguments)

    def persistent_forward(self, outputs: Sequence[Output]) -> str:
        """All steps of a few rows: the products too."""
        traced, states = self.traced, range(len(outputs))
        self._start("j) * width + i")
        for k, node in enumerate(traced.states):
            self.names[node] = f"s{k}"
            self.write(f"s{k} = tl.load(trace + {k} * plane + row * width + j, mask=exists, other=0.0)")
        self.write("for t in range(steps):")
        self.indent *= 2
        self.write(_EACH_STEP, _FORWARD_PLACES)
        for k, gate in enumerate(traced.gates[: self.plain]):
            self._complete(gate, f"s0.to(w{k}.dtype), w{k}")
        for k, own in enumerate(traced.split):
            self.names[own] = f"u{k}"
            self.write(f"u{k} = {_product(f's0.to(w{self.plain + k}.dtype), w{self.plain + k}')}")
            self.write("if bias_hh is not None:")
            self.write(f"    u{k} += tl.load(bias_hh + {k} * width + j, mask=inside, other=0.0)")
            self.store(f"u{k}", traced.places[own])
        if traced.late is not None and traced.vector is not None:
            k = len(traced.gates) - 1
            self.write(f"met = tl.where(keep, {self.value(traced.vector)}, 0.0)")
            self.store("met", Place("vector", "row * width"))
            self._complete(traced.late, f"met.to(w{k}.dtype), w{k}")
        values = [self.value(output.node) for output in outputs]
        for k, output in zip(states, outputs, strict=True):
            self.store(values[k], output.place)
        self.write(*(f"s{k} = tl.where(keep, {values[k]}, 0.0)" for k in states))
        arguments = f"{_KEPT}, weight_hh, bias_hh, {_SCHEDULE}, plane"
        return self._function("@triton.jit", "persistent_forward", arguments, "PRECISION: tl.constexpr")

    def _complete(self, gate: Node, factors: str) -> None:
        """A gate's pre-activation, which so far lacks the recurrent product; backward needs the whole."""
        name = self.names[gate] = f"a{self.traced.gates.index(gate)}"
        self.write(f"{name} = {self._expression(gate, ())} + {_product(factors)}")
        self.store(name, self.traced.places[gate])

    def persistent_backward(self, outputs: Sequence[Output]) -> str:
        """All steps of a few rows, last first; the states' gradients never leave the program."""
        traced, of = self.traced, {"d_gates": "g", "d_split": "x", "d_states": "d", "d_params": "p"}
        self._start("i) * width + j")
        incoming = [node for node, place in traced.places.items() if place.array == "d_states"]
        for k, node in enumerate(incoming):
            self.names[node] = f"d{k}"
            self.write(f"d{k} = tl.load(d_states + {k} * d_plane + row * width + j, mask=exists, other=0.0)")
        self.write(*(f"p{k} = tl.zeros((1, BLOCK), tl.{self.dtype})" for k in range(len(traced.params))))
        self.write("for step in range(steps):")
        self.indent *= 2
        self.write("t = steps - 1 - step", _EACH_STEP, _BACKWARD_PLACES)
        if traced.late is not None:
            late, k = _late_gradient(traced), len(traced.gates) - 1
            self.write(f"late = tl.where(keep, {self.value(late.node)}, 0.0)")
            self.store("late", late.place)
            (vector,) = [node for node, place in traced.places.items() if place.array == "d_vector"]
            self.names[vector] = "d_met"
            self.write(f"d_met = {_product(f'late.to(w{k}.dtype), w{k}')}")
        return self._finish_backward(outputs)

    def _start(self, weight: str) -> None:
        """What a persistent kernel has before its first step: the weights of each gate, and the params."""
        self.write(_ROWS, _ALL_STEPS)
        for k in range(len(self.traced.gates)):
            self.write(f"w{k} = tl.load(weight_hh + ({k} * width + {weight}, mask=square, other=0.0)")
        for node in self.traced.params:
            self.value(node)

"""The time loop on a GPU, with Triton kernels printed from a cell's equation. EXPERIMENTAL, and off unless asked for.

These kernels give the right numbers in Triton's interpreter, and its compiler takes them, but they have never run on a
GPU: nothing uses them until `enable()` is called, and whoever does that should compare a few batches with the plain
equation first (`Cell.step`). Their speed is unknown.

    alternating   per step, torch's product and one kernel for all between two products: any width
    persistent    one kernel for all steps: a program keeps the recurrent weights and 16 rows' states: small widths

Both keep the batch as `sequence.py` does, step by step with the rows still alive, and leave the input product and the
weights' gradients to torch. Nothing is read back from the GPU, and an even batch sends it no list either, so that a
CUDA graph should be able to capture the loop once its kernels are compiled.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import triton
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable
from triton.runtime import driver

from .gpu_source import has_mean, print_triton
from .modules import import_source
from .sequence import DTYPES, Blocks, Gradients, Kept, Plan, Products, input_gradients

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell
    from ...models.recurrent.loop import Weights
    from ...models.token_order import Packing

INTERFACE = 1  # as in models/fused.py

_switch = {"on": False}


def enable(on: bool = True) -> None:
    """Run recurrent layers on a GPU through this module, or no longer. Experimental: compare the numbers first."""
    _switch["on"] = on


def fits(*tensors: torch.Tensor | None) -> bool:
    """Tell whether `enable` was called and these tensors are on one GPU, all float32 or all float64."""
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
    """Run as `sequence.run` does; `persistent` chooses the kind of kernel, None by the recurrent weights' size."""
    if persistent is None:
        held = len(cell.gates) * _block(states.shape[-1]) ** 2 * (product_dtype or inputs.dtype).itemsize
        # The compiler keeps the weights in shared memory, next to nearly as much for exchanges. A mean over the row
        # makes the gradient's kernel so long that Triton 3.9 spills registers, and for some GPUs fails on layer norm.
        persistent = not has_mean(cell) and 2 * held <= _shared_memory(inputs.device)
    plan = GpuPlan(cell, packing, product_dtype, persistent=persistent)
    with torch.cuda.device_of(inputs):  # Triton launches on the current device
        return _TimeLoop.apply(plan, inputs, states, *weights)


@dataclass(frozen=True)
class GpuPlan(Plan):
    """The same, and which kind of kernel to run."""

    persistent: bool = False


class _TimeLoop(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, plan: GpuPlan, inputs: torch.Tensor, states: torch.Tensor, *tensors: Any) -> Any:
        weight_ih, weight_hh, bias, bias_hh, params = tensors
        gates = Products(plan.product_dtype).with_bias(inputs, weight_ih.t(), bias)
        kept = Kept.before(plan, gates, states, params)
        (_persistent_forward if plan.persistent else _alternating_forward)(plan, weight_hh, bias_hh, kept)
        ctx.plan, ctx.has = plan, (bias is not None, bias_hh is not None)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, *kept)
        return kept.trace[0, plan.packing.first :], plan.packing.reached(kept.trace, states)

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cuda")
    def backward(  # type: ignore[override]
        ctx: Any, d_outputs: torch.Tensor, d_reached: torch.Tensor
    ) -> Any:
        *factors, gates, split, vectors, trace, params = ctx.saved_tensors
        kept = Kept(gates, split, vectors, trace, params)
        gradients = Gradients.after(kept, d_outputs, d_reached)
        with torch.cuda.device_of(gates):
            backward = _persistent_backward if ctx.plan.persistent else _alternating_backward
            d_params = backward(ctx.plan, factors[-1], kept, gradients)
        return input_gradients(ctx, factors, kept, gradients, d_params)


def _shared_memory(device: torch.device) -> int:
    """Return the bytes that one program can have on this GPU."""
    return driver.active.utils.get_device_properties(device.index)["max_shared_mem"]


@cache
def _kernels(cell: "Cell", dtype: torch.dtype) -> ModuleType:
    """Import a cell's kernels; Triton compiles each at its first launch, and again for other widths."""
    return import_source(print_triton(cell, DTYPES[dtype]))


def _block(width: int) -> int:
    """Return the elements of a row in a kernel: a power of two, at least what a product on tensor cores takes."""
    return max(16, triton.next_power_of_2(width))


def _pointwise_shape(width: int) -> dict[str, int]:
    """Choose rows and threads of a program between two products: an element a thread, to start and compile fast."""
    block = _block(width)
    rows = max(1, 128 // block)
    return {"ROWS": rows, "BLOCK": block, "num_warps": min(16, rows * block // 32)}


def _alternating_forward(plan: GpuPlan, weight_hh: torch.Tensor, bias_hh: torch.Tensor | None, kept: Kept) -> None:
    cell, packing, products, width = plan.cell, plan.packing, Products(plan.product_dtype), weight_hh.shape[1]
    sizes, first, kernels = packing.sizes, packing.first, _kernels(cell, kept.gates.dtype)
    blocks, shape = Blocks.of(cell, width), _pointwise_shape(width)
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
    plan: GpuPlan, weight_hh: torch.Tensor, kept: Kept, gradients: Gradients
) -> torch.Tensor | None:
    cell, packing, products, width = plan.cell, plan.packing, Products(plan.product_dtype), weight_hh.shape[1]
    sizes, first, kernels = packing.sizes, packing.first, _kernels(cell, kept.gates.dtype)
    blocks, shape = Blocks.of(cell, width), _pointwise_shape(width)
    plain_hh, split_hh, late_hh = (products.cast(weight_hh[block]) for block in blocks)
    d_plain_steps, d_split_steps = gradients.gates[:, blocks.plain].split(sizes), gradients.split.split(sizes)
    d_late_steps, d_h = gradients.gates[:, blocks.late].split(sizes), gradients.states[0]
    d_vector, d_params = kept.vectors.new_empty(first, kept.vectors.shape[1]), _shares(kept, first, shape["ROWS"])
    planes = kept.trace.stride(0), gradients.states.stride(0)
    for t in reversed(range(len(sizes))):
        size, now, grid = sizes[t], packing.offsets[t], (triton.cdiv(sizes[t], shape["ROWS"]),)
        arguments = (*kept, *gradients, d_params, d_vector, now, packing.before[t], size, *planes, width)
        if cell.late is not None:
            kernels.early_backward[grid](*arguments, **shape)
            products.into(d_vector[:size], d_late_steps[t], late_hh)
        kernels.backward[grid](*arguments, **shape)
        products.add_to(d_h[:size], d_plain_steps[t], plain_hh)
        if cell.split:
            products.add_to(d_h[:size], d_split_steps[t], split_hh)
    return None if d_params is None else d_params.sum(0)


def _shares(kept: Kept, rows: int, rows_per_program: int) -> torch.Tensor | None:
    """Make room for each program's own part of the params' gradient: atomic sums queue, and differ by the run."""
    if kept.params is None:
        return None
    return kept.params.new_zeros(triton.cdiv(rows, rows_per_program), *kept.params.shape)


def _persistent_forward(plan: GpuPlan, weight_hh: torch.Tensor, bias_hh: torch.Tensor | None, kept: Kept) -> None:
    first, shape = plan.packing.first, _persistent_shape(weight_hh.shape[1])
    weight_hh = Products(plan.product_dtype).cast(weight_hh).contiguous()
    _kernels(plan.cell, kept.gates.dtype).persistent_forward[(triton.cdiv(first, shape["ROWS"]),)](
        *(*kept, weight_hh, bias_hh, *_schedule(plan.packing, weight_hh.device)),
        *(first, kept.trace.stride(0), weight_hh.shape[1]),
        **shape,
    )


def _persistent_backward(
    plan: GpuPlan, weight_hh: torch.Tensor, kept: Kept, gradients: Gradients
) -> torch.Tensor | None:
    first, shape = plan.packing.first, _persistent_shape(weight_hh.shape[1])
    d_params = _shares(kept, first, shape["ROWS"])
    weight_hh = Products(plan.product_dtype).cast(weight_hh).contiguous()
    _kernels(plan.cell, kept.gates.dtype).persistent_backward[(triton.cdiv(first, shape["ROWS"]),)](
        *(*kept, *gradients, d_params, weight_hh, *_schedule(plan.packing, weight_hh.device)),
        *(first, kept.trace.stride(0), gradients.states.stride(0), weight_hh.shape[1]),
        **shape,
    )
    return None if d_params is None else d_params.sum(0)


def _persistent_shape(width: int) -> dict[str, Any]:
    """Choose 16 rows a program, the least that tensor cores take: the fewer, the more programs share a batch."""
    block = _block(width)
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return {"ROWS": 16, "BLOCK": block, "PRECISION": precision, "num_warps": min(8, block // 8)}


def _schedule(packing: "Packing", device: torch.device) -> list[torch.Tensor]:
    """Return the steps of each row, and where each step and the states before it lie."""
    if packing.even:
        offsets = torch.arange(len(packing.sizes), device=device) * packing.first
        return [torch.full((packing.first,), len(packing.sizes), device=device), offsets, offsets]
    return [torch.tensor(numbers, device=device) for numbers in (packing.lengths, packing.offsets, packing.before)]

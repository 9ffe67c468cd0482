"""The time loop over fused kernels: one direction of one layer, exact on ragged batches, forward and backward.

Rows are sorted by length and stored step by step, so that the rows still alive at step t are the first `sizes[t]` of
that step, and nothing is ever computed for padding:

    rows  a b c        steps  a1 b1 c1 | a2 b2 | a3        sizes  3 2 1        n = 6

One input product for all n tokens, per step one product for the rows alive, one weight-gradient product at the end;
everything between the products is one pass over memory (`printer.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.amp import custom_bwd, custom_fwd

from .printer import BackwardAddresses, ForwardAddresses, kernels_for
from .products import MANY_ROWS

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell
    from ...models.recurrent.loop import Weights
    from ...models.token_order import Packing

INTERFACE = 1  # as in models/fused.py

# Beyond `MANY_ROWS` torch's products are faster, but one step does not pay for the transposed weights they need.
MANY_ROWS_OF_A_STEP = 128

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True)
class Plan:
    """What carries no gradient.

    Attributes:
        cell: The equation.
        packing: Which rows are alive at each step.
        product_dtype: bfloat16, if matrix products are computed in it; None: they have the dtype of the inputs.
        clip_hidden: Largest size of each element of what a step hands back to the one before; None: any.
    """

    cell: "Cell"
    packing: "Packing"
    product_dtype: torch.dtype | None = None
    clip_hidden: float | None = None


def run(
    cell: "Cell",
    packing: "Packing",
    inputs: torch.Tensor,
    states: torch.Tensor,
    weights: "Weights",
    product_dtype: torch.dtype | None = None,
    clip_hidden: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run packed inputs (n, I) from `states` (number of states, B, H): outputs (n, H) and the states reached.

    A row that ends early keeps the state of its last token, a row without a token the one it came with. Products are
    taken in `product_dtype` (bfloat16), or as the inputs are. `clip_hidden` is that of `models/recurrent/clipping.py`.
    """
    # Ragged texts leave few rows to most steps, however many there are at the first.
    has_few_rows = len(inputs) <= MANY_ROWS * len(packing.sizes)
    if not torch.is_grad_enabled() and has_few_rows and product_dtype is None:
        trace = inputs.new_empty(len(cell.states), packing.first + len(inputs), states.shape[2])
        trace[:, : packing.first] = states[:, : packing.first]
        _few_rows(cell, packing.sizes, inputs, trace, packing.first, weights)
        return trace[0, packing.first :], packing.reached(trace, states)
    plan = Plan(cell, packing, product_dtype, clip_hidden)
    return _TimeLoop.apply(plan, inputs, states, *weights)


def _contiguous(params: torch.Tensor | None) -> torch.Tensor | None:
    """Copy params whose rows do not follow one another: kernels are given an address alone."""
    return None if params is None else params.contiguous()


def step(
    cell: "Cell", inputs: torch.Tensor, states: Sequence[torch.Tensor], weights: "Weights"
) -> tuple[torch.Tensor, ...]:
    """Do one step without a gradient, inputs (B, I); return the states after it. Generation spends its time here."""
    rows = inputs.shape[0]
    trace = torch.cat((*states, *states)).view(-1, *states[0].shape)  # the second half is room for those after
    _few_rows(cell, [rows], inputs, trace, len(states) * rows, weights)
    return trace.unbind()[len(states) :]


def _few_rows(
    cell: "Cell", sizes: Sequence[int], inputs: torch.Tensor, trace: torch.Tensor, first: int, weights: "Weights"
) -> None:
    """Fill the trace behind its initial states, which are `first` rows: the whole sequence in one call."""
    width, n = trace.shape[2], inputs.shape[0]
    kernels = kernels_for(cell, DTYPES[inputs.dtype], width)
    weight_ih, weight_hh, bias, bias_hh, params = weights
    if n <= MANY_ROWS:
        gates = _repeated(bias, n, weight_ih)
        kernels.product(gates, inputs.contiguous(), weight_ih.contiguous())
    else:
        gates = inputs.new_empty(n, len(weight_ih))  # as `out`, which autocast leaves alone
        Products(None).into(gates, inputs, weight_ih.t(), bias)
    split = _repeated(bias_hh, n, weight_hh[: len(cell.split) * width]) if cell.split else None
    vectors = inputs.new_empty(n, width) if cell.late is not None else None
    scratch = inputs.new_empty(kernels.scratch, width) if kernels.scratch else None
    weight_hh = weight_hh.contiguous()
    params = _contiguous(params)
    tensors = (gates, split, trace, params, vectors, scratch, weight_hh)
    kernels.sequence(*map(_address, tensors), np.array(sizes, dtype=np.int64), first, trace.stride(0), width)


def _repeated(bias: torch.Tensor | None, rows: int, weight: torch.Tensor) -> torch.Tensor:
    """Repeat the bias of a product with this weight once a row; zeros without one."""
    if bias is None:
        return weight.new_zeros(rows, weight.shape[0])
    return bias.expand(rows, -1).clone(memory_format=torch.contiguous_format)


class Blocks(NamedTuple):
    """The gates' rows of the weights (columns of the products): plain, then split, then late."""

    plain: slice
    split: slice
    late: slice

    @classmethod
    def of(cls, cell: "Cell", width: int) -> "Blocks":
        """Lay out the gates of this cell for states of this width."""
        late = 0 if cell.late is None else 1
        plain = len(cell.gates) - len(cell.split) - late
        ends = list(accumulate((plain * width, len(cell.split) * width, late * width), initial=0))
        return cls(*(slice(start, end) for start, end in pairwise(ends)))


def _address(tensor: torch.Tensor | None) -> int:
    """Return the tensor's address; 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def _at(matrix: torch.Tensor, rows: Iterable[int]) -> list[int]:
    """List the addresses of these rows."""
    start, size = matrix.data_ptr(), matrix.stride(-2) * matrix.element_size()
    return [start + row * size for row in rows]


def _steps(rows: torch.Tensor, sizes: Sequence[int]) -> Sequence[torch.Tensor]:
    """Split into the rows of each step; nothing for a cell that has none of these columns."""
    return rows.split(sizes) if rows.shape[1] else ()


class Kept(NamedTuple):
    """What forward leaves for backward, step by step.

    Attributes:
        gates: (n, G H) W x + b, and in the end the whole gates (or `Traced.activations` of them).
        split: (n, S H) U h + b' of the gates whose recurrent product the equation keeps apart.
        vectors: (n, H) what the late gate's weights meet, if there is one.
        trace: (number of states, first + n, H) initial states, then those after each step.
        params: (P, H) or None.
    """

    gates: torch.Tensor
    split: torch.Tensor
    vectors: torch.Tensor
    trace: torch.Tensor
    params: torch.Tensor | None

    @classmethod
    def before(cls, plan: Plan, gates: torch.Tensor, states: torch.Tensor, params: torch.Tensor | None) -> "Kept":
        """Make room for all steps; `gates` hold the inputs' part, and the trace begins with the initial states."""
        cell, first, n, width = plan.cell, plan.packing.first, len(gates), states.shape[2]
        split, vectors = (gates.new_empty(n, count * width) for count in (len(cell.split), cell.late is not None))
        trace = gates.new_empty(len(cell.states), first + n, width)
        trace[:, :first] = states[:, :first]
        return cls(gates, split, vectors, trace, _contiguous(params))


class Gradients(NamedTuple):
    """What backward fills, but for `outputs`; `states` starts as the gradient of the states reached."""

    outputs: torch.Tensor
    states: torch.Tensor
    gates: torch.Tensor
    split: torch.Tensor

    @classmethod
    def after(cls, kept: Kept, d_outputs: torch.Tensor, d_reached: torch.Tensor) -> "Gradients":
        """Make room for the gradients of all steps, with what came in."""
        d_states = d_reached.clone(memory_format=torch.contiguous_format)  # (states, B, H), of rows yet to end
        return cls(d_outputs.contiguous(), d_states, torch.empty_like(kept.gates), torch.empty_like(kept.split))


def input_gradients(
    ctx: Any, factors: Sequence[torch.Tensor], kept: Kept, gradients: Gradients, d_params: torch.Tensor | None
) -> tuple[Any, ...]:
    """Return the gradients of all that a time loop's `forward` was given, in its order.

    `factors` are inputs, weight_ih and weight_hh: `ctx` gives what it saved once, where it is computed anew.
    """
    inputs, weight_ih, weight_hh = factors
    plan, products = ctx.plan, Products(ctx.plan.product_dtype)
    blocks, h_before = Blocks.of(plan.cell, weight_hh.shape[1]), plan.packing.previous(kept.trace[0])
    d_gates, d_split = gradients.gates, gradients.split
    met = ((d_gates[:, blocks.plain], h_before), (d_split, h_before), (d_gates[:, blocks.late], kept.vectors))
    has_bias, has_bias_hh = ctx.has
    return (
        None,
        products.of(d_gates, weight_ih) if ctx.needs_input_grad[1] else None,
        gradients.states if ctx.needs_input_grad[2] else None,
        products.of(d_gates.t(), inputs),
        torch.cat([products.of(d_gate.t(), vector) for d_gate, vector in met if d_gate.shape[1]]),
        d_gates.sum(0) if has_bias else None,
        d_split.sum(0) if has_bias_hh else None,
        d_params,
    )


class _TimeLoop(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, plan: Plan, inputs: torch.Tensor, states: torch.Tensor, *tensors: Any) -> Any:
        weight_ih, weight_hh, bias, bias_hh, params = tensors
        gates = Products(plan.product_dtype).with_bias(inputs, weight_ih.t(), bias)
        kept = Kept.before(plan, gates, states, params)
        _forward_steps(plan, kept, weight_hh, bias_hh)
        ctx.plan, ctx.has = plan, (bias is not None, bias_hh is not None)
        ctx.save_for_backward(inputs, weight_ih, weight_hh, *kept)
        return kept.trace[0, plan.packing.first :], plan.packing.reached(kept.trace, states)

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx: Any, *d_results: torch.Tensor) -> Any:
        if torch.is_grad_enabled():  # only under create_graph=True; a constant would be the wrong answer, unseen
            raise RuntimeError("hfseq's fused kernels have no second derivative: leave create_graph=True out.")
        *factors, gates, split, vectors, trace, params = ctx.saved_tensors
        # Contiguous, because hooks on saved tensors may hand back other strides, and kernels are given addresses.
        gates, split, vectors, trace = (tensor.contiguous() for tensor in (gates, split, vectors, trace))
        kept = Kept(gates, split, vectors, trace, _contiguous(params))
        gradients = Gradients.after(kept, *d_results)
        d_params = _backward_steps(ctx.plan, kept, gradients, factors[-1])
        return input_gradients(ctx, factors, kept, gradients, d_params)


def _forward_steps(plan: Plan, kept: Kept, weight_hh: torch.Tensor, bias_hh: torch.Tensor | None) -> None:
    """Go through all steps: products, and between them the kernels, which write into what is kept."""
    gates, split, vectors, trace, params = kept
    sizes, first, width = plan.packing.sizes, plan.packing.first, weight_hh.shape[1]
    kernels = kernels_for(plan.cell, DTYPES[gates.dtype], width)
    blocks, products = Blocks.of(plan.cell, width), Products(plan.product_dtype)
    # Transposed once: every step reads them, and a product is fastest along its rows.
    plain_hh, split_hh, late_hh = (products.cast(weight_hh[block].t().contiguous()) for block in blocks)
    scratch = gates.new_empty(kernels.scratch + 1, width)
    offsets = plan.packing.offsets
    addresses = ForwardAddresses(
        gates=_at(gates, offsets),
        split=_at(split, offsets),
        before=_at(trace, plan.packing.before),
        params=repeat(_address(params)),
        vector=_at(vectors, offsets),
        after=_at(trace[:, first:], offsets),
        scratch=repeat(scratch.data_ptr()),
        plane=repeat(trace.stride(0)),
    )
    plain_steps, split_steps = _steps(gates[:, blocks.plain], sizes), _steps(split, sizes)
    late_steps, vector_steps = _steps(gates[:, blocks.late], sizes), _steps(vectors, sizes)
    h, h_steps = trace[0, :first], trace[0, first:].split(sizes)
    for t, (size, *arguments) in enumerate(zip(sizes, *addresses, strict=False)):  # what is repeated never ends
        h = h if len(h) == size else h[:size]
        if plain_steps:
            products.add_to(plain_steps[t], h, plain_hh)
        if split_steps:
            products.into(split_steps[t], h, split_hh, bias_hh)
        if kernels.early is not None:
            kernels.early(*arguments, size, width)
            products.add_to(late_steps[t], vector_steps[t], late_hh)
        kernels.forward(*arguments, size, width)
        h = h_steps[t]


def _backward_steps(plan: Plan, kept: Kept, gradients: Gradients, weight_hh: torch.Tensor) -> torch.Tensor | None:
    """Go back through all steps and fill the gradients; return that of the params."""
    gates, split, vectors, trace, params = kept
    d_outputs, d_states, d_gates, d_split = gradients
    sizes, width = plan.packing.sizes, weight_hh.shape[1]
    kernels = kernels_for(plan.cell, DTYPES[gates.dtype], width)
    blocks, products = Blocks.of(plan.cell, width), Products(plan.product_dtype)
    plain_hh, split_hh, late_hh = (products.cast(weight_hh[block]) for block in blocks)
    d_params = None if params is None else torch.zeros_like(params)
    d_vector = vectors.new_empty(plan.packing.first, vectors.shape[1])
    scratch = gates.new_empty(kernels.scratch + 1, width)
    offsets = plan.packing.offsets
    addresses = BackwardAddresses(
        gates=_at(gates, offsets),
        split=_at(split, offsets),
        before=_at(trace, plan.packing.before),
        params=repeat(_address(params)),
        d_states=repeat(d_states.data_ptr()),
        d_output=_at(d_outputs, offsets),
        d_vector=repeat(d_vector.data_ptr()),
        d_gates=_at(d_gates, offsets),
        d_split=_at(d_split, offsets),
        d_params=repeat(_address(d_params)),
        scratch=repeat(scratch.data_ptr()),
        plane=repeat(trace.stride(0)),
        d_plane=repeat(d_states.stride(0)),
    )
    arguments = list(zip(*addresses, strict=False))  # what is repeated never ends
    d_plain_steps, d_split_steps = _steps(d_gates[:, blocks.plain], sizes), _steps(d_split, sizes)
    d_late_steps, d_h_steps = _steps(d_gates[:, blocks.late], sizes), [d_states[0, :size] for size in sizes]
    for t in reversed(range(len(sizes))):
        size = sizes[t]
        if kernels.early_backward is not None:
            kernels.early_backward(*arguments[t], size, width)
            products.into(d_vector[:size], d_late_steps[t], late_hh)
        kernels.backward(*arguments[t], size, width)
        if d_plain_steps:
            products.add_to(d_h_steps[t], d_plain_steps[t], plain_hh)
        if d_split_steps:
            products.add_to(d_h_steps[t], d_split_steps[t], split_hh)
        if plan.clip_hidden is not None:
            d_states[:, :size].clamp_(-plan.clip_hidden, plan.clip_hidden)
    return d_params


class Products:
    """Matrix products of float tensors, taken in a narrower dtype if one is given."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype

    def cast(self, matrix: torch.Tensor) -> torch.Tensor:
        """Cast a factor, once before a loop; the other one is cast at each product."""
        return matrix if self.dtype is None else matrix.to(self.dtype)

    def of(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return A b."""
        return a @ b if self.dtype is None else (self.cast(a) @ self.cast(b)).to(a.dtype)

    def with_bias(self, a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Return A b + bias."""
        if bias is None:
            return self.of(a, b)
        return torch.addmm(bias, a, b) if self.dtype is None else self.of(a, b).add_(bias)

    def add_to(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        """Add a b to `out`."""
        if self.dtype is None:
            out.addmm_(a, b)
        else:
            out += self.cast(a) @ b

    def into(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """Write a b + bias into `out`."""
        if self.dtype is not None:
            out.copy_(self.cast(a) @ b)
            if bias is not None:
                out += bias
        elif bias is None:
            torch.mm(a, b, out=out)
        else:
            torch.addmm(bias, a, b, out=out)

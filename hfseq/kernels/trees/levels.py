"""The loop over levels with fused kernels: all trees of a batch, forward and backward, in buffers made once.

One product a level for the gates of its nodes, read where the children lie (`printing.py`); backward one product a
level, added where the children's gradients lie, and one product for the gradient of the weights at the end.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..cells.sequence import DTYPES
from .printing import Arguments, Kernel, kernels_for

if TYPE_CHECKING:
    from ...models.recurrent.compositions import Composition
    from ...models.recurrent.levels import Schedule

INTERFACE = 1  # as in models/recurrent/fused.py


class Plan(NamedTuple):
    """What carries no gradient.

    Attributes:
        composition: The equation.
        schedule: Where the nodes lie.
        words: (n) the row of the table of each node, in the order of the schedule.
        again: The same by operations of torch, from the same tensors: what has a second derivative.
    """

    composition: "Composition"
    schedule: "Schedule"
    words: np.ndarray
    again: Callable[..., torch.Tensor]


class Buffers(NamedTuple):
    """What forward leaves for backward.

    Attributes:
        states: (S, slots, H) of all nodes, each among its parent's children.
        gates: (inner nodes, G H) activations, or gates where the equation needs them.
        edges: (slots of children, H) the same of messages; empty without them.
        sums: (S, inner nodes, H) of messages; empty without them.
        vectors: (inner nodes, 2 H) what a late gate's weights meet; empty without one.
    """

    states: torch.Tensor
    gates: torch.Tensor
    edges: torch.Tensor
    sums: torch.Tensor
    vectors: torch.Tensor


class Level(NamedTuple):
    """Rows of one level: inner nodes, and the slots of their children."""

    nodes: slice
    slots: slice


def run(
    plan: Plan, of_leaves: torch.Tensor, of_inner: torch.Tensor, weights: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    """Return h of each node, (n, H), in the order of the trees.

    Args:
        plan: What carries no gradient.
        of_leaves: (words, X H) W x + b, of leaves; perhaps the first gates alone.
        of_inner: The same of inner nodes.
        weights: `TreeWeights` without matrices.
    """
    return _Levels.apply(plan, of_leaves, of_inner, *weights)


class Tables(NamedTuple):
    """W x + b of words, or its gradient: for leaves and for inner nodes."""

    of_leaves: torch.Tensor
    of_inner: torch.Tensor


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, of_leaves: torch.Tensor, of_inner: torch.Tensor, *weights: torch.Tensor | None
    ) -> torch.Tensor:
        loop = _Loop(plan, Tables(of_leaves.contiguous(), of_inner.contiguous()), weights)
        buffers = loop.forward()
        ctx.plan = plan
        ctx.save_for_backward(of_leaves, of_inner, *weights, *buffers)
        return buffers.states[0].index_select(0, loop.places)

    @staticmethod
    def backward(ctx: Any, d_hidden: torch.Tensor) -> Any:
        count = len(Buffers._fields)
        inputs, buffers = ctx.saved_tensors[:-count], Buffers(*ctx.saved_tensors[-count:])
        if torch.is_grad_enabled():  # under create_graph=True: kernels have no second derivative
            return (None, *_differentiable(ctx, inputs, d_hidden))
        tables = Tables(inputs[0].contiguous(), inputs[1].contiguous())
        return (None, *_Loop(ctx.plan, tables, inputs[2:]).backward(buffers, d_hidden))


def _differentiable(ctx: Any, inputs: Sequence[torch.Tensor | None], d_hidden: torch.Tensor) -> list[Any]:
    """Return the gradients by operations of torch, so that they have gradients themselves."""
    # Views, since both tables may be one tensor, and each has a gradient of its own.
    own = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    needed = [place for place in range(len(inputs)) if ctx.needs_input_grad[1 + place]]
    wanted: list[Any] = [own[place] for place in needed]
    found = torch.autograd.grad(ctx.plan.again(*own), wanted, d_hidden, create_graph=True, allow_unused=True)
    gradients = dict(zip(needed, found, strict=True))
    return [gradients.get(place) for place in range(len(inputs))]


class _Loop:
    """One run over the levels.

    Args:
        plan: What carries no gradient.
        tables: Of the words.
        weights: `TreeWeights` without matrices.
    """

    def __init__(self, plan: Plan, tables: Tables, weights: Sequence[torch.Tensor | None]) -> None:
        self.composition, self.schedule, self.tables = plan.composition, plan.schedule, tables
        weight_hh, self.weight_edge, self.quadratic = weights[:3]
        assert weight_hh is not None
        self.weight_hh, self.width = weight_hh, weight_hh.shape[1] // self.composition.arity
        self.kernels = kernels_for(self.composition, DTYPES[tables.of_inner.dtype], self.width)
        self.plain = len(self.weight_hh) - (0 if self.composition.late is None else self.width)
        leaves, ends = self.schedule.sizes[0], list(accumulate(self.schedule.sizes[1:], initial=0))
        slots = self.schedule.level_slots[1:]
        self.levels = [
            Level(slice(*nodes), slice(*places)) for nodes, places in zip(pairwise(ends), pairwise(slots), strict=True)
        ]
        self.inner, self.edges = ends[-1], slots[-1]
        self.words, self.slots, self.leaves = plan.words, self.schedule.slot, leaves
        places = np.empty_like(self.slots)
        places[self.schedule.order] = self.slots
        self.places = torch.from_numpy(places)

    def forward(self) -> Buffers:
        """Compute all nodes."""
        buffers = self._buffers()
        states, gates, edges, sums, vectors = buffers
        hh = self.weight_hh.t().contiguous()  # transposed once: every level reads it
        edge = None if self.weight_edge is None else self.weight_edge.t().contiguous()
        self._call_on_leaves(self.kernels.leaf, states)
        for level in self.levels:
            nodes, slots = level
            if edge is not None:
                torch.mm(states[0, slots], edge, out=edges[slots])
                self._call(self.kernels.message, level, buffers, on_children=True)
                torch.mm(sums[0, nodes], hh, out=gates[nodes])
            else:
                pairs = states[0, slots].view(-1, 2 * self.width)
                torch.mm(pairs, hh[:, : self.plain], out=gates[nodes, : self.plain])
                if self.quadratic is not None:
                    gates[nodes] += quadratic_form(pairs, self.quadratic)
            if self.kernels.early is not None:
                self._call(self.kernels.early, level, buffers)
                torch.mm(vectors[nodes], hh[:, self.plain :], out=gates[nodes, self.plain :])
            self._call(self.kernels.inner, level, buffers)
        return buffers

    def backward(self, buffers: Buffers, d_hidden: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the table and of the weights."""
        states, gates, edges, sums, vectors = buffers
        gradients = Buffers(
            torch.zeros_like(states),
            torch.empty_like(gates),
            torch.empty_like(edges),
            torch.zeros_like(sums),
            torch.empty_like(vectors),
        )
        d_states, d_gates, d_edges, d_sums, d_vectors = gradients
        d_states[0].index_copy_(0, self.places, d_hidden)
        d_tables = Tables(*map(torch.zeros_like, self.tables))
        d_quadratic = None if self.quadratic is None else torch.zeros_like(self.quadratic)
        for level in reversed(self.levels):
            nodes, slots = level
            if self.kernels.early_backward is not None:
                self._call(self.kernels.early_backward, level, buffers, gradients, d_tables)
                torch.mm(d_gates[nodes, self.plain :], self.weight_hh[self.plain :], out=d_vectors[nodes])
            self._call(self.kernels.inner_backward, level, buffers, gradients, d_tables)
            if self.weight_edge is not None:
                d_sums[0, nodes].addmm_(d_gates[nodes], self.weight_hh)
                self._call(self.kernels.message_backward, level, buffers, gradients, d_tables, on_children=True)
                d_states[0, slots].addmm_(d_edges[slots], self.weight_edge)
                continue
            d_pairs = d_states[0, slots].view(-1, 2 * self.width)
            d_pairs.addmm_(d_gates[nodes, : self.plain], self.weight_hh[: self.plain])
            if self.quadratic is not None and d_quadratic is not None:
                pairs = states[0, slots].view(-1, 2 * self.width)
                add_quadratic_gradients(d_pairs, d_quadratic, d_gates[nodes], pairs, self.quadratic)
        self._call_on_leaves(self.kernels.leaf_backward, states, d_states, d_tables.of_leaves)
        d_edge = None if self.weight_edge is None else d_edges.t() @ states[0, : self.edges]
        return *d_tables, self._weight_gradient(buffers, d_gates), d_edge, d_quadratic, None

    def _weight_gradient(self, buffers: Buffers, d_gates: torch.Tensor) -> torch.Tensor:
        """Return the gradient of what the children meet: one product over all levels."""
        if self.composition.is_sum:
            return d_gates.t() @ buffers.sums[0]
        met = buffers.states[0, : self.edges].view(-1, 2 * self.width)
        d_plain = d_gates[:, : self.plain].t() @ met
        return (
            torch.cat((d_plain, d_gates[:, self.plain :].t() @ buffers.vectors)) if len(buffers.vectors) else d_plain
        )

    def _buffers(self) -> Buffers:
        """Make room for all nodes; a slot that no child fills is zeros."""
        table, width, count = self.tables.of_inner, self.width, len(self.composition.states)
        is_full = len(self.slots) == self.schedule.num_slots
        make = table.new_empty if is_full else table.new_zeros
        is_sum, is_late = self.composition.is_sum, self.composition.late is not None
        return Buffers(
            make(count, self.schedule.num_slots, width),
            table.new_empty(self.inner, len(self.weight_hh)),
            table.new_empty(self.edges if is_sum else 0, width),
            table.new_zeros(count, self.inner if is_sum else 0, width),
            table.new_empty(self.inner if is_late else 0, 2 * width),
        )

    def _call_on_leaves(
        self,
        kernel: Kernel,
        states: torch.Tensor,
        d_states: torch.Tensor | None = None,
        d_table: torch.Tensor | None = None,
    ) -> None:
        """Run a kernel over all leaves."""
        kernel(
            *Arguments(
                table=self.tables.of_leaves.data_ptr(),
                table_step=self.tables.of_leaves.shape[1],
                states=states.data_ptr(),
                d_states=_at(d_states),
                d_table=_at(d_table),
                word=self.words[: self.leaves],
                slot=self.slots[: self.leaves],
                owner=self.schedule.owners,
                plane=states.stride(0),
                rows=self.leaves,
                width=self.width,
            )
        )

    def _call(
        self,
        kernel: Kernel | None,
        level: Level,
        buffers: Buffers,
        gradients: Buffers | None = None,
        d_tables: Tables | None = None,
        *,
        on_children: bool = False,
    ) -> None:
        """Run a kernel over the nodes of a level, or over their children."""
        assert kernel is not None
        nodes, slots = level
        rows = slots if on_children else nodes
        grads = gradients or Buffers(*(None,) * len(Buffers._fields))  # type: ignore[arg-type]
        kernel(
            *Arguments(
                gates=_at(buffers.edges if on_children else buffers.gates, rows.start),
                table=self.tables.of_inner.data_ptr(),
                table_step=self.tables.of_inner.shape[1],
                states=buffers.states.data_ptr(),
                children=_at(buffers.states, slots.start),
                sums=buffers.sums.data_ptr(),
                vectors=_at(buffers.vectors, nodes.start),
                d_states=_at(grads.states),
                d_children=_at(grads.states, slots.start),
                d_gates=_at(grads.edges if on_children else grads.gates, rows.start),
                d_table=0 if d_tables is None else d_tables.of_inner.data_ptr(),
                d_sums=_at(grads.sums),
                d_vectors=_at(grads.vectors, nodes.start),
                word=self.words[self.leaves :],
                slot=self.slots[self.leaves :],
                owner=self.schedule.owners,
                base=rows.start,
                plane=buffers.states.stride(0),
                sums_plane=buffers.sums.stride(0),
                rows=rows.stop - rows.start,
                width=self.width,
            )
        )


def _at(matrix: torch.Tensor | None, row: int = 0) -> int:
    """Return the address of a row; 0 for none."""
    return 0 if matrix is None else matrix.data_ptr() + row * matrix.stride(-2) * matrix.element_size()


def quadratic_form(pairs: torch.Tensor, quadratic: torch.Tensor) -> torch.Tensor:
    """Return v^T V_k v of each row of (m, 2 H) and each k, (m, H)."""
    met = (pairs @ quadratic.flatten(1)).view(-1, *quadratic.shape[1:])  # (m, H, 2 H)
    return torch.bmm(met, pairs[:, :, None])[:, :, 0]


def add_quadratic_gradients(
    d_pairs: torch.Tensor,
    d_quadratic: torch.Tensor,
    d_gate: torch.Tensor,
    pairs: torch.Tensor,
    quadratic: torch.Tensor,
) -> None:
    """Add the gradients of `quadratic_form`, from that of what it gave."""
    flat = quadratic.flatten(1)
    met = (pairs @ flat).view(-1, *quadratic.shape[1:])
    d_pairs += torch.bmm(d_gate[:, None], met)[:, 0]
    d_met = (d_gate[:, :, None] * pairs[:, None]).flatten(1)  # (m, H 2 H)
    d_pairs.addmm_(d_met, flat.t())
    d_quadratic.flatten(1).addmm_(pairs.t(), d_met)

"""Trees level by level, all trees of a batch at once: one product a level, whatever the batch.

    level 0   all leaves of all trees        level 1   all nodes above leaves alone, and so on, up to the highest root

Each node waits for its children, so that a level is complete when those below it are. The states of a level are sent
up at once, cut by the level of the parents; each level adds up (`index_add`) what it was sent, in the order of its
nodes. So a node is touched once, and a tree of depth 5,000 costs no more than its nodes do.

Words are looked at once too: W x is computed for the distinct words of the batch, and each node names its row.

    fused       on the CPU with numba: buffers written level by level, and a backward of their own (`kernels/trees`)
    reference   any composition anywhere: the equation on tensors, for autograd

Shapes: n nodes, m nodes of a level, H width, S states, G gates of the children, X gates of the word, E embedding.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import initialization as init

from ..base import is_loaded
from .compositions import COMPOSITIONS, Children, Composition, TreeWeights
from .fused import tree_kernels_for
from .tree_graphs import GraphTrees, run_graph
from .tree_shapes import Trees


class Schedule(NamedTuple):
    """In which order the nodes of a batch are computed, and where each finds its children.

    Attributes:
        order: (n) the place of each node, level by level, and within a level by the level of the parents.
        sizes: Nodes of each level.
        sent: Of each level, (level of the parents, nodes) of its pieces in their order; roots send to no level.
        slot: (n), in that order: where the node stands among its parents' children, level by level; the roots' own
            places come behind all others, one a text.
        level_slots: Of each level where the slots of its children begin, and the end.
        owners: (slots) of a sum: which inner node each belongs to, counted in the order; empty for others.
        num_slots: Of all, those of the texts counted.
    """

    order: np.ndarray
    sizes: list[int]
    sent: list[list[tuple[int, int]]]
    slot: np.ndarray
    level_slots: list[int]
    owners: np.ndarray
    num_slots: int

    @classmethod
    def of(cls, trees: Trees, composition: Composition, name: str) -> "Schedule":
        """Sort the nodes of the trees; `name` is what the composition is called."""
        parent, n = trees.parent, len(trees.parent)
        children = np.bincount(parent[parent >= 0], minlength=n)
        if not composition.is_sum and n and children.max() > 2:
            at = int(children.argmax())
            raise ValueError(
                f"{trees.name(at)} has {children[at]} children, and composition={name!r} reads two at most: binarise "
                "the trees, or take composition='child_sum'."
            )
        height = _heights(trees, children)
        # Roots send to no level: as if to one above all.
        highest = int(height.max(initial=-1)) + 1
        above = np.where(parent < 0, highest, height[parent]) if n else parent
        order = np.lexsort((above, height))
        sizes = np.bincount(height, minlength=highest)
        inner = order[int(sizes[0]) if highest else 0 :]
        counts = children[inner] if composition.is_sum else np.full(len(inner), 2)
        starts = np.concatenate([[0], np.cumsum(counts)])
        ends = np.cumsum(sizes[1:]) if highest else np.zeros(0, dtype=np.int64)
        level_slots = [0, 0, *starts[ends].tolist()][: highest + 1]
        slot = _slots(trees, inner, starts, len(trees.mask))[order]
        owners = np.repeat(np.arange(len(inner)), counts) if composition.is_sum else counts[:0]
        sent, num_slots = _pieces(height[order], above[order], highest), int(starts[-1]) + len(trees.mask)
        return cls(order, sizes.tolist(), sent, slot, level_slots, owners, num_slots)


def _heights(trees: Trees, children: np.ndarray) -> np.ndarray:
    """Return the level of each node: how many nodes stand between it and the deepest leaf below it, and itself."""
    parent, waiting = trees.parent, children.copy()
    height = np.full(len(parent), -1)
    ready, level = np.flatnonzero(waiting == 0), 0
    while len(ready):
        height[ready] = level
        above = parent[ready]
        above = above[above >= 0]
        np.subtract.at(waiting, above, 1)
        # A parent is named once by each of its children that were the last ones.
        ready, level = np.unique(above[waiting[above] == 0]), level + 1
    stuck = np.flatnonzero(height < 0)
    if len(stuck):
        # Whatever waits for a node on a cycle waits for ever, so go up until a node comes again.
        at, seen = int(stuck[0]), set()
        while at not in seen:
            seen.add(at)
            at = int(parent[at])
        number = int(trees.parents[trees.rows[at], trees.columns[at]])
        raise ValueError(
            f"{trees.name(at)} is its own ancestor: its parent, {number}, leads back to it. A tree has no cycles, and "
            "its root has the parent 0."
        )
    return height


def _slots(trees: Trees, inner: np.ndarray, starts: np.ndarray, batch: int) -> np.ndarray:
    """Return the slot of each node: behind those of its elder siblings; a root's is that of its text."""
    parent = trees.parent
    where = np.empty(len(parent), dtype=np.int64)
    where[inner] = starts[:-1]
    below = np.flatnonzero(parent >= 0)
    below = below[np.lexsort((trees.first[below], parent[below]))]
    is_eldest = np.ones(len(below), dtype=bool)
    is_eldest[1:] = parent[below[1:]] != parent[below[:-1]]
    eldest = np.flatnonzero(is_eldest)
    rank = np.arange(len(below)) - np.repeat(eldest, np.diff(np.append(eldest, len(below))))
    slot = np.empty(len(parent), dtype=np.int64)
    slot[below] = where[parent[below]] + rank
    roots = np.flatnonzero(parent < 0)
    slot[roots] = starts[-1] + trees.rows[roots]
    return slot


def _pieces(height: np.ndarray, above: np.ndarray, highest: int) -> list[list[tuple[int, int]]]:
    """List, of each level, to which levels its nodes are sent, and how many."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(highest)]
    if not len(height):
        return found
    starts = np.flatnonzero(np.append(True, (np.diff(height) != 0) | (np.diff(above) != 0)))
    sizes = np.diff(np.append(starts, len(height)))
    for level, to, size in zip(height[starts].tolist(), above[starts].tolist(), sizes.tolist(), strict=True):
        found[level].append((to, size))
    return found


class TreeLoop(nn.Module):
    """A composition's weights, and the loop over levels by the fastest route there is.

    Args:
        name: That of the composition.
        input_size: E.
        hidden_size: H.
    """

    def __init__(self, name: str, *, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.name, self.hidden_size = name, hidden_size
        composition, width = self.composition, hidden_size
        self.weight_ih = nn.Parameter(torch.empty(composition.word_rows(width), input_size))
        self.weight_hh = nn.Parameter(torch.empty(len(composition.gates) * width, composition.arity * width))
        self.bias = nn.Parameter(torch.empty(len(composition.word_gates) * width))
        self.weight_edge = nn.Parameter(torch.empty(width, width)) if composition.is_sum else None
        self.quadratic = nn.Parameter(torch.empty(2 * width, width, 2 * width)) if composition.quadratic else None
        self.weight_mm = nn.Parameter(torch.empty(width, 2 * width)) if composition.has_matrices else None
        self.reset_parameters()

    # Looked up, not kept: a copy of the model has the very composition that kernels were compiled for.
    @property
    def composition(self) -> Composition:
        """The equation."""
        return COMPOSITIONS[self.name]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise each gate alone: words' weights Xavier, children's as the composition says, biases too."""
        width = self.hidden_size
        if not is_loaded(self.weight_ih):
            for gate in self.weight_ih.split(width):
                init.xavier_uniform_(gate)
        for weight in (self.weight_hh, self.weight_edge, self.weight_mm):
            if weight is None or is_loaded(weight):
                continue
            for gate in weight.split(width):
                # Over both children together: the rows of [left ; right] are orthonormal, and states keep their size.
                _halve(gate) if self.composition.averages else init.orthogonal_(gate)
        if self.quadratic is not None:
            init.uniform_(self.quadratic, -1 / (4 * width), 1 / (4 * width))
        if not is_loaded(self.bias):
            for name, gate in zip(self.composition.word_gates, self.bias.split(width), strict=True):
                init.constant_(gate, self.composition.word_bias.get(name, 0.0))

    def tables(self, vectors: torch.Tensor, has_inner_words: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return W x + b of these words (D, E) for leaves, and for inner nodes: a row a word.

        Row 0 is that of nodes without a word. Where no inner node has one, as in constituency trees, leaves get those
        gates alone that they need, and inner nodes that row alone.
        """
        bias = self._word_bias()
        vectors = torch.cat((vectors.new_zeros(1, vectors.shape[1]), vectors))
        if has_inner_words:
            table = nn.functional.linear(vectors, self.weight_ih, bias)
            return table, table
        rows = self.composition.leaf_rows(self.hidden_size)
        of_leaves = nn.functional.linear(vectors, self.weight_ih[:rows], bias[:rows])
        return of_leaves, bias[None].to(of_leaves.dtype)

    def _word_bias(self) -> torch.Tensor:
        """Return b of all rows of W; matrices have none."""
        missing = self.weight_ih.shape[0] - self.bias.shape[0]
        return nn.functional.pad(self.bias, (0, missing)) if missing else self.bias

    def _weights(self) -> TreeWeights:
        return TreeWeights(self.weight_hh, self.weight_edge, self.quadratic, self.weight_mm)

    def in_graph(self, vectors: torch.Tensor, trees: GraphTrees) -> torch.Tensor:
        """Return h of all columns, (B M, H), from the words' vectors (B, N, E), zeros without a word."""
        vectors = nn.functional.pad(vectors, (0, 0, 0, trees.mask.shape[1] - vectors.shape[1]))
        words = nn.functional.linear(vectors, self.weight_ih, self._word_bias())
        return run_graph(self.composition, trees, words, self._weights()).flatten(0, 1)

    def forward(self, vectors: torch.Tensor, word_of: np.ndarray, trees: Trees) -> torch.Tensor:
        """Return h of each node, (n, H).

        Args:
            vectors: (D, E) the distinct words.
            word_of: (n) which of them each node has, counted from 1; 0 of a node without one.
            trees: Where the nodes stand.
        """
        schedule = Schedule.of(trees, self.composition, self.name)
        if not schedule.sizes:
            return vectors.new_zeros(0, self.hidden_size)
        words = word_of[schedule.order]
        tables = self.tables(vectors, bool(words[schedule.sizes[0] :].any()))
        weights = self._weights()
        reference = partial(_reference, self.composition, schedule, words)
        kernels = None if self.composition.has_matrices else tree_kernels_for(*tables, *weights)
        if kernels is None:
            return reference(*tables, *weights)
        return kernels.run(kernels.Plan(self.composition, schedule, words, reference), *tables, weights)


def _halve(gate: torch.Tensor) -> None:
    """Begin with the mean of both children and a little noise (Socher et al. 2012, 2013)."""
    width = len(gate)
    init.uniform_(gate, -0.5 / (100 * width) ** 0.5, 0.5 / (100 * width) ** 0.5)
    for half in gate.split(width, dim=1):
        half.diagonal().add_(0.5)


def _reference(
    composition: Composition,
    schedule: Schedule,
    words: np.ndarray,
    of_leaves: torch.Tensor,
    of_inner: torch.Tensor,
    *given: torch.Tensor | None,
) -> torch.Tensor:
    """Run the equation level by level, and return h of each node, (n, H).

    Args:
        composition: The equation.
        schedule: The order of the nodes.
        words: (n) the row of the table of each node, in this order.
        of_leaves: The table of leaves.
        of_inner: That of inner nodes.
        *given: `TreeWeights`.
    """
    weights = TreeWeights(*given)  # type: ignore[arg-type]
    device, width = of_leaves.device, weights.weight_hh.shape[1] // composition.arity
    order = torch.from_numpy(schedule.order).to(device)
    rows = torch.from_numpy(words).to(device).split([schedule.sizes[0], len(words) - schedule.sizes[0]])
    own = [of_leaves.index_select(0, rows[0]), *of_inner.index_select(0, rows[1]).split(schedule.sizes[1:])]
    arriving: list[list[torch.Tensor]] = [[] for _ in schedule.sizes]
    places = _arrivals(schedule, device)
    shown = []
    for level, mine in enumerate(own):
        children = None
        if level:
            children = _received(schedule, level, torch.cat(arriving[level]), places[level])
            arriving[level] = []
        states = composition.step(mine, children, weights)
        shown.append(states[:, :width])
        sent = schedule.sent[level]
        for (to, _), piece in zip(sent, states.split([size for _, size in sent]), strict=True):
            if to < len(arriving):
                arriving[to].append(piece)
    return torch.empty_like(torch.cat(shown)).index_copy(0, order, torch.cat(shown))


def _arrivals(schedule: Schedule, device: torch.device) -> list[torch.Tensor]:
    """Return, of each level, the slots of what is sent to it, in the order of arrival and counted from its first."""
    to = np.repeat(*np.array([piece for pieces in schedule.sent for piece in pieces]).T)
    levels = len(schedule.sizes)
    arrival = np.argsort(to, kind="stable")
    counts = np.bincount(to, minlength=levels + 1)[:levels]
    slots = schedule.slot[arrival[: counts.sum()]] - np.repeat(schedule.level_slots[:-1], counts)
    return list(torch.from_numpy(slots).to(device).split(counts.tolist()))


def _received(schedule: Schedule, level: int, pieces: torch.Tensor, places: torch.Tensor) -> Children:
    """Put what a level was sent in the order of its nodes."""
    begin, end = schedule.level_slots[level : level + 2]
    states = pieces.new_zeros(end - begin, pieces.shape[1]).index_add(0, places, pieces)
    if not len(schedule.owners):
        return Children(states, None)
    owners = torch.from_numpy(schedule.owners[begin:end] - schedule.owners[begin]).to(pieces.device)
    return Children(states, owners)

"""Trees in a graph, as torch.export and torch.jit.trace want it: nothing in it may depend on the numbers in a batch.

How many levels a batch has is such a number. So each node is computed as often as the deepest tree of this many nodes
has levels, from what its children were the last time: after as many rounds as a node is high, it is right, and stays.
That is slow, and equal to the levels. What is no tree is not found out here: a graph has no errors.

There is room for all nodes that could be built: M = 2 N - 1 columns, of which `node_mask` tells those that were.

Shapes: B texts, N columns of nodes given, M = 2 N - 1, H width, S states, X gates of the word.
"""

from typing import NamedTuple

import torch

from .compositions import Children, Composition, TreeWeights
from .tree_shapes import shape_of


class GraphTrees(NamedTuple):
    """The trees of a batch.

    Attributes:
        mask: (B, M) bool, where the nodes of the trees stand.
        above: (B, M) the column of each node's parent, -1 without one.
        first: (B, M) orders siblings: of a given node its column, of one that was built that of the first it joins.
    """

    mask: torch.Tensor
    above: torch.Tensor
    first: torch.Tensor

    @property
    def is_root(self) -> torch.Tensor:
        """(B, M) bool."""
        return self.mask & (self.above < 0)


def read_graph_trees(
    mask: torch.Tensor, parents: torch.Tensor | None, shape: str, is_word: torch.Tensor
) -> GraphTrees:
    """Find the tree of each text, see `read_trees`."""
    if shape != "given":
        mask, parents = mask & is_word, None
    steps, device = mask.shape[1], mask.device
    column = torch.arange(steps, device=device).expand_as(mask)
    above = torch.full_like(column, -1)
    if parents is not None:
        # Padding goes to place 0, which no number means.
        number = mask.long().cumsum(1) * mask
        place = column.new_zeros(len(mask), steps + 1).scatter(1, number, column)
        above = torch.where(mask & (parents > 0), place.gather(1, parents.clamp(0, steps)), above)
    if steps == 1:
        return GraphTrees(mask, above, column)
    # 1. Number the roots, and look up how so many trees are joined.
    is_root = mask & (above < 0)
    count, rank = is_root.sum(1), (is_root.long().cumsum(1) - 1).clamp(min=0)
    of_roots, of_built, first = (table.to(device) for table in _joins(steps, "right" if shape == "given" else shape))
    # 2. Hang the roots below what is built, and that below one another.
    is_joined = is_root & (count > 1)[:, None]
    above = torch.where(is_joined, steps + of_roots[count].gather(1, rank), above)
    built = torch.arange(steps - 1, device=device) < count[:, None] - 1
    above_built = torch.where(built & (of_built[count] >= 0), steps + of_built[count], -1)
    # 3. A built node begins where its first tree does.
    spot = torch.where(is_root, rank, steps)
    root_column = column.new_zeros(len(mask), steps + 1).scatter(1, spot, column)
    first_built = root_column.gather(1, first[count])
    return GraphTrees(
        torch.cat((mask, built), 1), torch.cat((above, above_built), 1), torch.cat((column, first_built), 1)
    )


def _joins(steps: int, shape: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `shape_of` for every number of trees: (N + 1, N), (N + 1, N - 1), (N + 1, N - 1)."""
    of_roots = torch.zeros(steps + 1, steps, dtype=torch.long)
    of_built, first = torch.full((steps + 1, steps - 1), -1), torch.zeros(steps + 1, steps - 1, dtype=torch.long)
    for count in range(2, steps + 1):
        parts = shape_of(count, shape)
        for table, part in zip((of_roots, of_built, first), parts, strict=True):
            table[count, : len(part)] = torch.from_numpy(part)
    return of_roots, of_built, first


def run_graph(composition: Composition, trees: GraphTrees, words: torch.Tensor, weights: TreeWeights) -> torch.Tensor:
    """Return h of each node, (B, M, H), zero elsewhere; `words` are W x + b, (B, M, X H)."""
    batch, columns = trees.mask.shape
    # 1. Say which node is which child: (B, M, M), parents by children.
    above = trees.above.masked_fill(~trees.mask, -1)
    is_child = above[:, None] == torch.arange(columns, device=above.device)[:, None]
    are_siblings = (above[:, None] == above[..., None]) & (trees.first[:, None] < trees.first[..., None])
    rank = are_siblings.sum(-1)[:, None]
    # 2. Begin with leaves.
    own, mask = words.flatten(0, 1), trees.mask.flatten()[:, None]
    leaves = composition.step(own, None, weights)
    is_leaf = ~is_child.any(-1).flatten()[:, None]
    states = torch.where(is_leaf & mask, leaves, 0.0)
    # A sum has no order: what has no parent is sent to a node that is thrown away.
    owners = torch.where(
        above < 0, batch * columns, above + torch.arange(batch, device=above.device)[:, None] * columns
    )
    sides = [(is_child & (rank == side)).to(states.dtype) for side in (0, 1)]
    # 3. Compute all nodes again, until the highest that there could be are right.
    for _ in range(columns - 1):
        if composition.is_sum:
            room = torch.cat((own, own[:1]))
            new = composition.step(room, Children(states, owners.flatten()), weights)[:-1]
        else:
            before = states.view(batch, columns, -1)
            pairs = torch.stack([(side @ before).flatten(0, 1) for side in sides], 1).flatten(0, 1)
            new = composition.step(own, Children(pairs, None), weights)
        states = torch.where(is_leaf, states, torch.where(mask, new, 0.0))
    return states[:, : weights.weight_hh.shape[1] // composition.arity].view(batch, columns, -1)


class GraphNodes(NamedTuple):
    """The nodes of all texts with their padding; see `Nodes` of `recursive.py`.

    Attributes:
        states: (B M, H).
        trees: Where they stand.
    """

    states: torch.Tensor
    trees: GraphTrees

    def spread(self, values: torch.Tensor, elsewhere: torch.Tensor | None = None) -> torch.Tensor:
        """Put what was found for the nodes, (B M, K), in their columns, (B, M, K); elsewhere zeros, or this (K)."""
        values = values.view(*self.trees.mask.shape, -1)
        return torch.where(self.trees.mask[..., None], values, _or_zeros(elsewhere, values))

    def of_roots(self, values: torch.Tensor, elsewhere: torch.Tensor | None = None) -> torch.Tensor:
        """Take what was found for the roots, (B, K); of a text without a node zeros, or this (K)."""
        is_root, values = self.trees.is_root, values.view(*self.trees.mask.shape, -1)
        found = torch.where(is_root[..., None], values, 0.0).sum(1)
        return torch.where(is_root.any(1, keepdim=True), found, _or_zeros(elsewhere, values))

    def with_labels(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores of the nodes that were given, and their labels (B, N), one behind the other."""
        scores = scores.view(*self.trees.mask.shape, -1)[:, : labels.shape[1]]
        return scores.flatten(0, 1), labels.flatten()

    def read_trees(self) -> dict[str, torch.Tensor]:
        """Return the trees that were read, as outputs show them."""
        mask, above = self.trees.mask, self.trees.above
        number = mask.long().cumsum(1).gather(1, above.clamp(min=0))
        return {"parents": torch.where(mask & (above >= 0), number, 0), "node_mask": mask.long()}


def _or_zeros(elsewhere: torch.Tensor | None, values: torch.Tensor) -> torch.Tensor:
    return values.new_zeros(values.shape[-1]) if elsewhere is None else elsewhere.to(values.dtype)

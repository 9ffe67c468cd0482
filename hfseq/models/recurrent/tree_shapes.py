"""Trees as integers: from a batch of parents to one tree a text, for rows that are a forest too.

A row of a batch is a text's nodes, in any order. `parents` says of each node which of the text's own nodes is its
parent, counted from 1, and 0 of a node without one. What has no parent is joined to one tree by a shape:

    right       (a (b (c d)))       what a network sees that reads from the end to the beginning
    left        (((a b) c) d)       from the beginning to the end, as a recurrent network does
    balanced    ((a b) (c d))       halves, the left one longer: no word is far from the root

The nodes that are built stand behind those that are given. Nothing here recurses: depth is limited by memory alone.

Numbers are computed with numpy, on the CPU: how many nodes a level has decides what is computed at all.

Shapes: B texts, N columns of nodes given, M >= N columns with those built, n nodes of all texts together.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

TreeShape = Literal["given", "right", "left", "balanced"]


class Trees(NamedTuple):
    """The trees of a batch, one a text; texts without a node have none.

    Attributes:
        rows: (n) the text of each node: given nodes first, text by text, then those built, text by text.
        columns: (n) its column.
        parent: (n) the place of its parent among the n, -1 of a root.
        first: (n) orders siblings: of a given node its place, of one that was built that of the first it joins.
        parents: (B, M) as the batch has them: counted from 1 among the nodes of `mask`.
        mask: (B, M) bool, where the nodes of the trees stand.
    """

    rows: np.ndarray
    columns: np.ndarray
    parent: np.ndarray
    first: np.ndarray
    parents: np.ndarray
    mask: np.ndarray

    @property
    def roots(self) -> np.ndarray:
        """The places of the roots among the n, text by text."""
        places = np.flatnonzero(self.parent < 0)
        return places[np.argsort(self.rows[places], kind="stable")]

    def name(self, place: int) -> str:
        """Say which node this is, as people count: the text from 0, as rows, its nodes from 1, as `parents` do."""
        row, column = int(self.rows[place]), int(self.columns[place])
        return f"node {int(self.mask[row, : column + 1].sum())} of text {row}"


def read_trees(mask: np.ndarray, parents: np.ndarray | None, shape: TreeShape, is_word: np.ndarray) -> Trees:
    """Find the tree of each text.

    Args:
        mask: (B, N) bool, where the nodes stand.
        parents: (B, N), see above; None: no node has one.
        shape: "given" joins what has no parent to the right; the others build their shape over the words alone.
        is_word: (B, N) bool, which nodes have a word of their own.
    """
    # Inner nodes of the tree given have no place in another one.
    if shape != "given":
        mask, parents = mask & is_word, None
    rows, columns = np.nonzero(mask)
    counts = mask.sum(1)
    starts = np.cumsum(counts) - counts
    parent = np.full(len(rows), -1)
    if parents is not None:
        numbers = parents[rows, columns]
        _check_range(numbers, counts[rows], rows, columns)
        parent = np.where(numbers > 0, starts[rows] + numbers - 1, -1)
    joined = _join(parent, rows, len(mask), "right" if shape == "given" else shape)
    return _number(mask, rows, columns, parent, joined)


def _check_range(numbers: np.ndarray, counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Refuse a parent that the text does not have."""
    wrong = np.flatnonzero((numbers < 0) | (numbers > counts))
    if len(wrong):
        at = wrong[0]
        raise ValueError(
            f"parents[{rows[at]}, {columns[at]}]={numbers[at]} is no node of its text, which has {counts[at]}. They "
            "are counted from 1 among the text's own nodes, and a node without one has 0."
        )


class _Joined(NamedTuple):
    """What joins the roots of forests.

    Attributes:
        counts: (B) nodes that were built for each text.
        parent: (built) places of their parents.
        first: (built) the first of the nodes that each joins.
        roots: The places of the roots that were joined.
        above: The places of their new parents.
    """

    counts: np.ndarray
    parent: np.ndarray
    first: np.ndarray
    roots: np.ndarray
    above: np.ndarray


def _join(parent: np.ndarray, rows: np.ndarray, batch: int, shape: str) -> _Joined:
    """Build the nodes that make one tree of each forest; their places follow those of the nodes given."""
    roots = np.flatnonzero(parent < 0)
    trees = np.bincount(rows[roots], minlength=batch)
    counts = np.maximum(trees - 1, 0)
    # Parsed text has no forest, and plain text is nothing else.
    forests = np.flatnonzero(counts)
    if not len(forests):
        none = np.zeros(0, dtype=np.int64)
        return _Joined(counts, none, none, none, none)
    roots = roots[counts[rows[roots]] > 0]
    trees, built = trees[forests], counts[forests]
    shapes = [shape_of(count, shape) for count in trees.tolist()]
    of_roots, of_built, first = (np.concatenate(parts) for parts in zip(*shapes, strict=True))
    start = len(parent) + np.cumsum(built) - built  # where the nodes of each forest begin
    begin = np.cumsum(trees) - trees  # where its roots do
    above = of_roots + np.repeat(start, trees)
    return _Joined(
        counts,
        np.where(of_built < 0, -1, of_built + np.repeat(start, built)),
        roots[first + np.repeat(begin, built)],
        roots,
        above,
    )


def _number(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray, parent: np.ndarray, joined: _Joined) -> Trees:
    """Put given nodes and built ones together, and count parents as the batch does."""
    given, width = len(rows), mask.shape[1]
    widest = int(joined.counts.max(initial=0))
    wide_mask = np.concatenate([mask, np.arange(widest) < joined.counts[:, None]], axis=1)
    if widest:
        parent[joined.roots] = joined.above
        built_rows, built = np.nonzero(wide_mask[:, width:])
        rows, columns = np.concatenate([rows, built_rows]), np.concatenate([columns, width + built])
        parent = np.concatenate([parent, joined.parent])
    # Counted anew: a shape over the words alone leaves nodes out.
    number = wide_mask.cumsum(1)[rows, columns]
    parents = np.zeros(wide_mask.shape, dtype=np.int64)
    parents[rows, columns] = np.where(parent < 0, 0, number[parent]) if len(parent) else 0
    return Trees(rows, columns, parent, np.concatenate([np.arange(given), joined.first]), parents, wide_mask)


@lru_cache(maxsize=1024)
def shape_of(count: int, shape: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how `count` trees, two or more, are joined: all numbers from 0.

    Returns:
        (count): which built node is the parent of each tree; (count - 1): which one that of each built node, -1 of the
        last, the root; (count - 1): the first tree below each built node.
    """
    # Left and right are chains: each built node hangs below the next one.
    last = count - 2
    step = np.arange(count - 1)
    parent = np.where(step < last, step + 1, -1)
    if shape == "right":
        return np.maximum(last - np.arange(count), 0), parent, last - step
    if shape == "left":
        return np.maximum(np.arange(count) - 1, 0), parent, np.zeros_like(step)
    return _balanced(count)


def _balanced(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve, and halve the halves; the left half is the longer one."""
    of_trees = np.zeros(count, dtype=np.int64)
    spans, parent = [(0, count)], [-1]
    for number, (start, end) in enumerate(spans):  # which grows: those on top come first
        middle = (start + end + 1) // 2
        for begin, stop in ((start, middle), (middle, end)):
            if stop - begin == 1:
                of_trees[begin] = number
            else:
                spans.append((begin, stop))
                parent.append(number)
    # Turned round: children stand before their parents, the root last.
    last = count - 2
    above = np.array(parent[::-1])
    return last - of_trees, np.where(above < 0, -1, last - above), np.array([start for start, _ in spans[::-1]])

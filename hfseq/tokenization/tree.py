"""A tree as arrays: for each node its word, its parent and its label.

    (3 (2 It) (4 works))      words    It    works   None
                              parents  3     3       0
                              labels   "2"   "4"     "3"

A constituency tree stands in post-order: children come before their parent, the root is last, and only leaves have
words. In a dependency tree each node has a word, and the nodes stand as the words stand in the sentence, so that the
words of any tree, read from left to right, are the sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NO_SPELLING: Mapping[int, str] = {}


@dataclass(frozen=True)
class Tree:
    """A tree, or a forest: several trees side by side.

    Attributes:
        words: The word of each node; None at a node that has none of its own.
        parents: The number of each node's parent, counted from 1; 0 for a root.
        labels: The label of each node ("3", "NP", "nsubj"); an empty text where there is none.
        spelled: Node (counted from 0) -> how a file spelled its word, where `write_brackets` would spell it otherwise.
    """

    words: tuple[str | None, ...]
    parents: tuple[int, ...]
    labels: tuple[str, ...] = ()
    spelled: Mapping[int, str] = field(default_factory=lambda: _NO_SPELLING, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.labels:
            object.__setattr__(self, "labels", ("",) * len(self.words))
        if not len(self.words) == len(self.parents) == len(self.labels):
            counts = f"{len(self.words)} words, {len(self.parents)} parents and {len(self.labels)} labels"
            raise ValueError(f"A tree has {counts}: each node needs one of each (None where a node has no word).")
        for number, parent in enumerate(self.parents, start=1):
            if not 0 <= parent <= len(self.parents):
                told = f"Node {number} of {len(self.parents)} has the parent {parent}"
                raise ValueError(f"{told}: give the number of a node, counted from 1, or 0 for a root.")
        inner = set(self.parents)
        for number, word in enumerate(self.words, start=1):
            if word is None and number not in inner:
                raise ValueError(f"Node {number} has neither a word nor children: give it one of them.")
        bottom_up(self.parents)  # refuses a cycle

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.words)

    @property
    def roots(self) -> list[int]:
        """The nodes without a parent, counted from 0."""
        return [node for node, parent in enumerate(self.parents) if parent == 0]

    @property
    def sentence(self) -> list[str]:
        """The words from left to right."""
        return [word for word in self.words if word is not None]

    @property
    def has_inner_words(self) -> bool:
        """Whether a node has a word and children too, as in dependency trees."""
        inner = set(self.parents)
        return any(word is not None and number in inner for number, word in enumerate(self.words, start=1))

    def children(self) -> list[list[int]]:
        """Return the children of each node from left to right, counted from 0."""
        found: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent:
                found[parent - 1].append(node)
        return found

    def spans(self) -> list[tuple[int, int]]:
        """Return from which word to before which word each node reaches, counted in the words of the text.

        A dependency tree may leave gaps: the span is then from the first to the last of the words below the node.
        """
        place, own = 0, []
        for word in self.words:
            own.append((place, place + (word is not None)))
            place += word is not None
        found: list[tuple[int, int] | None] = [
            span if word is not None else None for span, word in zip(own, self.words, strict=True)
        ]
        for node in bottom_up(self.parents):
            parent, span = self.parents[node] - 1, found[node]
            if parent >= 0 and span is not None:
                other = found[parent] or span
                found[parent] = min(span[0], other[0]), max(span[1], other[1])
        return [span or (0, 0) for span in found]

    def row(self) -> dict[str, Any]:
        """Return the tree as a row of a dataset, see `hfseq.tree_features`."""
        return {
            "words": list(self.words),
            "parents": list(self.parents),
            "labels": list(self.labels),
            "spans": [list(span) for span in self.spans()],
        }

    def in_order(self) -> "Tree":
        """Return the tree with children before their parents, as trees of phrases stand; others stay as they are."""
        if None not in self.words or all(not parent or parent > node for node, parent in enumerate(self.parents, 1)):
            return self
        return Branches.of(self).tree(self.roots)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Tree":
        """Make a tree of a row, or of a dict with `words`, `parents` and perhaps `labels`."""
        missing = [name for name in ("words", "parents") if name not in row]
        if missing:
            raise ValueError(f"A tree as a dict needs words and parents; this one has {', '.join(row) or 'nothing'}.")
        labels = row.get("labels") or ()
        return cls(
            tuple(row["words"]), tuple(row["parents"]), tuple("" if one is None else str(one) for one in labels)
        )


@dataclass
class Branches:
    """The nodes of a tree in any order, while it is built or changed; `tree` brings them into post-order.

    Attributes:
        words: As in a `Tree`.
        labels: As in a `Tree`.
        children: The children of each node from left to right, counted from 0.
        spelled: As in a `Tree`.
    """

    words: list[str | None] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)
    spelled: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: Tree) -> "Branches":
        """Take a tree apart."""
        return cls(list(tree.words), list(tree.labels), tree.children(), dict(tree.spelled))

    def add(self, word: str | None, label: str, children: Sequence[int] = ()) -> int:
        """Add a node and return its place."""
        self.words.append(word)
        self.labels.append(label)
        self.children.append(list(children))
        return len(self.words) - 1

    def tree(self, roots: Sequence[int]) -> Tree:
        """Return what hangs on these roots, children before their parents; other nodes are left out."""
        order: list[int] = []
        stack = list(roots)
        while stack:  # parents before their children, from right to left
            node = stack.pop()
            order.append(node)
            stack += self.children[node]
        order.reverse()
        places = {node: place for place, node in enumerate(order)}
        parents = [0] * len(order)
        for place, node in enumerate(order):
            for child in self.children[node]:
                parents[places[child]] = place + 1
        spelled = {places[node]: text for node, text in self.spelled.items() if node in places}
        words, labels = tuple(self.words[node] for node in order), tuple(self.labels[node] for node in order)
        return Tree(words, tuple(parents), labels, spelled)


def bottom_up(parents: Sequence[int]) -> list[int]:
    """Return the nodes, counted from 0, children before their parents; refuse a cycle."""
    if all(parent == 0 or parent > node for node, parent in enumerate(parents, start=1)):
        return list(range(len(parents)))  # post-order, as nearly all trees come
    waiting = [0] * len(parents)
    for parent in parents:
        if parent:
            waiting[parent - 1] += 1
    order = [node for node, count in enumerate(waiting) if count == 0]
    for node in order:  # it grows
        parent = parents[node] - 1
        if parent >= 0:
            waiting[parent] -= 1
            if waiting[parent] == 0:
                order.append(parent)
    if len(order) < len(parents):
        node = next(node for node, count in enumerate(waiting) if count)
        raise ValueError(
            f"parents={list(parents)[:20]} go in a circle, from node {node + 1}: one node must be a root."
        )
    return order

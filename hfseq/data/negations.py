"""Phrases that a negation turns: which node is negated, and which it would be without the negation.

(1 (2 not) (4 great))                  "not great", without: "great"
(1 (2 (2 does) (2 n't)) (3 work))      "does n't work", without: "work"
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from ..tokenization.tree import Tree

NEGATIONS: Final = ("not", "n't", "never", "no", "nothing", "nobody", "none", "neither", "nor", "without", "hardly")
"""English words that negate what follows."""


class Negated(NamedTuple):
    """A node with a negation before the rest of it; both are counted from 0."""

    node: int
    without: int  # its last child, the phrase that is negated


def negated_nodes(tree: Tree, negations: Collection[str] = NEGATIONS) -> list[Negated]:
    """Find the nodes of two children whose first is a negation, alone or behind one other word, as in "does n't".

    Args:
        tree: A tree of phrases; nodes of more than two children are passed over, see `binarise`.
        negations: Words that negate, in lower case.
    """
    children, found = tree.children(), []
    for node, own in enumerate(children):
        if len(own) == 2 and tree.words[node] is None:
            first, rest = own
            inner = children[first]
            # The word that ends the first child: itself, or "n't" of "does n't"; of a longer one it is another phrase.
            if len(inner) == 2 and not (children[inner[0]] or children[inner[1]]):
                first = inner[1]
            if (tree.words[first] or "").lower() in negations:
                found.append(Negated(node, rest))
    return found

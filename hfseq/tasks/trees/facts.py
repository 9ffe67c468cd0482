"""The facts of a card of a model of trees: its labels, phrases by length, and what a negation does to it."""

from collections.abc import Collection
from dataclasses import field
from typing import Literal

from ...cards.confusion import Confusion
from ...cards.facts import FREE, MEASURED, LabelledFacts, Widget, checked
from ...evaluation.trainer_metrics import NODES, ROOT, ROOT_BINARY


@checked
class LengthFacts:
    """Phrases of a range of lengths in the evaluated split, and how often the model is right."""

    shortest: int  # words
    longest: int | None  # None: any longer one
    phrases: int
    accuracy: float
    peer: float | None = None  # of the regression on words of phrases


@checked
class NegationFacts:
    """Phrases of the evaluated split that a negation heads, such as "not good"."""

    words: list[str]  # the negations
    phrases: int
    accuracy: float
    changed: float  # share of the phrases whose label differs from that of the phrase without the negation
    changed_accuracy: float | None  # of these; None where there are none
    peer: float | None = None  # accuracy of the regression on words of phrases


@checked
class TreeAnswer(Widget):
    """A text of our own, the labels of its root, and its tree with the label of each node."""

    brackets: str


@checked
class TreeFacts(LabelledFacts):
    """All that a card says about one model of trees; the score of an example is that of the label of its root."""

    kind: Literal["tree-classifier"] = "tree-classifier"
    composition: str  # how a node is made of its children, see `RecursiveConfig`
    tree: str  # which trees it reads: given ones, or always those of one shape
    learns: Literal["nodes", "root"]  # whose labels it has learnt from
    labels: list[str]
    label_map: dict[str, str] | None = None  # label of the data -> one of these; None: they are the same
    nodes: dict[str, int]  # split -> how many nodes its trees have; empty where texts have none
    lengths: list[LengthFacts] = field(default_factory=list, metadata=MEASURED)
    negation: NegationFacts | None = field(default=None, metadata=FREE | MEASURED)
    confusions: list[Confusion] = field(default_factory=list, metadata=FREE | MEASURED)  # of roots
    widgets: list[TreeAnswer] = field(metadata=FREE | MEASURED)

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of trees."""
        return (ROOT, NODES, ROOT_BINARY)

"""Which labels a model takes for which: the facts, and their table in a card."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .facts import checked
from .parts import code

FEW_LABELS: Final = 10  # so few can be told apart without a table
_SHOWN = 10  # pairs of labels


@checked
class Confusion:
    """Texts of one label, or words of one tag, that were given another."""

    expected: str
    predicted: str
    texts: int  # how many were; of a tagger, words
    of: int  # all of the expected label


def most_confused(
    names: Sequence[str], expected: np.ndarray, predicted: np.ndarray, *, few: int = FEW_LABELS
) -> list[Confusion]:
    """List the pairs of labels that are confused most often, if there are more than a few labels.

    Args:
        names: Of the labels.
        expected: (texts,), the true labels.
        predicted: (texts,), the answers.
        few: So many labels have no table.
    """
    if len(names) <= few:
        return []
    wrong = expected != predicted
    pairs = Counter(zip(expected[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    texts = np.bincount(expected, minlength=len(names))
    # Those of one count in the order of the labels, so that the same answers make the same table.
    often = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return [
        Confusion(expected=names[true], predicted=names[answer], texts=count, of=int(texts[true]))
        for (true, answer), count in often
    ]


def confusion_view(confusions: Sequence[Confusion], labels: str, counted: str) -> dict[str, Any]:
    """Gather what `templates/_confusions.md` shows: the rows, what the labels are called, and what is counted."""
    rows = [
        " | ".join((code(row.expected), code(row.predicted), f"{row.texts:,} of {row.of:,}")) for row in confusions
    ]
    return {"confusions": rows, "confused": labels, "counted": counted}

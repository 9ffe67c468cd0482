"""What a model that has learnt texts by heart writes down again: rows of the data enter a card on request alone."""

import re
from collections.abc import Iterable

from .facts import Sample

_CONDITION = re.compile(r"^<[^<>\s]+>")  # the label that a text may be written on
_RUN = 10  # words in a row that are a quotation and no chance


class Quotations:
    """Tells what of a text stands in the training texts word for word; neither case nor white space counts.

    Args:
        documents: The training texts.
        are_rows: Whether each is a row of its own, so that a short one is a quotation too if it is all of a text.
    """

    def __init__(self, documents: Iterable[str], *, are_rows: bool) -> None:
        rows = [_normal(text) for text in documents]
        self._rows, self._text = set(rows) if are_rows else set(), "\n".join(rows)

    def __contains__(self, sample: Sample) -> bool:
        """Tell whether a sample is a row, with or without its prompt, or holds a quotation of 19 words or more."""
        written = (sample.text, sample.text.removeprefix(sample.prompt), _CONDITION.sub("", sample.text))
        if not self._rows.isdisjoint(map(_normal, written)):
            return True
        words = _normal(sample.text).split()
        # Each quotation of 19 words holds one of these runs from end to end.
        runs = (" ".join(words[start : start + _RUN]) for start in range(0, len(words) - _RUN + 1, _RUN))
        return any(run in self._text for run in runs)


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()

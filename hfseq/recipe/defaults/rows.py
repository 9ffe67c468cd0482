"""What is counted of training rows, for defaults that follow the data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...training.class_weights import RARE, smallest_share


@dataclass(frozen=True)
class RowCounts:
    """How many rows there are, how long they are, and how their labels are spread."""

    num_rows: int
    median_words: float
    long_words: float  # only one row in twenty has more words
    num_labels: int = 0
    smallest_share: float = 1.0  # of the rarest class, where 1 is as many rows as each would have if all had the same

    @property
    def has_rare_classes(self) -> bool:
        """Whether the smallest class has less than a tenth of its share."""
        return self.smallest_share < RARE


def count_rows(texts: Sequence[str], labels: np.ndarray | None = None, num_labels: int = 0) -> RowCounts:
    """Count rows; words stand between blanks.

    Args:
        texts: One a row.
        labels: (rows,) ids of classes, or (rows, classes) 0 or 1 each; None for other labels.
        num_labels: How many classes there are.
    """
    lengths = np.array([len(text.split()) for text in texts])
    median, long = np.quantile(lengths, (0.5, 0.95)).tolist()
    if labels is None:
        return RowCounts(len(texts), median, long, num_labels)
    counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=num_labels)
    return RowCounts(len(texts), median, long, num_labels, smallest_share(counts.tolist()))

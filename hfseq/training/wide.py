"""What a wide part counts in texts, and how rare each word and n-gram of the training texts is."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from ..data.sources import column_values
from ..models.heads.wide import WideNgrams

_CHUNK = 4_096  # texts whose features are listed at once


class Mixed(NamedTuple):
    """What was chosen on validation texts, and their loss with it and with the network alone."""

    strength: float  # C of the regression
    of_regression: float
    of_network: float
    loss: float
    network_loss: float


def fit_wide(model: Any, dataset: Dataset) -> None:
    """Take the document frequencies of a new wide part from training texts; one that has some keeps them.

    Args:
        model: A classifier; one without a wide part stays as it is.
        dataset: Has a column `input_ids`.
    """
    wide = getattr(model, "wide", None)
    if not isinstance(wide, WideNgrams) or not bool((wide.row_weights == 1).all()):
        return
    size = len(wide.row_weights)
    frequencies = np.zeros(size, dtype=np.int64)
    for begins, rows in features_of(wide, dataset):
        # Each once a text.
        seen = np.unique(np.repeat(np.arange(len(begins) - 1), np.diff(begins)) * size + rows) % size
        frequencies += np.bincount(seen, minlength=size)
    wide.set_frequencies(frequencies, len(dataset))


def features_of(wide: WideNgrams, dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """List the features of texts, some thousand texts at a time, see `WideNgrams.features`."""
    column = column_values(dataset, "input_ids")
    lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
    ids = pc.list_flatten(column).to_numpy().astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for first in range(0, len(lengths), _CHUNK):
        counts = lengths[first : first + _CHUNK]
        yield wide.features(ids[ends[first] : ends[first + len(counts)]], counts)

"""The wide part of a classifier before its training: how rare each word and n-gram of the training texts is."""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from ..data.sources import column_values
from ..models.heads.wide import WideNgrams

_CHUNK = 4_096  # texts whose features are listed at once


def fit_wide(model: Any, dataset: Dataset) -> None:
    """Take the document frequencies of a new wide part from training texts; one that has some keeps them.

    Args:
        model: A classifier; one without a wide part stays as it is.
        dataset: Has a column `input_ids`.
    """
    wide = getattr(model, "wide", None)
    if not isinstance(wide, WideNgrams) or not bool((wide.row_weights == 1).all()):
        return
    column = column_values(dataset, "input_ids")
    lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
    ids = pc.list_flatten(column).to_numpy().astype(np.int64)
    ends, size = np.concatenate([[0], np.cumsum(lengths)]), len(wide.row_weights)
    frequencies = np.zeros(size, dtype=np.int64)
    for first in range(0, len(lengths), _CHUNK):
        counts = lengths[first : first + _CHUNK]
        begins, rows = wide.features(ids[ends[first] : ends[first + len(counts)]], counts)
        # Each once a text.
        seen = np.unique(np.repeat(np.arange(len(counts)), np.diff(begins)) * size + rows) % size
        frequencies += np.bincount(seen, minlength=size)
    wide.set_frequencies(frequencies, len(lengths))

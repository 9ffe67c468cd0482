from typing import Any, NamedTuple

import numpy as np


class TextOptions(NamedTuple):
    shortest_ngram: int
    longest_ngram: int
    word_ngrams: int
    buckets: int
    ends_texts: bool
    label_prefix: bytes


class TextTables(NamedTuple):
    word_bytes: np.ndarray
    word_starts: np.ndarray
    slots: np.ndarray
    kept_buckets: np.ndarray
    bucket_rows: np.ndarray


def text_tables(word_bytes: Any, word_starts: Any, *, kept_buckets: Any, buckets: int) -> TextTables:
    raise NotImplementedError


def text_features(texts: Any, starts: Any, tables: Any, options: Any) -> Any:
    raise NotImplementedError

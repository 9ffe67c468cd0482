"""From the bytes of texts to the rows of a bag's matrix: what `models/words/bag_text.py` does, in machine code.

`tables`, `options` and `codes` are the named tuples that are described there.
"""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..cells.modules import import_source

INTERFACE = 1  # equal to that of models/words/fused_words.py
_LOOPS = Path(__file__).with_name("text_loops.py")
_END = np.frombuffer(b"</s>", dtype=np.uint8)


@cache
def loops() -> ModuleType:
    """Import the loops; each is compiled at its first call, then kept on disk."""
    return import_source(_LOOPS.read_text(encoding="utf-8"))


def text_features(
    texts: np.ndarray, text_starts: np.ndarray, tables: Any, options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Do what the twin does."""
    starts, rows = loops().list_rows(*_arguments(texts, text_starts, tables, options))
    return starts, rows


def text_vectors(
    texts: np.ndarray, text_starts: np.ndarray, tables: Any, options: Any, matrix: np.ndarray
) -> np.ndarray:
    """Do what the twin does, without a list of the rows."""
    _check_rows(len(matrix), tables, options)
    means, _ = loops().dense_means(*_arguments(texts, text_starts, tables, options), _read_only(matrix, np.float32))
    return means


def code_vectors(
    texts: np.ndarray, text_starts: np.ndarray, tables: Any, options: Any, codes: Any, width: int
) -> np.ndarray:
    """Do what the twin does, without a list of the rows."""
    _check_rows(len(codes.codes), tables, options)
    means, _ = loops().code_means(*_arguments(texts, text_starts, tables, options), _plain_codes(codes))
    return means[:, :width]


def split_texts(
    texts: np.ndarray, text_starts: np.ndarray, ends_texts: bool, label_prefix: bytes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Do what the twin does."""
    prefix = np.frombuffer(label_prefix, dtype=np.uint8)
    texts, text_starts = _read_only(texts, np.uint8), _read_only(text_starts, np.int64)
    _check_starts(texts, text_starts)
    numbers, starts, begins, ends, counts = loops().number_words(texts, text_starts, ends_texts, _END, prefix)
    word_starts = np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int64)
    return numbers, starts, loops().gathered(texts, begins, word_starts, _END), word_starts, counts


def word_rows(
    word_bytes: np.ndarray, word_starts: np.ndarray, tables: Any, options: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do what the twin does."""
    words, starts, plain, sizes, *_ = _arguments(word_bytes, word_starts, tables, options)
    found_starts, rows, hashes = loops().list_word_rows(words, starts, plain, sizes)
    return found_starts, rows, hashes


def _arguments(texts: np.ndarray, starts: np.ndarray, tables: Any, options: Any) -> tuple[Any, ...]:
    """Return what the loops take: arrays and numbers, all of one type each time."""
    texts, starts = _read_only(texts, np.uint8), _read_only(starts, np.int64)
    _check_starts(texts, starts)
    sizes = (options.shortest_ngram, options.longest_ngram, options.word_ngrams, options.buckets)
    prefix = np.frombuffer(options.label_prefix, dtype=np.uint8)
    dtypes = (np.uint8, np.int64, np.int32, np.int32, np.int32)
    plain = tuple(_read_only(table, dtype) for table, dtype in zip(tables, dtypes, strict=True))
    return texts, starts, plain, sizes, options.ends_texts, _END, prefix


def _plain_codes(codes: Any) -> tuple[np.ndarray, ...]:
    dtypes = (np.uint8, np.float32, np.uint8, np.float32)
    return tuple(_read_only(array, dtype) for array, dtype in zip(codes, dtypes, strict=True))


def _read_only(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a view that cannot be written: numba compiles anew for each mixture of arrays that can and cannot."""
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def _check_starts(texts: np.ndarray, starts: np.ndarray) -> None:
    # The loops check no bounds.
    if starts[0] != 0 or starts[-1] != len(texts) or (len(starts) > 2 and (starts[1:] < starts[:-1]).any()):
        raise ValueError(
            f"text_starts must rise from 0 to the {len(texts)} bytes of the texts, not {starts[[0, -1]]}."
        )


def _check_rows(rows: int, tables: Any, options: Any) -> None:
    with_ngrams = options.longest_ngram > 0 or options.word_ngrams > 1
    kept = len(tables.kept_buckets) if len(tables.bucket_slots) else options.buckets
    buckets = kept if with_ngrams else 0
    if rows < (needed := len(tables.word_starts) - 1 + buckets):
        raise ValueError(f"The matrix has {rows} rows; the words and the buckets of n-grams need {needed}.")

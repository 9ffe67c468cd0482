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

"""The one door to the kernels of words, which may be absent: no numba, or this file exported without its package.

Code exported to the Hub can meet another release of hfseq than it came from; `INTERFACE` must be equal on both sides,
or numpy does the work, as it does everywhere else.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .bag_text import TextOptions, TextTables
from .bag_text import split_texts as plain_split_texts
from .bag_text import text_features as plain_text_features
from .bag_text import word_rows as plain_word_rows

INTERFACE = 1


@lru_cache(maxsize=1)
def text_kernels() -> Any | None:
    """Import `hfseq.kernels.words.bag_text` at first use (numba takes a second); return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    bag_text = extras.kernels("words.bag_text", "Bags of words read texts many times slower")
    return bag_text if bag_text is not None and bag_text.INTERFACE == INTERFACE else None


@lru_cache(maxsize=1)
def predict_kernels() -> Any | None:
    """Import `hfseq.kernels.words.bag_predict` at first use; return None without it."""
    try:
        from hfseq import extras
    except ImportError:
        return None
    if text_kernels() is None:  # also with another interface
        return None
    return extras.kernels("words.bag_predict", "Bags of words predict many times slower")


def text_features(
    texts: np.ndarray, text_starts: np.ndarray, tables: TextTables, options: TextOptions
) -> tuple[np.ndarray, np.ndarray]:
    """List the rows of each text, see the function of `bag_text.py`."""
    kernels = text_kernels()
    return (kernels.text_features if kernels else plain_text_features)(texts, text_starts, tables, options)


def split_texts(
    texts: np.ndarray, text_starts: np.ndarray, ends_texts: bool, label_prefix: bytes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the words of texts numbers, see the function of `bag_text.py`."""
    kernels = text_kernels()
    return (kernels.split_texts if kernels else plain_split_texts)(texts, text_starts, ends_texts, label_prefix)


def word_rows(
    word_bytes: np.ndarray, word_starts: np.ndarray, tables: TextTables, options: TextOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the rows of each word, see the function of `bag_text.py`."""
    kernels = text_kernels()
    return (kernels.word_rows if kernels else plain_word_rows)(word_bytes, word_starts, tables, options)

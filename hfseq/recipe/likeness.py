"""How alike two texts are, as the simplest systems tell it: by the words that they share."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

Alike: TypeAlias = Callable[[Sequence[str], Sequence[str]], np.ndarray]

_WORD = re.compile(r"\w+")


def word_overlap(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Return the share of all words of two texts that both have."""
    words = [[{*_WORD.findall(text.lower())} for text in texts] for texts in (first, second)]
    return np.array([len(one & other) / max(len(one | other), 1) for one, other in zip(*words, strict=True)])


def tfidf_cosine(texts: Sequence[str], **options: Any) -> Alike:
    """Make the function that tells the cosine of the TF-IDF vectors of two texts.

    Args:
        texts: Those that tell how rare each word is.
        **options: Of scikit-learn's `TfidfVectorizer`, such as `ngram_range`.
    """
    table = TfidfVectorizer(**options).fit(texts)

    def alike(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        rows = table.transform(first).multiply(table.transform(second))  # of length 1 or 0
        return np.asarray(rows.sum(axis=1)).ravel()

    return alike

"""How many texts are read at once: beside one of 20,000 words, each text of its batch is padded to that length."""

from collections.abc import Sequence
from typing import Any, Final

from transformers import PreTrainedTokenizerBase

MOST_TOKENS: Final = 1 << 16
"""Tokens that are read at once, with padding: 256 texts of 256."""

_MOST_PAIRS: Final = 1 << 27
"""Pairs of tokens: what a mask of attention holds, five bytes each."""


def rows_at_once(longest: int) -> int:
    """Return how many texts of so many tokens are read at once; one text alone is always read."""
    longest = max(longest, 1)
    return max(min(MOST_TOKENS // longest, _MOST_PAIRS // longest**2), 1)


def batch_size_for(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str | dict[str, str]], most: int, **options: Any
) -> int:
    """Return how many of these texts a pipeline may read at once, in any order; `options` are the tokenizer's.

    Two texts that stand in a dict count together.
    """
    whole = (text if isinstance(text, str) else " ".join(text.values()) for text in texts)
    longest = tokenizer(max(whole, key=len, default=""), verbose=False, **options)["input_ids"]
    return min(most, rows_at_once(len(longest)))

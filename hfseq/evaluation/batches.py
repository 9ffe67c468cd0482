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
    """Return how many of these texts a pipeline may read at once, in any order.

    Args:
        tokenizer: That of the pipeline.
        texts: Each a string, or `text` and `text_pair`.
        most: As many at once if they are short.
        **options: Of the tokenizer.
    """
    rows: list[dict[str, str]] = [each if isinstance(each, dict) else {"text": each} for each in texts]
    longest = max(rows, key=lambda row: sum(map(len, row.values())), default={"text": ""})
    return min(most, rows_at_once(len(tokenizer(**longest, verbose=False, **options)["input_ids"])))

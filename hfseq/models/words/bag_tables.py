"""The tables of a bag: what a checkpoint's must be, and the character n-grams of a tokenizer's tokens."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .ascending import AscendingNumbers
from .tables import ngram_buckets

_MOST_COUNTED = 10**15  # `label_paths` calls nodes that are not there yet so frequent


def words_of(tokenizer: PreTrainedTokenizerBase, size: int) -> list[str | None]:
    """Return the token of each id below `size`; None for special tokens and for ids that have none.

    They are the tokens as the vocabulary writes them: marks of a space before a word ("\u2581", "\u0120") count as
    characters, and a letter that a byte-level tokenizer cuts into bytes counts as several.
    """
    special = set(tokenizer.all_special_ids)
    words = cast(list[str | None], tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer))))))
    words += [None] * (size - len(words))
    return [None if number in special else word for number, word in enumerate(words)]


def character_ngrams(
    words: Sequence[str | None], *, shortest: int, longest: int, buckets: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """List the character n-grams of each word, as `ngram_buckets`; what is None has none.

    Returns:
        starts: int64, (words + 1,): where the n-grams of each word begin in the next.
        found: int32: numbers below `buckets`.
    """
    spelt = [number for number, word in enumerate(words) if word is not None]
    starts, found = ngram_buckets(
        [word for word in words if word is not None], shortest=shortest, longest=longest, buckets=buckets
    )
    sizes = np.zeros(len(words) + 1, dtype=np.int64)
    sizes[1:][spelt] = np.diff(starts)
    return torch.from_numpy(np.cumsum(sizes)), torch.from_numpy(found.astype(np.int32))


def find_wrong(tables: dict[str, torch.Tensor], lists: dict[str, AscendingNumbers], buckets: int) -> list[str]:
    """Name the tables of a bag that would lead out of its arrays.

    Args:
        tables: The buffers of a model and its bag, by name.
        lists: What else they hold, packed.
        buckets: `config.ngram_buckets`.
    """
    wrong = []
    for name, listed in lists.items():
        try:
            tables = tables if listed.bits.is_meta else tables | {name: torch.from_numpy(listed.numbers().copy())}
        except ValueError:
            wrong.append(name)
    for starts, held in (("ngram_starts", "ngrams"), ("word_starts", "word_bytes")):
        if starts in tables:
            places = tables[starts]
            if places[0] != 0 or places[-1] > len(tables[held]) or bool((places.diff() < 0).any()):
                wrong.append(starts)
    for name in ("ngrams", "kept_buckets"):
        if name in tables and bool(((tables[name] < 0) | (tables[name] >= buckets)).any()):
            wrong.append(name)
    # Twice the same bucket, or in another order: a search in it would end at the wrong row.
    if "kept_buckets" in tables and bool((tables["kept_buckets"].diff() <= 0).any()):
        wrong.append("kept_buckets")
    counts = tables.get("label_counts")
    if counts is not None and bool(((counts < 0) | (counts >= _MOST_COUNTED)).any() or counts.sum() >= _MOST_COUNTED):
        wrong.append("label_counts")
    return list(dict.fromkeys(wrong))

"""Which rows of a bag's input matrix stand for a text that comes as token ids, and the paths of its labels.

Numpy on the CPU, wherever the vectors are: its small operations take a third of the time of torch's, and it has
numbers of 64 bits without sign. Texts of bytes have `bag_text.py`.

A word n-gram is hashed from the 32-bit hashes of its words, as fastText does; the hash of a token is that of its id.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from .bag_text import WORD_NGRAM_FACTOR
from .tables import FNV_OFFSET, FNV_PRIME

_NGRAM_FACTOR = np.uint64(WORD_NGRAM_FACTOR)


class TokenOptions(NamedTuple):
    """How a text of tokens is read.

    Attributes:
        words: Rows of words; those of buckets follow.
        word_ngrams: The longest run of words that counts.
        buckets: How many buckets n-grams share.
    """

    words: int
    word_ngrams: int
    buckets: int


class TokenTables(NamedTuple):
    """What is looked up for a text of tokens.

    Attributes:
        hashes: uint64, of each id, see `id_hashes`.
        ngram_starts: (V + 1,), where each word's character n-grams begin in the next; None without any.
        ngrams: Their buckets.
        bucket_rows: Of each bucket its place behind the words, -1 for one that lost its row; empty if all have one.
    """

    hashes: np.ndarray
    ngram_starts: np.ndarray | None
    ngrams: np.ndarray | None
    bucket_rows: np.ndarray


def id_hashes(size: int) -> np.ndarray:
    """Hash the four bytes of each id below `size`; a 32-bit number with sign, widened to uint64 as fastText does."""
    ids = np.arange(size, dtype=np.uint32)
    values = np.full(size, FNV_OFFSET)
    for shift in (0, 8, 16, 24):
        values = (values ^ ((ids >> np.uint32(shift)) & np.uint32(0xFF))) * FNV_PRIME
    return values.view(np.int32).astype(np.int64).view(np.uint64)


def token_features(
    ids: np.ndarray, lengths: np.ndarray, tables: TokenTables, options: TokenOptions
) -> tuple[np.ndarray, np.ndarray]:
    """List the features of texts: where each text's begin, (B + 1,), and their rows end to end, (F,).

    Args:
        ids: int64, the real tokens of all texts, end to end.
        lengths: (B,), the tokens of each text.
        tables: What is looked up.
        options: How the texts are read.
    """
    # The number of each token's text; for one text, which is what a model is mostly asked, there is nothing to sort.
    owner = np.repeat(np.arange(len(lengths)), lengths) if len(lengths) > 1 else None
    kinds = []
    if tables.ngram_starts is not None and tables.ngrams is not None:
        kinds.append(_character_ngrams(ids, owner, tables.ngram_starts, tables.ngrams))
    if options.word_ngrams > 1:
        kinds += _word_ngrams(tables.hashes[ids], owner, options)
    if len(tables.bucket_rows):
        kinds = [_with_rows(found, text, tables.bucket_rows) for found, text in kinds]
    rows = np.concatenate([ids, *(found + options.words for found, _ in kinds)]) if kinds else ids
    if owner is None:
        return np.array([0, len(rows)]), rows
    owners = np.concatenate([owner, *(text for _, text in kinds if text is not None)])
    begins = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(lengths)))])
    # A stable order: a text's features are then added in the same order whatever else is in the batch.
    return begins, rows[np.argsort(owners, kind="stable")]


# The three below return buckets, and the number of each one's text (None: there is one text).
_Found = tuple[np.ndarray, np.ndarray | None]


def _character_ngrams(ids: np.ndarray, owner: np.ndarray | None, starts: np.ndarray, ngrams: np.ndarray) -> _Found:
    """Return those of all words, one word's after the other's."""
    first = starts[ids]
    sizes = starts[ids + 1] - first
    ends = np.cumsum(sizes)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + sizes, sizes)
    return ngrams[places], None if owner is None else np.repeat(owner, sizes)


def _word_ngrams(hashes: np.ndarray, owner: np.ndarray | None, options: TokenOptions) -> list[_Found]:
    """Return those of all runs of 2, 3 ... words that lie within a text, for each length."""
    found: list[_Found] = []
    runs = hashes
    for length in range(2, options.word_ngrams + 1):
        runs = runs[:-1] * _NGRAM_FACTOR + hashes[length - 1 :]
        buckets = (runs % np.uint64(options.buckets)).view(np.int64)
        if owner is None:
            found.append((buckets, None))
        else:
            inside = owner[: len(runs)] == owner[length - 1 :]
            found.append((buckets[inside], owner[: len(runs)][inside]))
    return found


def _with_rows(found: np.ndarray, text: np.ndarray | None, rows: np.ndarray) -> _Found:
    """Leave out the buckets that lost their row, and number the others anew."""
    places = rows[found]
    stays = places >= 0
    return places[stays], None if text is None else text[stays]


def path_scores(scores: torch.Tensor, paths: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the logarithm of each label's probability, (B, L), from the scores of the inner nodes (B, L - 1).

    Args:
        paths: See `label_paths`.
    """
    starts, nodes, turns = paths
    owner = torch.repeat_interleave(starts[1:] - starts[:-1])
    steps = F.logsigmoid(scores[:, nodes.long()] * (2 * turns - 1).to(scores.dtype))
    return scores.new_zeros(len(scores), len(starts) - 1).index_add(1, owner, steps)

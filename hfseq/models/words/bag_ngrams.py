"""Which rows of a bag's input matrix stand for a text that comes as token ids, and the paths of its labels.

Plain torch on any device. Texts of bytes have `bag_text.py`.

A word n-gram is hashed from the 32-bit hashes of its words, as fastText does; the hash of a token is that of its id.
"""

import torch
from torch.nn import functional as F

from ..ragged import ragged_places

_OFFSET, _PRIME = 2166136261, 16777619  # of the hash FNV-1a
NGRAM_FACTOR = 116049371  # fastText's


def id_hashes(ids: torch.Tensor) -> torch.Tensor:
    """Hash the four bytes of each id (int64) to a signed 32-bit number."""
    values = torch.full_like(ids, _OFFSET)
    for shift in (0, 8, 16, 24):
        values = ((values ^ ((ids >> shift) & 0xFF)) * _PRIME) & 0xFFFFFFFF
    return values - ((values >> 31) << 32)


def ngram_bucket(hashes: torch.Tensor, buckets: int) -> torch.Tensor:
    """Return which bucket each 64-bit hash belongs to, read as a number without sign."""
    rest = (hashes & 0x7FFFFFFFFFFFFFFF) % buckets
    # torch has no arithmetic of uint64: the highest bit counts 2**63.
    return (rest + (hashes < 0) * ((1 << 63) % buckets)) % buckets


def run_buckets(hashes: torch.Tensor, owner: torch.Tensor, longest: int, buckets: int) -> list[torch.Tensor]:
    """Return the buckets of all runs of 2, 3 ... `longest` words that lie within a text.

    Args:
        hashes: int64, (words of all texts,).
        owner: (words of all texts,), the number of each word's text.

    Returns:
        For each length a pair of rows: the text, and the bucket.
    """
    found, runs = [], hashes
    for length in range(2, longest + 1):
        runs = runs[: len(hashes) - length + 1] * NGRAM_FACTOR + hashes[length - 1 :]
        inside = owner[: len(runs)] == owner[length - 1 :]
        found.append(torch.stack([owner[: len(runs)][inside], ngram_bucket(runs[inside], buckets)]))
    return found


def token_features(
    ids: torch.Tensor,
    owner: torch.Tensor,
    *,
    words: int,
    word_ngrams: int,
    buckets: int,
    tables: tuple[torch.Tensor, torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """List the features of texts: the owner (a text's number) and the row of each, (F,), texts in order.

    Args:
        ids: int64, the real tokens of all texts, end to end.
        owner: int64, the number of each token's text, ascending.
        words: Rows of words; those of buckets follow.
        word_ngrams: The longest run of words that counts.
        tables: `ngram_starts` and `ngrams`: the buckets of each word's character n-grams.
    """
    kinds = [torch.stack([owner, ids])]
    if tables is not None:
        starts, ngrams = tables
        which, place = ragged_places(starts[ids], starts[ids + 1] - starts[ids])
        kinds.append(torch.stack([owner[which], ngrams[place].long() + words]))
    if word_ngrams > 1:
        runs = run_buckets(id_hashes(ids), owner, word_ngrams, buckets)
        kinds += [torch.stack([text, bucket + words]) for text, bucket in runs]
    owners, rows = torch.cat(kinds, dim=1)
    # A stable order: a text's features are then added in the same order whatever else is in the batch.
    order = owners.argsort(stable=True)
    return owners[order], rows[order]


def path_scores(scores: torch.Tensor, paths: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the logarithm of each label's probability, (B, L), from the scores of the inner nodes (B, L - 1).

    Args:
        paths: See `label_paths`.
    """
    starts, nodes, turns = paths
    owner = torch.repeat_interleave(starts[1:] - starts[:-1])
    steps = F.logsigmoid(scores[:, nodes.long()] * (2 * turns - 1))
    return scores.new_zeros(len(scores), len(starts) - 1).index_add(1, owner, steps)

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
    # torch has no arithmetic of uint64: a hash that looks negative stands for 2**64 more.
    rest = torch.sub(hashes % buckets, hashes >> 63, alpha=(1 << 64) % buckets)
    return rest % buckets


def run_buckets(
    hashes: torch.Tensor, owner: torch.Tensor | None, longest: int, buckets: int
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Return the buckets of all runs of 2, 3 ... `longest` words that lie within a text.

    Args:
        hashes: int64, (words of all texts,).
        owner: (words of all texts,), the number of each word's text; None if there is one text.

    Returns:
        For each length the buckets, and the number of each one's text.
    """
    found, runs = [], hashes
    for length in range(2, longest + 1):
        runs = torch.add(hashes[length - 1 :], runs[: len(hashes) - length + 1], alpha=NGRAM_FACTOR)
        if owner is None:
            found.append((ngram_bucket(runs, buckets), owner))
        else:
            inside = owner[: len(runs)] == owner[length - 1 :]
            found.append((ngram_bucket(runs[inside], buckets), owner[: len(runs)][inside]))
    return found


def token_features(
    ids: torch.Tensor,
    lengths: torch.Tensor,
    *,
    words: int,
    hashes: torch.Tensor | None,
    word_ngrams: int,
    buckets: int,
    tables: tuple[torch.Tensor, torch.Tensor] | None,
    kept: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """List the features of texts: their rows end to end, (F,), and where each text's begin, (B,).

    Args:
        ids: int64, the real tokens of all texts, end to end.
        lengths: int64, (B,), the tokens of each text.
        words: Rows of words; those of buckets follow.
        hashes: Of each id, for runs of words, see `id_hashes`.
        word_ngrams: The longest run of words that counts.
        tables: `ngram_starts` and `ngrams`: the buckets of each word's character n-grams.
        kept: The buckets that have a row, ascending; None: all.
    """
    owner = torch.repeat_interleave(lengths) if len(lengths) > 1 else None
    kinds = []
    if tables is not None:
        starts, ngrams = tables
        which, place = ragged_places(starts[ids], starts[ids + 1] - starts[ids])
        kinds.append((ngrams[place].long(), None if owner is None else owner[which]))
    if word_ngrams > 1 and hashes is not None:
        kinds += run_buckets(hashes[ids], owner, word_ngrams, buckets)
    if kept is not None:
        kinds = [_places_of(found, text, kept) for found, text in kinds]
    rows = torch.cat([ids, *(found + words for found, _ in kinds)]) if kinds else ids
    if owner is None:
        return rows, torch.zeros_like(lengths)
    owners = torch.cat([owner, *(text for _, text in kinds if text is not None)])
    # A stable order: a text's features are then added in the same order whatever else is in the batch.
    sizes = torch.bincount(owners, minlength=len(lengths))
    return rows[owners.argsort(stable=True)], sizes.cumsum(0) - sizes


def _places_of(
    found: torch.Tensor, text: torch.Tensor | None, kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Leave out the buckets that lost their row, and number the others anew."""
    if len(kept) == 0:
        return found[:0], None if text is None else text[:0]
    places = torch.searchsorted(kept, found.to(kept.dtype))
    stays = kept[places.clamp(max=len(kept) - 1)] == found
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

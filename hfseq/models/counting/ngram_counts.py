"""Counting n-grams and smoothing the counts, all at once in numpy; the equations stand in `ngram.py`.

An n-gram's key is (row of its first words among the n-grams one shorter) * V + id of its last word; keys are sorted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers.utils import logging

from ..inputs import check_range


class Corpus(NamedTuple):
    """Documents end to end, a boundary before each, if there is such a token.

    Attributes:
        ids: int64, (tokens,).
        depth: int64, (tokens,): how many words before each belong to its context.
        is_event: bool, (tokens,): whether the token is predicted.
        has_boundaries: Whether there is such a token.
    """

    ids: np.ndarray
    depth: np.ndarray
    is_event: np.ndarray
    has_boundaries: bool


class Level(NamedTuple):
    """The n-grams of one order.

    Attributes:
        keys: int64, (N,); of order 1 the whole vocabulary.
        counts: int64, (N,).
    """

    keys: np.ndarray
    counts: np.ndarray


def read_corpus(
    documents: Iterable[Sequence[int] | np.ndarray],
    *,
    vocab_size: int,
    boundary_ids: Sequence[int] = (),
    impossible_ids: Sequence[int] = (),
    bos_token_id: int | None = None,
) -> Corpus:
    """Check documents and join them.

    Args:
        boundary_ids: Tokens that no context looks back past; the first is put before documents without one.
        impossible_ids: Tokens that are never predicted; padding among them must not occur at all.
        bos_token_id: A document may begin with it; it is then context, and is not predicted.
    """
    pieces = [ids for ids in map(_checked, documents) if ids.size]
    if not pieces:
        raise ValueError("There is nothing to count: the documents are empty.")
    # Keys are row * V + word, which int32 ids would overflow.
    ids = np.concatenate(pieces).astype(np.int64)
    check_range("token id", torch.from_numpy(ids), vocab_size, f" (config.vocab_size={vocab_size})")
    padding = ids[np.isin(ids, [token for token in impossible_ids if token != bos_token_id])]
    if len(padding):
        raise ValueError(
            f"The documents hold the id {padding[0]}, which is padding, {len(padding)} times: leave it out, or set "
            "pad_token_id=None if it is a word."
        )
    first = np.cumsum([0, *map(len, pieces)])[:-1]
    is_context = np.isin(ids, list(impossible_ids))
    # A document that begins with bos has its boundary; the others get one put before them.
    bare = first
    if bos_token_id is not None:
        bare = first[ids[first] != bos_token_id]
        is_context[np.setdiff1d(first, bare)] = True
    if is_context.all():
        raise ValueError("There is nothing to count: the documents have no token besides the one that begins them.")
    if not boundary_ids:
        depth = np.arange(len(ids)) - np.repeat(first, np.diff(first, append=len(ids)))
        return Corpus(ids, depth, ~is_context, False)
    ids, is_context = np.insert(ids, bare, boundary_ids[0]), np.insert(is_context, bare, True)
    place = np.arange(len(ids))
    # The last boundary before each token, itself included; its own context reaches back to the one before.
    boundary = np.maximum.accumulate(np.where(np.isin(ids, boundary_ids), place, 0))
    depth = place - np.concatenate([[0], boundary[:-1]])
    return Corpus(ids, depth, ~is_context, True)


def _checked(document: Sequence[int] | np.ndarray) -> np.ndarray:
    ids = np.asarray(document)
    if ids.size and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
        raise ValueError(
            f"A document is a sequence of token ids, got {str(document)[:40]!r} ({ids.dtype}, {ids.ndim} dimensions)."
        )
    return ids


def count_ngrams(corpus: Corpus, *, order: int, vocab_size: int, continuations: bool) -> list[Level]:
    """Count the n-grams of each order from 1 to `order`.

    Args:
        order: Words of the longest.
        continuations: Count for all orders but the highest the different words before, instead of occurrences; where
            nothing can stand before, occurrences.
    """
    rows = corpus.ids  # of the k-gram that ends at each place, among those of its order
    place = np.flatnonzero(corpus.is_event)
    levels = [Level(np.arange(vocab_size), np.bincount(rows[place], minlength=vocab_size))]
    # transformers' bar, since code that travels with a checkpoint has no other of ours.
    for k in logging.tqdm(range(2, order + 1), desc="Counting n-grams", unit="order", delay=1, leave=None):
        first = rows[place[corpus.depth[place] == k - 2]]  # (k-1)-grams with nothing before them
        # Where the document or the sentence is too young there is no n-gram of this order.
        place = place[corpus.depth[place] >= k - 1]
        keys, inverse, counts = np.unique(
            rows[place - 1] * vocab_size + corpus.ids[place], return_inverse=True, return_counts=True
        )
        if continuations:
            ends = np.empty(len(keys), dtype=np.int64)  # the last k - 1 words of each k-gram
            ends[inverse] = rows[place]
            # Without a boundary token the beginning counts as one more word, however many documents begin that way.
            if not corpus.has_boundaries:
                first = np.unique(first)
            shorter = levels.pop()
            size = len(shorter.keys)
            before = np.bincount(ends, minlength=size) + np.bincount(first, minlength=size)
            levels.append(Level(shorter.keys, before))
        levels.append(Level(keys, counts))
        # The row of this order's n-gram at each place is the first part of the next order's key.
        rows = np.full(len(corpus.ids), -1)
        rows[place] = inverse
    return levels


def kneser_ney_discounts(counts: np.ndarray, kind: str) -> np.ndarray:
    """Return D_0 (which is 0), D_1, D_2 and D_3, from the counts of one order.

    Args:
        counts: int64, (N,).
        kind: "modified" or "single".
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)  # n[r]: how many have the count r
    r = np.arange(1, 4)
    # A toy corpus, or one of letters, may lack n-grams of some count: the estimate is then no number in (0, r].
    with np.errstate(divide="ignore", invalid="ignore"):
        y = n[1] / (n[1] + 2 * n[2])
        discounts = r - (r + 1) * y * n[2:5] / n[1:4] if kind == "modified" else np.full(3, y)
    if not ((discounts > 0) & (discounts <= r)).all():  # nan is not
        discounts = r / 2
    return np.concatenate([[0.0], discounts])


def kneser_ney(context: np.ndarray, counts: np.ndarray, num_contexts: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Smooth one order by absolute discounting.

    Args:
        context: int64, (N,): row of each n-gram's context.
        counts: int64, (N,).
        num_contexts: How many contexts there are.

    Returns:
        Each n-gram's share (N,) and each context's gamma (num_contexts,), float64.
    """
    # What is taken from a context's counts is what its gamma has to give to the shorter context.
    taken = kneser_ney_discounts(counts, kind)[np.minimum(counts, 3)]
    left = np.bincount(context, weights=taken, minlength=num_contexts)
    total = np.bincount(context, weights=counts, minlength=num_contexts)
    return (counts - taken) / total[context], _ratio(left, total)


def add_k(
    context: np.ndarray, counts: np.ndarray, num_contexts: int, k: float, num_predictable: int
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth one order as if each of `num_predictable` words had been seen k times more; as `kneser_ney`."""
    left = np.full(num_contexts, k * num_predictable, dtype=float)
    total = np.bincount(context, weights=counts, minlength=num_contexts) + left
    return counts / total[context], _ratio(left, total)


def _ratio(left: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return gamma = left / total, 1 for contexts that nothing follows."""
    return np.divide(left, total, out=np.ones(len(total)), where=total > 0)

"""Dense arithmetic behind word-vector queries: unit vectors, cosines, and the best few of many scores.

Shapes: N words, D dimension, Q queries.
"""

from collections.abc import Iterator

import numpy as np

_QUERIES, _ROWS, _GROUP = 128, 4096, 16  # 2 MB of scores at a time, whatever N and Q
_GATHERED = 1 << 22  # numbers
_FOLDS = 64
_ROUNDING = 1e-6  # cosines of one matrix product and of another agree to this


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """Scale to length 1 (D,); a vector of zeros stays as it is."""
    # In float64, as gensim does: a length that is off in float32 would change which neighbours tie.
    wide = vector.astype(np.float64)
    length = np.sqrt(wide @ wide)
    if not length > 0:
        return vector
    unit = wide * (1 / length)
    return unit.astype(vector.dtype) if np.issubdtype(vector.dtype, np.floating) else unit


def divide_rows(vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Divide each row (N, D) by its length (N,); rows of length 0 stay zeros."""
    return vectors / np.where(lengths == 0, 1, lengths)[:, None]


def row_cosines(vectors: np.ndarray, lengths: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the cosines (N,) of a unit vector (D,) with rows (N, D); NaN for a row of zeros."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.dot(vectors, query)
        scores /= lengths
        return scores


def best_indices(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the `count` highest of (N,) scores, the highest first and NaN last.

    Equal scores come in the order of numpy's partial sort, as they do in gensim.
    """
    # The fast way sees only few scores, so it cannot order ties as a partial sort of all of them does.
    best = _best_if_distinct(scores, _fold(scores[:, None])[0], count)
    if best is not None:
        return best
    falling = -scores
    if count >= scores.size:
        return np.argsort(falling)[:count]
    chosen = np.argpartition(falling, count)[:count]
    return chosen[np.argsort(falling[chosen])]


def best_of_many(
    vectors: np.ndarray, lengths: np.ndarray, queries: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
    """Find the `count` rows of highest cosine for each query, by matrix products small enough for the CPU's cache.

    Args:
        vectors: (N, D).
        lengths: (N,), of these rows.
        queries: (Q, D), of length 1.
        count: how many rows to give.

    Yields:
        Indices and cosines (count,) of the next query, the best first; or None where two of them are too close for
        one product to order them as another would, and the query has to be asked alone.
    """
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES]
        # Only the highest score of each group is kept: to write Q x N scores to memory would take longer than the
        # product.
        rows = _candidates_of_groups(_highest_of_groups(vectors, lengths, part), count, len(vectors))
        # Each query has candidate rows of its own, which are copied: a few queries at a time, to bound the memory.
        few = max(1, _GATHERED // (rows.shape[1] * vectors.shape[1]))
        for first in range(0, len(part), few):
            yield from _ranked(vectors, lengths, part[first : first + few], rows[first : first + few], count)


def _ranked(
    vectors: np.ndarray, lengths: np.ndarray, queries: np.ndarray, rows: np.ndarray, count: int
) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
    """Compare each query (Q, D) with its own candidates (Q, R); those behind the last row (N) are none."""
    found = np.minimum(rows, len(vectors) - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.matmul(vectors[found], queries[:, :, None])[:, :, 0] / lengths[found]
    scores[rows >= len(vectors)] = np.nan  # sorted last, as are rows of zeros
    order = np.argsort(-scores, axis=1)[:, : count + 1]
    best = np.take_along_axis(scores, order, axis=1)
    indices = np.take_along_axis(found, order, axis=1)
    distinct: np.ndarray = np.all(np.diff(best, axis=1) < -_ROUNDING, axis=1)  # NaN is not
    distinct &= len(vectors) > count
    for line, numbers, is_distinct in zip(best, indices, distinct, strict=True):
        yield (numbers[:count], line[:count]) if is_distinct else None


def _highest_of_groups(vectors: np.ndarray, lengths: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the highest cosine within each 16 successive rows: (Q, N / 16, rounded up)."""
    highest = np.full((-(-len(vectors) // _GROUP), len(queries)), -np.inf, dtype=vectors.dtype)
    # Transposed once: the product of each block reads them again.
    columns = np.ascontiguousarray(queries.T)
    # A row of zeros, which has no cosine, counts as 0 here; it is put last where the candidates are compared.
    shares = 1 / np.where(lengths == 0, np.inf, lengths).astype(vectors.dtype)[:, None]
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        scores = block @ columns
        scores *= shares[start : start + _ROWS]
        full, first = len(block) // _GROUP, start // _GROUP
        grouped = scores[: full * _GROUP].reshape(full, _GROUP, len(queries))
        grouped.max(axis=1, out=highest[first : first + full])
        if full * _GROUP < len(block):
            scores[full * _GROUP :].max(axis=0, out=highest[first + full])
    return np.ascontiguousarray(highest.T)


def _candidates_of_groups(highest: np.ndarray, count: int, size: int) -> np.ndarray:
    """Choose few rows for each query (Q, R), with the `count` + 1 best: all rows of the best `count` + 2 groups."""
    groups = np.broadcast_to(np.arange(highest.shape[1]), highest.shape)
    # The best `count` + 1 rows lie in as many groups at the most. One more group makes a tie at the edge visible.
    if count + 2 < highest.shape[1]:
        groups = np.argpartition(-highest, count + 1, axis=1)[:, : count + 2]
    return (groups[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(len(highest), -1)


def _fold(scores: np.ndarray) -> np.ndarray:
    """Fold columns (N, Q) to 1/64 of their length, keeping the highest of what meets: (Q, N // 64)."""
    # The rest of fewer than 64 scores is looked at by `_candidates` itself.
    width = len(scores) // _FOLDS
    folded = np.fmax.reduce(scores[: width * _FOLDS].reshape(_FOLDS, width, scores.shape[1]), axis=0)
    return np.ascontiguousarray(folded.T)


def _best_if_distinct(scores: np.ndarray, folded: np.ndarray, count: int) -> np.ndarray | None:
    """Return the indices of the best, or None if two neighbours in rank, up to the first one left out, tie."""
    candidates = _candidates(scores, folded, count + 1)
    ranked = candidates[np.argsort(-scores[candidates])][: count + 1]
    distinct = np.all(-np.diff(scores[ranked]) > 0)  # NaN is not
    return ranked[:count] if distinct and len(ranked) > min(count, scores.size - 1) else None


def _candidates(scores: np.ndarray, folded: np.ndarray, count: int) -> np.ndarray:
    """Choose few indices, with the `count` highest of the scores (N,) among them.

    At least `count` scores reach the count-th highest of the folded ones, which is found in 1/64 of the time.
    """
    width = len(folded)
    if count > width:
        return np.arange(len(scores))
    floor = -np.partition(-folded, count - 1)[count - 1]
    columns = np.flatnonzero(folded >= floor)
    folds, hits = np.nonzero(scores[: _FOLDS * width].reshape(_FOLDS, width)[:, columns] >= floor)
    rest = np.flatnonzero(scores[_FOLDS * width :] >= floor) + _FOLDS * width
    return np.concatenate((folds * width + columns[hits], rest))

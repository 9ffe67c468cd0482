"""Dense arithmetic behind word-vector queries: unit vectors, cosines, and the best few of many scores.

Shapes: N words, D dimension, Q queries.
"""

from collections.abc import Iterator

import numpy as np

_CHUNK_BYTES = 64 * 2**20  # of scores that are held at once, whatever N and Q
_FOLDS = 64
_ROUNDING = 1e-6  # cosines of one matrix product and of another agree to this


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """Scale to length 1 (D,); a vector of zeros stays as it is."""
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
    """Cosines (N,) of a unit vector (D,) with rows (N, D); NaN for a row of zeros, which has no direction."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.dot(vectors, query)
        scores /= lengths
        return scores


def best_indices(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest of (N,) scores, the highest first and NaN last.

    Equal scores come in the order of numpy's partial sort, as they do in gensim.
    """
    best = _best_if_distinct(scores, _fold(scores[:, None])[0], count, gap=0.0)
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
    """The `count` rows of highest cosine for each query, in one matrix product per chunk of bounded memory.

    Args:
        vectors: (N, D).
        lengths: (N,), of these rows.
        queries: (Q, D), of length 1.
        count: how many rows to give.

    Yields:
        Indices and cosines (count,) of the next query, the best first; or None where two of them are too close for
        one product to order them as another would, and the query has to be asked alone.
    """
    width = max(1, _CHUNK_BYTES // (vectors.itemsize * max(1, len(vectors))))
    for start in range(0, len(queries), width):
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.matmul(vectors, queries[start : start + width].T)  # (N, width)
            scores /= lengths[:, None]
        for column, folded in zip(scores.T, _fold(scores), strict=True):
            best = _best_if_distinct(column, folded, count, gap=_ROUNDING)
            yield None if best is None else (best, column[best])


def _fold(scores: np.ndarray) -> np.ndarray:
    """Fold columns (N, Q) to 1/64 of their length, keeping the highest of what meets: (Q, N // 64)."""
    width = len(scores) // _FOLDS
    folded = np.fmax.reduce(scores[: width * _FOLDS].reshape(_FOLDS, width, scores.shape[1]), axis=0)
    return np.ascontiguousarray(folded.T)


def _best_if_distinct(scores: np.ndarray, folded: np.ndarray, count: int, gap: float) -> np.ndarray | None:
    """Indices of the best, or None if a neighbour in rank, the first one left out included, is within `gap`."""
    candidates = _candidates(scores, folded, count + 1)
    ranked = candidates[np.argsort(-scores[candidates])][: count + 1]
    distinct = np.all(-np.diff(scores[ranked]) > gap)  # NaN is not
    return ranked[:count] if distinct and len(ranked) > min(count, scores.size - 1) else None


def _candidates(scores: np.ndarray, folded: np.ndarray, count: int) -> np.ndarray:
    """Few indices, with the `count` highest of the scores (N,) among them.

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

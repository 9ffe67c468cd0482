"""Product quantization of rows: the centroids are found by k-means, each piece of a row by itself (Jegou et al. 2011).

numpy alone, in sums whose order does not depend on threads: the same seed gives the same bytes on any number of them.
"""

from typing import NamedTuple

import numpy as np

from ...models.words.quantized_rows import CENTROIDS

SAMPLED_ROWS = 32_768  # that k-means looks at: 128 a centroid; more change the centroids by little
ROUNDS = 20
_LEAST_WEIGHT = 1e-6  # as a share of the mean: rows that nothing tells of still get a centroid near them
_BLOCK = 2048  # rows whose distances to all centroids stay in a cache


class Quantized(NamedTuple):
    """Rows in bytes, as `QuantizedRows` holds them."""

    codes: np.ndarray
    """uint8, (R, M)."""
    centroids: np.ndarray
    """float32, (M, 256, d)."""
    norm_codes: np.ndarray | None
    """uint8, (R,)."""
    norm_centroids: np.ndarray | None
    """float32, (256,)."""

    def rows(self, width: int) -> np.ndarray:
        """Return the rows that the bytes stand for, float32, (R, width)."""
        pieces = [centroids[codes] for centroids, codes in zip(self.centroids, self.codes.T, strict=True)]
        rows = np.concatenate(pieces, axis=1)[:, :width]
        if self.norm_codes is None or self.norm_centroids is None:
            return rows
        return rows * self.norm_centroids[self.norm_codes][:, None]


def quantize(
    rows: np.ndarray, pieces: int, *, norms: bool, weights: np.ndarray | None = None, seed: int = 0
) -> Quantized:
    """Write rows in `pieces` bytes each, and in one more for their length if `norms`.

    Args:
        weights: (R,), how much each row counts; None: all alike.
    """
    rng = np.random.default_rng(seed)
    sample, shares = _sample(len(rows), weights, rng)
    norm_codes = norm_centroids = None
    if norms:
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(lengths > 0, lengths, 1)
        lengths = lengths.astype(np.float32)
        norm_centroids = means(lengths[sample], rng, shares)
        norm_codes = nearest(lengths, norm_centroids)
        norm_centroids = norm_centroids[:, 0]
    width = -(-rows.shape[1] // pieces)
    padded = np.zeros((len(rows), pieces * width), dtype=np.float32)
    padded[:, : rows.shape[1]] = rows
    found = []
    for points in np.split(padded, pieces, axis=1):
        centroids = means(points[sample], rng, shares)
        found.append((nearest(points, centroids), centroids))
    return Quantized(
        codes=np.stack([codes for codes, _ in found], axis=1),
        centroids=np.stack([centroids for _, centroids in found]),
        norm_codes=norm_codes,
        norm_centroids=norm_centroids,
    )


def _sample(count: int, weights: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Which rows k-means looks at, and how much each counts. Of many rows those that count more are drawn more often.
    if weights is None or not weights.any():
        weights = np.ones(count)
    if count <= SAMPLED_ROWS:
        return np.arange(count), weights / weights.mean() + _LEAST_WEIGHT
    return np.sort(rng.choice(count, SAMPLED_ROWS, p=weights / weights.sum())), np.ones(SAMPLED_ROWS)


def means(points: np.ndarray, rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Find 256 centroids (256, d) of points (N, d); exact where there are no more distinct points than that.

    Args:
        weights: (N,), above 0: how much each point counts.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    distinct = _distinct(points)
    if len(distinct) <= CENTROIDS:
        distinct = distinct if len(distinct) else np.zeros((1, points.shape[1]), dtype=np.float32)
        return np.pad(distinct, ((0, CENTROIDS - len(distinct)), (0, 0)), mode="edge")
    # In one dimension the quantiles are a far better start than a draw.
    if points.shape[1] == 1:
        chosen = np.linspace(0, len(distinct) - 1, CENTROIDS).round().astype(np.int64)
    else:
        chosen = rng.choice(len(distinct), CENTROIDS, replace=False)
    centroids = distinct[np.sort(chosen)]
    for _ in range(ROUNDS):
        owners = nearest(points, centroids).astype(np.int64)
        moved = _centres(points, weights, owners, centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _distinct(points: np.ndarray) -> np.ndarray:
    # numpy's unique rows compare byte by byte, which takes longer than all of k-means.
    ordered = points[np.lexsort(points.T)]
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[np.concatenate([np.ones(min(len(ordered), 1), dtype=bool), differs])]


def _centres(points: np.ndarray, weights: np.ndarray, owners: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    # The mean of each centroid's points; one without points goes to a point that is badly served.
    totals = np.bincount(owners, weights, minlength=CENTROIDS)
    sums = [np.bincount(owners, column * weights, minlength=CENTROIDS) for column in points.T]
    empty = np.flatnonzero(totals == 0)
    totals[empty] = 1
    moved = (np.stack(sums, axis=1) / totals[:, None]).astype(np.float32)
    if len(empty):
        gaps = ((points - centroids[owners]) ** 2).sum(axis=1) * weights
        moved[empty] = points[np.argsort(-gaps, kind="stable")[: len(empty)]]
    return moved[np.argsort(moved[:, 0], kind="stable")] if points.shape[1] == 1 else moved


def nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the number (uint8) of the centroid that is nearest to each point."""
    if points.shape[1] == 1:
        order = np.argsort(centroids[:, 0], kind="stable")
        line = centroids[order, 0].astype(np.float64)
        return order[np.searchsorted((line[1:] + line[:-1]) / 2, points[:, 0])].astype(np.uint8)
    found = np.empty(len(points), dtype=np.uint8)
    halves = (centroids**2).sum(axis=1) / 2
    scores, term = np.empty((2, min(_BLOCK, len(points)), CENTROIDS), dtype=np.float32)
    columns = np.ascontiguousarray(centroids.T, dtype=np.float32)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        score = scores[: len(block)]
        # p.c - c.c/2 is greatest where c is nearest. Sums element by element: BLAS adds in an order of its own.
        np.multiply(block[:, :1], columns[0], out=score)
        score -= halves
        for place in range(1, len(columns)):
            score += np.multiply(block[:, place : place + 1], columns[place], out=term[: len(block)])
        found[start : start + _BLOCK] = score.argmax(axis=1)
    return found

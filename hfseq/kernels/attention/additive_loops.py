"""The loops of `additive.py` in numba; arrays are float32, or all float64."""

from typing import Any

import numpy as np
from numba import njit

# Sums may be added in another order, eight or sixteen at a time; NaN and infinity stay what they are.
FLAGS: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": {"reassoc", "contract", "nsz"}}


@njit(**FLAGS, cache=True)
def forward(queries, keys, v, total):
    """Fill the sums of v r."""
    one = np.float32(1)
    for row in range(len(queries)):
        for t in range(queries.shape[1]):
            query = queries[row, t]
            for s in range(keys.shape[1]):
                key, found = keys[row, s], np.float32(0)
                for h in range(len(v)):
                    found += v[h] / (query[h] * key[h] + one)
                total[row, t, s] = found


@njit(**FLAGS, cache=True)
def backward(queries, keys, v, d_scores, d_queries, d_keys, d_v):
    """Add the sums of d v r (1 - r) for queries and keys, and of d r for v."""
    one = np.float32(1)
    for row in range(len(queries)):
        d_own = d_v[row]
        for t in range(queries.shape[1]):
            query, d_query = queries[row, t], d_queries[row, t]
            for s in range(keys.shape[1]):
                # Padding has no gradient, neither of the source nor of the target.
                d = d_scores[row, t, s]
                if d == 0:
                    continue
                key, d_key = keys[row, s], d_keys[row, s]
                for h in range(len(v)):
                    r = one / (query[h] * key[h] + one)
                    d_own[h] += d * r
                    d_sum = d * v[h] * (r - r * r)
                    d_query[h] += d_sum
                    d_key[h] += d_sum

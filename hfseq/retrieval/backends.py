"""Approximate search by libraries that may be installed: graphs of neighbours (HNSW, Malkov and Yashunin 2018).

Each takes rows of length 1 (N, D), and gives a function from queries of length 1 (Q, D) and a count to the places and
cosines (Q, count) of what it found. A graph is never saved: theirs are files that only trusted hands may load.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Search: TypeAlias = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

_LINKS, _BUILT, _SEARCHED = 16, 200, 64  # neighbours a row is linked to; candidates in building, in search at least


def _hnswlib(vectors: np.ndarray) -> Search:
    try:
        from hnswlib import Index
    except ImportError as error:
        raise ImportError("backend='hnswlib' needs that library: pip install hnswlib") from error
    graph = Index(space="ip", dim=vectors.shape[1])
    graph.init_index(max_elements=len(vectors), M=_LINKS, ef_construction=_BUILT)
    graph.add_items(vectors)

    def search(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        graph.set_ef(max(_SEARCHED, 2 * count))
        try:
            places, distances = graph.knn_query(queries, k=count)
        except RuntimeError as error:
            raise _too_few("hnswlib", count) from error
        return places.astype(np.int64), 1 - distances

    return search


def _faiss(vectors: np.ndarray) -> Search:
    try:
        import faiss
    except ImportError as error:
        raise ImportError("backend='faiss' needs that library: pip install faiss-cpu") from error
    graph = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _BUILT
    graph.add(vectors)

    def search(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        graph.hnsw.efSearch = max(_SEARCHED, 2 * count)
        cosines, places = graph.search(queries, count)
        if (places < 0).any():  # its sign for nothing found, and Python's for the last row
            raise _too_few("faiss", count)
        return places, cosines

    return search


def _too_few(library: str, count: int) -> RuntimeError:
    return RuntimeError(f"{library} reached fewer than {count} rows: take a smaller k, or backend='exact'.")


APPROXIMATE: dict[str, Callable[[np.ndarray], Search]] = {"hnswlib": _hnswlib, "faiss": _faiss}

"""Exact nearest rows by cosine: `SearchIndex` against scikit-learn's brute force and gensim, on the same vectors.

    python benchmarks/retrieval.py

100,000 random rows of 100 numbers, the 10 nearest of each query. Rivals take turns, one thread each, work per CPU
second; before the clock starts all must have found the same rows. Real vectors have the same cost: no rival skips any.
"""

import logging
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from gensim.models import KeyedVectors as GensimVectors
from measure import median_ratio, take_turns, write_result
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from hfseq import SearchIndex

PEER, ROUNDS = "scikit-learn", 11
ROWS, WIDTH, BATCH, FOUND = 100_000, 100, 100, 10


def compared(queries: np.ndarray, index: SearchIndex, peer: NearestNeighbors, gensim: GensimVectors) -> dict[str, Any]:
    """Return the CPU seconds of every rival in each round, once they agree."""
    rivals: dict[str, Callable[[], list[list[int]]]] = {
        "ours": lambda: index.search(queries, FOUND)[0],
        PEER: lambda: peer.kneighbors(queries, FOUND, return_distance=True)[1].tolist(),
        "gensim": lambda: [[key for key, _ in gensim.similar_by_vector(query, topn=FOUND)] for query in queries],
    }
    answers = {name: work() for name, work in rivals.items()}
    for name, found in answers.items():
        if found != answers["ours"]:
            raise RuntimeError(f"{name} finds other rows than ours: the rivals do not do the same work.")
    return take_turns(rivals, ROUNDS)


def main() -> None:
    """Measure all of it."""
    logging.disable(logging.WARNING)
    random = np.random.default_rng(0)
    vectors, queries = (random.standard_normal((size, WIDTH)).astype(np.float32) for size in (ROWS, BATCH))
    index = SearchIndex(vectors)
    peer = NearestNeighbors(metric="cosine", algorithm="brute").fit(vectors)
    gensim = GensimVectors(WIDTH)
    gensim.add_vectors(list(range(ROWS)), vectors)
    gensim.fill_norms()
    rows = []
    for what, part, goals in (
        (f"batches of {BATCH}", queries, {PEER: 2.0, "gensim": 5.0}),
        ("one query", queries[:1], {PEER: 2.0, "gensim": 1.0}),
    ):
        with threadpool_limits(1):
            taken = compared(part, index, peer, gensim)
        ms = {name: 1000 * statistics.median(times) / len(part) for name, times in taken.items()}
        for name, goal in goals.items():
            claim = f"SearchIndex, {ROWS:,} x {WIDTH}, {FOUND} nearest, {what}: {ms['ours']:.2f} CPU ms a query"
            row = {"claim": f"{claim} against {ms[name]:.2f}", "goal": goal}
            rows.append({**row, "peer": name, "ratio": round(median_ratio(taken[name], taken["ours"]), 2)})
    write_result("retrieval", command="python benchmarks/retrieval.py", peer=PEER, rows=rows)


if __name__ == "__main__":
    main()

"""The rows of a matrix that are most like a vector, by cosine.

    index = SearchIndex(hfseq.encode(model, questions), keys=questions)
    keys, cosines = index.search(hfseq.encode(model, "how do I wake up early?"), k=3)

The search is exact: every row is compared, by matrix products of blocks that fit into the CPU's cache. 100,000 rows of
100 numbers take milliseconds. From millions of rows on, `backend="hnswlib"` or `"faiss"` looks at few of them, and may
miss some.

Shapes: N rows, D width, Q queries, K answers to each.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from safetensors.numpy import load_file, save_file

from ..models.artifacts import UnsafeArtifactError, check_weights_file, read_json
from ..models.words.similarity import best_indices, best_of_many, divide_rows
from ..settings import check_known
from .backends import APPROXIMATE, Search

Key: TypeAlias = str | int
Keys: TypeAlias = list[Any]
Backend: TypeAlias = Literal["exact", "hnswlib", "faiss"]
VECTORS_NAME, KEYS_NAME = "index.safetensors", "index.json"
_FORMAT = "hfseq.SearchIndex"


class SearchIndex:
    """Vectors that can be searched by cosine. They are copied and scaled to length 1.

    A row of zeros (an empty text) has the cosine 0 with everything, and so has a query of zeros.

    Args:
        vectors: (N, D) numbers, one row at least.
        keys: A string or whole number for each row, which `search` answers with; by default the row's place. Two rows
            may have the same.
        backend: "exact", or "hnswlib" or "faiss", whichever is installed, which answer faster and may miss neighbours.

    Attributes:
        vectors: (N, D) float32, of length 1; read-only.
        keys: One for each row; None for their places.
    """

    def __init__(self, vectors: np.ndarray, keys: Iterable[Key] | None = None, *, backend: Backend = "exact") -> None:
        check_known(backend, ("exact", *APPROXIMATE), "backend", kind="backend")
        rows = _rows(vectors, "vectors")
        if not rows.size:
            raise ValueError(f"vectors are of shape {rows.shape}: an index needs one row and one column at least.")
        self.backend = backend
        self.keys = None if keys is None else _checked_keys(keys, len(rows))
        self._set(_unit_rows(rows))

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"SearchIndex({len(self):,} x {self.vectors.shape[1]}, backend={self.backend!r})"

    def search(self, queries: np.ndarray, k: int = 10) -> tuple[Keys, np.ndarray]:
        """Find the `k` rows of highest cosine for each query, the best first.

        Args:
            queries: One vector (D,), or many (Q, D), of any length.
            k: Of an index with fewer rows, all come.

        Returns:
            Keys and cosines: K of each for one vector; for many a list of Q lists, and (Q, K).
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k={k!r} must be a whole number from 1 up.")
        given = np.asarray(queries)
        rows = _rows(given[None] if given.ndim == 1 else given, "queries")
        if rows.shape[1] != self.vectors.shape[1]:
            ours = f"the rows of this index have {self.vectors.shape[1]}: take vectors of the same model"
            raise ValueError(f"queries have {rows.shape[1]} numbers each, {ours}.")
        count = min(int(k), len(self))
        if not len(rows):
            return [], np.zeros((0, count), dtype=np.float32)
        places, cosines = self._search(_unit_rows(rows), count)
        keys = [self._named(line) for line in places.tolist()]
        cosines = np.clip(cosines, -1, 1)  # a product of floats may pass 1 by a rounding
        return (keys[0], cosines[0]) if given.ndim == 1 else (keys, cosines)

    def add(self, vectors: np.ndarray, keys: Iterable[Key] | None = None) -> None:
        """Add rows at the end, with keys if the index has any. What is wrong with them leaves the index as it is."""
        rows = _rows(vectors, "vectors")
        if rows.shape[1] != self.vectors.shape[1]:
            ours = f"the rows of this index {self.vectors.shape[1]}: take vectors of the same model"
            raise ValueError(f"vectors have {rows.shape[1]} numbers each, {ours}.")
        if (keys is None) != (self.keys is None):
            held, cure = ("no keys", "leave keys out") if self.keys is None else ("keys", "give a key for each row")
            raise ValueError(f"This index has {held}: {cure}.")
        added = None if keys is None else _checked_keys(keys, len(rows))
        unit = _unit_rows(rows)
        if self.keys is not None and added is not None:
            self.keys = self.keys + added
        self._set(np.concatenate([self.vectors, unit]))

    def save(self, folder: str | Path) -> None:
        """Write `index.safetensors` and `index.json`; the tables of an approximate backend are made anew by `load`."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        content = {"format": _FORMAT, "rows": len(self), "keys": self.keys}
        save_file({"vectors": self.vectors}, target / VECTORS_NAME)
        (target / KEYS_NAME).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, *, backend: Backend = "exact") -> "SearchIndex":
        """Read what `save` wrote, to the bit; no pickle is ever read."""
        source = Path(folder)
        content = read_json(source / KEYS_NAME)
        path = source / VECTORS_NAME
        if not path.is_file():
            raise UnsafeArtifactError(f"{path} is missing: an index is the two files that SearchIndex.save writes.")
        check_weights_file(path)
        vectors = load_file(path).get("vectors")
        keys = content.get("keys")
        fault = _fault(content, vectors, keys)
        if fault or vectors is None:
            raise UnsafeArtifactError(f"{source} is no index that SearchIndex.save wrote: {fault}. Save it again.")
        check_known(backend, ("exact", *APPROXIMATE), "backend", kind="backend")
        index = cls.__new__(cls)
        index.backend, index.keys = backend, keys
        index._set(vectors)
        return index

    def _set(self, unit: np.ndarray) -> None:
        unit.flags.writeable = False
        self.vectors = unit
        approximate: Callable[[np.ndarray], Search] | None = APPROXIMATE.get(self.backend)
        self._search: Search = self._exact if approximate is None else approximate(unit)

    def _exact(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return places and cosines (Q, count)."""
        if len(queries) == 1:
            place, cosine = _alone(self.vectors, queries[0], count)
            return place[None], cosine[None]
        lengths = np.ones(len(self), dtype=np.float32)
        places = np.empty((len(queries), count), dtype=np.int64)
        cosines = np.empty((len(queries), count), dtype=np.float32)
        for row, found in enumerate(best_of_many(self.vectors, lengths, queries, count)):
            # None: some are so close that the blocks cannot tell their order.
            places[row], cosines[row] = _alone(self.vectors, queries[row], count) if found is None else found
        return places, cosines

    def _named(self, places: list[int]) -> Keys:
        return places if self.keys is None else [self.keys[place] for place in places]


def _rows(vectors: Any, name: str) -> np.ndarray:
    """Return a matrix of float32 or float64, once it is one of finite numbers."""
    rows = np.asarray(vectors)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} must be a matrix of numbers, a row for each; got {rows.dtype} of shape {rows.shape}."
        )
    rows = rows.astype(np.float64 if rows.dtype == np.float64 else np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        fault = f"row {wrong[0]} of {name} ({len(wrong)} of {len(rows)}) holds NaN or infinite numbers"
        raise ValueError(f"{fault}: leave such rows out.")
    return rows


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows of length 1 (N, D), float32; zeros stay zeros."""
    if not rows.size:
        return np.zeros(rows.shape, dtype=np.float32)
    # By their largest number first: the squares of huge or tiny numbers leave the range of float32.
    peaks = np.abs(rows).max(axis=1)
    with np.errstate(under="ignore"):
        scaled = divide_rows(rows, peaks)
        return divide_rows(scaled, np.linalg.norm(scaled, axis=1)).astype(np.float32, copy=False)


def _checked_keys(keys: Iterable[Key], rows: int) -> Keys:
    if isinstance(keys, str):
        raise TypeError(f"keys is the string {keys!r:.60}; give a list with a key for each row.")
    found = [int(key) if isinstance(key, np.integer) else key for key in keys]
    if len(found) != rows:
        raise ValueError(f"{rows} vectors need as many keys, got {len(found)}.")
    if wrong := [key for key in found if not _is_key(key)]:
        raise TypeError(f"keys holds {wrong[0]!r:.60}: a key is a string or a whole number.")
    return found


def _is_key(key: Any) -> bool:
    return isinstance(key, str | int) and not isinstance(key, bool)


def _fault(content: dict[str, Any], vectors: np.ndarray | None, keys: Any) -> str | None:
    """Say what is wrong with the two files of a saved index; None: nothing."""
    if content.get("format") != _FORMAT:
        return f"{KEYS_NAME} has the format {content.get('format')!r:.60}"
    if vectors is None or vectors.ndim != 2 or vectors.dtype != np.float32 or not vectors.size:
        return f"{VECTORS_NAME} holds no matrix of float32 named vectors"
    if len(vectors) != content.get("rows"):
        return f"{VECTORS_NAME} has {len(vectors)} rows, {KEYS_NAME} tells of {content.get('rows')!r:.60}"
    if keys is not None and not (isinstance(keys, list) and len(keys) == len(vectors) and all(map(_is_key, keys))):
        return f"the keys in {KEYS_NAME} are not one string or whole number for each of {len(vectors)} rows"
    lengths = np.linalg.norm(vectors, axis=1)
    if not ((np.abs(lengths - 1) < 1e-3) | (lengths == 0)).all():  # NaN is neither
        return f"rows in {VECTORS_NAME} are not of length 1"
    return None


def _alone(vectors: np.ndarray, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Answer one query; of equal cosines the earlier row comes first."""
    scores = vectors @ query
    least = scores[best_indices(scores, count)[-1]]
    above = np.flatnonzero(scores > least)
    places = np.concatenate([above, np.flatnonzero(scores == least)[: count - len(above)]])
    order = np.argsort(-scores[places], kind="stable")
    return places[order], scores[places[order]]

"""The table behind word vectors: keys, one vector for each, and further numbers such as counts.

Shapes: N keys, D dimension.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .similarity import divide_rows

Key: TypeAlias = str | int | np.integer
KEY_TYPES = (str, int, np.integer)
Table = TypeVar("Table", bound="VectorTable")


class VectorTable:
    """Keys, usually words, and their vectors. Names, argument order and answers are those of gensim's KeyedVectors.

    Changing vectors through these methods, or by setting `vectors`, forgets the cached `norms`. After writing into the
    array itself call `fill_norms(force=True)`.

    Args:
        vector_size: D.
        count: rows to set aside for `add_vector`.

    Attributes:
        norms: lengths of the vectors (N,), or None until they are needed.
        expandos: further numbers by name, an array (N,) for each; see `set_vecattr`.
        next_index: the row that `add_vector` fills next.
        subwords: gives the vector of a word that is not in the table, or None if it has none. With it, lookups and
            queries also take such words.
    """

    def __init__(self, vector_size: int, count: int = 0, dtype: Any = np.float32) -> None:
        self.vector_size = vector_size
        self.expandos: dict[str, np.ndarray] = {}
        self.subwords: Callable[[str], np.ndarray | None] | None = None
        self.vectors = np.zeros((count, vector_size), dtype=dtype)
        self._index_to_key: list[Any] = [None] * count
        self._key_to_index: dict[Any, int] = {}
        self.next_index = 0

    @classmethod
    def from_vectors(cls: type[Table], keys: Iterable[Any], vectors: np.ndarray, counts: Any = None) -> Table:
        """Wrap a matrix (N, D), without copying it, and how often each key was seen (N,)."""
        table = cls(vectors.shape[1], dtype=vectors.dtype)
        table.index_to_key = list(keys)
        if len(table) != len(vectors):
            raise ValueError(f"{len(table)} keys need as many vectors, got {len(vectors)}.")
        table.vectors = vectors
        if counts is not None:
            table.expandos["count"] = np.asarray(counts)
        return table

    def __repr__(self) -> str:
        return f"{type(self).__name__}<vector_size={self.vector_size}, {len(self)} keys>"

    def __len__(self) -> int:
        return len(self._index_to_key)

    def __contains__(self, key: Key) -> bool:
        return self.has_index_for(key) or self._from_subwords(key) is not None

    def __getitem__(self, key_or_keys: Key | Iterable[Key]) -> np.ndarray:
        """Return the vector (D,) of one key, or those of several (keys, D)."""
        # A string is iterable too, and is one key.
        if isinstance(key_or_keys, KEY_TYPES):
            return self.get_vector(key_or_keys)
        return np.vstack([self.get_vector(key) for key in key_or_keys])

    def __setitem__(self, keys: Key | list[Key], weights: Any) -> None:
        if isinstance(keys, list):
            self.add_vectors(keys, weights, replace=True)
        else:
            self.add_vectors([keys], np.reshape(weights, (1, -1)), replace=True)

    @property
    def vectors(self) -> np.ndarray:
        """The matrix (N, D)."""
        return self._vectors

    @vectors.setter
    def vectors(self, matrix: np.ndarray) -> None:
        if matrix.ndim != 2 or matrix.shape[1] != self.vector_size:
            raise ValueError(f"vectors must have the shape (keys, {self.vector_size}), got {matrix.shape}.")
        self._vectors = matrix
        self.norms: np.ndarray | None = None

    @property
    def index_to_key(self) -> list[Any]:
        """The key of each row; None for a row that is set aside. Setting it sets `key_to_index` too."""
        return self._index_to_key

    @index_to_key.setter
    def index_to_key(self, keys: Iterable[Any]) -> None:
        self._index_to_key = list(keys)
        self._key_to_index = {}
        for index, key in enumerate(self._index_to_key):
            if key is not None:
                # Of a key that is there twice the first row counts, as in gensim.
                self._key_to_index.setdefault(key, index)
        self.next_index = self._first_free()

    @property
    def key_to_index(self) -> dict[Any, int]:
        """The row of each key. Setting it sets `index_to_key` too."""
        return self._key_to_index

    @key_to_index.setter
    def key_to_index(self, indices: Mapping[Any, int]) -> None:
        # Rows that no key names are set aside, as those of `count`.
        keys: list[Any] = [None] * max(len(self._vectors), 1 + max(indices.values(), default=-1))
        for key, index in indices.items():
            if index < 0 or keys[index] is not None:
                raise ValueError(f"key_to_index gives {key!r} the row {index}; each key needs its own, from 0 up.")
            keys[index] = key
        self._index_to_key, self._key_to_index = keys, dict(indices)
        self.next_index = self._first_free()

    def _first_free(self) -> int:
        return self._index_to_key.index(None) if None in self._index_to_key else len(self)

    def get_index(self, key: Key, default: int | None = None) -> int:
        """Return the row of a key. An integer that is no key stands for the row of that number.

        Raises:
            KeyError: if there is none and no default.
        """
        # A key comes first: in a table whose keys are numbers, 5 is the key 5 and not the fifth row.
        index = self._key_to_index.get(key)
        if index is not None:
            return index
        if isinstance(key, (int, np.integer)) and 0 <= key < len(self):
            return int(key)
        if default is not None:
            return default
        raise KeyError(f"{key!r} is not among the {len(self)} keys; `in` tells which words have a vector.")

    def has_index_for(self, key: Key) -> bool:
        """Tell whether a key has a row. Words without one may have a vector from `subwords`."""
        return self.get_index(key, -1) >= 0

    def get_vector(self, key: Key, norm: bool = False) -> np.ndarray:
        """Return the vector (D,) of a key, read-only.

        Args:
            key: a key, or a word that `subwords` knows.
            norm: scale it to length 1.

        Raises:
            KeyError: if it has no vector.
        """
        index = self.get_index(key, -1)
        row = self._from_subwords(key) if index < 0 else self._vectors[index]
        if row is None:
            raise KeyError(f"{key!r} has no vector: it is not among the {len(self)} keys.")
        if norm:
            # Vectors of `subwords` are made on the spot, and have no cached length.
            length = np.linalg.norm(row) if index < 0 else self._lengths()[index]
            row = row / length if length > 0 else row.view()
        else:
            row = row.view()
        row.setflags(write=False)  # writing into it would leave stale norms behind
        return row

    def _from_subwords(self, key: Key) -> np.ndarray | None:
        if self.subwords is None or not isinstance(key, str):
            return None
        return self.subwords(key)

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors, unless they are known; again if `force`."""
        if self.norms is None or force:
            self.norms = np.linalg.norm(self._vectors, axis=1)

    def _lengths(self) -> np.ndarray:
        self.fill_norms()
        assert self.norms is not None
        return self.norms

    def get_normed_vectors(self) -> np.ndarray:
        """Return all vectors scaled to length 1 (N, D); a vector of zeros stays as it is."""
        return divide_rows(self._vectors, self._lengths())

    def unit_normalize_all(self) -> None:
        """Scale the vectors themselves to length 1. They are not fit for further training then."""
        lengths = self._lengths()
        self._vectors[:] = self.get_normed_vectors()
        # Known without another pass; a vector of zeros still has none.
        self.norms = np.where(lengths == 0, lengths, np.ones_like(lengths))

    def add_vector(self, key: Key, vector: Any) -> int:
        """Add one key: in the next row set aside, or in a new one, which copies the whole matrix.

        Returns:
            The row of the key. A key that is there already keeps its row and vector.
        """
        if key in self._key_to_index:
            return self._key_to_index[key]
        index = self.next_index
        # A row set aside is filled in place, so that growing by one does not copy the matrix.
        if index < len(self) and self._index_to_key[index] is None:
            self._vectors[index] = vector
            self._index_to_key[index] = key
            self._key_to_index[key] = index
            self.norms = None
        else:
            index = len(self)
            warnings.warn(
                "add_vector copies all vectors to make room for one; set rows aside (count=) or use add_vectors.",
                UserWarning,
                stacklevel=2,
            )
            self.add_vectors([key], [vector])
        self.next_index = index + 1
        return index

    def add_vectors(
        self,
        keys: Key | Sequence[Key],
        weights: Any,
        extras: Mapping[str, np.ndarray] | None = None,
        replace: bool = False,
    ) -> None:
        """Add keys at the end.

        Args:
            weights: their vectors, (keys, D); (D,) for one.
            extras: further numbers by name, one for each of the keys.
            replace: what becomes of keys that are there already: take the new vector, or keep the old one.
        """
        if isinstance(keys, KEY_TYPES):
            keys, weights = [keys], np.reshape(weights, (1, -1))
        if len(keys) == 0:
            return
        # Checked before anything changes: a table must not be left with keys that have no vector.
        matrix = np.asarray(weights, dtype=self._vectors.dtype)
        if matrix.shape != (len(keys), self.vector_size):
            raise ValueError(f"the vectors must have the shape {len(keys), self.vector_size}, got {matrix.shape}.")
        extras = extras or {}
        self.allocate_vecattrs(list(extras), [extras[name].dtype for name in extras])
        # Rows of the table -> rows of `weights`; for a new key given twice the first row, unless later ones replace
        # it.
        old = {self._key_to_index[key]: row for row, key in enumerate(keys) if key in self._key_to_index}
        new = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._key_to_index}
        if replace:  # of a key given twice the last vector stays
            new.update((key, row) for row, key in enumerate(keys) if key in new)
        appended = sorted(new, key=new.__getitem__)
        first = len(self)
        self._key_to_index.update((key, first + offset) for offset, key in enumerate(appended))
        self._index_to_key.extend(appended)
        rows = [new[key] for key in appended]
        self.vectors = np.vstack((self._vectors, matrix[rows].reshape(-1, self.vector_size)))
        self.allocate_vecattrs()
        # New rows and replaced ones are written, with their numbers, in one go.
        targets = list(range(first, len(self))) + (list(old) if replace else [])
        sources = rows + (list(old.values()) if replace else [])
        self._vectors[targets] = matrix[sources]
        for name, values in extras.items():
            self.expandos[name][targets] = np.asarray(values)[sources]

    def resize_vectors(self, seed: int = 0) -> None:
        """Make the matrix as long as `index_to_key`; new rows are random, uniform in +-1 / D."""
        missing = len(self) - len(self._vectors)
        if missing > 0:
            # All N rows are drawn, so that a row's start depends on the seed and its place alone.
            drawn = np.random.default_rng(seed).random((len(self), self.vector_size), dtype=np.float32)
            fresh = ((drawn * 2 - 1) / self.vector_size).astype(self._vectors.dtype)
            fresh[: len(self._vectors)] = self._vectors
            self.vectors = fresh
        elif missing < 0:
            self.vectors = self._vectors[: len(self)].copy()
        self.allocate_vecattrs()
        self.norms = None

    def allocate_vecattrs(self, attrs: Iterable[str] | None = None, types: Iterable[Any] | None = None) -> None:
        """Make room for further numbers of each key.

        Args:
            attrs: their names; by default all that exist, which then get the length N.
            types: the type of each. Strings are kept as objects.

        Raises:
            TypeError: if the name exists with a type that does not hold the new one.
        """
        names = list(self.expandos if attrs is None else attrs)
        kinds = [self.expandos[name].dtype for name in names] if attrs is None else list(types or ())
        for name, kind in zip(names, kinds, strict=True):
            kind = object if kind is str else np.dtype(kind)  # numpy's own strings have one width for all
            values = self.expandos.get(name)
            if values is None:
                self.expandos[name] = np.zeros(len(self), dtype=kind)
                continue
            if not np.issubdtype(kind, values.dtype):
                raise TypeError(f"{name!r} holds {values.dtype}, which {kind} does not fit; use another name.")
            if len(values) != len(self):
                kept = min(len(values), len(self))
                self.expandos[name] = np.zeros(len(self), dtype=values.dtype)
                self.expandos[name][:kept] = values[:kept]

    def set_vecattr(self, key: Key, attr: str, val: Any) -> None:
        """Keep a number with a key, such as its `count`; the first one decides the type for all keys."""
        self.allocate_vecattrs([attr], [type(val)])
        self.expandos[attr][self.get_index(key)] = val

    def get_vecattr(self, key: Key, attr: str) -> Any:
        """Return the number that is kept with a key under this name."""
        return self.expandos[attr][self.get_index(key)]

    def sort_by_descending_frequency(self) -> None:
        """Put the keys of highest `count` first; of keys that tie, the later one."""
        if not len(self):
            return
        counts = np.asarray(self.expandos["count"], dtype=np.int64)
        # gensim sorts upwards and reverses, which puts the later of equals first.
        order = np.lexsort((-np.arange(len(counts)), -counts))
        self.allocate_vecattrs()
        self.expandos = {name: values[order] for name, values in self.expandos.items()}
        if len(self._vectors):
            self.vectors = self._vectors[order]
        self.index_to_key = [self._index_to_key[index] for index in order]

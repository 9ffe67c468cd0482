"""The most probable labels of a text of bytes, from its bytes: the loops of `predict_loops.py` for one model."""

import ctypes
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numba import cfunc

from ..cells.modules import import_source

_LOOPS = Path(__file__).with_name("predict_loops.py")
FEW = 16  # labels that are kept in order while they come; more are sorted at the end
_END = np.frombuffer(b"</s>", dtype=np.uint8)


class State(NamedTuple):
    """Where the loops find a model: addresses of arrays, numbers of entries, options. 0 stands for no array."""

    word_bytes: int
    num_word_bytes: int
    word_starts: int
    words: int
    slots: int
    num_slots: int
    bucket_slots: int
    num_bucket_slots: int
    shortest: int
    longest: int
    word_ngrams: int
    buckets: int
    ends_texts: int
    ending: int
    prefix: int
    num_prefix: int
    matrix: int  # float32, (rows, width), or uint8, (rows, parts)
    rows: int
    width: int
    parts: int  # 0: the matrix is not in codes
    part_size: int
    centroids: int
    norm_codes: int
    norms: int
    weights: int
    by_length: int  # 1: sums are divided by the root of the sum of squared weights
    outputs: int
    num_outputs: int
    bias: int
    labels: int
    kind: int  # 0: softmax, 1: a sigmoid each, 2: paths of a tree
    children: int
    root: int


@cache
def _predict_one() -> Any:
    # Compiled when its module is imported and whole: numba cannot keep what it compiles during an import.
    signature = "int64(int64, voidptr, int64, int64, float32)"
    return cfunc(signature, cache=True, error_model="numpy")(loops().predict_one).ctypes


@cache
def loops() -> ModuleType:
    """Import the loops; each is compiled at its first call, then kept on disk."""
    from . import text_loops

    return import_source(_LOOPS.read_text(encoding="utf-8"), text_loops, sys.modules[__name__])


class _Room:
    """Where one call writes, and where it finds the model; calls of other threads have their own."""

    def __init__(self, state: int) -> None:
        self.labels, self.chances = (ctypes.c_int32 * FEW)(), (ctypes.c_float * FEW)()
        places = state, ctypes.addressof(self.labels), ctypes.addressof(self.chances)
        self._places = (ctypes.c_int64 * 3)(*places)
        self.address = ctypes.addressof(self._places)

    def first(self, count: int) -> list[tuple[int, float]]:
        return list(zip(self.labels[:count], self.chances[:count], strict=True))


class Predictor:
    """The loops with one model.

    Attributes:
        arrays: What the addresses point to, by the names of `State`; it lives as long as this.
    """

    def __init__(self, arrays: dict[str, np.ndarray], numbers: dict[str, int], prefix: bytes) -> None:
        self.arrays = arrays | {"prefix": np.frombuffer(prefix or b"\0", dtype=np.uint8), "ending": _END}
        assert all(array.flags.c_contiguous for array in self.arrays.values())
        found = {name: array.ctypes.data for name, array in self.arrays.items()} | numbers
        found["num_prefix"] = len(prefix)
        self.state = np.array([found.get(name, 0) for name in State._fields], dtype=np.int64)
        self.address = self.state.ctypes.data
        self.most = numbers["labels"]
        self._one = _predict_one()
        self._free: list[_Room] = []

    def one(self, text: bytes, most: int, threshold: float) -> list[tuple[int, float]]:
        """Return the numbers of the most probable labels of a text, with their probabilities; `most` below 1: all."""
        if not 0 < most <= FEW:
            return self.many([text], most, threshold)[0]
        room = self._free.pop() if self._free else _Room(self.address)
        found = self._one(room.address, text, len(text), min(most, self.most), threshold)
        result = [(room.labels[0], room.chances[0])] if found == 1 else room.first(found)
        self._free.append(room)
        return result

    def many(self, texts: list[bytes], most: int, threshold: float) -> list[list[tuple[int, float]]]:
        """Do the same for many texts."""
        starts = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=starts[1:])
        flat = np.frombuffer(b"".join(texts), dtype=np.uint8)
        most = min(most, self.most) if most > 0 else self.most
        room = most if most <= FEW else self.most
        labels, chances, counts = loops().predict_many(self.state, flat, starts, room, np.float32(threshold))
        if most > FEW:
            labels = np.argsort(-chances, axis=1, kind="stable")[:, :most]
            chances = np.take_along_axis(chances, labels, axis=1)
            counts = np.where(counts > 0, (chances >= threshold).sum(axis=1), 0)
        if room == 1:
            firsts = zip(labels[:, 0].tolist(), chances[:, 0].tolist(), counts.tolist(), strict=True)
            return [[(label, chance)] if count else [] for label, chance, count in firsts]
        rows: Any = zip(labels.tolist(), chances.tolist(), counts.tolist(), strict=True)
        return [list(zip(some[:count], their[:count], strict=True)) for some, their, count in rows]

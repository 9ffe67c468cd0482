"""Bags of words and n-grams on a CPU: the loop of `bag_loops.py` for one width, and the memory it works in."""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from ..cells.modules import import_source
from . import rows
from .engine import Progress, aligned
from .rows import padded

_LOOPS = Path(__file__).with_name("bag_loops.py")
_CONSTANTS = "DIMENSION, LOSS = 64, 0  # written anew"
LOSSES = {"softmax": 0, "one-vs-all": 1, "hierarchical-softmax": 2, "regression": 3}


class FeatureTables(NamedTuple):
    """What lists the features of a text.

    Attributes:
        word_starts: int64, (words + 1,): where the rows of each word begin in the next.
        word_rows: int32: its own row, then those of its character n-grams.
        hashes: int32, (words,): of which word n-grams are made.
        bucket_rows: int32, (buckets,): the place of each bucket among those that were kept, -1: none; empty: all are.
        row_weights: float32, (rows,): what a row counts; empty: 1.
        words: Rows before those of buckets.
        buckets: How many buckets there are.
        word_ngrams: Words of the longest run.
        by_length: Whether the squares of a text's weights add up to 1, not the weights themselves.
    """

    word_starts: np.ndarray
    word_rows: np.ndarray
    hashes: np.ndarray
    bucket_rows: np.ndarray
    row_weights: np.ndarray
    words: int
    buckets: int
    word_ngrams: int
    by_length: bool


class Targets(NamedTuple):
    """What each text's labels are.

    Attributes:
        label_starts: int64, (texts + 1,): where the labels of each text begin in the next.
        labels: int32.
        values: float32, (texts, outputs): for regression; else (0, 0).
    """

    label_starts: np.ndarray
    labels: np.ndarray
    values: np.ndarray


class Paths(NamedTuple):
    """The labels' paths, see `label_paths`; all but the first is empty where a score is a label."""

    starts: np.ndarray
    nodes: np.ndarray
    turns: np.ndarray

    @classmethod
    def none(cls) -> "Paths":
        """Return the paths of labels that have none."""
        return cls(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


@cache
def loops(dimension: int, loss: int) -> ModuleType:
    """Import the loops for one width and loss; each is compiled at its first call, then kept on disk."""
    text = _LOOPS.read_text(encoding="utf-8")
    assert text.count(_CONSTANTS) == 1
    names, _ = _CONSTANTS.split(" = ")
    return import_source(text.replace(_CONSTANTS, f"{names} = {dimension}, {loss}"), rows)


def frequencies(
    numbers: np.ndarray,
    text_starts: np.ndarray,
    tables: FeatureTables,
    dimension: int,
    most_features: int,
    *,
    rows: int,
    once_a_text: bool,
) -> np.ndarray:
    """Count how often each row occurs in all texts, or in how many texts it does.

    Args:
        numbers: int32, words of all texts, end to end.
        text_starts: int64, where each text begins.
        tables: What lists the features of a text.
        dimension: Width of a row, which the loops are made for.
        most_features: Of any text.
        rows: How many there are.
        once_a_text: Whether a row counts once in a text.
    """
    found, last = np.zeros(rows, dtype=np.int64), np.full(rows if once_a_text else 0, -1, dtype=np.int64)
    scratch = np.zeros(most_features + 1, dtype=np.int64), np.zeros(most_features + 1, dtype=np.float32)
    loops(dimension, LOSSES["softmax"]).count_features((numbers, text_starts), tables, found, last, scratch)
    return found


class BagLoop:
    """A compiled loop with the scratch memory of one thread."""

    def __init__(self, *, dimension: int, loss: str, most_features: int, most_scores: int) -> None:
        self.compiled = loops(dimension, LOSSES[loss]).train_texts
        self.scratch = (
            np.zeros((2, most_features + 1), dtype=np.int64),
            np.zeros((2, most_features + 1), dtype=np.float32),
            np.zeros(most_scores + 1, dtype=np.int64),
            np.zeros(most_scores + 1, dtype=np.float32),
            np.zeros(most_scores + 1, dtype=np.float32),
            aligned(2, padded(dimension)),
        )

    def run(
        self,
        order: np.ndarray,
        corpus: tuple[np.ndarray, np.ndarray],
        tables: FeatureTables,
        labels: tuple[Targets, Paths],
        matrices: tuple[np.ndarray, np.ndarray, np.ndarray],
        *,
        rates: tuple[float, float, float],
        progress: Progress,
        thread: int,
    ) -> None:
        """Take a step for each text of `order`. Releases the interpreter lock, so threads run side by side.

        Args:
            order: int64, numbers of texts.
            corpus: int32 numbers of words of all texts, end to end; int64 where each text begins.
            matrices: Padded rows of features and of labels (or nodes), and biases: moved in place.
            rates: Learning rates at the beginning and the end, and the share of it that biases have.
        """
        rates_ = np.array(rates, dtype=np.float32)
        report = (progress, thread)
        self.compiled(order, corpus, tables, labels[0], labels[1], matrices, rates_, report, self.scratch)

"""Word2vec on a CPU: the loops of `loops.py` for one width, and the memory they work in."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..cells.modules import import_source
from . import rows
from .rows import padded

_LOOPS = Path(__file__).with_name("loops.py")
_CONSTANTS = "DIMENSION, SHARED, CBOW, NGRAMS, HIERARCHICAL = 100, 32, False, False, False  # written anew"
CHUNK = 10_000  # as in the loops


class Tables(NamedTuple):
    """What the loops read besides the matrices.

    Attributes:
        keep: float32, (vocabulary,): the chance of a token to stay.
        noise: int32, a power of two of words drawn from the noise distribution.
        ngram_starts: int64, (vocabulary + 1,): where the n-grams of each word begin in the next; all 0 without any.
        ngrams: int32: rows of the input matrix.
        path_starts: int64, (vocabulary + 1,): where the path of each word begins in the next two.
        path_rows: int32: rows of the output matrix.
        path_labels: float32: 1 where a path turns left.
    """

    keep: np.ndarray
    noise: np.ndarray
    ngram_starts: np.ndarray
    ngrams: np.ndarray
    path_starts: np.ndarray
    path_rows: np.ndarray
    path_labels: np.ndarray


@cache
def compiled_loop(
    dimension: int, shared: int, *, cbow: bool, ngrams: bool, hierarchical: bool, exact: bool
) -> Callable[..., Any]:
    """Return the loop for one width and kind of model; compiled at its first call, then kept on disk."""
    text = _LOOPS.read_text(encoding="utf-8")
    assert text.count(_CONSTANTS) == 1
    names, _ = _CONSTANTS.split(" = ")
    source = text.replace(_CONSTANTS, f"{names} = {dimension}, {shared}, {cbow}, {ngrams}, {hierarchical}")
    module = import_source(source, rows)
    return module.train_paths if exact or hierarchical else module.train_block


def aligned(rows_: int, width: int) -> np.ndarray:
    """Return zeros, float32, whose rows begin with a cache line if their width is whole lines."""
    memory = np.zeros(rows_ * width + 16, dtype=np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + rows_ * width].reshape(rows_, width)


class Scratch(NamedTuple):
    """Memory that a thread works in; `labels` are ones, then zeros for blocks, or what each list of outputs needs."""

    vectors: np.ndarray
    errors: np.ndarray
    shared: np.ndarray
    columns: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    labels: np.ndarray


class Addresses(NamedTuple):
    """Where the scratch memory lies; the loops make it of `Scratch` and of the lists."""

    vectors: int
    errors: int
    shared: int
    columns: int
    scores: int
    positives: int
    ones: int
    zeros: int
    targets: int
    sources: int


class Progress(NamedTuple):
    """What the threads report while they train, and the wish that they stop.

    Attributes:
        done: int64, (threads,): ids that each thread has read in this call.
        halt: int64, (1,): 1 asks the threads to stop at their next look, which is soon.
        losses: float64, (threads, 2): sum of the looked-at losses, and how many pairs those were.
    """

    done: np.ndarray
    halt: np.ndarray
    losses: np.ndarray

    @classmethod
    def of(cls, threads: int) -> "Progress":
        """Return the state before the first id: nothing done, nobody to stop."""
        return cls(np.zeros(threads, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros((threads, 2)))


class Part(NamedTuple):
    """What one thread does in one call.

    Attributes:
        ids: int32: the corpus.
        start: First id.
        stop: End of the ids.
        seed: Seed of its random numbers.
        rates: Learning rates at the beginning and the end of the whole training.
        before: Ids read before this call, by all.
        total: Ids that the whole training reads.
    """

    ids: np.ndarray
    start: int
    stop: int
    thread: int
    seed: np.uint64
    rates: tuple[float, float]
    before: float
    total: float


class LoopOptions(NamedTuple):
    """What a loop does, and the sizes of what it works in.

    Attributes:
        dimension: Numbers in a vector.
        window: Words on each side.
        shrink: Whether each window's size is drawn anew.
        negatives: For each pair; 0 with hierarchical softmax.
        shared: Negatives that a block of tokens shares: a power of two, at least 8.
        block: Tokens of a block; with hierarchical softmax 1 stands for one word of a window at a time.
        cbow: Whether a window's mean predicts its word.
        hierarchical: Whether the outputs are paths in the Huffman tree.
        exact: Whether to go pair by pair.
        most_parts: Input rows of one word at the most, itself and its n-grams.
        longest_path: Output rows of one word at the most, if they are paths.
    """

    dimension: int
    window: int
    shrink: bool
    negatives: int
    shared: int
    block: int
    cbow: bool
    hierarchical: bool
    exact: bool
    most_parts: int
    longest_path: int


class Loop:
    """A compiled loop with the scratch memory of one thread."""

    def __init__(self, options: LoopOptions) -> None:
        dimension, shared, block = options.dimension, options.shared, options.block
        self.compiled = compiled_loop(
            dimension,
            shared,
            cbow=options.cbow,
            ngrams=options.most_parts > 1,
            hierarchical=options.hierarchical,
            exact=options.exact,
        )
        self.sizes = (options.window, int(options.shrink), options.negatives, 1 if options.exact else block)
        # A product does up to 16 rows, however few a block has.
        contexts = 2 * options.window
        width, inputs = padded(dimension), max(block, contexts, 16)
        pairs = inputs * contexts + 16
        by_path = options.exact or options.hierarchical
        stride = padded(max(options.negatives, options.longest_path) + 1) if by_path else shared
        labels = np.zeros(2 * max(pairs, stride, inputs * shared + 16), dtype=np.float32)
        labels[: len(labels) // 2] = 1
        self.scratch = Scratch(
            vectors=aligned(inputs, width),
            errors=aligned(inputs, width),
            shared=aligned(shared, width),
            columns=aligned(dimension, shared),
            scores=aligned(inputs, stride),
            positives=np.zeros(pairs, dtype=np.float32),
            labels=labels,
        )
        sources = (contexts if options.cbow or options.hierarchical else 1) * inputs * options.most_parts
        self.lists = tuple(np.zeros(size, dtype=np.int64) for size in (pairs + stride, sources + 1, *[inputs] * 4))
        self.numbers = tuple(np.zeros(size, dtype=np.int32) for size in (*[CHUNK + 1] * 3, shared, shared))

    def run(self, part: Part, tables: Tables, inputs: np.ndarray, outputs: np.ndarray, progress: Progress) -> None:
        """Train on a part of the corpus. Releases the interpreter lock, so threads run side by side.

        Args:
            tables: What belongs to the vocabulary of the matrices.
            inputs: float32, (input rows, padded width): words, then n-grams.
            outputs: float32, (output rows, padded width): words, or the inner nodes of the Huffman tree.
            progress: Shared by all threads.
        """
        self.compiled(part, tables, inputs, outputs, self.sizes, progress, self.scratch, self.lists, self.numbers)

"""The two engines that train word vectors: numba loops on a CPU, and batches in torch on any device.

Both minimise the same objective with the same updates (word2vec.c's: plain SGD, the whole gradient to every row behind
an input vector). What differs is how many tokens are computed from the same state of the matrices: a block of 32 on
the CPU, by several threads at once; on a GPU a step of a thousand or more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...extras import kernels
from ...models.ragged import ragged_places
from ...models.words.tables import keep_probabilities, noise_distribution, noise_table, words_alone
from ...models.words.word2vec import SPECIAL_TOKENS, Word2VecConfig, Word2VecModel
from .hogwild import run_threads, taken_rows, usable_cores

Watch = Callable[[int, float, float], None]
"""It takes, several times a second: the ids read in this slice, the sum of the sampled losses, the pairs in it."""

# Learning rate times the pairs that touch a row in one step of the torch engine, beyond which they are scaled down; a
# block of the loops comes to as much at their first learning rate (32 tokens, 6 pairs, 5 negatives, of 32).
_MOST_STEP = 0.8


@dataclass(frozen=True)
class CorpusSlice:
    """The ids from `start` to `stop` of the corpus, to be read once."""

    start: int
    stop: int
    before: float  # ids that the whole training has read before
    total: float  # ids that it reads, over all epochs
    rates: tuple[float, float]  # at its beginning and its end
    seed: tuple[int, ...]  # of this slice

    def rate(self, done: int) -> float:
        """Return the learning rate after `done` ids of the slice; it falls along a line."""
        share = (self.before + done) / self.total
        return max(self.rates[1], self.rates[0] - (self.rates[0] - self.rates[1]) * share)


def chosen_engine(
    kind: Literal["auto", "block", "exact", "torch"], config: Word2VecConfig, device: str | None
) -> Literal["block", "exact", "torch"]:
    """Say which engine trains; "auto" takes blocks, or torch on a device other than the CPU and without numba.

    The full softmax is dense algebra, which torch alone has.
    """
    softmax, elsewhere = config.loss == "softmax", device is not None and torch.device(device).type != "cpu"
    if kind == "auto":
        return "torch" if softmax or elsewhere or not _has_numba() else "block"
    if kind != "torch" and softmax:
        raise ValueError(f"engine={kind!r} has no loss='softmax'; the engine 'torch' has.")
    if kind != "torch" and elsewhere:
        raise ValueError(f"engine={kind!r} runs on the CPU, not on {device!r}; the engine 'torch' does.")
    return kind


def steady_block(model: Word2VecModel, learning_rate: float) -> int:
    """Return how many tokens, 1 to 32, may be computed from one state without overshooting.

    The row of the commonest noise word is touched most: in a small vocabulary by many tokens of a block.
    """
    config = model.config
    if config.loss == "hierarchical-softmax":
        return 32  # its words go one by one
    counts = words_alone(model.counts.cpu().numpy(), len(SPECIAL_TOKENS))
    pairs = 1 if config.architecture == "cbow" else config.window * (1 if config.shrink_window else 2)
    touches = pairs * max(
        config.negatives * noise_distribution(counts, config.noise_power).max(), counts.max() / counts.sum()
    )
    most = _MOST_STEP / (learning_rate * touches)
    return int(2 ** np.clip(np.floor(np.log2(most)), 0, 5))


def _has_numba() -> bool:
    return kernels("words.engine", "Word vectors train up to 60 times slower") is not None


class _Tables:
    """What both engines read of a model."""

    def __init__(self, model: Word2VecModel) -> None:
        config = model.config
        counts = words_alone(model.counts.cpu().numpy(), len(SPECIAL_TOKENS))
        self.keep = keep_probabilities(counts, config.sample)
        self.noise = noise_table(counts, config.noise_power)
        self.ngram_starts, self.ngrams = np.zeros(config.vocab_size + 1, np.int64), np.zeros(0, np.int32)
        if config.ngram_buckets:
            self.ngram_starts, self.ngrams = model.ngram_starts.cpu().numpy(), model.ngrams.cpu().numpy()
        self.paths = np.zeros(1, np.int64), np.zeros(1, np.int32), np.zeros(1, np.float32)
        if config.loss == "hierarchical-softmax":
            self.paths = model.paths()


class NumbaEngine:
    """Threads over shared matrices, without locks (hogwild); deterministic with one thread."""

    def __init__(self, model: Word2VecModel, *, num_threads: int | None, shared: int, block: int, exact: bool) -> None:
        if not _has_numba():
            engine = "exact" if exact else "block"
            raise ValueError(f'{engine=} needs numba: pip install "hfseq[fast]", or take the engine "torch".')
        from ...kernels.words import engine as loops

        for name, value, low, high in (("shared_negatives", shared, 8, 256), ("block_size", block, 1, 64)):
            if not low <= value <= high or value & (value - 1):
                raise ValueError(f"{name}={value} must be a power of two from {low} to {high}")
        config, tables = model.config, _Tables(model)
        self.kernels, self.dimension = loops, config.hidden_size
        self.threads = num_threads or usable_cores()
        self.inputs = taken_rows(loops, model.inputs.weight)
        self.outputs = taken_rows(loops, model.needed_outputs("training").weight)
        self.tables = loops.Tables(
            tables.keep, tables.noise, tables.ngram_starts, tables.ngrams.astype(np.int32), *tables.paths
        )
        hierarchical = config.loss == "hierarchical-softmax"
        options = loops.LoopOptions(
            dimension=self.dimension,
            window=config.window,
            shrink=config.shrink_window,
            negatives=0 if hierarchical else config.negatives,
            shared=shared,
            block=block,
            cbow=config.architecture == "cbow",
            hierarchical=hierarchical,
            exact=exact,
            most_parts=1 + int(np.diff(tables.ngram_starts).max()),
            longest_path=int(np.diff(tables.paths[0]).max(initial=0)),
        )
        self.loops = [loops.Loop(options) for _ in range(self.threads)]
        # Compiled now, so that the first slice does not look slow.
        nothing = loops.Part(_readonly(np.zeros(1, dtype=np.int32)), 0, 0, 0, np.uint64(0), (1.0, 1.0), 0.0, 1.0)
        self.loops[0].run(nothing, self.tables, self.inputs, self.outputs, loops.Progress.of(self.threads))

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return views of the rows without their padding."""
        inputs, outputs = (torch.from_numpy(matrix)[:, : self.dimension] for matrix in (self.inputs, self.outputs))
        return inputs, outputs

    def run(self, ids: np.ndarray, corpus_slice: CorpusSlice, watch: Watch) -> None:
        """Let each thread read its own part of the slice from end to end."""
        progress = self.kernels.Progress.of(self.threads)
        seeds = np.random.SeedSequence(corpus_slice.seed).generate_state(self.threads, dtype=np.uint64)
        edges = np.linspace(corpus_slice.start, corpus_slice.stop, self.threads + 1).astype(np.int64).tolist()
        schedule = corpus_slice.rates, float(corpus_slice.before), float(corpus_slice.total)
        corpus = _readonly(ids)  # one type for all arrays of ids, lest each be compiled for

        def work(thread: int) -> None:
            part = self.kernels.Part(corpus, edges[thread], edges[thread + 1], thread, seeds[thread], *schedule)
            self.loops[thread].run(part, self.tables, self.inputs, self.outputs, progress)

        def look() -> None:
            watch(int(progress.done.sum()), *progress.losses.sum(0).tolist())

        run_threads(work, self.threads, progress.halt, look)
        look()


def _readonly(ids: np.ndarray) -> np.ndarray:
    view = np.asarray(ids).view()
    view.flags.writeable = False
    return view


class TorchEngine:
    """Steps over many tokens at once, on any device that torch knows.

    Rows that a step touches very often get their updates scaled down (`_MOST_STEP`): all of them are computed from one
    state, and would together overshoot.
    """

    def __init__(self, model: Word2VecModel, *, device: str | None, tokens: int, shared: int, block: int) -> None:
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        self.config, self.device = model.config, torch.device(device or best)
        self.tokens, self.shared, self.block = tokens, shared, block
        self.generator = torch.Generator(self.device)
        tables = _Tables(model)
        self.inputs = model.inputs.weight.detach().to(self.device, torch.float32)  # on the CPU the model's own memory
        self.outputs = model.needed_outputs("training").weight.detach().to(self.device, torch.float32)
        self.keep = tables.keep
        self.noise, self.ngram_starts, self.ngrams = (
            torch.from_numpy(table).to(self.device) for table in (tables.noise, tables.ngram_starts, tables.ngrams)
        )
        self.path_starts, self.path_rows, self.path_labels = (
            torch.from_numpy(table).to(self.device) for table in tables.paths
        )

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return the matrices on the device."""
        return self.inputs, self.outputs

    @torch.no_grad()
    def run(self, ids: np.ndarray, corpus_slice: CorpusSlice, watch: Watch) -> None:
        """Step through the slice; `watch` is called after each step."""
        random = np.random.default_rng(corpus_slice.seed)
        self.generator.manual_seed(int(random.integers(1 << 62)))
        loss = torch.zeros(2, dtype=torch.float32, device=self.device)
        sums = [0.0, 0.0]
        for step, start in enumerate(range(corpus_slice.start, corpus_slice.stop, self.tokens)):
            stop = min(start + self.tokens, corpus_slice.stop)
            part = np.asarray(ids[start:stop])
            kept = (part >= 0) & (random.random(len(part)) < self.keep[np.maximum(part, 0)])
            tokens = torch.from_numpy(part[kept].astype(np.int64)).to(self.device)
            sentences = torch.from_numpy(np.cumsum(part < 0)[kept]).to(self.device)
            if len(tokens):
                loss += self._step(tokens, sentences, corpus_slice.rate(start - corpus_slice.start))
            if step % 64 == 0 or stop == corpus_slice.stop:
                sums = [a + b for a, b in zip(sums, loss.tolist(), strict=True)]  # waits for the device
                loss.zero_()
            watch(stop - corpus_slice.start, *sums)

    def _step(self, tokens: Tensor, sentences: Tensor, rate: float) -> Tensor:
        # Returns the sum of the losses and the number of pairs.
        centres, contexts = self._windows(tokens, sentences)
        count = len(tokens)
        if self.config.architecture == "cbow":
            owner, rows = self._parts(centres, tokens[contexts])
            pairs = centres.unique(), tokens[centres.unique()]
        else:
            owner, rows = self._parts(torch.arange(count, device=self.device), tokens)
            pairs = centres, tokens[contexts]
        parts = torch.bincount(owner, minlength=count).clamp(min=1)
        hidden = torch.zeros(count, self.inputs.shape[1], device=self.device)
        hidden.index_add_(0, owner, self.inputs[rows]).div_(parts[:, None])
        update = {"negative-sampling": self._sampled, "hierarchical-softmax": self._along_paths}
        loss, gradient = update.get(self.config.loss, self._softmax)(hidden, *pairs, rate)
        # The whole gradient goes to each row behind a vector, as in the loops.
        met = torch.bincount(pairs[0], minlength=count).float()
        self._add(self.inputs, rows, gradient[owner], met[owner], rate)
        return torch.stack([loss, torch.tensor(float(len(pairs[0])), device=self.device)])

    def _windows(self, tokens: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        # All pairs of places (centre, neighbour), ordered by centre.
        window, count = self.config.window, len(tokens)
        sizes = torch.full((count, 1), window, device=self.device)
        if self.config.shrink_window:
            sizes -= torch.randint(window, (count, 1), device=self.device, generator=self.generator)
        offsets = torch.arange(-window, window + 1, device=self.device)
        centres = torch.arange(count, device=self.device)[:, None]
        places = centres + offsets
        inside = (places >= 0) & (places < count) & (offsets != 0) & (offsets.abs() <= sizes)
        places = places.clamp(0, count - 1)
        valid = inside & (sentences[places] == sentences[centres])
        return centres.expand_as(places)[valid], places[valid]

    def _parts(self, owner: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        # The vectors, and the input rows behind them: of words and of their n-grams.
        if not self.config.ngram_buckets:
            return owner, words
        starts = self.ngram_starts[words]
        which, place = ragged_places(starts, self.ngram_starts[words + 1] - starts)
        return torch.cat([owner, owner[which]]), torch.cat([words, self.ngrams[place].long()])

    def _sampled(self, hidden: Tensor, owner: Tensor, words: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Do negative sampling as `train_block` does: the tokens of a block share their negatives.

        Shapes: K blocks of M tokens, N negatives a block, P pairs (owner, word), D width.
        """
        count, width = hidden.shape
        # 1. The blocks, the last one filled up with zeros, and the negatives of each.
        blocks = -(-count // self.block)
        tokens = F.pad(hidden, (0, 0, 0, blocks * self.block - count)).view(blocks, self.block, width)  # (K, M, D)
        draws = torch.randint(len(self.noise), (blocks, self.shared), device=self.device, generator=self.generator)
        negatives = self.noise[draws].long()  # (K, N)
        noise = self.outputs[negatives]  # (K, N, D)
        # 2. Scores. Each pair wants `config.negatives` of them: the N of its block count as so many together.
        positives = self.outputs[words]  # (P, D)
        positive_scores = (hidden[owner] * positives).sum(-1)  # (P,)
        negative_scores = tokens @ noise.mT  # (K, M, N)
        pairs = torch.bincount(owner, minlength=blocks * self.block).view(blocks, self.block, 1).float()
        weights = pairs * (self.config.negatives / self.shared)  # (K, M, 1)
        loss = F.softplus(-positive_scores).sum() + (F.softplus(negative_scores) * weights).sum()
        # 3. Errors, by which the vectors that met move towards each other or apart.
        up = ((1 - positive_scores.sigmoid()) * rate)[:, None]  # (P, 1)
        down = -negative_scores.sigmoid() * weights * rate  # (K, M, N)
        gradient = (down @ noise).view(-1, width)[:count].index_add(0, owner, up * positives)
        # 4. The same for the output rows; `touches` counts the pairs that each update stands for.
        rows = torch.cat([words, negatives.flatten()])
        updates = torch.cat([up * hidden[owner], (down.mT @ tokens).view(-1, width)])
        touches = torch.cat([torch.ones_like(positive_scores), weights.sum(1).expand(-1, self.shared).flatten()])
        self._add(self.outputs, rows, updates, touches, rate)
        return loss, gradient

    def _along_paths(self, hidden: Tensor, owner: Tensor, words: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        starts = self.path_starts[words]
        which, place = ragged_places(starts, self.path_starts[words + 1] - starts)
        nodes, labels, owner = self.path_rows[place].long(), self.path_labels[place], owner[which]
        rows = self.outputs[nodes]
        scores = (hidden[owner] * rows).sum(-1)
        errors = (labels - scores.sigmoid()) * rate
        gradient = torch.zeros_like(hidden).index_add_(0, owner, errors[:, None] * rows)
        self._add(self.outputs, nodes, errors[:, None] * hidden[owner], torch.ones_like(errors), rate)
        return F.softplus(scores * (1 - 2 * labels)).sum(), gradient

    def _softmax(self, hidden: Tensor, owner: Tensor, words: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        logits = hidden @ self.outputs.T  # (tokens, V)
        pairs = torch.bincount(owner, minlength=len(hidden)).float()
        errors = -logits.softmax(-1) * pairs[:, None]
        mass = torch.bincount(words, minlength=len(self.outputs)) - errors.sum(0)
        errors.view(-1).index_add_(0, owner * len(self.outputs) + words, torch.ones_like(words, dtype=errors.dtype))
        loss = (logits.logsumexp(-1) * pairs).sum() - logits[owner, words].sum()
        gradient = errors @ self.outputs * rate
        self.outputs += errors.T @ hidden * rate * (_MOST_STEP / (rate * mass)).clamp(max=1.0)[:, None]
        return loss, gradient

    @staticmethod
    def _add(matrix: Tensor, rows: Tensor, updates: Tensor, touches: Tensor, rate: float) -> None:
        # Less where a row is touched too often; `touches` counts for each update the pairs that it stands for.
        mass = torch.zeros(len(matrix), device=matrix.device).index_add_(0, rows, touches)
        scale = (_MOST_STEP / (rate * mass.clamp(min=1e-9))).clamp(max=1.0)[rows]
        matrix.index_add_(0, rows, updates * scale[:, None])


Engine: TypeAlias = NumbaEngine | TorchEngine

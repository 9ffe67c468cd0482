"""The training loops of word2vec: each against the same updates written by hand in numpy, float64, one pair at a time.

Chance is taken out where numbers are compared: windows that do not shrink, no subsampling, and a noise table that
holds one word. What chance does is tested by its frequencies.
"""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numba import njit

from hfseq.kernels.words import engine as kernels
from hfseq.kernels.words import rows
from hfseq.models.words.tables import huffman_paths, keep_probabilities, noise_distribution, noise_table
from hfseq.models.words.word2vec import Word2VecConfig, Word2VecModel
from hfseq.training.words import engines as word_engines
from hfseq.training.words.engines import CorpusSlice, NumbaEngine, TorchEngine
from tests.closeness import assert_same

WORDS, NOISE_WORD, RATE = 12, 11, 0.05
SENTENCES = [[2, 3, 4, 5, 3, 2], [6], [7, 8], [9, 2, 10, 3, 4, 4, 5, 6, 7, 8, 9, 10, 2, 3]]
IDS = np.array([word for sentence in SENTENCES for word in [*sentence, -1]], dtype=np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def make_model(dimension=20, **options):
    torch.manual_seed(0)
    config = Word2VecConfig(
        vocab_size=WORDS, hidden_size=dimension, shrink_window=False, sample=0, window=2, negatives=3, **options
    )
    model = Word2VecModel(config)
    with torch.no_grad():
        model.inputs.weight.normal_(0, 0.5)
        model.outputs.weight.normal_(0, 0.5)
    model.counts = torch.tensor([0, 0, *range(30, 30 - WORDS + 2, -1)])
    if config.ngram_buckets:  # words of two to four n-grams
        sizes = np.array([0, 0, *[2 + index % 3 for index in range(WORDS - 2)]])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows_ = WORDS + np.random.default_rng(0).integers(0, config.ngram_buckets, starts[-1])
        model.ngram_starts, model.ngrams = torch.from_numpy(starts), torch.from_numpy(rows_.astype(np.int32))
    return model


class ByHand:
    """The algorithms, without any trick."""

    def __init__(self, model):
        self.model, self.config = model, model.config
        self.inputs = model.inputs.weight.detach().double().numpy().copy()
        self.outputs = model.outputs.weight.detach().double().numpy().copy()
        self.start = self.inputs.copy()
        self.paths = model.paths()
        self.losses = []

    def rows_of(self, word):
        if not self.config.ngram_buckets:
            return [word]
        starts = self.model.ngram_starts.tolist()
        return [word, *self.model.ngrams[starts[word] : starts[word + 1]].tolist()]

    def labelled(self, word):
        if self.config.loss == "hierarchical-softmax":
            starts, nodes, labels = self.paths
            return [(nodes[i], labels[i]) for i in range(starts[word], starts[word + 1])]
        noise = [(NOISE_WORD, 0.0)] * (self.config.negatives if word != NOISE_WORD else 0)
        return [(word, 1.0), *noise]

    def pairs(self):
        """(rows of the input vector, word to predict), in the order of the corpus."""
        for sentence in SENTENCES:
            for index, word in enumerate(sentence):
                around = sentence[max(0, index - 2) : index] + sentence[index + 1 : index + 3]
                if self.config.architecture == "cbow":
                    if around:
                        yield [row for other in around for row in self.rows_of(other)], word
                else:
                    for other in around:
                        by_path = self.config.loss == "hierarchical-softmax"
                        yield (self.rows_of(other), word) if by_path else (self.rows_of(word), other)

    def gradients(self, input_rows, word):
        """What one pair asks for: of the input vector, and of each output row."""
        hidden = self.inputs[input_rows].mean(0)
        error, asked = np.zeros_like(hidden), []
        loss = 0.0
        for row, label in self.labelled(word):
            score = self.outputs[row] @ hidden
            loss += softplus(-score if label else score)
            error += (label - sigmoid(score)) * self.outputs[row]
            asked.append((row, (label - sigmoid(score)) * hidden))
        self.losses.append(loss)
        return error, asked

    def apply(self, input_rows, error, asked):
        for row, change in asked:
            self.outputs[row] += RATE * change
        np.add.at(self.inputs, input_rows, RATE * error)

    def pair_by_pair(self):
        for input_rows, word in self.pairs():
            self.apply(input_rows, *self.gradients(input_rows, word))
        return self

    def all_at_once(self):
        found = [(rows_, *self.gradients(rows_, word)) for rows_, word in self.pairs()]
        for each in found:
            self.apply(*each)
        return self


def one_noise_word(engine):
    if isinstance(engine, NumbaEngine):
        engine.tables = engine.tables._replace(noise=np.full(4, NOISE_WORD, dtype=np.int32))
    else:
        engine.noise = torch.full((4,), NOISE_WORD, dtype=torch.int32)
    return engine


def run(engine, ids=IDS):
    seen = []
    corpus_slice = CorpusSlice(0, len(ids), before=0, total=1e12, rates=(RATE, 0.0), seed=(0,))
    one_noise_word(engine).run(ids, corpus_slice, lambda *told: seen.append(told))
    inputs, outputs = engine.matrices()
    return inputs.double().numpy(), outputs.double().numpy(), seen[-1]


KINDS = {
    "skip-gram": {},
    "cbow": {"architecture": "cbow"},
    "skip-gram ngrams": {"ngram_buckets": 7, "num_ngrams": 29},
    "cbow ngrams": {"architecture": "cbow", "ngram_buckets": 7, "num_ngrams": 29},
}
HIERARCHICAL = {f"{name} paths": options | {"loss": "hierarchical-softmax"} for name, options in KINDS.items()}


EVERY_KIND = [(kind, 20) for kind in (*KINDS, *HIERARCHICAL)]
OTHER_WIDTHS = [(kind, width) for width in (1, 16, 200) for kind in ("skip-gram", "skip-gram paths")]


@pytest.mark.parametrize(("kind", "dimension"), EVERY_KIND + OTHER_WIDTHS)
def test_the_exact_loop_does_what_the_equations_say(kind, dimension):
    model = make_model(dimension, **(KINDS | HIERARCHICAL)[kind])
    by_hand = ByHand(model).pair_by_pair()
    inputs, outputs, (done, loss, pairs) = run(NumbaEngine(model, num_threads=1, shared=8, block=16, exact=True))
    assert_same(inputs, by_hand.inputs)
    assert_same(outputs, by_hand.outputs)
    assert done == len(IDS) and pairs == -(-len(by_hand.losses) // 64)  # one pair of 64 is looked at
    assert_same(loss, sum(by_hand.losses[::64]))
    assert np.abs(inputs - by_hand.start).max() > 0.01


@pytest.mark.parametrize("shared", [8, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_all_its_pairs_computed_from_one_state(kind, shared):
    model = make_model(**KINDS[kind])
    ids = IDS[IDS != NOISE_WORD]
    by_hand = ByHand(model).all_at_once()
    engine = NumbaEngine(model, num_threads=1, shared=shared, block=64, exact=False)
    inputs, outputs, (done, loss, pairs) = run(engine, ids)
    assert_same(inputs, by_hand.inputs)
    assert_same(outputs, by_hand.outputs)
    assert pairs == len(by_hand.losses) and done == len(ids)
    assert loss == pytest.approx(sum(by_hand.losses), rel=1e-5)


@pytest.fixture
def unlimited(monkeypatch):
    """Among twelve words every row is touched too often for the torch engine's liking."""
    monkeypatch.setattr(word_engines, "_MOST_STEP", 1e9)


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("kind", [*KINDS, *HIERARCHICAL])
def test_the_torch_engine_is_all_its_pairs_computed_from_one_state(kind):
    model = make_model(**(KINDS | HIERARCHICAL)[kind])
    by_hand = ByHand(model).all_at_once()
    engine = TorchEngine(model, device="cpu", tokens=64, shared=16, block=32)
    inputs, outputs, (done, loss, pairs) = run(engine)
    assert_same(inputs, by_hand.inputs)
    assert_same(outputs, by_hand.outputs)
    assert pairs == len(by_hand.losses) and done == len(IDS)
    assert loss == pytest.approx(sum(by_hand.losses), rel=1e-5)


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
@pytest.mark.parametrize("loss", ["softmax", "hierarchical-softmax"])
def test_the_torch_engine_follows_the_gradient_of_the_model(architecture, loss):
    """Of `forward`, by autograd; CBOW's input rows get the whole gradient, forward's mean divides it."""
    model = make_model(architecture=architecture, loss=loss)
    by_hand = ByHand(model)
    for input_rows, word in by_hand.pairs():
        vectors = model.inputs(torch.tensor([input_rows]))
        whole = vectors.detach() + len(input_rows) * (vectors - vectors.detach())
        model(inputs_embeds=whole, labels=torch.tensor([word])).loss.backward()
    expected = [
        (weight - RATE * weight.grad).detach().numpy() for weight in (model.inputs.weight, model.outputs.weight)
    ]
    found = run(TorchEngine(model, device="cpu", tokens=64, shared=16, block=32))
    for ours, theirs in zip(found[:2], expected, strict=True):
        assert_same(ours, theirs)


def test_the_torch_engine_scales_the_updates_of_a_row_down_that_too_many_pairs_touch(monkeypatch):
    model = make_model()
    monkeypatch.setattr(word_engines, "_MOST_STEP", 2.0 * RATE)
    start = model.outputs.weight.detach().double().numpy().copy()
    by_hand = ByHand(model).all_at_once()
    inputs, outputs, _ = run(TorchEngine(model, device="cpu", tokens=64, shared=16, block=32))
    met = [sum(target == word for _, target in by_hand.pairs()) for word in range(WORDS)]
    met[NOISE_WORD] += 3 * sum(1 for _, target in by_hand.pairs())
    scale = np.minimum(1, 2 / np.maximum(met, 1))[:, None]
    assert_same(outputs, start + (by_hand.outputs - start) * scale)


def test_words_of_a_window_may_walk_a_path_together():
    model = make_model(loss="hierarchical-softmax")
    by_hand = ByHand(model)
    inputs, outputs, _ = run(NumbaEngine(model, num_threads=1, shared=8, block=32, exact=False))
    pairs = list(by_hand.pairs())
    place = 0
    for sentence in SENTENCES:
        for index in range(len(sentence)):
            contexts = len(sentence[max(0, index - 2) : index] + sentence[index + 1 : index + 3])
            found = [(rows_, *by_hand.gradients(rows_, word)) for rows_, word in pairs[place : place + contexts]]
            for each in found:
                by_hand.apply(*each)
            place += contexts
    assert_same(inputs, by_hand.inputs)
    assert_same(outputs, by_hand.outputs)


# The choices of chance


def test_the_full_softmax_is_the_cross_entropy():
    model = make_model(loss="softmax")
    context, label = model.inputs.weight[3] @ model.outputs.weight.T, 5
    expected = -(context[label] - torch.log(torch.exp(context).sum()))
    found = model(torch.tensor([[3]]), labels=torch.tensor([label])).loss
    assert_same(found, expected)


def test_noise_words_come_by_their_counts_to_the_three_quarters():
    counts = np.array([0, 0, 1000, 500, 100, 10, 5])
    weights = noise_distribution(counts, 0.75)
    assert_same(weights, counts**0.75 / (counts**0.75).sum())
    drawn = np.bincount(noise_table(counts, 0.75), minlength=len(counts)) / (1 << 20)
    assert_same(drawn, weights)


def test_frequent_words_are_left_out_as_often_as_they_should():
    counts = np.array([0, 0, 9_000, 900, 100])
    keep = keep_probabilities(counts, 0.01)
    ratio = 0.01 * 10_000 / counts[2:]
    assert_same(keep[2:], np.minimum(1, np.sqrt(ratio) + ratio))
    assert keep[4] == 1 and (keep_probabilities(counts, 0) == 1).all()


@pytest.fixture(scope="module")
def loops():
    """Two of the loops' parts, callable from Python."""
    loop = kernels.compiled_loop(20, 8, cbow=False, ngrams=False, hierarchical=False, exact=False)
    module = sys.modules[loop.py_func.__module__]
    fill, window_of = module.fill, module.window_of
    return SimpleNamespace(
        fill=njit(
            lambda ids, start, stop, keep, tokens, first, last, random: fill(
                ids, start, stop, keep, tokens, first, last, random
            )
        ),
        window_of=njit(
            lambda index, first, last, window, shrink, random: window_of(index, first, last, window, shrink, random)
        ),
    )


def test_subsampling_and_windows_follow_their_probabilities(loops):
    ids = np.tile(np.array([2, 3, 4, -1], dtype=np.int32), 2500)
    keep = np.array([1, 1, 0.25, 0.5, 1.0], dtype=np.float32)
    tokens, first, last = (np.zeros(10_001, dtype=np.int32) for _ in range(3))
    count, random = loops.fill(ids, 0, len(ids), keep, tokens, first, last, np.uint64(7))
    kept = np.bincount(tokens[:count], minlength=5)[2:] / 2500
    np.testing.assert_allclose(kept, keep[2:], atol=0.04)
    assert ((first[:count] <= np.arange(count)) & (np.arange(count) < last[:count])).all()
    assert (np.diff(np.flatnonzero(np.diff(first[:count], prepend=-1))) <= 3).all()  # sentences of three words
    sizes = []
    for _ in range(6000):
        low, high, random = loops.window_of(50, np.full(100, 0), np.full(100, 100), 5, True, np.uint64(random))
        sizes.append((50 - low, high - 51))
    assert all(left == right for left, right in sizes)
    np.testing.assert_allclose(np.bincount([left for left, _ in sizes], minlength=6)[1:] / 6000, 0.2, atol=0.02)


def test_a_huffman_tree_gives_the_shortest_code():
    counts = np.array([0, 0, 40, 30, 12, 10, 5, 3])
    starts, nodes, labels = huffman_paths(counts)
    lengths = np.diff(starts)
    assert lengths.tolist() == [0, 0, 1, 2, 3, 4, 5, 5]
    codes = ["".join(str(int(x)) for x in labels[starts[w] : starts[w + 1]]) for w in range(2, len(counts))]
    assert all(not a.startswith(b) for a, b in itertools.permutations(codes, 2))
    assert len({tuple(nodes[starts[w] : starts[w + 1]][:1]) for w in range(2, len(counts))}) == 1  # one root
    assert set(nodes) == set(range(len(counts) - 3))
    assert [len(part) for part in huffman_paths(np.array([0, 0, 7]))] == [4, 0, 0]


# Several threads, and the limits of memory


def test_one_thread_gives_the_same_numbers_again_and_two_give_a_model():
    ids = np.random.default_rng(0).integers(2, WORDS, 50_000).astype(np.int32)
    found = []
    for threads in (1, 1, 2):
        engine = NumbaEngine(make_model(), num_threads=threads, shared=8, block=32, exact=False)
        engine.run(ids, CorpusSlice(0, len(ids), 0, 1e12, (1e-3, 0.0), (3, 1)), lambda *told: None)
        found.append(engine.matrices()[0].clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]) and torch.isfinite(found[2]).all()


def test_the_padding_of_a_row_stays_zero_and_special_rows_are_left_alone():
    model = make_model()
    engine = NumbaEngine(model, num_threads=1, shared=8, block=32, exact=False)
    before = engine.inputs[:2].copy()
    run(engine)
    assert engine.inputs.shape[1] == rows.padded(20) == 32
    assert not engine.inputs[:, 20:].any() and not engine.outputs[:, 20:].any()
    assert np.array_equal(engine.inputs[:2], before)
    assert engine.inputs.ctypes.data % 64 == 0


def test_a_loop_is_compiled_once_for_arrays_and_for_memory_mapped_files(tmp_path):
    engine = NumbaEngine(make_model(28), num_threads=1, shared=16, block=32, exact=False)
    IDS.tofile(tmp_path / "ids")
    run(engine)
    run(engine, np.memmap(tmp_path / "ids", dtype=np.int32, mode="r"))
    assert len(engine.loops[0].compiled.signatures) == 1


def test_paths_may_be_as_long_as_the_counts_make_them():
    counts = [0, 0, 1, 1]
    while len(counts) < 80:
        counts.append(counts[-1] + counts[-2])  # the longest code there can be
    config = Word2VecConfig(vocab_size=80, hidden_size=8, loss="hierarchical-softmax", sample=0, window=9)
    model = Word2VecModel(config)
    model.counts = torch.tensor(counts)
    assert np.diff(model.paths()[0]).max() == 77
    engine = NumbaEngine(model, num_threads=1, shared=8, block=32, exact=False)
    assert engine.loops[0].scratch.scores.shape[1] >= 78
    run(engine, np.random.default_rng(0).integers(2, 80, 500).astype(np.int32))
    assert all(torch.isfinite(matrix).all() for matrix in engine.matrices())


def test_an_error_in_a_thread_reaches_the_caller():
    engine = NumbaEngine(make_model(), num_threads=2, shared=8, block=32, exact=False)
    engine.loops[1].compiled = lambda *arguments: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run(engine)


def test_ctrl_c_stops_the_threads():
    engine = NumbaEngine(make_model(), num_threads=2, shared=8, block=32, exact=False)
    ids = np.random.default_rng(0).integers(2, WORDS, 50_000_000).astype(np.int32)

    def watch(done, *losses):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(ids, CorpusSlice(0, len(ids), 0, 1e12, (1e-4, 0.0), (0,)), watch)
    assert all(torch.isfinite(matrix).all() for matrix in engine.matrices())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shared": 12}, "shared_negatives=12 must be a power of two"), ({"block": 128}, "block_size=128 must be")],
)
def test_sizes_that_the_loops_cannot_take_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NumbaEngine(make_model(), **({"num_threads": 1, "shared": 8, "block": 32, "exact": False} | options))

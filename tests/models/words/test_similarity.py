"""Many questions at once get the answers of single ones, ties and rows of zeros included."""

import tracemalloc

import numpy as np
import pytest

from hfseq.models.words.similarity import best_indices
from hfseq.models.words.vectors import KeyedVectors
from tests.closeness import assert_same
from tests.rounds import for_each


@pytest.fixture(scope="module")
def large():
    """3,000 vectors of which one in ten is there twice, with a row of zeros."""
    matrix = np.random.default_rng(0).standard_normal((3000, 20)).astype(np.float32)
    matrix[::10] = matrix[1::10]
    matrix[17] = 0
    return KeyedVectors.from_vectors([f"w{index}" for index in range(len(matrix))], matrix)


@for_each("topn", [1, 10, 40, 500, 4000])
@for_each("restrict_vocab", [None, 700])
def test_a_batch_gets_the_answers_of_single_questions(large, topn, restrict_vocab):
    questions = [*large.index_to_key[:40], large.vectors[5], large.vectors[6] * 3]
    together = large.most_similar_batch(questions, topn, restrict_vocab)
    for question, found in zip(questions, together, strict=True):
        expected = large.most_similar([question], topn=topn, restrict_vocab=restrict_vocab)
        assert [word for word, _ in found] == [word for word, _ in expected]
        assert_same([s for _, s in found], [s for _, s in expected], nan=True)  # of the zeros


def test_a_batch_takes_bounded_memory(monkeypatch):
    many = KeyedVectors.from_vectors(
        [f"w{i}" for i in range(20_000)], np.random.default_rng(0).normal(size=(20_000, 8))
    )
    many.most_similar_batch(["w1"])  # the lengths
    tracemalloc.start()
    answers = many.most_similar_batch(many.index_to_key[:500])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6  # all scores at once are 80 MB
    assert answers[499] == many.most_similar_batch(["w499"])[0]


@for_each("size", [5, 63, 64, 65, 4095, 4097])
@for_each("topn", [1, 10, 5000])
def test_batches_of_any_size_are_what_single_questions_give(size, topn):
    matrix = np.random.default_rng(1).normal(size=(size, 6))
    matrix[2] = 0  # a row without a direction
    vectors = KeyedVectors.from_vectors([f"w{i}" for i in range(size)], matrix)
    words = ["w0", "w1", f"w{size - 1}"]
    for found, word in zip(vectors.most_similar_batch(words, topn=topn), words, strict=True):
        expected = vectors.most_similar(word, topn=topn)
        assert [other for other, _ in found] == [other for other, _ in expected]


def test_batches_of_nothing_and_of_one(large):
    assert large.most_similar_batch([]) == [] and large.most_similar_batch(["w1", "w2"], topn=0) == [[], []]
    assert large.most_similar_batch("w1") == [large.most_similar("w1")]
    assert large.most_similar_batch(large.vectors[1:3])[1][0][0] == "w2"
    with pytest.raises(KeyError, match="unknown"):
        large.most_similar_batch(["w1", "unknown"])


def test_the_best_of_scores_with_nan_and_ties():
    generator = np.random.default_rng(1)
    for size, count in [(5, 2), (5, 9), (64, 1), (1000, 3), (5000, 70)]:
        scores = generator.integers(0, 40, size).astype(np.float32)
        expected = np.sort(scores)[::-1][:count]
        assert scores[best_indices(scores, count)].tolist() == expected.tolist()
        scores = generator.permutation(size).astype(np.float32)
        scores[generator.integers(0, size, size // 3)] = np.nan
        known = np.sort(scores[~np.isnan(scores)])[::-1][:count]
        assert scores[best_indices(scores, count)][: len(known)].tolist() == known.tolist()

"""The loop that trains bags takes the steps of the gradient, counts features, and keeps to its memory."""

import numpy as np
import pytest
import torch

from hfseq.models.heads.classification import sequence_loss
from hfseq.training.words import bag_corpus
from hfseq.training.words.bag_corpus import BagCorpus
from tests.closeness import assert_same
from tests.training.words import bags

RATE = 0.1
FORMS = {
    "words": {"word_ngrams": 1, "ngram_buckets": 0},
    "runs": {"word_ngrams": 3},
    "kept": {"word_ngrams": 3, "kept": True},
    "characters": {"word_ngrams": 2, "shortest_ngram": 2, "longest_ngram": 3},
    "kept characters": {"word_ngrams": 2, "shortest_ngram": 2, "longest_ngram": 3, "kept": True},
}


def state(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def by_gradient(model, rows, number):
    """Where one step of plain SGD takes the parameters, by autograd."""
    ids = torch.tensor([rows[number]["input_ids"]], dtype=torch.long)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    labels, kind = torch.tensor([rows[number]["labels"]]), model.config.problem_type
    loss = sequence_loss(logits, labels, kind, 1) / (2 if kind == "regression" else 1)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [p.detach() - RATE * g for p, g in zip(model.parameters(), gradients, strict=True)], loss


@pytest.mark.parametrize("weighting", ["count", "tfidf", "tfidf_l2"])
@pytest.mark.parametrize("loss", bags.LOSSES)
@pytest.mark.parametrize("form", FORMS)
def test_a_step_is_that_of_the_gradient(loss, form, weighting):
    for bias in (True, False):
        for number in (0, 6, 11):  # number 6 is empty
            model = bags.random_bag(loss, weighting=weighting, bias=bias, **FORMS[form])
            rows = bags.random_rows(model.config.problem_type)
            expected, loss_value = by_gradient(model, rows, number)
            engine = bags.make_engine(model, rows)
            found = engine.run(np.array([number]), (RATE, RATE))
            assert_same(list(model.parameters()), expected)
            told = loss_value * (2 if loss == "regression" else 1)
            assert_same(torch.tensor(found), told.detach().double())


@pytest.mark.parametrize("weighting", ["tfidf", "tfidf_l2"])
@pytest.mark.parametrize("loss", bags.LOSSES)
def test_both_engines_take_the_same_steps(loss, weighting):
    matrices = {}
    for kind in ("numba", "torch"):
        model = bags.random_bag(loss, weighting=weighting, word_ngrams=3, kept=True)
        rows = bags.random_rows(model.config.problem_type, rows=40)
        engine = bags.make_engine(model, rows, kind=kind)
        told = [engine.run(np.random.default_rng(0).permutation(40), (0.05, 0.01)) for _ in range(2)]
        matrices[kind] = [*(matrix.clone() for matrix in engine.matrices()), torch.tensor(told)]
    # Rates inside of a run are rounded otherwise: float32 against Python's.
    assert_same(matrices["numba"], matrices["torch"], 1e-4)


def test_a_text_may_be_long_and_another_have_no_feature_or_no_label():
    model = bags.random_bag(word_ngrams=2)
    rows = bags.random_rows("single_label_classification")
    long = np.random.default_rng(0).integers(1, bags.VOCABULARY, 100_000).tolist()
    rows = rows.add_item({"input_ids": long, "labels": 1}).add_item({"input_ids": [1, 2], "labels": -100})
    expected, _ = by_gradient(model, rows, 12)
    engine = bags.make_engine(model, rows)
    engine.run(np.array([12]), (RATE, RATE))
    assert_same(list(model.parameters()), expected, 1e-3)
    before = state(model)
    assert engine.run(np.array([13]), (RATE, RATE)) == 0  # which has no label
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    empty = engine.run(np.array([6]), (RATE, RATE))
    assert empty > 0 and torch.equal(before[0], model.model.inputs.weight)  # the bias alone has moved


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("once_a_text", [True, False])
def test_features_are_counted_as_torch_lists_them(form, once_a_text, monkeypatch):
    model = bags.random_bag(weighting="tfidf", **FORMS[form])
    rows = bags.random_rows("single_label_classification", rows=50)
    corpus = BagCorpus.of(rows, model.model)
    found = corpus.frequencies(model.model, once_a_text=once_a_text)
    monkeypatch.setattr(bag_corpus, "bag_kernels", lambda: None)
    expected = corpus.frequencies(model.model, once_a_text=once_a_text)
    assert expected.sum() > 0 and np.array_equal(found, expected)

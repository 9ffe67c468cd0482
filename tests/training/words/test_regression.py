"""Bags that a regression fills: the weights are scikit-learn's, and the file holds an ordinary bag."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

import hfseq
from hfseq.models.words.bag import BagForSequenceClassification
from hfseq.training import convex
from hfseq.training.words.bag_trainer import BagTrainingArguments
from hfseq.training.words.regression import fit_regression, regression_options
from tests.closeness import assert_same
from tests.rounds import for_each
from tests.training.words.bags import LABELS, accuracy, learnable, make_trainer, new_model, random_rows

FIXED = {"weighting": "tfidf_l2", "hidden_size": 1, "ngram_buckets": 1 << 16}


def texts_with(labels, rows=200, seed=0):
    """Texts of words that come once each, as scikit-learn counts a word that repeats otherwise."""
    random = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(random.permutation(words)[: random.integers(3, 15)]) for _ in range(rows)]
    return [(text, labels[(int(text.split()[0][1:]) + number % 2) % len(labels)]) for number, text in enumerate(texts)]


def logits_of(model, tokenizer, texts):
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.double()


@for_each("labels", [["no", "yes"], ["a", "b", "c"]])
def test_logits_are_the_decision_values_of_scikit_learn(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(convex, "_TOLERANCE", 1e-8)
    pairs, other = texts_with(labels), texts_with(labels, seed=1)
    model, tokenizer = hfseq.train_bag(pairs, validation=other, solver="regression", ends_texts=False)
    texts, names = zip(*pairs, strict=True)
    peer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+")
    features = peer.fit_transform(texts)
    asked = [text for text, _ in other]
    candidates = {c: LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(features, names) for c in (1, 10)}
    truth = np.array([name for _, name in other])
    best = max(candidates.values(), key=lambda each: (each.predict(peer.transform(asked)) == truth).mean())
    expected = torch.from_numpy(best.decision_function(peer.transform(asked)))
    found = logits_of(model, tokenizer, asked)
    found = found[:, 1] if len(labels) == 2 else found
    assert_same(found, expected, 1e-4)
    model.save_pretrained(tmp_path)
    again = BagForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(logits_of(again, tokenizer, asked), logits_of(model, tokenizer, asked))
    assert model.config.hidden_size == (1 if len(labels) == 2 else 3)


@for_each("problem", ["softmax", "one-vs-all", "regression"])
def test_logits_are_those_of_a_regression_on_the_features_that_forward_computes(problem, monkeypatch):
    monkeypatch.setattr(convex, "_TOLERANCE", 1e-8)
    model = new_model(problem, **FIXED, word_ngrams=2)
    rows = random_rows(model.config.problem_type, rows=60)
    fitted = fit_regression(model, rows, rows, strengths=[3.0])
    made = fitted.model.double()
    ids = [torch.tensor([each], dtype=torch.long) for each in rows["input_ids"]]
    # The vector of a text is that of the bag whose rows are unit vectors.
    wide = made.model.inputs.weight.detach().clone()
    made.model.inputs = torch.nn.Embedding.from_pretrained(torch.eye(len(wide)).double())
    features = torch.cat([made.model(each).pooler_output for each in ids]).numpy()
    length = np.linalg.norm(features, axis=1).mean()
    targets = np.array(rows["labels"])
    if problem == "regression":
        expected = Ridge(alpha=1 / 3, tol=1e-9).fit(features / length, targets).predict(features / length)
    else:
        options = {"C": 3.0, "max_iter": 5000, "tol": 1e-8}
        columns = [targets] if problem == "softmax" else list(targets.T)
        parts = [LogisticRegression(**options).fit(features / length, each) for each in columns]
        expected = np.column_stack([each.decision_function(features / length) for each in parts])
    found = torch.from_numpy(features) @ wide + (made.classifier.bias.detach())
    assert_same(found, torch.from_numpy(expected), 1e-4)


def test_the_trainer_takes_the_fitted_bag(tmp_path):
    model = new_model(**FIXED)
    trainer = make_trainer(tmp_path, model, num_train_epochs=0.0, solver="regression", eval_dataset=learnable(300, 2))
    trainer.train()
    assert accuracy(trainer) > 0.95 and trainer.fitted.strength in (1, 10) and trainer.training_seconds > 0
    trainer.save_model(str(tmp_path / "saved"))
    saved = BagForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert torch.equal(saved.model.inputs.weight, trainer.bag.model.inputs.weight)
    assert saved.config.num_kept_buckets < 2000  # of the pairs that occur, a row each
    assert not model.model.row_weights.ne(1).any()  # the given one stays as it was


def test_without_validation_a_part_is_kept_aside_and_all_are_fitted_on():
    whole = fit_regression(new_model(**FIXED), learnable(400), seed=1)
    known = fit_regression(new_model(**FIXED), learnable(400), learnable(400), strengths=[whole.strength])
    assert_same(whole.model.model.inputs.weight, known.model.model.inputs.weight, 1e-6)


def test_labels_that_no_text_has_are_improbable():
    rows = learnable(400).filter(lambda row: row["labels"] in (1, 3))
    made = fit_regression(new_model(**FIXED), rows, rows).model
    ids = torch.tensor([[2, 9, 10], [4, 9, 10]])
    assert made(ids).logits.argmax(1).tolist() == [1, 3]
    assert (made(ids).logits.softmax(1)[:, [0, 2]] < 0.01).all()
    several = Dataset.from_dict(
        {"input_ids": [[1, 2], [3], [1]], "labels": [[1.0, 1, 0, 1], [0, 1, 0, 0], [1, 1, 0, 1]]}
    )
    made = fit_regression(new_model("one-vs-all", **FIXED), several, several).model
    logits = made(torch.tensor([[1, 3]])).logits[0]
    assert logits[1] > 1 and logits[2] < -1


def test_balanced_classes_count_the_same():
    rows = random_rows("single_label_classification", rows=300)
    rare = rows.filter(lambda row, index: row["labels"] != 2 or index < 40, with_indices=True)
    model = new_model(**FIXED)
    plain, balanced = (
        fit_regression(model, rare, rare, class_weights=each, strengths=[0.001]).model for each in (None, "balanced")
    )
    ids = torch.tensor([[5, 6]])
    assert balanced(ids).logits.softmax(1)[0, 2] > 1.5 * plain(ids).logits.softmax(1)[0, 2]


@for_each(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, "learning_rate=0.1 is for steps"),
        ({"num_train_epochs": 3.0}, "num_train_epochs=3.0 is for steps"),
        ({"word_dropout": 0.2}, "word_dropout=0.2 is for steps"),
    ],
)
def test_options_of_steps_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        BagTrainingArguments(str(tmp_path), solver="regression", **options)


def test_what_follows_from_the_labels_is_refused():
    texts = Dataset.from_dict({"text": ["a b c"] * 10_000})
    for name, value in (("hidden_size", 32), ("hierarchical_softmax", True)):
        with pytest.raises(ValueError, match=f"{name}={value} does not fit solver='regression'"):
            regression_options(texts, {name: value})
    with pytest.raises(ValueError, match="hierarchical_softmax=True: a regression scores all labels"):
        fit_regression(new_model("hierarchical-softmax"), learnable(50))
    options = regression_options(texts, {"word_ngrams": 2})
    assert options["ngram_buckets"] == 1 << 19 and options["weighting"] == "tfidf_l2"
    assert regression_options(texts, {"ngram_buckets": 5, "weighting": "count"})["ngram_buckets"] == 5
    assert LABELS == 4

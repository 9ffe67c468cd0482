"""The second way to train a bag: as a regression, whose best weights are the same from every start.

A bag with a row as wide as there are labels, and no further matrix, is a linear model of a text's features. Its loss
plus the squared weights is convex: scikit-learn's solvers find the one minimum in seconds, with no learning rate and
no epochs. On a few thousand texts that is better than the steps of `BagTrainer` by 1 to 3 points. On very many texts,
or with thousands of labels, the steps are faster and the rows narrower.

    minimize  sum over texts of loss(U h + b, label) + 1 / (2 C) sum of squared weights

C, how freely weights may grow, is chosen on validation texts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge
from transformers.utils import logging

from ...models.base import IGNORED
from ...models.heads.classification import problem_type_of, sequence_loss
from ...models.words.bag import BagForSequenceClassification, BagModel
from ..unseen import hide_unseen
from .bag_corpus import BagCorpus, BagTargets, set_row_weights
from .bag_texts import BagTexts
from .compressed_rows import KeptRows, empty_bag

logger = logging.get_logger(__name__)

STRENGTHS = (1.0, 10.0)
"""The values of C that are tried, each with weights of texts whose mean length is 1."""

_MOST_STEPS, _TOLERANCE = 500, 1e-4
_HELD_OUT = 0.1  # of the texts, where no validation texts are given
_ROOM, _FEWEST_BUCKETS, _MOST_BUCKETS = 16, 1 << 16, 1 << 23  # buckets for an n-gram that occurs


class Weights(NamedTuple):
    """What a regression found: (outputs, features) and (outputs,)."""

    rows: np.ndarray
    biases: np.ndarray

    def logits(self, features: csr_matrix) -> np.ndarray:
        """Return the scores (N, outputs) of texts."""
        return np.asarray(features @ self.rows.T) + self.biases


@dataclass(frozen=True)
class Fitted:
    """A bag that a regression has filled.

    Attributes:
        model: The bag.
        strength: C, chosen on the validation texts.
        losses: The loss on the validation texts with each C that was tried.
        loss: The mean loss on the training texts.
    """

    model: BagForSequenceClassification
    strength: float
    losses: dict[float, float]
    loss: float


def regression_options(texts: Dataset, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a new bag that a regression is to fill: those given, and what follows from the texts.

    N-grams get so many buckets that few share one; those that no text has take no room in the finished model.
    """
    for name, reason in (
        ("hidden_size", "a row has a number for each label"),
        ("hierarchical_softmax", "all labels are scored"),
    ):
        if given.get(name):
            raise ValueError(f"{name}={given[name]!r} does not fit solver='regression': {reason}. Leave it out.")
    words = sum(len(text.split()) for text in texts["text"])
    longest = int(given.get("word_ngrams", 2))
    # The n-grams of a word's characters are few beside those of words.
    wanted = _ROOM * words * max(longest - 1, int(given.get("longest_ngram", 0) > 0))
    buckets = min(max(1 << math.ceil(math.log2(max(wanted, 1))), _FEWEST_BUCKETS), _MOST_BUCKETS)
    # Width 1: these rows only say which features there are; `fit_regression` makes others.
    return {"weighting": "tfidf_l2", "ngram_buckets": buckets, **given, "hidden_size": 1}


def fit_regression(
    model: BagForSequenceClassification,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    class_weights: str | None = None,
    seed: int = 42,
    strengths: Sequence[float] = STRENGTHS,
) -> Fitted:
    """Return a bag with the words, n-grams and weighting of `model`, and the weights of a regression.

    Args:
        model: A new bag with its vocabulary; it stays as it is.
        train: Columns `input_ids` (of bytes: or `text`) and `labels`.
        validation: Texts to choose C on; without any a tenth of the training texts is kept aside for that, and the
            weights are then fitted on all.
        class_weights: "balanced": each class counts the same, however few texts it has.
        seed: Chooses the texts that are kept aside.
        strengths: The values of C.
    """
    problem_type = problem_type_of(model.config, torch.tensor(train["labels"][:1]))
    if model.config.hierarchical_softmax:
        raise ValueError("hierarchical_softmax=True: a regression scores all labels; make the bag without it.")
    made = _with_seen_rows(model, train, problem_type)
    features, targets = _features(made.model, train), BagTargets.of(train, made, problem_type).column.numpy()
    if problem_type == "single_label_classification":
        features, targets = features[targets != IGNORED], targets[targets != IGNORED]
    scale = 1 / max(float(np.sqrt(features.multiply(features).sum(1)).mean()), np.finfo(np.float32).tiny)
    problem = _Problem(problem_type, made.num_labels, made.config.bias, class_weights)
    fit_on, choose_on = np.arange(len(targets)), None
    if validation is None:
        order = np.random.default_rng(seed).permutation(len(targets))
        choose_on, fit_on = np.split(order, [max(int(_HELD_OUT * len(order)), 1)])
        held = features[choose_on], targets[choose_on]
    else:
        held = _features(made.model, validation), _held_targets(validation, made.num_labels, problem_type)
    found = {c: problem.fit(scale * features[fit_on], targets[fit_on], c) for c in strengths}
    quality = {c: problem.quality(each.logits(scale * held[0]), held[1]) for c, each in found.items()}
    best = max(quality, key=lambda c: quality[c])
    weights = found[best] if choose_on is None else problem.fit(scale * features, targets, best)
    weights = weights._replace(rows=scale * weights.rows)
    _write(made, weights)
    loss = -problem.quality(weights.logits(features), targets)[-1]
    losses = {c: -each[-1] for c, each in quality.items()}
    logger.warning("Of C = %s, %g is best on the validation texts.", ", ".join(f"{c:g}" for c in quality), best)
    return Fitted(made.eval(), best, losses, loss)


def _held_targets(rows: Dataset, num_labels: int, problem_type: str) -> np.ndarray:
    """Return the labels that choose; those that training never shows are answered by no weights."""
    return hide_unseen(torch.tensor(rows["labels"][:]), num_labels, problem_type).numpy()


@dataclass(frozen=True)
class _Problem:
    """One kind of labels, and what is best for it."""

    problem_type: str
    num_labels: int
    has_bias: bool
    class_weights: str | None

    def fit(self, features: csr_matrix, targets: np.ndarray, strength: float) -> Weights:
        if self.problem_type == "regression":
            ridge = Ridge(alpha=1 / strength, solver="sparse_cg", tol=1e-6, fit_intercept=self.has_bias)
            ridge.fit(features, targets.reshape(len(targets), -1))
            return self._weights(ridge)
        if self.problem_type == "multi_label_classification":
            each = [self._yes_or_no(features, column, strength) for column in (targets > 0.5).T]
            return Weights(np.concatenate([one.rows for one in each]), np.concatenate([one.biases for one in each]))
        return self._classes(features, targets, strength)

    def _logistic(self, features: csr_matrix, targets: np.ndarray, strength: float) -> Any:
        options = {"fit_intercept": self.has_bias, "class_weight": self.class_weights}
        steps = {"max_iter": _MOST_STEPS, "tol": _TOLERANCE}
        return LogisticRegression(C=strength, **options, **steps).fit(features, targets)

    def _weights(self, fitted: Any) -> Weights:
        rows = np.atleast_2d(fitted.coef_)
        return Weights(rows, np.zeros(len(rows)) + fitted.intercept_)

    def _yes_or_no(self, features: csr_matrix, targets: np.ndarray, strength: float) -> Weights:
        if targets.any() and not targets.all():
            return self._weights(self._logistic(features, targets, strength))
        # All texts have the label, or none has: nothing is learnt but that it is always so.
        odds = math.log(len(targets) + 1) * (1 if targets.all() else -1)
        return Weights(np.zeros((1, features.shape[1])), np.full(1, odds if self.has_bias else 0.0))

    def _classes(self, features: csr_matrix, targets: np.ndarray, strength: float) -> Weights:
        fitted = self._logistic(features, targets, strength)
        found = self._weights(fitted)
        if self.num_labels == 2 and len(found.rows) == 1:
            return found  # of the second label; the first has 0
        if len(found.rows) == 1:  # two of several labels
            found = Weights(np.concatenate([-found.rows, found.rows]) / 2, np.append(-found.biases, found.biases) / 2)
        # A label that no text has is as improbable as a text more would make it.
        rows, biases = np.zeros((self.num_labels, features.shape[1])), np.zeros(self.num_labels)
        biases -= math.log(len(targets) + 1) if self.has_bias else 0.0
        rows[fitted.classes_], biases[fitted.classes_] = found
        return Weights(rows, biases)

    def quality(self, logits: np.ndarray, targets: np.ndarray) -> tuple[float, ...]:
        """Return what tells good weights from bad, the more the better, the loss last."""
        if self.problem_type == "single_label_classification" and logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        loss = -float(sequence_loss(torch.from_numpy(logits), torch.from_numpy(targets), self.problem_type))
        if self.problem_type != "single_label_classification":
            return (loss,)
        kept = targets != IGNORED
        right = (logits.argmax(1) == targets)[kept]
        if self.class_weights is None:
            return float(right.mean()), loss
        return float(np.mean([right[targets[kept] == label].mean() for label in np.unique(targets[kept])])), loss


def _with_seen_rows(model: BagForSequenceClassification, train: Dataset, problem_type: str) -> Any:
    """Return a bag whose rows are the features that texts have, as wide as there are outputs."""
    bag, corpus = model.model, BagCorpus.of(train, model.model)
    frequencies = corpus.frequencies(bag, once_a_text=True)
    stays = frequencies > 0
    if model.config.units == "tokens":  # the tokenizer has them all
        stays[: model.config.words_with_rows] = True
    kept = KeptRows.of(bag, np.flatnonzero(stays))
    is_binary = problem_type == "single_label_classification" and model.num_labels == 2
    made = empty_bag(model, kept.config(bag, hidden_size=1 if is_binary else model.num_labels))
    kept.fill(made.model, bag)
    if made.model.row_weights is not None:
        set_row_weights(made.model, frequencies[kept.rows], len(corpus))
    return made


@torch.no_grad()
def _features(bag: BagModel, dataset: Dataset) -> csr_matrix:
    """Return by how much each row counts in each text, (N, R)."""
    values, columns, ends = [], [], [np.zeros(1, dtype=np.int64)]
    for rows, starts in BagTexts.of(dataset, bag).chunks(bag):
        values.append(bag.shares(rows, starts).double().numpy())
        columns.append(rows.numpy())
        ends.append(ends[-1][-1] + np.append(starts.numpy()[1:], len(rows)))
    parts = np.concatenate(values), np.concatenate(columns), np.concatenate(ends)
    found = csr_matrix(parts, shape=(len(parts[2]) - 1, bag.config.num_rows))
    found.sum_duplicates()
    return found


@torch.no_grad()
def _write(made: BagForSequenceClassification, weights: Weights) -> None:
    """Make the weights the rows of the bag, whose last matrix changes nothing."""
    rows, biases = torch.from_numpy(weights.rows.T), torch.from_numpy(weights.biases)
    made.model.inputs.get_parameter("weight").copy_(rows)
    if made.num_labels == 2 and rows.shape[1] == 1:
        made.classifier.weight.copy_(torch.tensor([[0.0], [1.0]]))
        biases = torch.cat([torch.zeros(1), biases])
    else:
        made.classifier.weight.copy_(torch.eye(made.num_labels))
    if made.classifier.bias is not None:
        made.classifier.bias.copy_(biases)

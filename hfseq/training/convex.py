"""Linear models of sparse features whose loss is convex: the best weights are the same from every start.

    minimize  sum over texts of loss(U h + b, label) + 1 / (2 C) sum of squared weights

scikit-learn's solvers find the one minimum in seconds, with no learning rate and no epochs. C says how freely weights
may grow.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge

from ..models.base import IGNORED
from ..models.heads.classification import sequence_loss

STRENGTHS = (1.0, 10.0)
"""The values of C that are tried, each with weights of texts whose mean length is 1."""

_MOST_STEPS, _TOLERANCE = 500, 1e-4


class Weights(NamedTuple):
    """What a regression found: (outputs, features) and (outputs,)."""

    rows: np.ndarray
    biases: np.ndarray

    def logits(self, features: csr_matrix) -> np.ndarray:
        """Return the scores (N, outputs) of texts."""
        return np.asarray(features @ self.rows.T) + self.biases

    def spread(self, num_labels: int) -> "Weights":
        """Return the same with an output for each of `num_labels` labels, where one output tells two labels apart."""
        if len(self.rows) == num_labels:
            return self
        return Weights(np.concatenate([-self.rows, self.rows]) / 2, np.append(-self.biases, self.biases) / 2)


@dataclass(frozen=True)
class ConvexProblem:
    """One kind of labels, and what is best for it."""

    problem_type: str
    num_labels: int
    has_bias: bool
    class_weights: str | None

    def fit(self, features: csr_matrix, targets: np.ndarray, strength: float) -> Weights:
        """Return the best weights for these texts, whose strength is C; two labels have one output."""
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
            found = found.spread(2)
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

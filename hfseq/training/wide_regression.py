"""The wide part of a classifier: how rare words and n-grams are, and a regression of them beside the network.

    logits = s_r (U h + b) + s_n network(text)      U, b: a regression of the text's words and n-grams h

A regression learns from a few thousand texts what takes a network many more, and its best weights are found at once.
So it is fitted by a solver, the network is trained by itself, and validation texts tell how much each of the two
counts. In steps with the network, the other way, the same weights are as far as the learning rate lets them come.
"""

from itertools import product
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from datasets import Dataset
from scipy.sparse import csr_matrix
from torch.nn import functional as F
from transformers.utils import logging

from ..models.base import IGNORED
from ..models.heads.classification import problem_type_of, sequence_loss
from ..models.heads.wide import WideNgrams
from ..progress import progress_bar
from .class_weights import balanced_weights
from .convex import STRENGTHS, ConvexProblem, Weights
from .unseen import hide_unseen
from .wide import Mixed, features_of

logger = logging.get_logger(__name__)

# How much the logits of each may count. The network is always heard: without it the model would be a bag.
_OF_REGRESSION, _OF_NETWORK = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0), (0.125, 0.25, 0.5, 1.0)


class WideRegression:
    """Regressions of the words and n-grams of training texts, one for each value of C, to be mixed with a network.

    While the network is trained, the wide part is 0 and learns nothing.

    Args:
        model: A classifier with a wide part that has its document frequencies.
        train: Columns `input_ids` and `labels`.
        class_weights: "balanced": each class counts the same.
    """

    def __init__(self, model: Any, train: Dataset, class_weights: str | None = None) -> None:
        self.model = model
        self.problem_type = problem_type_of(model.config, torch.tensor(train[:1]["labels"]))
        problem = ConvexProblem(self.problem_type, model.num_labels, True, class_weights)
        features, targets = text_features(model.wide, train), self._targets(train)
        if self.problem_type == "single_label_classification":
            features, targets = features[targets != IGNORED], targets[targets != IGNORED]
        fits = progress_bar("Fitting regressions", STRENGTHS, unit="fit")
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = torch.from_numpy(balanced_weights(targets, model.num_labels))
        self.found = {c: problem.fit(features, targets, c).spread(model.num_labels) for c in fits}
        with torch.no_grad():
            model.wide.weight.zero_()
        model.wide.weight.requires_grad_(False)

    def mix(self, logits: np.ndarray, validation: Dataset) -> Mixed:
        """Choose how much the two count, by the loss on validation texts, and write it into the model.

        Args:
            logits: (N, L), those of the trained network for the validation texts.
            validation: Columns `input_ids` and `labels`.
        """
        features, labels = text_features(self.model.wide, validation), torch.from_numpy(self._targets(validation))
        targets = hide_unseen(labels, self.model.num_labels, self.problem_type).numpy()
        beside = {c: weights.logits(features) for c, weights in self.found.items()}
        network = logits.reshape(len(targets), -1).astype(np.float64)
        losses = {
            (c, of_r, of_n): self._loss(of_r * beside[c] + of_n * network, targets)
            for c, of_r, of_n in product(beside, _OF_REGRESSION, _OF_NETWORK)
        }
        best = min(losses, key=lambda key: losses[key])
        self._write(self.found[best[0]], *best[1:])
        mixed = Mixed(*best, loss=losses[best], network_loss=losses[(STRENGTHS[0], 0.0, 1.0)])
        logger.warning(
            "A regression of words and n-grams (C=%g) counts %g times, the network %g times: loss on validation %.4f, "
            "of the network alone %.4f.",
            *mixed,
        )
        return mixed

    def _targets(self, dataset: Dataset) -> np.ndarray:
        labels = np.asarray(dataset.with_format("numpy")[:]["labels"])
        is_single = self.problem_type == "single_label_classification"
        return labels.astype(np.int64) if is_single else labels.reshape(len(dataset), -1).astype(np.float64)

    def _loss(self, logits: np.ndarray, targets: np.ndarray) -> float:
        scores, wanted = torch.from_numpy(logits), torch.from_numpy(targets)
        if self.class_weights is not None:  # of one label a text, which `WeightedLoss` has checked
            return float(F.cross_entropy(scores, wanted, weight=self.class_weights))
        return float(sequence_loss(scores, wanted, self.problem_type))

    @torch.no_grad()
    def _write(self, weights: Weights, of_regression: float, of_network: float) -> None:
        wide, last = self.model.wide.weight, self.model.classifier
        wide.copy_(torch.from_numpy(of_regression * weights.rows.T))
        last.weight.mul_(of_network)
        last.bias.mul_(of_network).add_(torch.from_numpy(of_regression * weights.biases).to(last.bias))
        for parameter in (wide, last.weight, last.bias):  # machines may differ in the last digit
            parameter.copy_(broadcast(parameter.data))
        wide.requires_grad_(True)


def text_features(wide: WideNgrams, dataset: Dataset) -> csr_matrix:
    """Return by how much each row of a wide part counts in each text, (N, R)."""
    weights = wide.row_weights.double().cpu().numpy()
    columns, ends = [], [np.zeros(1, dtype=np.int64)]
    for begins, rows in features_of(wide, dataset):
        columns.append(rows)
        ends.append(ends[-1][-1] + begins[1:].astype(np.int64))
    places, lines = np.concatenate([np.zeros(0, dtype=np.int64), *columns]), np.concatenate(ends)
    squares = np.concatenate([[0], np.cumsum(weights[places] ** 2)])
    norms = np.sqrt(np.maximum(np.diff(squares[lines]), np.finfo(np.float64).tiny))
    values = weights[places] / np.repeat(norms, np.diff(lines))
    found = csr_matrix((values, places, lines), shape=(len(lines) - 1, len(weights)))
    found.sum_duplicates()
    return found

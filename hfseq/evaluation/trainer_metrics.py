"""What a Trainer computes with: from logits and labels to the scores of a kind of problem."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from transformers import EvalPrediction

from ..models.base import IGNORED
from .scores import as_wide, compute_score

DIVERGED: Final = "the logits hold nan or infinite values: training diverged. Lower the learning rate."


def _single_label(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = labels != IGNORED
    return logits.argmax(axis=-1)[kept], labels[kept]


def _multi_label(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = (labels != IGNORED).all(axis=-1)
    above_half = logits > 0  # sigmoid(x) > 0.5
    return as_wide(above_half[kept].astype(int), labels), labels[kept].astype(int)


def _regression(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # -100 is a number here, not a mark.
    if logits.size != len(logits):
        raise ValueError(f"regression expects one output per row, not logits of shape {logits.shape}: num_labels=1.")
    return logits.reshape(-1).astype(float), labels.reshape(-1).astype(float)


class Problem(NamedTuple):
    """How a head's logits and labels become predictions and references, and which of SCORES these get."""

    read: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    scores: tuple[str, ...]


PROBLEMS: dict[str, Problem] = {
    "single_label_classification": Problem(
        _single_label, ("accuracy", "f1_macro", "f1_micro", "matthews_correlation")
    ),
    "multi_label_classification": Problem(_multi_label, ("accuracy", "f1_macro", "f1_micro")),
    "regression": Problem(_regression, ("mse", "r2", "pearson", "spearman")),
}
"""Every `config.problem_type`."""


TAGGING: dict[str, tuple[str, ...]] = {
    "entities": ("entity_f1", "entity_precision", "entity_recall", "accuracy"),
    "tags": ("accuracy", "f1_macro"),
}
"""What tags tell -> the scores of a tagger; the first one is the one that people quote."""

FRAMES: Final = ("frame_accuracy", "intent_accuracy", "slot_f1")
"""The scores of a model of intents and slots. The first one is what such a model is for: nothing left to correct."""
INTENT_SLOTS: Final = "intents and slots"

ROOT, NODES, ROOT_BINARY = "root_accuracy", "node_accuracy", "binary_root_accuracy"
TREES: Final = "trees"
_OF_TREES: Final = (ROOT, NODES)  # that an evaluation reports; the binary one is of a finished model


def scores_of(problem_type: str) -> tuple[str, ...]:
    """Return the scores of a problem: a key of PROBLEMS or TAGGING, INTENT_SLOTS or TREES."""
    known = {**TAGGING, INTENT_SLOTS: FRAMES, TREES: _OF_TREES}
    return known[problem_type] if problem_type in known else PROBLEMS[problem_type].scores


def deciding_score(name: str | None, problem_type: str) -> str:
    """Return the score that `metric_for_best_model` names; of the loss, or without a name, the one people quote."""
    scores = scores_of(problem_type)
    named = (name or "").removeprefix("eval_")
    return named if named in scores else scores[0]


def check_metric_for_best_model(name: str | None, problem_type: str) -> None:
    """Refuse before the training a `metric_for_best_model` that no evaluation of such a problem will report."""
    scores = scores_of(problem_type)
    if name is not None and name.removeprefix("eval_") not in (*scores, "loss"):
        known = ", ".join((*scores, "loss"))
        raise ValueError(f"metric_for_best_model={name!r} is not measured for {problem_type}; choose one of {known}.")


def classification_metrics(problem_type: str) -> Callable[[EvalPrediction], dict[str, float]]:
    """Build the Trainer's `compute_metrics` for a sequence classification head: every score of its problem.

    Labels of -100 are left out, except in regression; so is a multi-label row with one of them.
    """
    if problem_type not in PROBLEMS:
        raise ValueError(f"no metrics for problem_type {problem_type!r}; choose one of {tuple(PROBLEMS)}.")
    problem = PROBLEMS[problem_type]

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        outputs = evaluated.predictions
        logits = np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)
        if not np.isfinite(logits).all():
            raise ValueError(DIVERGED)
        predictions, references = problem.read(logits, np.asarray(evaluated.label_ids))
        return {name: compute_score(name, predictions, references) for name in problem.scores}

    return compute_metrics

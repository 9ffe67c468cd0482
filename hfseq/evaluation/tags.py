"""Metrics of taggers that work offline: of entities, as conlleval counts them, and of single words.

    EntityF1().compute(predictions=[["B-city", "O"]], references=[["B-city", "I-city"]])       # by hand
    Trainer(..., compute_metrics=tagging_metrics(names), preprocess_logits_for_metrics=best_tags)  # while training

An entity is right when its kind and both its ends are. The tags of single words are scored by `Accuracy` and `F1` of
`hfseq.evaluation.scores`, on their ids.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import evaluate
import numpy as np
import torch
from datasets import Features, List, Value
from transformers import EvalPrediction

from .entities import Tags, tell_entities
from .scores import IGNORED_LABEL, SCORES
from .trainer_metrics import TAGGING

_INPUTS = """
Args:
    predictions: rows of tags (IOB1, IOB2, IOBES or BILOU).
    references: the true tags of the same words.
Returns:
    A dictionary with one number under the metric's name.
"""


class EntityMetric(evaluate.Metric):
    """What the metrics below share; a subclass names its row of SCORES."""

    score_name: str

    def _info(self) -> evaluate.MetricInfo:
        tags = List(Value("string"))
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="",
            inputs_description=_INPUTS,
            features=Features({"predictions": tags, "references": tags}),
            reference_urls=["https://www.clips.uantwerpen.be/conll2000/chunking/output.html"],
        )

    def _compute(self, predictions: Sequence[Tags], references: Sequence[Tags]) -> dict[str, float]:
        return {self.score_name: score_tags(self.score_name, references, predictions)}


class EntityF1(EntityMetric):
    """The harmonic mean of the precision and the recall of entities."""

    score_name = "entity_f1"


class EntityPrecision(EntityMetric):
    """The share of the predicted entities that are right; 0 where none is predicted."""

    score_name = "entity_precision"


class EntityRecall(EntityMetric):
    """The share of the true entities that are found; 0 where there are none."""

    score_name = "entity_recall"


def score_tags(name: str, references: Sequence[Tags], predictions: Sequence[Tags]) -> float:
    """Compute one score of SCORES: of the entities of all rows, or of the tags of all words.

    Args:
        name: Of the score.
        references: Rows of true tags.
        predictions: The predicted tags of the same words.
    """
    for row, (tags, answers) in enumerate(zip(references, predictions, strict=True)):
        if len(tags) != len(answers):
            raise ValueError(f"{name}: row {row} has {len(tags)} true tags and {len(answers)} predicted ones.")
    if not any(references):
        raise ValueError(f"{name}: there are no tags to score. Add predictions and references before compute.")
    if name.startswith("entity_"):
        return float(SCORES[name].formula(references, predictions))
    return float(SCORES[name].formula(*(list(chain.from_iterable(rows)) for rows in (references, predictions))))


def best_tags(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Logits (B, T, L) -> ids of the likeliest tags (B, T): Trainer keeps these alone, a small part of the memory.

    Args:
        logits: The model's first output, or all of them.
        labels: Of the batch; Trainer gives them too.
    """
    scores = logits[0] if isinstance(logits, tuple) else logits
    if not torch.isfinite(scores).all():
        raise ValueError("the logits hold nan or infinite values: training diverged. Lower the learning rate.")
    return scores.argmax(-1)


def tags_of(ids: np.ndarray, labels: Any, names: Sequence[str]) -> list[list[str]]:
    """Name the tags of words.

    Args:
        ids: (rows, T) tag ids.
        labels: Rows of at most T labels; a position without one (-100) is no word of its own.
        names: Of the ids.
    """
    return [
        [names[index] for index, label in zip(row.tolist(), own, strict=False) if label != IGNORED_LABEL]
        for row, own in zip(ids, labels, strict=True)
    ]


def tagging_metrics(names: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Build the Trainer's `compute_metrics` for a token classification head.

    Args:
        names: Of the tags, in the order of their ids. Where they tell entities, these are scored, and the share of
            words whose tag is right; else the words alone.

    Returns:
        A callable that scores an EvalPrediction of ids, see `best_tags`, which Trainer takes as
        `preprocess_logits_for_metrics`. Positions with the label -100 are left out.
    """
    problem = "entities" if tell_entities(names) else "tags"

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        ids, labels = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
        expected, predicted = tags_of(labels, labels, names), tags_of(ids, labels, names)
        return {name: score_tags(name, expected, predicted) for name in TAGGING[problem]}

    return compute_metrics

"""Metrics of taggers that work offline: of entities, as conlleval counts them, and of single words.

    EntityF1().compute(predictions=[["B-city", "O"]], references=[["B-city", "I-city"]])       # by hand
    Trainer(..., compute_metrics=tagging_metrics(names), preprocess_logits_for_metrics=best_tags)  # while training
    evaluate.evaluator("token-classification").compute(model, data=..., metric=EntityF1(), tokenizer=...)  # afterwards

An entity is right when its kind and both its ends are. `TagAccuracy` is for the tags of single words, such as parts of
speech; where they are ids, the metrics of `hfseq.evaluation.scores` take them as well.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from ..extras import need

need("train")

import numpy as np
import torch
from datasets import List, Value
from transformers import EvalPrediction

from ..models.base import IGNORED
from .entities import Tags, tell_entities
from .scores import SCORES, OfflineMetric
from .trainer_metrics import DIVERGED, TAGGING


class EntityMetric(OfflineMetric):
    """A metric of rows of tags."""

    reference_url = "https://www.clips.uantwerpen.be/conll2000/chunking/output.html"
    inputs = """
Args:
    predictions: rows of tags (IOB1, IOB2, IOBES or BILOU).
    references: the true tags of the same words."""

    def _feature(self) -> List:
        return List(Value("string"))

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


class TagAccuracy(EntityMetric):
    """The share of the words whose tag is right."""

    score_name = "accuracy"
    reference_url = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html"


def score_tags(name: str, references: Sequence[Tags], predictions: Sequence[Tags]) -> float:
    """Compute one score of SCORES: of the entities of all rows, or of the tags of all words."""
    for row, (tags, answers) in enumerate(zip(references, predictions, strict=True)):
        if len(tags) != len(answers):
            raise ValueError(f"{name}: row {row} has {len(tags)} true tags and {len(answers)} predicted ones.")
    if not any(references):
        raise ValueError(f"{name}: there are no tags to score. Add predictions and references before compute.")
    if name.startswith("entity_"):
        return float(SCORES[name].formula(references, predictions))
    return float(SCORES[name].formula(*(list(chain.from_iterable(rows)) for rows in (references, predictions))))


def best_tags(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Turn logits (B, T, L), or all outputs, into the likeliest tags (B, T), which take a small part of the memory."""
    scores = logits[0] if isinstance(logits, tuple) else logits
    if not torch.isfinite(scores).all():
        raise ValueError(DIVERGED)
    return scores.argmax(-1)


def tags_of(ids: np.ndarray, labels: Any, names: Sequence[str]) -> list[list[str]]:
    """Name the tags (rows, T) of words; a position whose label is -100 or missing is no word of its own."""
    return [
        [names[index] for index, label in zip(row.tolist(), own, strict=False) if label != IGNORED]
        for row, own in zip(ids, labels, strict=True)
    ]


def tagging_metrics(names: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Build the Trainer's `compute_metrics` for tags of these names, beside `preprocess_logits_for_metrics=best_tags`.

    Where the names tell entities, these are scored, and the share of words whose tag is right; else the words alone.
    """
    problem = "entities" if tell_entities(names) else "tags"

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        ids, labels = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
        expected, predicted = tags_of(labels, labels, names), tags_of(ids, labels, names)
        return {name: score_tags(name, expected, predicted) for name in TAGGING[problem]}

    return compute_metrics

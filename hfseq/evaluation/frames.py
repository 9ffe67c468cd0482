"""Metrics of models of intents and slots: the intent alone, the slots alone, and both right at once.

    Trainer(..., compute_metrics=frame_metrics(slot_names), preprocess_logits_for_metrics=best_frames)

A frame is the intent of a text and all tags of its words; `frame_accuracy` is the share of texts whose frame is right.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import EvalPrediction

from .entities import Tags
from .scores import SCORES
from .tags import tags_of
from .trainer_metrics import DIVERGED, FRAMES


class Frames(NamedTuple):
    """The intents and tags of texts; ids or names of intents, and names of tags."""

    intents: Sequence[Any]
    slots: Sequence[Tags]


def score_frames(expected: Frames, answered: Frames) -> dict[str, float]:
    """Compute every score of FRAMES."""
    counts = {len(part) for part in (*expected, *answered)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"There must be as many intents as rows of tags, and one at least, got {sorted(counts)}.")
    both = [_both(frames) for frames in (expected, answered)]
    given: dict[str, Sequence[Any]] = {
        "frame_accuracy": both,
        "intent_accuracy": [expected.intents, answered.intents],
        "slot_f1": [expected.slots, answered.slots],
    }
    return {name: float(SCORES[name].formula(*given[name])) for name in FRAMES}


def _both(frames: Frames) -> list[tuple[Any, ...]]:
    return [(intent, *tags) for intent, tags in zip(frames.intents, frames.slots, strict=True)]


def best_frames(outputs: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the logits of the intents, and the likeliest slots, which take a small part of the memory."""
    logits, slot_logits = outputs[:2]
    if not (torch.isfinite(logits).all() and torch.isfinite(slot_logits).all()):
        raise ValueError(DIVERGED)
    return logits, slot_logits.argmax(-1)


def frames_of(intents: np.ndarray, slots: np.ndarray, labels: Any, slot_names: Sequence[str]) -> Frames:
    """Name the tags of words; `labels` (rows, T) tell which positions are words, see `tags_of`."""
    return Frames(intents.tolist(), tags_of(slots, labels, slot_names))


def frame_metrics(slot_names: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Build the Trainer's `compute_metrics` for intents and for slots of these names."""

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        logits, slots = (np.asarray(part) for part in evaluated.predictions[:2])
        intents, labels = (np.asarray(part) for part in evaluated.label_ids)
        expected = frames_of(intents, labels, labels, slot_names)
        return score_frames(expected, frames_of(logits.argmax(-1), slots, labels, slot_names))

    return compute_metrics

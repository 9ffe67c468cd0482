"""How sure a model may be: the temperature and the threshold, fitted on validation, and what they do elsewhere."""

from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from ...data.intents import IntentTask, tokenize_no_requests
from ...evaluation.calibration import (
    CURVE,
    coverage_curve,
    fit_temperature,
    negative_log_likelihood,
    probabilities,
    threshold_that_keeps,
)
from ...recipe.texts import most_tokens
from ...training.trainer import SequenceTrainer
from .facts import CalibrationFacts, CoveragePoint
from .settings import IntentSlotsSettings, UnknownSettings


class Answers(NamedTuple):
    """What the model says of texts."""

    logits: np.ndarray  # (rows, L), of the intents, divided by the temperature
    slots: np.ndarray  # (rows, T), ids


class Calibrated(NamedTuple):
    """What was fitted on validation."""

    temperature: float
    nll_before: float
    nll: float
    threshold: float | None


def answers_of(trainer: SequenceTrainer, rows: Dataset) -> Answers:
    """Ask the model, as it stands, for the intents and slots of texts."""
    predictions: Any = trainer.predict(rows).predictions
    return Answers(*predictions[:2])


def calibrate(trainer: SequenceTrainer, validation: Dataset, settings: UnknownSettings) -> Calibrated:
    """Fit the temperature, choose the threshold on validation, and write both into the model's config."""
    labels = np.asarray(validation["labels"][:])
    config: Any = trainer.model.config  # type: ignore[union-attr]
    config.temperature, config.unknown_threshold = None, None
    logits = answers_of(trainer, validation).logits
    temperature = fit_temperature(logits, labels)
    threshold = None
    if settings.keep is not None:
        threshold = threshold_that_keeps(probabilities(logits, temperature), labels, settings.keep)
    config.temperature, config.unknown_threshold = temperature, threshold
    before, after = (negative_log_likelihood(logits, labels, each) for each in (1.0, temperature))
    return Calibrated(temperature, before, after, threshold)


def ask_no_requests(
    trainer: SequenceTrainer, task: IntentTask, split: str, tokenizer: PreTrainedTokenizerFast, model: dict[str, Any]
) -> np.ndarray | None:
    """Return how sure the model is of its intent for each text that is no request; None where the data have none."""
    rows = task.no_requests.get(split)
    if rows is None:
        return None
    tokens = tokenize_no_requests(rows, tokenizer, most_tokens(model))
    return np.asarray(probabilities(answers_of(trainer, tokens).logits).max(-1))


def calibration_facts(
    shares: np.ndarray,
    labels: np.ndarray,
    calibrated: Calibrated,
    *,
    settings: IntentSlotsSettings,
    no_requests: np.ndarray | None,
) -> CalibrationFacts:
    """Measure on the evaluated split what the threshold leaves, and what others would.

    Args:
        shares: Probabilities of the intents (rows, L).
        labels: (rows,).
        calibrated: What was fitted on validation.
        settings: Those of the recipe.
        no_requests: How sure the model is where the text is no request; None: the data have no such texts.
    """
    threshold = calibrated.threshold
    own = next(coverage_curve(shares, labels, [threshold or 0.0]))
    shown = sorted({*CURVE, *([] if threshold is None else [threshold])})
    found: dict[str, Any] = {}
    if no_requests is not None and threshold is not None:
        found = {
            "no_requests": len(no_requests),
            "rejected": float((no_requests < threshold).mean()),
            "no_requests_from": _kind_of(settings),
        }
    return CalibrationFacts(
        temperature=calibrated.temperature,
        nll_before=calibrated.nll_before,
        nll=calibrated.nll,
        keep=settings.unknown.keep,
        threshold=threshold,
        answered=own.coverage,
        accuracy=own.accuracy,
        **found,
        curve=[
            CoveragePoint(
                **point._asdict(),
                answered_no_request=float((no_requests >= point.threshold).mean())
                if found and no_requests is not None
                else None,
            )
            for point in coverage_curve(shares, labels, shown)
        ],
    )


def _kind_of(settings: IntentSlotsSettings) -> str:
    """Say what the texts are that are no request."""
    unknown = settings.data.unknown_intent
    return "generated stories, riddles and sums" if unknown is None else f"rows of the data labelled {unknown}"

"""What the card says of a temperature and a threshold, measured on rows that chose neither."""

from typing import Any

import numpy as np

from ...evaluation.calibration import CURVE, coverage_curve
from .facts import CalibrationFacts, CoveragePoint
from .settings import IntentSlotsSettings


def calibration_facts(
    shares: np.ndarray,
    labels: np.ndarray,
    calibrated: Any,
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

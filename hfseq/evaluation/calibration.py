"""Probabilities that mean what they say, and the texts that a model had better not answer.

    temperature = fit_temperature(logits, labels)           # on validation
    shares = probabilities(logits, temperature)
    threshold = threshold_that_keeps(shares, labels, keep=0.99)

The temperature divides the logits (Guo et al. 2017, "On Calibration of Modern Neural Networks"): one number, chosen so
that validation is likeliest. No answer changes, only how sure it is.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

LOWEST, HIGHEST = 0.05, 20.0  # temperatures; a model that is right on all of validation would ask for 0
CURVE: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Thresholds that a card shows."""
ROUNDING: Final = 1e-5
"""A model may give a text a probability that lies so far from the measured one: in use it has fewer digits, and other
texts stand beside it."""


class Point(NamedTuple):
    """What a threshold leaves of the answers."""

    threshold: float
    coverage: float  # share of the texts that are answered
    accuracy: float | None  # of the answers; None where there are none


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean surprise at the right answers, in nats.

    Args:
        logits: (rows, L).
        labels: (rows,), of which those without an output (`Classes.unseen`) do not count.
        temperature: What the logits are divided by.
    """
    known = labels < logits.shape[-1]
    if not known.any():
        raise ValueError("No row has a label that the model knows: nothing can be calibrated. Give other rows.")
    log_shares = log_softmax(logits[known].astype(np.float64) / temperature, axis=-1)
    return float(-np.take_along_axis(log_shares, labels[known][:, None], axis=-1).mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature, within bounds, at which the right answers are likeliest."""

    def surprise(log_temperature: float) -> float:
        return negative_log_likelihood(logits, labels, float(np.exp(log_temperature)))

    # In the logarithm: to halve the logits is as great a step as to double them.
    found = minimize_scalar(surprise, bounds=tuple(np.log((LOWEST, HIGHEST))), method="bounded")
    return float(np.exp(found.x))


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities (rows, L)."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=-1))


def threshold_that_keeps(shares: np.ndarray, labels: np.ndarray, keep: float) -> float:
    """Return the highest threshold, less `ROUNDING`, that leaves this share of the right answers; 0 if none is right.

    It needs no text that is no request, which few data have: what is asked of it is not to be in the way.

    Args:
        shares: Probabilities (rows, L).
        labels: (rows,).
        keep: From 0 to 1.
    """
    right = np.sort(shares.max(-1)[shares.argmax(-1) == labels])
    if not len(right):
        return 0.0
    lost = int(np.floor((1 - keep) * len(right) + 1e-9))  # rounding must not lose one more
    return max(0.0, float(right[min(lost, len(right) - 1)]) - ROUNDING)


def coverage_curve(shares: np.ndarray, labels: np.ndarray, thresholds: Sequence[float] = CURVE) -> Iterator[Point]:
    """Yield how many texts are answered at each threshold, and how many of these answers are right."""
    scores, right = shares.max(-1), shares.argmax(-1) == labels
    for threshold in thresholds:
        answered = scores >= threshold
        accuracy = float(right[answered].mean()) if answered.any() else None
        yield Point(float(threshold), float(answered.mean()), accuracy)

"""How far forecasts are from what came: MAE, RMSE and MASE of numbers, pinball loss and coverage of intervals.

    MAE   mean |y - f|         RMSE  sqrt(mean (y - f)^2)
    MASE  mean |y - f| / s     s: mean |y_t - y_{t-m}| of the training rows of the same series, m: its period
    pinball loss               mean over the shares q of max(q (y - f_q), (q - 1)(y - f_q))
    coverage                   the share of y that lies in its interval: 0.8 is right for that of 80 %

A MASE below 1: better than what the seasonal naive forecast of one step missed in training (Hyndman, Koehler 2006).

Shapes: n forecasts, H steps ahead, O targets; nan is a number that did not come, and counts nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

FORECASTS: Final = ("mase", "mae", "rmse", "pinball", "coverage_80")
"""The scores of forecasts, the one that people quote first."""

INTERVAL: Final = (0.1, 0.9)
"""The shares below the ends of the interval that is measured."""


@dataclass(frozen=True)
class Forecasts:
    """What was predicted, (n, H, O) each; without an interval for systems that say none."""

    center: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None


def mean_absolute_error(expected: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean of the absolute errors."""
    return float(np.nanmean(np.abs(expected - predicted)))


def root_mean_squared_error(expected: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root of the mean of the squared errors."""
    return float(np.sqrt(np.nanmean((expected - predicted) ** 2)))


def pinball_loss(expected: np.ndarray, quantiles: np.ndarray, shares: Sequence[float]) -> float:
    """Return the pinball loss of (..., Q) quantiles of these shares."""
    missed = expected[..., None] - quantiles
    return float(np.nanmean(np.maximum(np.multiply(shares, missed), np.subtract(shares, 1) * missed)))


def coverage(expected: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Return the share of what came that lies in its interval."""
    came = ~np.isnan(expected)
    return float(((expected >= lower) & (expected <= upper))[came].mean())


def naive_scale(values: np.ndarray, period: int) -> np.ndarray:
    """Return what the seasonal naive forecast misses in (T, O) training rows, (O,); nan where nothing is told."""
    if len(values) <= period:
        return np.full(values.shape[1], np.nan)
    missed = np.abs(values[period:] - values[:-period])
    counted = ~np.isnan(missed)
    total, rows = np.where(counted, missed, 0.0).sum(0), counted.sum(0)
    return np.where((rows > 0) & (total > 0), total / np.maximum(rows, 1), np.nan)


def find_period(series: Sequence[np.ndarray], longest: int) -> int:
    """Return the lag from 2 up at which (T,) training rows are most like themselves; 1 where they are not.

    The trend is taken out by a moving mean; a lag counts where autocorrelation has a peak of 0.3 or more, in the mean
    over the series that are twice as long as the longest lag. Of a peak and its multiples the first one counts that
    comes near the best: a day is a period of every week.
    """
    found = [_autocorrelation(values, longest) for values in series if len(values) > 2 * longest + 2]
    if not found:
        return 1
    likeness = np.mean(found, axis=0)
    inner = likeness[1:-1]
    peaks = np.flatnonzero((inner >= likeness[:-2]) & (inner > likeness[2:])) + 1
    peaks = peaks[(peaks >= 2) & (likeness[peaks] >= _LEAST_LIKE)]
    if not len(peaks):
        return 1
    return int(peaks[likeness[peaks] >= likeness[peaks].max() - _NEAR_THE_BEST][0])


_LEAST_LIKE: Final = 0.3
_NEAR_THE_BEST: Final = 0.05


def _autocorrelation(values: np.ndarray, longest: int) -> np.ndarray:
    """Return the correlation of a series with itself at each lag up to the longest, without its slow moves."""
    filled = np.interp(np.arange(len(values)), np.flatnonzero(~np.isnan(values)), values[~np.isnan(values)])
    width = min(2 * longest + 1, len(filled) // 2 * 2 - 1)
    padded = np.pad(filled, width // 2, mode="reflect")
    centred = filled - np.convolve(padded, np.full(width, 1 / width), mode="valid")
    variance = max(float((centred**2).mean()), 1e-300)
    lags = range(longest + 1)
    return np.array([(centred[lag:] * centred[: len(centred) - lag]).mean() / variance for lag in lags])


def forecast_scores(expected: np.ndarray, told: Forecasts, scales: np.ndarray) -> dict[str, float]:
    """Score forecasts of numbers (n, H, O).

    Args:
        expected: What came.
        told: What was predicted.
        scales: (n, O), `naive_scale` of the series of each forecast; nan: it counts for no MASE.
    """
    scaled = np.abs(expected - told.center) / scales[:, None]
    found = {
        "mase": float(np.nanmean(scaled)) if not np.isnan(scaled).all() else float("nan"),
        "mae": mean_absolute_error(expected, told.center),
        "rmse": root_mean_squared_error(expected, told.center),
    }
    if told.lower is not None and told.upper is not None:
        quantiles = np.stack([told.lower, told.upper], -1)
        found["pinball"] = pinball_loss(expected, quantiles, INTERVAL)
        found["coverage_80"] = coverage(expected, told.lower, told.upper)
    if np.isnan(found["mase"]):
        del found["mase"]  # no series of these moved in training
    return found

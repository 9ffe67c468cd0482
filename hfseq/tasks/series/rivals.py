"""The simple systems that a model of series is measured beside, on the same windows, learnt from the same rows.

Forecasts: the last value, the value one period ago, the mean of the series, and a linear autoregression (ridge) from
all that the model sees of a window to each step that comes. Their intervals of 80 % are their errors on the validation
windows. Labels: the most frequent one, the last one that is known, and logistic regressions on the last steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...data.series import SeriesTable
from ...data.series_windows import Span, Windows
from ...data.walk_forward import rows_in
from ...evaluation.series import INTERVAL, Forecasts
from ...models.base import IGNORED
from ...tokenization.known_ahead import with_known

LINEAR: Final = "Linear autoregression"
_STRENGTHS: Final = (1e-4, 1e-2, 1e0, 1e2)  # of the ridge, for each row
_BLOCK: Final = 512  # windows that are laid out at once
_LOGISTIC_STEPS: Final = 32
_LOGISTIC_STRENGTHS: Final = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Parts:
    """The windows of a fold."""

    train: Windows
    validation: Windows
    test: Windows


def forecast_rivals(table: SeriesTable, span: Span, parts: Parts, period: int) -> dict[str, Forecasts]:
    """Let each simple system predict the test windows.

    Args:
        table: The series.
        span: The steps that may be learnt from.
        parts: The windows.
        period: Of the seasonal naive forecast; 1: there is none.
    """
    targets = [each.observed[:, : len(table.targets)] for each in table.series]
    asked, means = (parts.validation, parts.test), _means(table, span, targets)
    filled = [_carried(values, mean) for values, mean in zip(targets, means, strict=True)]
    found = {"Last value": tuple(_last_value(filled, windows) for windows in asked)}
    if period > 1:
        name = f"Seasonal naive (period {period})"
        found[name] = tuple(_seasonal(filled, windows, period) for windows in asked)
    found["Mean of the series"] = tuple(_repeated(means, windows) for windows in asked)
    found[f"{LINEAR} ({parts.train.context} steps)"] = _linear(table, span, targets, parts)
    came = parts.validation.after(targets)
    return {name: _with_interval(test, came - valid) for name, (valid, test) in found.items()}


def _with_interval(center: np.ndarray, missed: np.ndarray) -> Forecasts:
    """Put the errors of other windows, of each step ahead, around forecasts."""
    lower, upper = np.nanquantile(missed, INTERVAL, axis=0)
    return Forecasts(center, center + lower, center + upper)


def _last_value(filled: Sequence[np.ndarray], windows: Windows) -> np.ndarray:
    last = np.stack([filled[owner][row] for owner, row in windows.places])
    return np.repeat(last[:, None], windows.horizon, axis=1)


def _carried(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Fill in missing values with the last one before, or with `first` where none is before."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    found = np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
    return np.where(np.isnan(found), first, found)


def _seasonal(filled: Sequence[np.ndarray], windows: Windows, period: int) -> np.ndarray:
    """Return the value that the same step of the last period had."""
    back = np.arange(1, windows.horizon + 1) - period * np.ceil(np.arange(1, windows.horizon + 1) / period).astype(int)
    return np.stack([filled[owner][np.maximum(row + back, 0)] for owner, row in windows.places])


def _means(table: SeriesTable, span: Span, targets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the mean of the training rows of each series; of all, where it has none."""
    parts = [values[own] for values, own in zip(targets, rows_in(table.series, span), strict=True)]
    whole = np.nanmean(np.concatenate(parts), axis=0)
    return [np.where(np.isnan(part).all(0), whole, _mean(part)) if len(part) else whole for part in parts]


def _repeated(means: Sequence[np.ndarray], windows: Windows) -> np.ndarray:
    return np.stack([np.repeat(means[owner][None], windows.horizon, axis=0) for owner, _ in windows.places])


def _mean(values: np.ndarray) -> np.ndarray:
    counted = ~np.isnan(values)
    mean: np.ndarray = np.where(counted, values, 0.0).sum(0) / np.maximum(counted.sum(0), 1)
    return mean


class _Laid:
    """Windows as rows for a linear model: all that is seen up to now, what is known ahead, and a 1.

    Where values are missing the masks are seen too, as the model sees them.
    """

    def __init__(self, table: SeriesTable, span: Span) -> None:
        rows = rows_in(table.series, span)
        seen = np.concatenate([each.observed[own] for each, own in zip(table.series, rows, strict=True)])
        known = np.concatenate([each.known[own] for each, own in zip(table.series, rows, strict=True)])
        self.seen = [_scaled(each.observed, seen) for each in table.series]
        gaps = [np.isnan(each.observed) for each in table.series]
        if (missing := np.any([each.any(0) for each in gaps], axis=0)).any():
            self.seen = [
                np.concatenate([own, ~each[:, missing]], 1) for own, each in zip(self.seen, gaps, strict=True)
            ]
        self.known = [_scaled(each.known, known) for each in table.series]

    def rows(self, windows: Windows, chosen: Sequence[int]) -> np.ndarray:
        found = []
        for window in chosen:
            owner, last = int(windows.owner[window]), int(windows.last[window])
            horizon = windows.horizon
            ahead = with_known(np.zeros((1, 0)), self.known[owner][last : last + horizon + 1], horizon)
            found.append(np.concatenate([windows.seen(self.seen, window).ravel(), ahead.ravel(), [1.0]]))
        return np.array(found)


def _scaled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    mean = _mean(train)
    deviation = np.sqrt(_mean((train - mean) ** 2))
    scaled: np.ndarray = np.nan_to_num((values - mean) / np.where(deviation > 0, deviation, 1.0))
    return scaled


def _linear(
    table: SeriesTable, span: Span, targets: Sequence[np.ndarray], parts: Parts
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression for each step ahead; the validation windows choose its strength."""
    fit = _Ridge(_Laid(table, span), parts.train, targets)
    asked = [fit.laid.rows(windows, range(len(windows))) for windows in (parts.validation, parts.test)]
    came, best = parts.validation.after(targets), (np.inf, np.zeros(0), np.zeros(0))
    for weights in fit.weights():
        valid, test = ((rows @ weights).reshape(-1, *came.shape[1:]) for rows in asked)
        missed = float(_mean(((valid - came) ** 2).reshape(-1, 1))[0])
        if missed < best[0]:
            best = missed, valid, test
    return best[1], best[2]


class _Ridge:
    """Least squares with a penalty, for each number that comes, from the windows where it is known."""

    def __init__(self, laid: _Laid, train: Windows, targets: Sequence[np.ndarray]) -> None:
        self.laid, self.train = laid, train
        came = train.after(targets).reshape(len(train), -1)
        self.unknown, self.came = np.isnan(came), np.nan_to_num(came)
        self.gram, self.moment = self._sums(np.arange(len(train)))
        self.penalty = np.eye(len(self.gram))
        self.penalty[-1, -1] = 0.0  # the constant is free

    def _sums(self, chosen: np.ndarray) -> tuple[Any, Any]:
        gram: Any = 0.0
        moment: Any = 0.0
        for begin in range(0, len(chosen), _BLOCK):
            own = chosen[begin : begin + _BLOCK]
            rows = self.laid.rows(self.train, own.tolist())
            gram, moment = gram + rows.T @ rows, moment + rows.T @ self.came[own]
        return gram, moment

    def weights(self) -> list[np.ndarray]:
        """Return for each strength a column of weights for each number that comes."""
        if not self.unknown.any():
            count = len(self.train)
            return [np.linalg.solve(self.gram + each * count * self.penalty, self.moment) for each in _STRENGTHS]
        found = [np.zeros_like(self.moment) for _ in _STRENGTHS]
        for place, unknown in enumerate(self.unknown.T):
            count = len(unknown) - int(unknown.sum())
            if not count:
                continue
            gram = self.gram - self._sums(np.flatnonzero(unknown))[0]
            for weights, strength in zip(found, _STRENGTHS, strict=True):
                weights[:, place] = np.linalg.solve(gram + strength * count * self.penalty, self.moment[:, place])
        return found


def label_rivals(table: SeriesTable, span: Span, parts: Parts, delay: int) -> dict[str, np.ndarray]:
    """Let each simple system name the label of the last step that each test window sees.

    Args:
        table: The series.
        span: The steps that may be learnt from.
        parts: The windows.
        delay: Steps that a label looks ahead: those of as many steps before are not known yet.
    """
    labels = [each.labels for each in table.series]
    own = np.concatenate([each[rows] for each, rows in zip(labels, rows_in(table.series, span), strict=True)])
    commonest = int(np.bincount(own[own != IGNORED], minlength=1).argmax())
    found = {"Most frequent class": np.full(len(parts.test), commonest)}
    lag = max(delay, 1)
    last = [
        int(labels[owner][row - lag]) if row >= lag and labels[owner][row - lag] != IGNORED else commonest
        for owner, row in parts.test.places
    ]
    found[f"Last label that is known ({lag} step{'s' if lag > 1 else ''} old)"] = np.array(last)
    laid, steps = _Laid(table, span), min(parts.train.context, _LOGISTIC_STEPS)
    rows = [_last_steps(laid, windows, steps) for windows in (parts.train, parts.validation, parts.test)]
    asked = [_labels(labels, windows) for windows in (parts.train, parts.validation)]
    squared = [np.concatenate([each, each**2], 1) for each in rows]
    for name, columns in (("values", rows), ("values and squares", squared)):
        if len(np.unique(asked[0][asked[0] != IGNORED])) > 1:  # or there is nothing to tell apart
            found[f"Logistic regression (last {steps} {name})"] = _logistic(columns, asked, commonest)
    return found


def _labels(labels: Sequence[np.ndarray], windows: Windows) -> np.ndarray:
    return np.array([labels[owner][row] for owner, row in windows.places])


def _last_steps(laid: _Laid, windows: Windows, steps: int) -> np.ndarray:
    both = [np.concatenate(pair, 1) for pair in zip(laid.seen, laid.known, strict=True)]
    return np.stack([both[owner][row - steps + 1 : row + 1].ravel() for owner, row in windows.places])


def _logistic(rows: Sequence[np.ndarray], asked: Sequence[np.ndarray], commonest: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    told = [labels != IGNORED for labels in asked]
    best, answers = -1.0, np.full(len(rows[2]), commonest)
    for strength in _LOGISTIC_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(rows[0][told[0]], asked[0][told[0]])
        right = float((model.predict(rows[1][told[1]]) == asked[1][told[1]]).mean())
        if right > best:
            best, answers = right, model.predict(rows[2])
    return answers

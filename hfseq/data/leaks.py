"""Columns that tell a target or a label before its time: what a model would copy, and what nobody has in use.

    y_{t+k} = a + b x_t + c_1 y_{t+k-1} + c_2 y_{t+k-2} + ...        with and without b

A feature x leaks where almost nothing is missed with it, and more is without it. It may not help so much with any step
that comes within the windows: a model sees x of many steps. A column that is known ahead is compared with the target
itself, as it may well explain it; labels are compared value by value.
"""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..models.base import IGNORED
from .series import SeriesTable

logger = logging.getLogger(__name__)

_SAME: Final = 0.9999  # columns with this correlation say the same
_TELLS: Final = 0.999  # of what the past leaves open: refused
_TELLS_MUCH: Final = 0.8  # warned of
_ROUNDING: Final = 1e-10  # of a variance: nothing is left
_PAST: Final = 8  # earlier values that a target is told by
_LONG_PAST: Final = 64  # the same, before a column is refused: seasons tell much
_MOST_ROWS: Final = 2000  # that are looked at
_LEAST_ROWS: Final = 100  # of a series
_ROWS_EACH: Final = 4  # rows that a weight of a regression needs

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]
"""A column and a target (or labels) of each series, as many rows of both."""


class LookAheadError(ValueError):
    """What is to be learnt from lies behind the cut."""


def check_columns(table: SeriesTable, parts: Sequence[slice], *, context: int, horizon: int) -> None:
    """Refuse columns that have a target, or a label, before its time.

    Args:
        table: The series.
        parts: The training rows of each of them.
        context: Rows that a window sees.
        horizon: Rows after them that it predicts; with labels, how many a label looks ahead.
    """
    rows = list(zip(table.series, parts, strict=True))
    for column, target in enumerate(table.targets):
        values = [each.observed[own, column] for each, own in rows]
        for place, name in enumerate(table.features, start=len(table.targets)):
            seen = [each.observed[own, place] for each, own in rows]
            _check_feature(list(zip(seen, values, strict=True)), name, target, context + horizon)
        for place, name in enumerate(table.known):
            told = [each.known[own, place] for each, own in rows]
            _check_known(list(zip(told, values, strict=True)), name, target, context, horizon)
    if table.classes:
        labels = [each.labels[own] for each, own in rows]
        for place, name in enumerate([*table.targets, *table.features, *table.known]):
            columns = [np.concatenate([each.observed, each.known], 1)[own, place] for each, own in rows]
            _check_label(list(zip(columns, labels, strict=True)), name, context, horizon)


def _check_feature(pairs: Pairs, name: str, target: str, reach: int) -> None:
    pairs = _newest(pairs)
    gains = {ahead: gain_of(pairs, ahead) for ahead in range(1, reach + 1)}
    ahead = max(gains, key=lambda each: gains[each])
    if gains[ahead] < _TELLS_MUCH or _is_past(pairs) or gain_of(pairs, ahead, past=_LONG_PAST) < _TELLS_MUCH:
        return
    if gains[ahead] >= _TELLS:
        raise LookAheadError(
            f"column {name!r} tells the values of the target {target!r} {ahead} step(s) before their time: a model "
            "would copy them. Leave it out with data.feature_columns."
        )
    logger.warning(
        "column %r tells %.0f %% of what the past of the target %r leaves open, %d step(s) before its time. Is it "
        "known so early? If not, leave it out with data.feature_columns.",
        *(name, 100 * gains[ahead], target, ahead),
    )


def _newest(pairs: Pairs) -> Pairs:
    """Return as many rows of each series as the check has time for."""
    each = max(_MOST_ROWS // len(pairs), _LEAST_ROWS)
    return [(column[-each:], target[-each:]) for column, target in pairs[: _MOST_ROWS // _LEAST_ROWS]]


def _check_known(pairs: Pairs, name: str, target: str, context: int, horizon: int) -> None:
    """Refuse a known column of step t + horizon that has the target of any step after t."""
    for ahead in range(1 - horizon, context + horizon + 1):
        if _says_the_same(pairs, ahead):
            when = f" {abs(ahead)} step(s) {'later' if ahead > 0 else 'before'}" if ahead else ""
            reach = f" of {horizon} steps that come" if horizon > 1 else ""
            raise LookAheadError(
                f"column {name!r} says the same as the target {target!r}{when}, and is said to be known ahead{reach}: "
                "name it in data.feature_columns, or leave it out."
            )


def _check_label(pairs: Pairs, name: str, context: int, delay: int) -> None:
    """Refuse a column whose values are those of a label that is not known yet."""
    known_after = max(delay, 1)
    for ahead in range(1 - known_after, context + delay + 1):
        if _one_to_one(pairs, ahead) and not any(_one_to_one(pairs, -lag) for lag in (known_after, known_after + 1)):
            when = "" if not ahead else f" {abs(ahead)} step(s) {'later' if ahead > 0 else 'before'}"
            raise LookAheadError(
                f"column {name!r} has a value for each label{when}, when that is not known yet: a model would copy "
                "it. Leave it out with data.feature_columns."
            )


def gain_of(pairs: Pairs, ahead: int, *, past: int = _PAST) -> float:
    """Return which share of what its past leaves open of a target a column tells so many steps before, 0 to 1.

    Args:
        pairs: A column and a target of each series.
        ahead: Steps, 1 or more.
        past: Earlier values of the target that count, fewer where there are few rows.
    """
    rows, longest = sum(len(target) for _, target in pairs), max(len(target) for _, target in pairs)
    lags = max(min(past, rows // (4 * _ROWS_EACH), longest // 4), 1)
    offsets = sorted({*range(ahead - lags, ahead), *range(1 - lags, 1)})  # the values before, and those up to now
    before = -offsets[0]
    laid = [
        _moved(target, [*offsets, ahead], column, before, ahead)
        for column, target in pairs
        if len(target) > before + ahead
    ]
    if not laid:
        return 0.0
    whole = np.concatenate(laid)
    whole = whole[np.isfinite(whole).all(1)]
    if len(whole) < _ROWS_EACH * (len(offsets) + 1):
        return 0.0
    base, _ = np.linalg.qr(np.column_stack([whole[:, :-2], np.ones(len(whole))]))
    both = whole[:, -2:]
    left = both - base @ (base.T @ both)
    target, column = (left**2).sum(0)
    if target <= _ROUNDING * ((both[:, 0] - both[:, 0].mean()) ** 2).sum():
        return 0.0  # it tells itself, as a sine wave does
    if column <= _ROUNDING * ((both[:, 1] - both[:, 1].mean()) ** 2).sum():
        return 0.0  # the column is made of the past
    return float((left[:, 0] @ left[:, 1]) ** 2 / (target * column))


def _moved(target: np.ndarray, offsets: Sequence[int], column: np.ndarray, before: int, ahead: int) -> np.ndarray:
    """Lay a target of several steps beside a column of the present one."""
    count = len(target) - before - ahead
    return np.column_stack(
        [*(target[before + each : before + each + count] for each in offsets), column[before : before + count]]
    )


def _is_past(pairs: Pairs) -> bool:
    """Tell whether a column is the target of some steps before, which a season repeats."""
    longest = max(len(target) for _, target in pairs) // 2
    return any(_says_the_same(pairs, -lag, itself=True) for lag in range(longest))


def _says_the_same(pairs: Pairs, ahead: int, *, itself: bool = False) -> bool:
    """Tell whether changes of a column are those of a target so many steps later (below 0: before).

    Args:
        pairs: A column and a target of each series.
        ahead: Steps.
        itself: Say so as well where the past of the target tells what comes.
    """
    found = [(np.diff(column), np.diff(target)) for column, target in (_apart(*pair, ahead) for pair in pairs)]
    changes = np.array([np.concatenate(parts) for parts in zip(*found, strict=True)])
    changes = changes[:, np.isfinite(changes).all(0)]
    if changes.shape[1] < 3 or not changes.std(1).all():
        return False
    if abs(np.corrcoef(changes)[0, 1]) < _SAME:
        return False
    return itself or not any(_tells_itself(target, max(ahead, 1)) for _, target in pairs)


def _apart(column: np.ndarray, target: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a column, and those of a target so many steps later."""
    if ahead >= 0:
        return column[: max(len(column) - ahead, 0)], target[ahead:]
    return column[-ahead:], target[:ahead]


def _tells_itself(target: np.ndarray, ahead: int) -> bool:
    """Tell whether two steps of a target give what comes later, as in a sine wave, whose features are waves too."""
    whole = np.column_stack([target[1:-ahead], target[: -ahead - 1], np.ones(max(len(target) - ahead - 1, 0))])
    later = target[1 + ahead :]
    is_there = np.isfinite(whole).all(1) & np.isfinite(later)
    whole, later = whole[is_there], later[is_there]
    if len(later) < 4:
        return False
    missed = later - whole @ np.linalg.lstsq(whole, later, rcond=None)[0]
    return bool(missed.var() < (1 - _SAME) * later.var())


def _one_to_one(pairs: Pairs, ahead: int) -> bool:
    """Tell whether each value of a column goes with one label so many steps later, and each label with one value."""
    found = [_apart(*pair, ahead) for pair in pairs]
    values, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    counted = np.isfinite(values) & (labels != IGNORED)
    values, labels = values[counted], labels[counted]
    kinds = len(np.unique(labels))
    if kinds < 2 or len(np.unique(values)) != kinds:
        return False
    return len(np.unique(np.column_stack([values, labels]), axis=0)) == kinds

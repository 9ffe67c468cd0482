"""Splits of series that never look ahead: a model learns before a cut, and predicts what comes after it.

    steps of time     0 ............................................ end
    fold 0            train train train | gap | valid | gap | test
    fold 1            train train train train train | gap | valid | gap | test        expanding
    fold 1                        train train train | gap | valid | gap | test        sliding

Nothing that is learnt before a cut may come from behind it: no row of a window, no mean or deviation, no column that
tells the future. `check_no_look_ahead` refuses what does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from .leaks import LookAheadError, check_columns
from .series import Series, SeriesTable
from .series_windows import Span, Windows

_CLOSE: Final = 1e-3  # of a deviation: statistics that are further from those of the training rows are of other rows


@dataclass(frozen=True)
class Fold:
    """What is learnt from, what chooses among the epochs, and what is measured."""

    train: Span
    validation: Span
    test: Span


def walk_forward(
    steps: int,
    *,
    folds: int = 3,
    test_steps: int,
    validation_steps: int,
    gap: int = 0,
    train: Literal["expanding", "sliding"] = "expanding",
) -> list[Fold]:
    """Cut the axis of time, the last test part at its end, each earlier one before it.

    Args:
        steps: Steps of the axis.
        folds: How many cuts.
        test_steps: Steps of each test part.
        validation_steps: Steps before it that choose among the epochs.
        gap: Steps left out before validation and test, where neighbours would tell each other's values.
        train: `expanding`, all steps before; `sliding`, as many as the first fold has.
    """
    if min(folds, test_steps, validation_steps) < 1 or gap < 0:
        given = f"folds={folds}, test_steps={test_steps}, validation_steps={validation_steps}, gap={gap}"
        raise ValueError(f"{given}: the first three must be 1 or more, the gap 0 or more.")
    behind = validation_steps + 2 * gap  # between the training and the test steps
    least = steps - folds * test_steps - behind
    if least < 1:
        needed = folds * test_steps + behind + 1
        raise ValueError(
            f"{steps} steps are too few for {folds} fold(s) of {test_steps} test steps, {validation_steps} of "
            f"validation and gaps of {gap}, which take {needed}: lower split.folds, split.test_steps or "
            "split.validation_steps."
        )
    found = []
    for number in range(folds):
        end = least + number * test_steps  # of training
        valid, test = end + gap, end + behind
        begin = 0 if train == "expanding" else end - least
        found.append(Fold(Span(begin, end), Span(valid, valid + validation_steps), Span(test, test + test_steps)))
    return found


def rows_in(series: Sequence[Series], span: Span) -> list[slice]:
    """Return the rows of each series that lie in a span."""
    return [slice(*np.searchsorted(each.steps, [span.begin, span.end]).tolist()) for each in series]


def check_no_look_ahead(
    table: SeriesTable,
    fold: Fold,
    train: Windows,
    held: Sequence[Windows],
    *,
    statistics: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Refuse what would let a model see behind the cut of a fold.

    Args:
        table: The series.
        fold: Where the cuts are.
        train: The windows that are learnt from.
        held: Those that are not, validation and test.
        statistics: Means and deviations of the columns, (2 x C), that inputs are normalised with.

    Raises:
        LookAheadError: If training windows or what they predict reach behind the cut, held windows predict what
            training has seen, statistics are of other rows than those before the cut, or a feature has the target's
            values before their time.
    """
    check_windows(table, fold.train.end, train, held)
    if statistics is not None:
        check_statistics(table, fold.train, *statistics)
    check_columns(table, rows_in(table.series, fold.train), context=train.context, horizon=train.horizon)


def check_windows(table: SeriesTable, cut: int, train: Windows, held: Sequence[Windows] = ()) -> None:
    """Refuse training windows that reach behind a cut, and held ones whose predictions lie before it."""
    reach = train.step(train.horizon)
    if (late := np.flatnonzero(reach >= cut)).size:
        window = late[0]
        raise LookAheadError(
            f"{late.size} of {len(train)} training windows look ahead: one{_of(train, window)} predicts up to step "
            f"{table.axis[reach[window]]}, and training ends before {_at(table, cut)}. Split by time, not by chance, "
            "and let the last horizon before the cut end there."
        )
    for windows in held:
        first = windows.step(min(windows.horizon, 1))
        if (early := np.flatnonzero(first < cut)).size:
            window = early[0]
            raise LookAheadError(
                f"{early.size} of {len(windows)} windows to measure on predict what training has seen: one"
                f"{_of(windows, window)} predicts from step {table.axis[first[window]]} on, and training ends before "
                f"{_at(table, cut)}. Split by time, not by chance."
            )


def check_statistics(table: SeriesTable, span: Span, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Refuse means and deviations that are not those of the rows in a span."""
    rows = np.concatenate(
        [each.observed[own] for each, own in zip(table.series, rows_in(table.series, span), strict=True)]
    )
    own = np.nanmean(rows, 0), np.nanstd(rows, 0)
    for place, name in enumerate([*table.targets, *table.features]):
        size = max(float(own[1][place]), 1e-12 * (1 + abs(float(own[0][place]))))
        for what, value, right in (
            ("mean", mean[place], own[0][place]),
            ("deviation", deviation[place], own[1][place]),
        ):
            is_flat = what == "deviation" and own[1][place] < _CLOSE and value == 1  # nothing to divide by
            if abs(value - right) > _CLOSE * size and not is_flat:
                raise LookAheadError(
                    f"the {what} of column {name!r} is {value:.6g}, and that of the training rows (steps {span}) is "
                    f"{right:.6g}: it was learnt from other rows. Fit on the training rows alone."
                )


def _of(windows: Windows, window: int) -> str:
    name = windows.series[int(windows.owner[window])].name
    return f" of series {name!r}" if name else ""


def _at(table: SeriesTable, step: int) -> str:
    return table.axis[step] if step < len(table.axis) else "the end"

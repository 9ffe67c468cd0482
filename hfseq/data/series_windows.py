"""Windows of series: what is seen (context), and what follows it (horizon), as views of the series' own numbers.

    rows     0 1 2 3 4 5 6 7 8 9          context 4, horizon 2, stride 3
    window   s s s S a a . . . .          S: the last row that is seen, from which `a` is predicted
                   s s s S a a .

A window belongs to a span of steps where all that it predicts lies in the span. What it sees may lie before: the past
is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .series import Series


class Span(NamedTuple):
    """Steps of the axis of time, from `begin` up to but without `end`."""

    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.begin} to {self.end - 1}"

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return max(self.end - self.begin, 0)


@dataclass(frozen=True)
class Windows:
    """Windows of several series; what they predict is the `horizon` rows after the last one that is seen.

    With labels, `horizon` is how many rows the label of a row looks ahead.
    """

    series: Sequence[Series]
    context: int
    horizon: int
    owner: np.ndarray  # (n,) the series of each window
    last: np.ndarray  # (n,) the last row of it that is seen

    def __len__(self) -> int:
        return len(self.owner)

    def seen(self, arrays: Sequence[np.ndarray], window: int) -> np.ndarray:
        """Return the rows that a window sees, a view (context, ...) of the array of its series."""
        last = self.last[window]
        return arrays[self.owner[window]][last - self.context + 1 : last + 1]

    def ahead(self, arrays: Sequence[np.ndarray], window: int) -> np.ndarray:
        """Return what follows each row that a window sees, a view (context, horizon, ...)."""
        last = self.last[window]
        return following(arrays[self.owner[window]], self.horizon)[last - self.context + 1 : last + 1]

    def after(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the rows after the last one that each window sees, a copy (n, horizon, ...)."""
        rows = [arrays[owner][last + 1 : last + 1 + self.horizon] for owner, last in self.places]
        return np.stack(rows) if rows else np.zeros((0, self.horizon, *arrays[0].shape[1:]))

    @property
    def places(self) -> list[tuple[int, int]]:
        """The series of each window, and its last row that is seen."""
        return list(zip(self.owner.tolist(), self.last.tolist(), strict=True))

    def step(self, rows_after: int) -> np.ndarray:
        """Return the step of time, (n,), so many rows after the last one that each window sees."""
        return np.array([self.series[owner].steps[last + rows_after] for owner, last in self.places], np.int64)


def following(values: np.ndarray, horizon: int) -> np.ndarray:
    """Return the `horizon` rows after each row, a view (rows - horizon, horizon, ...) without a copy."""
    view = sliding_window_view(values[1:], horizon, axis=0)
    return np.moveaxis(view, -1, 1)


def windows_in(
    series: Sequence[Series], span: Span, *, context: int, horizon: int, stride: int = 1, within: bool = False
) -> Windows:
    """Find the windows whose predictions lie in a span.

    Args:
        series: All series.
        span: The steps that may be predicted.
        context: Rows that a window sees.
        horizon: Rows after them that it predicts; with labels, how many a label looks ahead.
        stride: Rows from one window to the next.
        within: Whether what is seen must lie in the span as well, as in training on the last rows alone.
    """
    owners, lasts = [], []
    for index, each in enumerate(series):
        rows = np.arange(context - 1, len(each) - horizon)
        first = each.steps[rows + min(horizon, 1)]  # the first step that is predicted: a label is that of its own row
        is_in = (first >= span.begin) & (each.steps[rows + horizon] < span.end)
        if within:
            is_in &= each.steps[rows - context + 1] >= span.begin
        chosen = rows[is_in][::stride]
        owners.append(np.full(len(chosen), index))
        lasts.append(chosen)
    return Windows(series, context, horizon, np.concatenate(owners), np.concatenate(lasts))

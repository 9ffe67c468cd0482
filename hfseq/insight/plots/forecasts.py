"""Pictures of forecasts: what was seen, what came, and what was predicted, with an interval where there is one.

forecast(history, told["forecast"], lower=told["lower"], upper=told["upper"], path="forecast.png")
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import FRAME, GREY, check_path, drawn, need_matplotlib, new_figure, words_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SEEN, _TOLD = "#6b6b6b", "#1f6fb4"
_CURE = "install a font such as Noto Sans"
_MOST_PANELS = 12


def forecast(
    history: Any,
    predicted: Any = None,
    *,
    lower: Any = None,
    upper: Any = None,
    came: Any = None,
    times: Sequence[Any] | None = None,
    interval: str = "80 % interval",
    path: str | os.PathLike[str] | None = None,
    title: str = "",
) -> "Figure":
    """Draw a forecast behind the steps before it; several are a panel each.

    Args:
        history: (T,) numbers that were seen, or (T, O) of several targets; or several forecasts, {title: {"history":
            ..., "predicted": ..., "lower": ..., "upper": ..., "came": ..., "times": ...}}.
        predicted: (H,) or (H, O) what was predicted.
        lower: (H,) or (H, O) the lower end of the interval; None: there is none.
        upper: The upper end.
        came: (H,) or (H, O) what came; None: nobody knows yet.
        times: (T + H,) what to write below the steps; None: their distance from the last one that was seen.
        interval: What the interval is called.
        path: A .png, .svg or .pdf file to draw into.
        title: What stands above the picture.
    """
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    need_matplotlib("Forecasts are")
    if isinstance(history, Mapping):
        panels = dict(history)
    else:
        options = {"lower": lower, "upper": upper, "came": came, "times": times}
        panels = {title: {"history": history, "predicted": predicted, **options}}
        title = ""
    found = [part for name, panel in panels.items() for part in _columns(str(name), **panel)]
    if not found or len(found) > _MOST_PANELS:
        raise ValueError(
            f"a picture has 1 to {_MOST_PANELS} panels, one a target of a forecast; these are {len(found)}."
        )
    return drawn(lambda: _draw(found, interval, title), path, _CURE)


def _columns(
    name: str,
    history: Any,
    predicted: Any = None,
    lower: Any = None,
    upper: Any = None,
    came: Any = None,
    times: Sequence[Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the numbers of each panel, one a target."""
    seen, told = _table(history, "history"), _table(predicted, "predicted")
    others = {"lower": lower, "upper": upper, "came": came}
    given = {key: _table(value, key) for key, value in others.items() if value is not None}
    for key, values in given.items():
        if values.shape != told.shape:
            raise ValueError(f"{key} has the shape {values.shape} and predicted {told.shape}: they must be alike.")
    if seen.shape[1] != told.shape[1]:
        raise ValueError(f"history has {seen.shape[1]} targets and predicted {told.shape[1]}: give those predicted.")
    if ("lower" in given) != ("upper" in given):
        raise ValueError("an interval has two ends: give lower and upper, or neither.")
    if times is not None and len(times) != len(seen) + len(told):
        raise ValueError(f"times has {len(times)} entries for {len(seen)} steps seen and {len(told)} predicted.")
    own = {key: given.get(key) for key in others}
    return [
        {
            "name": name if seen.shape[1] == 1 else f"{name} {column}".strip(),
            "seen": seen[:, column],
            "told": told[:, column],
            "times": times,
            **{key: None if values is None else values[:, column] for key, values in own.items()},
        }
        for column in range(seen.shape[1])
    ]


def _table(values: Any, name: str) -> np.ndarray:
    found = np.asarray(values, dtype=float) if values is not None else np.zeros(0)
    if found.ndim not in (1, 2) or not found.size:
        raise ValueError(f"{name} must be (steps,) or (steps, targets) numbers, got the shape {found.shape}.")
    return found[:, None] if found.ndim == 1 else found


def _draw(panels: list[dict[str, Any]], interval: str, title: str) -> "Figure":
    columns = 1 if len(panels) < 3 else 2
    rows = -(-len(panels) // columns)
    figure = new_figure(7.2 if columns == 1 else 11.0, 2.2 * rows + 0.6, 0.06)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, interval)
    handles, labels = grid[0].get_legend_handles_labels()
    grid[0].legend(handles, labels, fontsize=7, frameon=False, loc="upper left", ncols=len(labels))
    if title:
        figure.suptitle(title, wrap=True, **words_in(12))
    return figure


def _draw_panel(axes: "Axes", panel: dict[str, Any], interval: str) -> None:
    seen, told = panel["seen"], panel["told"]
    before, after = np.arange(1 - len(seen), 1), np.arange(1, len(told) + 1)
    axes.plot(before, seen, color=_SEEN, linewidth=1.0, label="seen", gid="seen")
    if panel["lower"] is not None:
        ends = panel["lower"], panel["upper"]
        axes.fill_between(after, *ends, color=_TOLD, alpha=0.2, linewidth=0, label=interval, gid="interval")
    if panel["came"] is not None:
        axes.plot(after, panel["came"], color="black", linewidth=1.0, label="came", gid="came")
    axes.plot(after, told, color=_TOLD, linewidth=1.6, label="predicted", gid="predicted")
    axes.axvline(0.5, color=FRAME, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)
    axes.tick_params(labelsize=7, color=FRAME, length=2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.15 * (high - low))  # room for the legend
    if panel["name"]:
        axes.set_title(panel["name"], loc="left", **words_in(9), color=GREY)
    if panel["times"] is None:
        axes.set_xlabel("steps from the last one that was seen", fontsize=7, color=GREY)
        return
    chosen = np.linspace(0, len(seen) + len(told) - 1, 5).round().astype(int)
    axes.set_xticks(chosen + 1 - len(seen), [str(panel["times"][place]) for place in chosen])

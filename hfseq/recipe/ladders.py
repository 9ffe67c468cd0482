"""What ladders have in common: models of one task from the simplest upwards, their table, a picture."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ladder:
    """One kind of ladder, as `recipes/ladder.py` climbs it. Its rungs are dataclasses with a name.

    Attributes:
        settings: The class of its settings, whose section `training` names the folder.
        load: settings -> the data.
        prepare: (settings, data) -> what every rung learns from: the data and its tokens.
        climb: (settings, what was prepared, folder) -> the rungs, each as soon as it is measured.
        line: What to say of a rung that has just been measured.
        table: The rungs in Markdown.
        plot: Draw the rungs to a file; needs matplotlib.
    """

    settings: type[Any]
    load: Callable[[Any], Any]
    prepare: Callable[[Any, Any], Any]
    climb: Callable[[Any, Any, Path], Iterator[Any]]
    line: Callable[[Any], str]
    table: Callable[[Sequence[Any]], str]
    plot: Callable[[Sequence[Any], Path], None]


@dataclass(frozen=True)
class Bar:
    """A rung in the picture."""

    name: str
    value: float
    label: str  # what stands behind the bar
    colour: str


def save_ladder(rungs: Sequence[Any], table: str, folder: Path, command: str) -> None:
    """Write `ladder.json` and `ladder.md`."""
    facts = {"command": command, "rungs": [asdict(rung) for rung in rungs]}
    (folder / "ladder.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "ladder.md").write_text(table + "\n", encoding="utf-8")


def plot_bars(bars: Sequence[Bar], axis: str, path: str | Path) -> None:
    """Draw a bar for each rung to a .png, .svg or .pdf file; needs matplotlib."""
    if not bars:
        raise ValueError("there is no rung to draw.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot_ladder needs matplotlib: pip install 'hfseq[plots]'") from error
    figure = Figure(figsize=(8, 0.55 * len(bars) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes, places = figure.subplots(), range(len(bars))
    values = [bar.value for bar in bars]
    drawn = axes.barh(places, values, color=[bar.colour for bar in bars])
    axes.bar_label(drawn, labels=[bar.label for bar in bars], padding=4, fontsize=9)
    axes.set_yticks(list(places), [bar.name for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(values))
    axes.set_xlabel(axis)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=160)

"""Which model remembers for how long: the accuracy of the recall probe against the distance."""

import os
from typing import TYPE_CHECKING

from .figures import GREY, need_matplotlib, new_figure, save_figure

if TYPE_CHECKING:
    from ..recall import RecallTable

_MARKS = "os^vDPX*<>"


def plot_recall(table: "RecallTable", chance: float, *paths: str | os.PathLike[str]) -> None:
    """Draw the mean accuracy of each model over its seeds, and the range of the seeds, into files."""
    need_matplotlib("The recall probe is")
    figure = new_figure(7.2, 4.2)
    axes = figure.add_subplot()
    for number, model in enumerate(table.models):
        found = [table.accuracies(model, distance) for distance in table.distances]
        means = [sum(values) / len(values) for values in found]
        style = ("-", "--", ":")[number // 10 % 3]
        mark = _MARKS[number % len(_MARKS)]
        line = axes.plot(table.distances, means, style, marker=mark, markersize=4, label=model, gid=model)[0]
        low, high = [min(values) for values in found], [max(values) for values in found]
        axes.fill_between(table.distances, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.axhline(chance, color=GREY, linewidth=0.8, linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xticks(table.distances, [str(distance) for distance in table.distances])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("distractors between the symbol and the question")
    axes.set_ylabel("accuracy")
    axes.legend(prop={"size": 8}, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    for path in paths:
        save_figure(figure, path)

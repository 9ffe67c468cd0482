"""The course of a training as a picture: losses and the main score over updates, and which model was kept."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .figures import GREY, need_matplotlib, new_figure, save_figure

LOSSES = {"loss": "training loss", "eval_loss": "validation loss"}


def curves(
    history: Sequence[Mapping[str, Any]], *keys: str, over: str = "step"
) -> dict[str, tuple[list[float], list[float]]]:
    """Return for each key that a log history holds more than once the updates (or epochs) and the values there."""
    found = {key: [(entry[over], entry[key]) for entry in history if key in entry and over in entry] for key in keys}
    return {key: ([x for x, _ in points], [y for _, y in points]) for key, points in found.items() if len(points) > 1}


def plot_curves(
    history: Sequence[Mapping[str, Any]],
    *paths: str | os.PathLike[str],
    kept: int | None = None,
    score: str | None = None,
    beside: str | None = None,
    mixed_loss: float | None = None,
) -> bool:
    """Draw a log history of a trainer into files; return whether it holds a course to draw.

    Args:
        kept: The update of the model that was kept.
        score: The key of the main score, such as `eval_accuracy`; it gets axes of its own.
        beside: What answers beside the trained network in the saved model, such as its regression. The curves are of
            the network alone, and the mark of the kept model says so.
        mixed_loss: The validation loss of the two together.
    """
    need_matplotlib("Training curves are")
    names = {**LOSSES} if score is None or score in LOSSES else {**LOSSES, score: score.removeprefix("eval_")}
    # The trainer of word vectors counts epochs alone.
    over = "step" if any("step" in entry for entry in history) else "epoch"
    found = curves(history, *names, over=over)
    if not found:
        return False
    both = [key for key in found if key in LOSSES], [key for key in found if key not in LOSSES]
    parts = [part for part in both if part]
    figure = new_figure(6.4, 2.6 * len(parts))
    for row, part in enumerate(parts):
        axes = figure.add_subplot(len(parts), 1, row + 1)
        for key in part:
            axes.plot(*found[key], marker=".", label=names[key], gid=key)
        if kept is not None and over == "step":
            told = f"kept: update {kept}" if beside is None else f"kept: update {kept}, without its {beside}"
            axes.axvline(kept, color=GREY, linestyle="--", label=told, gid="kept")
            if mixed_loss is not None and part[0] in LOSSES:
                told = f"validation loss with its {beside}: {mixed_loss:.3f}"
                axes.plot(kept, mixed_loss, marker="*", linestyle="", color=GREY, label=told, gid="mixed")
        axes.set_xlabel("updates" if over == "step" else "epochs")
        axes.legend(fontsize=8)
    for path in paths:
        save_figure(figure, path)
    return True

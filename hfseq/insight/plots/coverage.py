"""What a threshold on the confidence does, as a picture: fewer texts are answered, more of the answers are right."""

import os

import numpy as np

from .figures import GREY, need_matplotlib, new_figure, save_figure


def coverage_line(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each number of texts, the surest first, their share of all and how many of them are right."""
    order = np.argsort(-scores, kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(right[order]) / answered


def plot_coverage(
    scores: np.ndarray, right: np.ndarray, *paths: str | os.PathLike[str], threshold: float | None = None
) -> None:
    """Draw accuracy over coverage into files.

    Args:
        scores: (texts,), how sure the model is of its answer.
        right: (texts,), whether the answer is right.
        threshold: Below it there is no answer; it is marked.
    """
    need_matplotlib("Coverage and accuracy are")
    figure = new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    axes.plot(*coverage_line(scores, right), gid="coverage")
    if threshold is not None:
        share = float((scores >= threshold).mean())
        axes.axvline(share, color=GREY, linestyle="--", label=f"threshold {threshold:.3f}", gid="threshold")
        axes.legend(fontsize=8)
    axes.set_xlabel("share of the texts that are answered")
    axes.set_ylabel("share of these answers that are right")
    for path in paths:
        save_figure(figure, path)

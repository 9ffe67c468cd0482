"""Which labels a classifier takes for which, as a picture."""

import os
from collections.abc import Sequence

import numpy as np

from .figures import need_matplotlib, new_figure, save_figure, words_in

MOST_LABELS = 25  # more cannot be read in one picture


def confusion_table(expected: np.ndarray, predicted: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Count the texts of each pair of labels; return the labels shown and their (expected, predicted) counts.

    Of more than `MOST_LABELS` those are shown that take part in most confusions, in the order of the labels.
    """
    counts = np.bincount(expected * labels + predicted, minlength=labels * labels).reshape(labels, labels)
    wrong = counts - np.diag(np.diag(counts))
    shown = np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:MOST_LABELS])
    return shown, counts[np.ix_(shown, shown)]


def plot_confusion(
    names: Sequence[str], expected: np.ndarray, predicted: np.ndarray, *paths: str | os.PathLike[str]
) -> None:
    """Draw how often each label (a row) was given which answer (a column), as shares of the row, into files."""
    need_matplotlib("Confusions are")
    shown, counts = confusion_table(expected, predicted, len(names))
    texts = np.bincount(expected, minlength=len(names))[shown]
    shares = counts / np.maximum(texts, 1)[:, None]
    side = 2.5 + 0.4 * len(shown)
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=_ink(shares[row, column]))
    places = range(len(shown))
    axes.set_xticks(places, [names[label] for label in shown], rotation=90, **words_in(8))
    axes.set_yticks(places, [names[label] for label in shown], **words_in(8))
    axes.set_xlabel("predicted")
    axes.set_ylabel("expected")
    for path in paths:
        save_figure(figure, path)


def _ink(share: float) -> str:
    return "white" if share > 0.5 else "black"

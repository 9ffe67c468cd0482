"""Pictures of captions: images with what was written of them, and where in the image each word looks.

    found = hfseq.look_at(pipe, "photo.jpg")
    hfseq.plots.looks(found, path="looks.png")

Each word stands above the image, in which the regions that it looked at are light.
"""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..looks import Look
from .figures import FRAME, check_path, drawn, need_matplotlib, new_figure, save_figure, words_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 10  # words in a line of pictures
_SIDE = 1.15  # inches
_WRONG = "#b3261e"
_DARKEST = 0.75  # share of a region's light that is taken where no word looks


def looks(*found: Look, path: str | os.PathLike[str] | None = None, title: str | None = None) -> "Figure":
    """Draw where in an image each word of its caption looks.

    Args:
        *found: What `hfseq.look_at` returns, for one image or more.
        path: A .png, .svg or .pdf file to draw into.
        title: What stands above the picture.
    """
    if not found:
        raise ValueError("Give what look_at returned for an image, or for several.")
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    need_matplotlib("Attention to images is")
    return drawn(lambda: _draw(found, title), path, "install a font that has them, or draw into an .svg")


def plot_captions(pictures: Sequence[Any], written: Sequence[str], right: Sequence[bool], *paths: Path) -> None:
    """Draw images with what was written below them, in red where it is none of their captions."""
    need_matplotlib("Captions are")
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    figure = new_figure(2.2 * columns, 2.5 * rows)
    for place, (picture, text, is_right) in enumerate(zip(pictures, written, right, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(np.asarray(picture), interpolation="nearest")
        _bare(axes)
        colour = "black" if is_right else _WRONG
        axes.set_xlabel("\n".join(textwrap.wrap(text, 28)), color=colour, **words_in(8))
    for path in paths:
        save_figure(figure, path)


def _draw(found: Sequence[Look], title: str | None) -> "Figure":
    columns = min(max(len(each.words) + 1 for each in found), _COLUMNS)
    lines = [-(-(len(each.words) + 1) // columns) for each in found]
    figure = new_figure(_SIDE * columns, (_SIDE + 0.25) * sum(lines), pad=0.03)
    if title is not None:
        figure.suptitle(title, **words_in(10))
    start = 0
    for each, count in zip(found, lines, strict=True):
        shown = _shown(each)
        for place in range(len(each.words) + 1):
            axes = figure.add_subplot(sum(lines), columns, start + place + 1)
            weights = None if place == 0 else each.weights[place - 1].numpy()
            axes.imshow(shown if weights is None else _lit(shown, weights))
            axes.set_title("" if place == 0 else each.words[place - 1], **words_in(8))
            _bare(axes)
        start += count * columns
    return figure


def _shown(look: Look) -> np.ndarray:
    """Return the image, numbers 0 to 1; of feature vectors a grey one."""
    if look.picture is None:
        return np.full((*(20 * side for side in look.weights.shape[1:]), 3), 0.9)
    return np.asarray(look.picture, dtype=np.float64) / 255


def _lit(shown: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Darken the regions that a word looks at less."""
    height, width = shown.shape[:2]
    down = np.arange(height) * weights.shape[0] // height
    right = np.arange(width) * weights.shape[1] // width
    light = weights / weights.max()
    result: np.ndarray = shown * (1 - _DARKEST * (1 - light[down[:, None], right[None, :]]))[..., None]
    return result


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FRAME)

"""Pictures of drawings that are rows of points: a still (.svg, .png, .pdf) or a pen that moves (.gif).

    drawings = model.generate_strokes(8, seed=0)
    strokes(drawings, path="drawings.svg", columns=4)
    strokes(drawings, path="drawings.gif")

A point is (dx, dy, pen): how far the pen moves, to the right and downward, and what it does then: 0 goes on, 1 or more
lifts it. Where the pen was lifted before a point, nothing is drawn on the way to it.
"""

import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .figures import GREY, check_path, drawn, need_matplotlib, new_figure, words_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK: Final = "#1f3a5f"
_CELL: Final = 120  # pixels of one drawing, with its margin
_MARGIN, _TITLE = 10.0, 16.0  # pixels
_MOST_FRAMES: Final = 120
_LAST_FRAME_MS, _FRAME_MS = 1500, 60
_MOST_COLUMNS: Final = 8


class _Placed(NamedTuple):
    """A drawing in its cell.

    Attributes:
        lines: (points, 2) places of each stroke, in pixels from the upper left of the picture.
        corner: The upper left of the cell.
        title: What stands above it.
    """

    lines: list[np.ndarray]
    corner: tuple[float, float]
    title: str


class _Sheet(NamedTuple):
    placed: list[_Placed]
    width: int
    height: int


def strokes(
    drawings: Sequence[Any],
    *,
    path: str | os.PathLike[str] | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
) -> "Figure | None":
    """Draw drawings side by side; None is returned for .svg and .gif files, which need no matplotlib.

    Args:
        drawings: (points, 3) numbers each, as `generate_strokes` returns them, or one of them.
        path: A .svg, .png, .pdf or .gif file. A .gif shows how they are drawn, all at once.
        titles: What stands above each.
        columns: Drawings in a row; None: as many as fit well.
    """
    suffix = None if path is None else check_path(path, (".svg", ".png", ".pdf", ".gif"))
    sheet = _sheet(drawings, titles, columns)
    if suffix == ".svg":
        assert path is not None
        Path(path).write_text(_svg(sheet), encoding="utf-8")
        return None
    if suffix == ".gif":
        assert path is not None
        _write_gif(sheet, path)
        return None
    need_matplotlib("A .png or .pdf of strokes is", ", or choose an .svg or .gif file")
    return drawn(lambda: _figure(sheet), path, "install a font such as Noto Sans CJK, or draw into an .svg")


def strokes_svg(drawings: Sequence[Any], *, titles: Sequence[str] | None = None, columns: int | None = None) -> str:
    """Return the text of an SVG picture: for a page, or for a notebook's `display(SVG(...))`."""
    return _svg(_sheet(drawings, titles, columns))


def _sheet(drawings: Sequence[Any], titles: Sequence[str] | None, columns: int | None) -> _Sheet:
    single = getattr(drawings, "ndim", 0) == 2 or (len(drawings) > 0 and np.ndim(drawings[0]) == 1)
    checked = [_checked(each, place) for place, each in enumerate([drawings] if single else drawings)]
    if not checked:
        raise ValueError("There is no drawing to draw: give one or more.")
    if titles is not None and len(titles) != len(checked):
        raise ValueError(f"There are {len(titles)} titles for {len(checked)} drawings: give one for each, or none.")
    if columns is not None and columns < 1:
        raise ValueError(f"columns={columns} must be 1 or more.")
    across = min(columns or min(_MOST_COLUMNS, math.ceil(math.sqrt(2 * len(checked)))), len(checked))
    above = 0.0 if titles is None else _TITLE
    placed = []
    for place, drawing in enumerate(checked):
        corner = (place % across) * float(_CELL), (place // across) * (_CELL + above)
        title = "" if titles is None else str(titles[place])
        placed.append(_Placed(_lines(drawing, (corner[0], corner[1] + above)), corner, title))
    rows = math.ceil(len(checked) / across)
    return _Sheet(placed, across * _CELL, int(rows * (_CELL + above)))


def _checked(drawing: Any, place: int) -> np.ndarray:
    if hasattr(drawing, "detach"):  # a tensor, wherever it is
        drawing = drawing.detach().cpu()
    points = np.asarray(drawing, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not np.isfinite(points).all():
        raise ValueError(
            f"Drawing {place} must be finite numbers (points, 3): dx, dy and the pen; got the shape {points.shape}."
        )
    return points


def _lines(drawing: np.ndarray, corner: tuple[float, float]) -> list[np.ndarray]:
    """Return the strokes in pixels: as large as fits into the cell, in its middle."""
    places = drawing[:, :2].cumsum(axis=0)
    low, high = places.min(axis=0), places.max(axis=0)
    room = _CELL - 2 * _MARGIN
    scale = room / max(float((high - low).max()), 1e-9)
    pixels = (places - (low + high) / 2) * scale + np.array(corner) + _CELL / 2
    ends = np.flatnonzero(drawing[:-1, 2] >= 1) + 1
    return np.split(pixels, ends)


def _svg(sheet: _Sheet) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet.width} {sheet.height}" width="{sheet.width}" '
        f'height="{sheet.height}">',
        f'<rect width="{sheet.width}" height="{sheet.height}" fill="white"/>',
        f'<g fill="none" stroke="{_INK}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">',
    ]
    for each in sheet.placed:
        for line in each.lines:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            # A line of one point would not be seen: a round cap makes a dot of it.
            parts.append(f'<polyline points="{points if len(line) > 1 else f"{points} {points}"}"/>')
    parts.append("</g>")
    for each in sheet.placed:
        if each.title:
            x, y = each.corner[0] + _CELL / 2, each.corner[1] + _TITLE - 3
            parts.append(
                f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="11" fill="{GREY}" '
                f'text-anchor="middle">{escape(each.title)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def _figure(sheet: _Sheet) -> "Figure":
    figure = new_figure(sheet.width / 100, sheet.height / 100, pad=0.0)
    figure.set_layout_engine("none")  # the sheet says where everything is
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0))
    for each in sheet.placed:
        for line in each.lines:
            axes.plot(*line.T, color=_INK, linewidth=1.4, marker="." if len(line) == 1 else None, markersize=3)
        if each.title:
            x, y = each.corner[0] + _CELL / 2, each.corner[1] + _TITLE - 3
            axes.text(x, y, each.title, color=GREY, ha="center", **words_in(8))
    return figure


def _write_gif(sheet: _Sheet, path: str | os.PathLike[str]) -> None:
    """Write one frame a step, or every few steps of long drawings; all begin together."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("A .gif is drawn by Pillow: pip install 'hfseq[plots]'.") from error
    longest = max(sum(map(len, each.lines)) for each in sheet.placed)
    stride = math.ceil(longest / _MOST_FRAMES)
    frames: list[Image.Image] = [_frame(sheet, count) for count in range(stride, longest + stride, stride)]
    times = [_FRAME_MS] * (len(frames) - 1) + [_LAST_FRAME_MS]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=False)


def _frame(sheet: _Sheet, count: int) -> Any:
    """Return the picture after so many points of each drawing."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (sheet.width, sheet.height), "white")
    pen = ImageDraw.Draw(image)
    for each in sheet.placed:
        left = count
        for line in each.lines:
            done = [(float(x), float(y)) for x, y in line[: max(left, 0)]]
            left -= len(line)
            if len(done) > 1:
                pen.line(done, fill=_INK, width=2, joint="curve")
            elif done:
                x, y = done[0]
                pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=_INK)
        if each.title:
            pen.text((each.corner[0] + _CELL / 2, each.corner[1]), _plain(each.title), fill=GREY, anchor="ma")
    return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=32)


def _plain(title: str) -> str:
    """Return the letters that Pillow's own font has."""
    return title.encode("latin-1", "replace").decode("latin-1")

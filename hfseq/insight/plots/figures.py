"""What the pictures by matplotlib share: figures beside pyplot and its global state, fonts of many scripts, files."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160
# matplotlib's own font knows Latin, Greek, Cyrillic and Arabic; the others where they are installed.
_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Sans Hebrew",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "PingFang SC",
    "Nirmala UI",
)


def new_figure(width: float, height: float, pad: float = 0.12) -> "Figure":
    """An empty white figure that makes room for its labels.

    Args:
        width: In inches.
        height: In inches.
        pad: What stays free around each part, in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0, hspace=0)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Draw into a file whose suffix matplotlib knows.

    Args:
        figure: What to draw.
        path: Where to write.
    """
    # Without the date, the same picture gives the same file.
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower())
    figure.savefig(path, dpi=DPI, metadata=undated)


def font_families() -> list[str]:
    """Installed fonts in which matplotlib looks for a character, one after the other."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [family for family in _FAMILIES if family in installed]


@contextmanager
def one_warning_about_glyphs(cure: str) -> Iterator[None]:
    """Matplotlib warns once for each character and size; say once what helps.

    Args:
        cure: What helps.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = [str(warning.message) for warning in caught if "missing from font" in str(warning.message)]
    for warning in caught:
        if str(warning.message) not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        warnings.warn(
            f"No font that matplotlib found has all characters of these words ({missing[0]}): {cure}.", stacklevel=2
        )

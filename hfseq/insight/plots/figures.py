"""What the pictures share: colours, fonts of many scripts, files, and figures without pyplot's global state."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160
GREY = "#6b6b6b"  # of what is said beside a picture
FRAME = "#d9d9d9"
# matplotlib's own font knows Latin, Greek, Cyrillic and Arabic; the others where they are installed.
_FAMILIES = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Devanagari", "Noto Sans Thai"),
    *("Noto Sans Hebrew", "Arial Unicode MS", "Microsoft YaHei", "PingFang SC", "Nirmala UI"),
)


def check_path(path: str | os.PathLike[str], suffixes: Sequence[str]) -> str:
    """Return the suffix of a file to draw into; a ValueError for others, while there is nothing to lose yet."""
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"{os.fspath(path)!r} must end in one of {', '.join(suffixes)}.")
    return suffix


def need_matplotlib(what: str, otherwise: str = "") -> None:
    """Raise an ImportError if matplotlib is missing, which draws `what`."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{what} drawn by matplotlib: pip install 'hfseq[plots]'{otherwise}.") from error


def new_figure(width: float, height: float, pad: float = 0.12) -> "Figure":
    """Make an empty white figure of so many inches, with `pad` inches free around each part, that fits its labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=0, hspace=0)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Draw into a file whose suffix matplotlib knows."""
    # Without the date, the same picture gives the same file.
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(path).suffix.lower())
    figure.savefig(path, dpi=DPI, metadata=undated)


def words_in(size: float) -> dict[str, Any]:
    """Return the options of a text in any script, in which `$` starts no formula."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return {"fontsize": size, "family": [name for name in _FAMILIES if name in installed], "parse_math": False}


def drawn(draw: Callable[[], "Figure"], path: str | os.PathLike[str] | None, cure: str) -> "Figure":
    """Draw a figure, and write it to a file if there is one; in an .svg words stay text.

    Args:
        draw: Makes the figure.
        path: A .png, .svg or .pdf file, or None.
        cure: What helps where no font has a character.
    """
    if path is None or Path(path).suffix.lower() != ".svg":
        with warning_about_glyphs(cure):
            figure = draw()
            if path is not None:
                save_figure(figure, path)
        return figure
    from matplotlib import rc_context

    # The fonts of whoever looks at it count, so that none missing here is worth a warning.
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message=".*missing from font.*")
        figure = draw()
        save_figure(figure, path)
    return figure


@contextmanager
def warning_about_glyphs(cure: str) -> Iterator[None]:
    """Say once what helps, where matplotlib warns for each character and size."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = [str(warning.message) for warning in caught if "missing from font" in str(warning.message)]
    for warning in caught:
        if str(warning.message) not in missing:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        warnings.warn(f"No font found has all characters of these words ({missing[0]}): {cure}.", stacklevel=2)

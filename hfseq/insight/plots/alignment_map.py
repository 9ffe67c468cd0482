"""The picture of an alignment: a row for each word that was written, a column for each word that was read.

    found = hfseq.align(model, tokenizer, "I am going.", "मैं जा रहा हूँ।")
    alignment(found, path="alignment.svg")

Languages of one word order give a diagonal; where the verb moves to the end, its cell leaves it.
"""

import os
import warnings
from typing import TYPE_CHECKING

from ..alignment import Alignment
from .attention_maps import Maps, draw_grid
from .figures import check_path, need_matplotlib, save_figure, warning_about_glyphs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def alignment(found: Alignment, *, path: str | os.PathLike[str] | None = None, title: str | None = None) -> "Figure":
    """Draw which words of the source each word of the target was written from.

    Args:
        found: What `hfseq.align` returns.
        path: A .png, .svg or .pdf file to draw into. In an .svg words stay text, so that a browser writes any script
            with its own fonts; the other two need a font of that script here.
        title: What stands above the picture.
    """
    is_svg = path is not None and check_path(path, (".png", ".svg", ".pdf")) == ".svg"
    need_matplotlib("An alignment is")
    weights = found.weights.detach().float().cpu().numpy()[None, None]
    maps = Maps(weights, ("",), ("",), tuple(found.target), tuple(found.source), ("written", "read"))
    if path is None or not is_svg:
        with warning_about_glyphs("install a font such as Noto Sans Devanagari, or draw into an .svg"):
            figure = draw_grid(maps, title)
            if path is not None:
                save_figure(figure, path)
        return figure
    from matplotlib import rc_context

    # The fonts of whoever looks at it count, so that none missing here is worth a warning.
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message=".*missing from font.*")
        figure = draw_grid(maps, title)
        save_figure(figure, path)
    return figure

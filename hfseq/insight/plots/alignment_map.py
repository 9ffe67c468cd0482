"""The picture of an alignment: a row for each word that was written, a column for each word that was read.

    found = hfseq.align(model, tokenizer, "I am going.", "मैं जा रहा हूँ।")
    alignment(found, path="alignment.svg")

Languages of one word order give a diagonal; where the verb moves to the end, its cell leaves it.
"""

import os
from typing import TYPE_CHECKING

from ..alignment import Alignment
from .attention_maps import Maps, draw_grid
from .figures import check_path, drawn, need_matplotlib

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
    if path is not None:
        check_path(path, (".png", ".svg", ".pdf"))
    need_matplotlib("An alignment is")
    weights = found.weights.detach().float().cpu().numpy()[None, None]
    maps = Maps(weights, ("",), ("",), tuple(found.target), tuple(found.source), ("written", "read"))
    cure = "install a font such as Noto Sans Devanagari, or draw into an .svg"
    return drawn(lambda: draw_grid(maps, title), path, cure)

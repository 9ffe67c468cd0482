"""Pictures of words and of what models do.

Words on a plane (`plot_words`), where attention looks (`attention`), how words align (`alignment`), trees with the
label of each node (`tree`, and `tree_text` for a terminal), what a recurrent cell does at each word (`gates`), what
its last state still holds of each (`influence`), where in an image each word of a caption looks (`looks`), how far the
gradient comes back (`gradient_flow`), drawings made by a pen (`strokes`, and `strokes_svg` for a page), forecasts of
series with their intervals (`forecast`), and a page for the browser that shows the gates of a small recurrent model
while one types (`explorer`).
"""

from ...extras import need

need("plots", "jinja2", "sklearn")

from ..explorer.page import explorer
from .alignment_map import alignment
from .attention_maps import attention
from .captions import looks
from .forecasts import forecast
from .gate_maps import gates
from .gradient_flow import gradient_flow
from .influence_bars import influence
from .strokes import strokes, strokes_svg
from .trees import tree, tree_text
from .word_maps import WordMap, plot_words

__all__ = [
    "WordMap",
    "alignment",
    "attention",
    "explorer",
    "forecast",
    "gates",
    "gradient_flow",
    "influence",
    "looks",
    "plot_words",
    "strokes",
    "strokes_svg",
    "tree",
    "tree_text",
]

"""Pictures of words and of what models do.

Words on a plane (`plot_words`), where attention looks (`attention`), how words align (`alignment`), how far the
gradient comes back (`gradient_flow`), and trees with the label of each node (`tree`, and `tree_text` for a terminal).
"""

from ...extras import need

need("plots", "jinja2", "sklearn")

from .alignment_map import alignment
from .attention_maps import attention
from .gradient_flow import gradient_flow
from .trees import tree, tree_text
from .word_maps import WordMap, plot_words

__all__ = ["WordMap", "alignment", "attention", "gradient_flow", "plot_words", "tree", "tree_text"]

"""Pictures: words on a plane (`plot_words`), where attention looks (`attention`), how words align (`alignment`)."""

from ...extras import need

need("plots", "jinja2", "sklearn")

from .alignment_map import alignment
from .attention_maps import attention
from .word_maps import WordMap, plot_words

__all__ = ["WordMap", "alignment", "attention", "plot_words"]

"""Pictures: words on a plane (`plot_words`), and where attention looks (`attention`)."""

from ...extras import need

need("plots", "jinja2", "sklearn")

from .attention_maps import attention
from .word_maps import WordMap, plot_words

__all__ = ["WordMap", "attention", "plot_words"]

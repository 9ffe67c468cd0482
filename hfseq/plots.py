"""Pictures: words on a plane, where attention looks, and what a translator reads. The room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, plot_words

__all__ = ["WordMap", "alignment", "attention", "plot_words"]

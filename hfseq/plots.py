"""Pictures: words on a plane (`plot_words`), and where attention looks (`attention`). The room is `insight.plots`."""

from .insight.plots import WordMap, attention, plot_words

__all__ = ["WordMap", "attention", "plot_words"]

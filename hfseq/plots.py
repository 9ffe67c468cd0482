"""Pictures: words on a plane, where attention looks, what a translator reads, trees. The room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, plot_words, tree, tree_text

__all__ = ["WordMap", "alignment", "attention", "plot_words", "tree", "tree_text"]

"""Pictures: words, attention, what a translator reads, trees, gates, influence. The room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, gates, influence, plot_words, tree, tree_text

__all__ = ["WordMap", "alignment", "attention", "gates", "influence", "plot_words", "tree", "tree_text"]

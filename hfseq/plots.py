"""Pictures: words, attention, alignments, trees, gates, influence, a page for browsers. The room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, explorer, gates, influence, plot_words, tree, tree_text

__all__ = ["WordMap", "alignment", "attention", "explorer", "gates", "influence", "plot_words", "tree", "tree_text"]

"""Pictures of words, attention, alignments and trees, and gates in a browser; the room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, explorer, plot_words, tree, tree_text

__all__ = ["WordMap", "alignment", "attention", "explorer", "plot_words", "tree", "tree_text"]

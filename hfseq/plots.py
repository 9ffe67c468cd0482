"""Pictures: words, where attention looks, what a translator reads, gradients, trees. The room is `insight.plots`."""

from .insight.plots import WordMap, alignment, attention, gradient_flow, plot_words, tree, tree_text

__all__ = ["WordMap", "alignment", "attention", "gradient_flow", "plot_words", "tree", "tree_text"]

"""Pictures: words, attention, alignments, trees, gates, gradients and more. The room is `insight.plots`."""

from .insight.plots import (
    WordMap,
    alignment,
    attention,
    explorer,
    forecast,
    gates,
    gradient_flow,
    influence,
    plot_words,
    tree,
    tree_text,
)

__all__ = [
    "WordMap",
    "alignment",
    "attention",
    "explorer",
    "forecast",
    "gates",
    "gradient_flow",
    "influence",
    "plot_words",
    "tree",
    "tree_text",
]

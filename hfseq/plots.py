"""Pictures: words, attention, alignments, trees, gates, gradients, drawings and more. The room is `insight.plots`."""

from .insight.plots import (
    WordMap,
    alignment,
    attention,
    explorer,
    forecast,
    gates,
    gradient_flow,
    influence,
    looks,
    plot_words,
    strokes,
    strokes_svg,
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
    "looks",
    "plot_words",
    "strokes",
    "strokes_svg",
    "tree",
    "tree_text",
]

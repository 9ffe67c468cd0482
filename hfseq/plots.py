"""Pictures: words on a plane (`plot_words`), and where attention looks (`attention`). The room is `insight.plots`."""

from .insight.plots import WordMap as WordMap
from .insight.plots import attention as attention
from .insight.plots import plot_words as plot_words

"""The facts of a card of a masked language model: what every language model has, and what it fills in."""

from collections.abc import Collection
from dataclasses import field
from typing import Final, Literal

from ...cards.facts import FREE, MEASURED, SpeedFacts, Widget, checked
from ...cards.language import LanguageFacts
from ...evaluation.scores import Score

MASKED_METRICS: Final = ("accuracy", "perplexity")
"""The scores of a masked model, the one that people quote first; both are of hidden tokens alone."""


@checked
class MaskedModelFacts(LanguageFacts):
    """All that a card says about one masked language model."""

    kind: Literal["masked-language-model"] = "masked-language-model"
    hidden_share: float  # of a window's tokens that are neither marks nor unknown, in training and in evaluation
    speed: SpeedFacts = field(metadata=MEASURED)
    widgets: list[Widget] = field(metadata=FREE | MEASURED)
    """Texts of our own, each with one mask, and the likeliest tokens for it; the Hub offers them."""

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of hidden tokens."""
        return MASKED_METRICS

    def score_of(self, metric: str) -> Score:
        """Return how a score is named and shown: these are no scores of whole texts."""
        score = super().score_of(metric)
        return score._replace(title=f"{score.title} on hidden tokens")

    def validate_widgets(self) -> None:
        """Check that each text of our own has an answer."""
        if not all(widget.output for widget in self.widgets):
            raise ValueError("widgets must hold texts with what is filled in; see widget_entries.")

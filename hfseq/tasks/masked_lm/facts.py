"""The facts of a card of a masked language model: what every language model has, and what it fills in.

`hfseq.tasks.masked_lm.build` measures them, `hfseq.cards.render` renders them.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from huggingface_hub.dataclasses import strict

from ...cards.facts import Comparison, EnvironmentFacts, SpeedFacts, Widget
from ...evaluation.scores import Score
from ..causal_lm.facts import LanguageArchitecture, LanguageFacts, LanguageRun, TextFacts, TokenFacts, TrainingFacts

MASKED_METRICS: Final = ("accuracy", "perplexity")
"""The scores of a masked model, the one that people quote first; both are of hidden tokens alone."""


@strict
@dataclass(kw_only=True)
class MaskedModelFacts(LanguageFacts):
    """All that a card says about one masked language model.

    `runs[0]` is the run whose weights are published; `speed` and `widgets` are its.
    """

    kind: Literal["masked-language-model"] = "masked-language-model"
    model_id: str
    summary: str
    language: str
    license: str
    parameters: int
    file_mb: float
    architecture: LanguageArchitecture
    tokens: TokenFacts
    data: TextFacts
    training: TrainingFacts
    hidden_share: float
    """Of a window's tokens that are neither marks nor unknown, in training and in evaluation."""
    runs: list[LanguageRun]
    speed: SpeedFacts
    widgets: list[Widget]
    """Texts of our own, each with one mask, and the likeliest tokens for it; the Hub offers them."""
    environment: EnvironmentFacts
    command: str
    comparisons: list[Comparison] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    citations: list[str] = field(default_factory=list)
    license_name: str | None = None
    license_link: str | None = None

    def known_metrics(self) -> tuple[str, ...]:
        """Return the names of the scores of hidden tokens."""
        return MASKED_METRICS

    def score_of(self, metric: str) -> Score:
        """Return how a score is named and shown: these are no scores of whole texts."""
        score = super().score_of(metric)
        return score._replace(title=f"{score.title} on hidden tokens")

    def validate_widgets(self) -> None:
        """Check that there is something to show."""
        if not self.widgets or not all(widget.output for widget in self.widgets):
            raise ValueError("widgets must hold at least one text with what is filled in; see filled_in.")

"""The facts of a card of a text classifier."""

from dataclasses import field
from typing import Any, Literal

from ...cards.facts import FREE, MEASURED, LabelledFacts, Widget, checked
from ...evaluation.scores import SCORES
from ...evaluation.trainer_metrics import PROBLEMS
from ...settings import check_known


@checked
class TuningFacts:
    """What a search for settings tried on the validation rows, and the settings that won."""

    tried: int
    minutes: float
    seed: int
    metric: str  # a name in SCORES
    score: float  # of the settings that won
    given_score: float | None  # of those given; None: their training diverged
    settings: dict[str, Any]

    def validate_metric(self) -> None:
        """Check that the score has a name."""
        check_known(self.metric, SCORES, "tuning", kind="metric")


@checked
class CompressionFacts:
    """How a bag was made small, and what that did to its score on the validation rows."""

    mb_before: float
    mb: float
    rows_before: int
    rows: int
    row_bytes: int
    metric: str | None
    score_before: float | None
    score: float | None


@checked
class CardFacts(LabelledFacts):
    """All that a card says about one text classifier."""

    kind: Literal["classifier"] = "classifier"
    task: str  # the pipeline's task
    problem_type: str
    widgets: list[Widget] = field(metadata=FREE | MEASURED)
    tuning: TuningFacts | None = field(default=None, metadata=MEASURED)
    compression: CompressionFacts | None = field(default=None, metadata=MEASURED)

    def validate_names(self) -> None:
        """Check that the problem is known and that there is something to show."""
        if self.problem_type not in PROBLEMS:
            raise ValueError(f"problem_type {self.problem_type!r} is unknown; choose one of {tuple(PROBLEMS)}.")
        if not self.widgets or not all(widget.output for widget in self.widgets):
            raise ValueError("widgets must hold at least one text with the pipeline's output; see widget_entries.")

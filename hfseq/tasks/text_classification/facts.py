"""The facts of a card of a text classifier."""

from collections.abc import Collection
from dataclasses import field
from typing import Any, Final, Literal

from ...cards.confusion import Confusion
from ...cards.facts import FREE, MEASURED, LabelledFacts, Widget, checked
from ...evaluation.scores import SCORES, Score
from ...evaluation.trainer_metrics import PROBLEMS
from ...settings import check_known

SAME_LABELS: Final = "accuracy_same_labels"  # the accuracy where labels of a group count as one


@checked
class TuningFacts:
    """What a search for settings tried on the validation rows, and the settings that won."""

    tried: int
    minutes: float
    seed: int
    metric: str  # a name in SCORES
    score: float  # of the settings that won
    given_score: float | None  # of those given; None: they gave no model, as the training diverged, say
    target_mb: float | None  # to which each model was compressed before it was judged
    settings: dict[str, Any]

    def validate_metric(self) -> None:
        """Check that the score has a name."""
        check_known(self.metric, SCORES, "tuning", kind="metric")


@checked
class CandidateFacts:
    """One of the models among which the best on the validation rows was kept."""

    name: str
    metric: str  # a name in SCORES, or loss
    score: float
    minutes: float
    is_cut: bool = False  # the time was over before the training had ended by itself
    is_kept: bool = False


@checked
class CutFacts:
    """How much of the training texts was left out, as they were cut; in shares from 0 to 1."""

    texts: float  # that were longer
    tokens: float


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
class MixedFacts:
    """How much the network counts and the regression beside it, chosen by the loss on the validation rows."""

    strength: float  # C of the regression
    of_regression: float
    of_network: float
    loss: float
    network_loss: float


@checked
class CardFacts(LabelledFacts):
    """All that a card says about one text classifier."""

    kind: Literal["classifier"] = "classifier"
    task: str  # the pipeline's task
    problem_type: str
    pairs: Literal["joined", "siamese"] | None = None  # how it reads two texts; None: it reads one
    widgets: list[Widget] = field(metadata=FREE | MEASURED)
    cut: CutFacts | None = None  # None: in an older run, which cut the evaluated texts too
    same_labels: list[list[str]] = field(default_factory=list)  # groups of labels that count as one in SAME_LABELS
    confusions: list[Confusion] = field(default_factory=list, metadata=FREE | MEASURED)  # the most frequent first
    chosen_on_validation: bool = field(default=False, metadata=MEASURED)  # which of its states is kept
    candidates: list[CandidateFacts] = field(default_factory=list, metadata=MEASURED)
    tuning: TuningFacts | None = field(default=None, metadata=MEASURED)
    compression: CompressionFacts | None = field(default=None, metadata=MEASURED)
    mixed: MixedFacts | None = field(default=None, metadata=MEASURED)

    def known_metrics(self) -> Collection[str]:
        """Return the names of all scores, and of that of groups of labels where there are some."""
        return (*super().known_metrics(), *([SAME_LABELS] if self.same_labels else []))

    def score_of(self, metric: str) -> Score:
        """Return how a score is named and shown."""
        if metric != SAME_LABELS:
            return super().score_of(metric)
        groups = ", ".join("/".join(group) for group in self.same_labels)
        return SCORES["accuracy"]._replace(title=f"Accuracy where {groups} count as one")

    def validate_names(self) -> None:
        """Check that the problem is known and that each text of our own has an answer."""
        if self.problem_type not in PROBLEMS:
            raise ValueError(f"problem_type {self.problem_type!r} is unknown; choose one of {tuple(PROBLEMS)}.")
        if not all(widget.output for widget in self.widgets):
            raise ValueError("widgets must hold texts with the pipeline's output; see widget_entries.")

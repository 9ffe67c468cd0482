"""The facts of a card of a model of series: its columns, its cuts in time, and how good it is after each of them."""

from collections.abc import Collection
from dataclasses import field
from typing import Final, Literal

from ...cards.confusion import Confusion
from ...cards.facts import FREE, MEASURED, Network, NetworkFacts, SplitSource, checked
from ...evaluation.series import FORECASTS

SCORES_OF_FORECASTS: Final = FORECASTS
SCORES_OF_LABELS: Final = ("accuracy", "f1_macro")


@checked
class SeriesSource(SplitSource):
    """What the model was trained and evaluated on; splits are counted in windows, and an empty cell is unknown."""

    splits: dict[str, int]
    series: int
    rows: int
    shortest: int  # rows of the shortest series
    longest: int
    first: str  # time
    last: str
    targets: list[str]
    features: list[str]
    known: list[str]
    group: str | None = None  # the column that tells series apart
    left_out: int = 0  # series that are too short for a window


@checked
class FoldFacts:
    """What one cut of the walk-forward evaluation gave, in the score that people quote first."""

    train_until: str  # the last time that was learnt from
    test_from: str
    test_until: str
    windows: int  # that were measured
    score: float | None  # None: there it does not exist, as MASE where nothing moved in training
    rivals: dict[str, float]  # name of a simple system -> its score on the same windows


@checked
class StepFacts:
    """The mean absolute error so many steps ahead."""

    ahead: int
    error: float
    rivals: dict[str, float]


@checked
class WindowSpeed:
    """How long a window takes."""

    ms_per_window: float  # batch 1, median, one CPU core
    windows_per_second: float
    batch_size: int
    in_cpu_time: bool = True


@checked
class SeriesFacts(NetworkFacts):
    """All that a card says about one model of series."""

    kind: Literal["series-model"] = "series-model"
    architecture: Network
    data: SeriesSource
    context: int
    horizon: int  # steps that are predicted; with labels, steps that a label looks ahead
    distribution: str | None  # what a forecast says of each number; None: labels are told
    shares: list[float] = field(default_factory=list)  # of quantiles that were learnt
    classes: list[str] = field(default_factory=list)
    carries_state: bool
    masks: bool  # whether empty cells are masked
    train: Literal["expanding", "sliding"]
    gap: int
    period: int  # of the seasonal naive forecast; 1: there is none
    folds: list[FoldFacts] = field(metadata=MEASURED)
    steps: list[StepFacts] = field(default_factory=list, metadata=MEASURED)
    speed: WindowSpeed = field(metadata=MEASURED)
    confusions: list[Confusion] = field(default_factory=list, metadata=FREE | MEASURED)

    @property
    def predicts_labels(self) -> bool:
        """Whether a class is told for each step."""
        return self.distribution is None

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of labels, or of forecasts."""
        return SCORES_OF_LABELS if self.predicts_labels else SCORES_OF_FORECASTS

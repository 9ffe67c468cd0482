"""The facts of a card of a model that draws."""

from dataclasses import field
from typing import Literal

from ...cards.facts import FREE, MEASURED, Network, NetworkFacts, SplitSource, checked


@checked
class StrokesNetwork(Network):
    """The network of a model that draws."""

    loss: Literal["mdn", "mse"]
    num_mixtures: int  # Gaussians of the density of the next offset


@checked
class DrawingCount:
    """One split."""

    drawings: int
    points: int


@checked
class StrokesData(SplitSource):
    """What the model was trained and evaluated on."""

    splits: dict[str, DrawingCount]
    grid: float | None  # offsets are whole multiples of it, spread evenly around each; None: real numbers
    unknown_rate: float = 0.0  # there are no tokens
    classes: list[str] = field(default_factory=list)  # that can be asked for


@checked
class DrawingSpeed:
    """How fast the model draws and reads on one CPU core, in CPU time."""

    ms_per_step: float  # of one drawing that is made, median
    steps_per_second: float  # scored


@checked
class Sampling:
    """How the drawings of the card were made."""

    seed: int
    bias: float
    temperature: float
    max_new_steps: int


@checked
class DrawnFacts:
    """One drawing that the model made."""

    kind: str | None  # the class asked for
    points: int
    has_ended: bool  # by itself


@checked
class StrokesFacts(NetworkFacts):
    """All that a card says about one model that draws."""

    kind: Literal["strokes-model"] = "strokes-model"
    architecture: StrokesNetwork
    data: StrokesData
    offset_scale: float = field(metadata=MEASURED)  # what offsets are divided by: the root mean square in training
    speed: DrawingSpeed = field(metadata=MEASURED)
    sampling: Sampling
    drawn: list[DrawnFacts] = field(metadata=FREE | MEASURED)

    def validate_drawn(self) -> None:
        """Check that nothing is shown that repeats data which must not be."""
        if self.data.restriction and self.drawn:
            terms = f"the data are restricted ({self.data.restriction})"
            raise ValueError(f"{terms}, and drawings repeat them: leave drawn empty.")

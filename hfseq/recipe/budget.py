"""The section `budget` of a recipe: how long it may train, and that what nobody says follows the data."""

from dataclasses import dataclass

from ..settings import option


@dataclass
class BudgetSettings:
    """How long to train; with a number, what the other sections do not say follows the data."""

    minutes: float | None = option(None, "training stops after so many; null: the sections say all, no clock")

    def __post_init__(self) -> None:
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes={self.minutes} must be more than 0; null trains without a clock.")

    @property
    def is_on(self) -> bool:
        """Whether what is not said follows the data."""
        return self.minutes is not None

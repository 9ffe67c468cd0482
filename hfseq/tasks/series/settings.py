"""The settings of the recipe of series."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.series import SeriesDataSettings
from ...data.walk_forward import Fold, walk_forward
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.series import series_model, series_training
from ...recipe.sections import OF_TAGGERS, CardSettings, HubSettings, config_section, resume_flag, trained_families
from ...settings import fields_of, option
from ...training.series import SeriesTrainingArguments
from .card import TASK
from .facts import SCORES_OF_FORECASTS, SCORES_OF_LABELS

_SHARE_OF_TEST, _SHARE_OF_VALIDATION = 0.1, 0.1
_NOT_OF_SERIES = (  # a model of series reads no words, and never the future
    *OF_TAGGERS,
    *(
        "tie_word_embeddings",
        "scale_embedding",
        "embedding_dropout",
        "pooling",
        "pairs",
        "wide_ngrams",
        "wide_buckets",
    ),
    *("adaptive_softmax_cutoffs", "activation_regularization", "temporal_activation_regularization", "bidirectional"),
)
_OF_FORECASTS = {"distribution": "point", "quantiles": None, "num_mixtures": 3}


@dataclass
class WindowSettings:
    """What a model sees, and what it predicts."""

    context: int = option(48, "steps that the model sees; with training.carry_state between two cuts of the gradient")
    horizon: int = option(1, "steps that it predicts, where there are targets")
    train_stride: int | None = option(
        None, "steps from one training window to the next; null: a quarter of the context, as every step teaches"
    )
    test_stride: int = option(1, "steps from one window of validation and test to the next")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise ValueError(f"windows.{name}={value} must be 1 or more steps.")

    @property
    def apart(self) -> int:
        """Steps from one training window to the next."""
        return self.train_stride or max(self.context // 4, 1)


@dataclass
class SplitSettings:
    """Where time is cut: what is learnt from lies before what chooses, and that before what is measured."""

    folds: int = option(3, "models that are trained, each before a later cut; the last one is kept")
    test_steps: int | None = option(None, "steps of time of each test part; null: a tenth of all")
    validation_steps: int | None = option(None, "steps before them that choose among the epochs; null: a tenth")
    gap: int = option(0, "steps left out before validation and test")
    train: Literal["expanding", "sliding"] = option("expanding", "learn from all steps before, or from the last ones")

    def cut(self, steps: int) -> list[Fold]:
        """Cut so many steps of time."""
        parts = {"test_steps": _SHARE_OF_TEST, "validation_steps": _SHARE_OF_VALIDATION}
        sizes = {
            name: max(round(share * steps), 1) if (said := getattr(self, name)) is None else said
            for name, share in parts.items()
        }
        return walk_forward(steps, folds=self.folds, gap=self.gap, train=self.train, **sizes)


@dataclass
class RivalSettings:
    """What the model is compared with."""

    period: int | None = option(
        None, "steps of the seasonal naive forecast; null: found in the training part; 1: none"
    )

    def __post_init__(self) -> None:
        if self.period is not None and self.period < 1:
            raise ValueError(f"rivals.period={self.period} must be 1 or more steps, or null.")


@dataclass
class SeriesSettings:
    """All settings of the recipe, a section each."""

    data: SeriesDataSettings
    card: CardSettings
    windows: WindowSettings = field(default_factory=WindowSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    rivals: RivalSettings = field(default_factory=RivalSettings)
    model: dict[str, Any] = config_section(trained_families(TASK), *_NOT_OF_SERIES, has_forecasts=True)
    training: dict[str, Any] = fields_of(SeriesTrainingArguments)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    @property
    def predicts_labels(self) -> bool:
        """Whether a class is told for each step, in place of numbers that come."""
        return self.data.label_column is not None

    @property
    def horizon(self) -> int:
        """How many rows behind the last one that is seen an answer depends on."""
        return self.data.label_delay if self.predicts_labels else self.windows.horizon

    def __post_init__(self) -> None:
        self.card.check_metrics(SCORES_OF_LABELS if self.predicts_labels else SCORES_OF_FORECASTS)
        self.card.check_said(self.hub.repo_id, without=("language",))
        if self.card.ask:
            raise ValueError("card.ask holds texts, and a model of series reads numbers: leave it out.")
        if self.predicts_labels:
            for name, usual in _OF_FORECASTS.items():
                if (value := self.model.get(name, usual)) != usual:
                    raise ValueError(
                        f"model.{name}={value!r} is of numbers that come, and labels are learnt: drop it."
                    )
            if self.windows.horizon != 1:
                raise ValueError(
                    f"windows.horizon={self.windows.horizon} is of numbers that come: how far labels look ahead is "
                    "data.label_delay."
                )
        if self.training.get("carry_state") and (self.predicts_labels or self.model["type"] == "transformer"):
            raise ValueError(
                "training.carry_state=true is for forecasts of recurrent models, which have a state: leave it out."
            )

    def follow(self, windows: int) -> None:
        """Fill in what nobody said and the number of training windows decides, where there is a budget."""
        if self.budget.minutes is None:
            return
        self.model = {**series_model(self.model["type"], self.predicts_labels), **self.model}
        own = series_training(self.model["type"], self.budget.minutes, windows, self.training)
        self.training = {**own, **self.training}

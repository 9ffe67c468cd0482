"""The settings of the recipe of drawings."""

from dataclasses import dataclass, field
from typing import Any

from ...data.strokes import DrawingSettings
from ...evaluation.scores import SCORES
from ...models.recurrent.stroke_sampling import check_amounts
from ...models.recurrent.strokes import StrokesConfig
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.strokes import strokes_model, strokes_training
from ...recipe.sections import CardSettings, HubSettings, config_section, resume_flag
from ...settings import fields_of, option
from ...training.arguments import SequenceTrainingArguments

FAMILY = "strokes"
_FOLLOW_THE_DATA = ("class_names", "offset_scale", "residual_std", "bidirectional")


@dataclass(kw_only=True)
class StrokesCardSettings(CardSettings):
    """What the model card says and no run can measure."""

    ask: list[str] = field(
        default_factory=list, metadata={"help": "classes of the drawings in the card, in turn; []: all classes"}
    )
    language: str | None = field(default="zxx", metadata={"help": "ISO code; zxx is that of what is no language"})


@dataclass
class GenerationSettings:
    """How the drawings of the card are made."""

    num_drawings: int = option(24, "drawings in the card and in the pictures beside it")
    bias: float = option(0.5, "0 draws from the model; more prefers what is likely")
    temperature: float = option(1.0, "below 1: likely movements become likelier")
    max_new_steps: int = option(200, "most points of a drawing")
    seed: int = option(0, "seed of the drawings")

    def __post_init__(self) -> None:
        try:
            check_amounts(self.num_drawings, self.max_new_steps, self.bias, self.temperature)
        except ValueError as error:
            raise ValueError(f"generation.{error}") from None


@dataclass
class StrokesSettings:
    """All settings of the recipe, a section each."""

    data: DrawingSettings
    card: StrokesCardSettings
    model: dict[str, Any] = config_section(
        {FAMILY: StrokesConfig}, "tie_word_embeddings", *_FOLLOW_THE_DATA, has_forecasts=True
    )
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    def __post_init__(self) -> None:
        self.card.check_metrics(SCORES)
        self.card.check_said(self.hub.repo_id)
        if (share := self.training.get("label_smoothing_factor")) is not None and share > 0:
            raise ValueError(f"training.label_smoothing_factor={share}: a movement is no label; leave it out.")

    def follow(self, rows: int) -> None:
        """Fill in what nobody said and the number of training drawings decides, where there is a budget."""
        if self.budget.minutes is not None:
            self.model = {**strokes_model(rows), **self.model}
            self.training = {**strokes_training(self.budget.minutes, rows, self.training), **self.training}

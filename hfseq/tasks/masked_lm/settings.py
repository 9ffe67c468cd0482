"""The settings of the recipe of language models that fill in: they learn hidden tokens."""

from dataclasses import dataclass, field
from typing import Any

from ...recipe.language import NOT_OF_LANGUAGE_MODELS, LanguageSettings
from ...recipe.sections import CardSettings, config_section, trained_families
from ...tokenization.kinds import MASK
from .card import TASK
from .facts import MASKED_METRICS


@dataclass(kw_only=True)
class MaskedCardSettings(CardSettings):
    """What the model card says and no run can measure."""

    ask: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"texts of our own with one {MASK} each, which the finished model fills in",
            "was": "fill_mask.prompts",
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.ask:
            if text.count(MASK) != 1:
                raise ValueError(f"card.ask holds {text!r}: each text needs {MASK} once, which the model fills in.")


@dataclass
class MaskedLMSettings(LanguageSettings):
    """All settings of the recipe, a section each."""

    card: MaskedCardSettings
    model: dict[str, Any] = config_section(trained_families(TASK), *NOT_OF_LANGUAGE_MODELS)

    def __post_init__(self) -> None:
        if self.training.get("mlm_probability") is None:
            raise ValueError("training.mlm_probability is not given: the share of the tokens to hide, such as 0.15.")
        super().__post_init__()
        self.card.check_metrics(MASKED_METRICS, kind="metric of a masked model")

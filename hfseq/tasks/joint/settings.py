"""The settings of the recipe of intents and slots."""

from dataclasses import dataclass, field
from typing import Any

from ...data.intents import IntentSettings
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.joint import joint_model, joint_training
from ...recipe.sections import config_section, trained_families
from ...recipe.texts import TextSettings, check_own_loss
from ...registry import FAMILIES
from ...settings import known_fields, option
from ..tagging.settings import TokenizerSettings, check_decoding
from .card import TASK


@dataclass
class UnknownSettings:
    """When a text is no request that the model knows."""

    keep: float | None = option(
        0.99,
        "intents below the threshold are unknown: the highest one that leaves this share of the right answers on "
        "validation; null: every text gets an intent",
    )

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise ValueError(
                f"unknown.keep={self.keep} must be a share above 0 and at most 1; null sets no threshold."
            )


@dataclass
class IntentSlotsSettings(TextSettings):
    """All settings of the recipe, a section each."""

    data: IntentSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: dict[str, Any] = config_section(trained_families(TASK), "tie_word_embeddings", "pairs", has_slots=True)
    unknown: UnknownSettings = field(default_factory=UnknownSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    def __post_init__(self) -> None:
        check_own_loss(self.training, "intents")
        if not self.budget.is_on:  # else the model is not known yet, see `follow`
            self.tokenizer.settle(reads_words=self.reads_words)
        super().__post_init__()
        check_decoding(self.model, self.budget, "slots")

    def follow(self, rows: int) -> None:
        """Fill in what nobody said and the number of training texts decides, where there is a budget."""
        if self.budget.minutes is None:
            return
        family = self.model["type"]
        known = known_fields(FAMILIES[family].config)
        options = joint_model(family, rows, self.model if self.tokenizer.tells_spellings else {"characters": "none"})
        self.model = {**{name: value for name, value in options.items() if name in known}, **self.model}
        self.training = {**joint_training(family, self.budget.minutes, rows, self.training), **self.training}
        self.tokenizer.settle(reads_words=self.reads_words)

    @property
    def reads_words(self) -> bool:
        """Whether the model knows how words are spelled, and makes one step of the tokens of each."""
        return bool(self.model.get("characters", "none") != "none")

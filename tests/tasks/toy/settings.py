"""The settings of the toy recipe."""

from dataclasses import dataclass, field
from typing import Any

from hfseq.recipe.sections import CardSettings, HubSettings, config_section, resume_flag, trained_families
from hfseq.settings import fields_of, option
from hfseq.training.arguments import SequenceTrainingArguments

from .card import TASK


@dataclass
class WordSettings:
    """Which words to learn from."""

    count: int = option(64, "words that are made for each split")

    def __post_init__(self) -> None:
        if self.count < 8:
            raise ValueError(f"data.count={self.count} is too few to learn from: give 8 or more.")


@dataclass
class ToySettings:
    """All settings of the recipe, a section each."""

    card: CardSettings
    data: WordSettings = field(default_factory=WordSettings)
    model: dict[str, Any] = config_section(trained_families(TASK), "tie_word_embeddings")
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

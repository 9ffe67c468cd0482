"""The settings of the tagging recipe."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.tagged import TaggedSettings
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.tagging import tagging_sizes, tagging_training
from ...recipe.sections import config_section, trained_families
from ...recipe.texts import TextSettings, TextTokenizerSettings
from ...registry import FAMILIES
from ...settings import known_fields, option
from .card import TASK


@dataclass
class TokenizerSettings(TextTokenizerSettings):
    """How words become tokens, see `train_tokenizer`."""

    kind: Literal["word", "word_or_characters", "wordpiece", "unigram", "bpe", "whitespace"] = option(
        "word", "what a token is; the kinds that see where the words of a list end"
    )
    lowercase: bool = option(False, "lower-case the texts; with word_or_characters: the embeddings of words alone")
    label_all_tokens: bool = option(
        True,
        "train on all tokens of a word, as a pipeline asks all; false: on its first one alone, as always where "
        "model.characters makes one step of them",
    )


@dataclass
class TaggingSettings(TextSettings):
    """All settings of the recipe, a section each."""

    data: TaggedSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: dict[str, Any] = config_section(trained_families(TASK), "tie_word_embeddings", "pooling")
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    def __post_init__(self) -> None:
        if self.budget.minutes is not None:
            followed = tagging_training(self.budget.minutes, is_transformer=self._is_transformer)
            self.training = {**followed, **self.training}
        if self.reads_characters:
            self.tokenizer.label_all_tokens = False
        super().__post_init__()
        has_switch = "crf" in known_fields(FAMILIES[self.model["type"]].config)
        if has_switch and "decoding" in self.model and not self.model.get("crf"):
            given = f"model.decoding={self.model['decoding']!r}"
            raise ValueError(f"{given} is how a CRF chooses tags: set model.crf=true, or leave model.decoding out.")

    def follow(self, rows: int) -> None:
        """Fill in what the number of training texts decides, where there is a budget."""
        if not self.budget.is_on:
            return
        sizes = tagging_sizes(rows, is_transformer=self._is_transformer)
        known = known_fields(FAMILIES[self.model["type"]].config)
        if "bidirectional" in known and not self._is_transformer:
            sizes["bidirectional"] = True
        self.model = {**{name: value for name, value in sizes.items() if name in known}, **self.model}

    @property
    def reads_characters(self) -> bool:
        """Whether the model reads words by their characters too."""
        return bool(self.model.get("characters", "none") != "none")

    @property
    def _is_transformer(self) -> bool:
        return bool(self.model["type"] == "transformer")

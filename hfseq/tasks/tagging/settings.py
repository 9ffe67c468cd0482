"""The settings of the tagging recipe."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.tagged import TaggedSettings
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.tagging import LINEAR, tagger_model, tagger_training
from ...recipe.sections import config_section, trained_families
from ...recipe.texts import TextSettings, TextTokenizerSettings
from ...registry import FAMILIES
from ...settings import known_fields, option
from .card import TASK

_WITHOUT_SPELLINGS = ("unigram", "bpe")  # kinds whose tokens do not tell how words are spelled


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
        if self.reads_words:
            self.tokenizer.label_all_tokens = False
        super().__post_init__()
        has_switch = "crf" in known_fields(FAMILIES[self.model["type"]].config)
        if has_switch and "decoding" in self.model and not self.model.get("crf", self.budget.is_on):
            given = f"model.decoding={self.model['decoding']!r}"
            raise ValueError(f"{given} is how a CRF chooses tags: set model.crf=true, or leave model.decoding out.")

    def follow(self, rows: int, labels: int, metric: str) -> None:
        """Fill in what nobody said and the data decide, where there is a budget.

        Args:
            rows: Training texts.
            labels: How many tags there are.
            metric: The score that people quote first.
        """
        if self.budget.minutes is None:
            return
        family = self.model["type"]
        known = known_fields(FAMILIES[family].config)
        tells_words = self.tokenizer.kind not in _WITHOUT_SPELLINGS
        options = tagger_model(family, rows, labels, self.model if tells_words else {"characters": "none"})
        self.model = {**{name: value for name, value in options.items() if name in known}, **self.model}
        training = tagger_training(family, self.budget.minutes, rows, metric, self.model, self.training)
        self.training = {**training, **self.training}
        self._follow_words()

    def _follow_words(self) -> None:
        """Take the tokens of a model that knows words; a kind that is the usual one counts as not said."""
        if self.reads_words:
            self.tokenizer.label_all_tokens = False
            if self.tokenizer.kind == TokenizerSettings.kind:
                self.tokenizer.kind = "word_or_characters"

    @property
    def reads_words(self) -> bool:
        """Whether the model knows how words are spelled, and makes one step of the tokens of each."""
        return bool(self.model["type"] == LINEAR or self.model.get("characters", "none") != "none")

"""The settings of the tagging recipe."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ...data.tagged import TaggedSettings
from ...data.vectors import EmbeddingSettings
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.tagging import LINEAR, tagger_model, tagger_training
from ...recipe.sections import config_section, trained_families
from ...recipe.texts import TextSettings, TextTokenizerSettings
from ...registry import FAMILIES
from ...settings import known_fields, option
from .card import TASK

_WITHOUT_SPELLINGS = ("unigram", "bpe")  # kinds whose tokens do not tell how words are spelled


def check_decoding(model: dict[str, Any], budget: BudgetSettings, what: str) -> None:
    """Refuse a decoding where no CRF is asked for; with a budget, a model has one unless the settings say no."""
    has_switch = "crf" in known_fields(FAMILIES[model["type"]].config)
    if has_switch and "decoding" in model and not model.get("crf", budget.is_on):
        given = f"model.decoding={model['decoding']!r}"
        raise ValueError(f"{given} is how a CRF chooses {what}: set model.crf=true, or leave model.decoding out.")


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

    @property
    def tells_spellings(self) -> bool:
        """Whether the tokens of this kind tell how words are spelled."""
        return self.kind not in _WITHOUT_SPELLINGS

    def follow_words(self) -> None:
        """Take the tokens of a model that knows words; a kind that is the usual one counts as not said."""
        self.label_all_tokens = False
        if self.kind == TokenizerSettings.kind:
            self.kind = "word_or_characters"


class WordSettings(Protocol):
    """The settings of a recipe whose model may know how words are spelled."""

    tokenizer: TokenizerSettings
    model: dict[str, Any]
    embeddings: EmbeddingSettings

    @property
    def reads_words(self) -> bool:
        """Whether the model knows how words are spelled, and makes one step of the tokens of each."""


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
        check_decoding(self.model, self.budget, "tags")
        if self.model["type"] == LINEAR and self.embeddings != EmbeddingSettings():
            raise ValueError("model.type=crf looks at features of words and has no vectors: leave embeddings out.")

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
        said = self.model if self.tokenizer.tells_spellings else {"characters": "none"}
        options = tagger_model(family, rows, labels, said)
        self.model = {**{name: value for name, value in options.items() if name in known}, **self.model}
        training = tagger_training(family, self.budget.minutes, rows, metric, self.model, self.training)
        self.training = {**training, **self.training}
        if self.reads_words:
            self.tokenizer.follow_words()

    @property
    def reads_words(self) -> bool:
        """Whether the model knows how words are spelled, and makes one step of the tokens of each."""
        return bool(self.model["type"] == LINEAR or self.model.get("characters", "none") != "none")

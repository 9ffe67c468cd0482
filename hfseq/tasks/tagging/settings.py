"""The settings of the tagging recipe."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from ...data.tagged import TaggedSettings
from ...data.vectors import EmbeddingSettings
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.tagging import LINEAR, tagger_model, tagger_training
from ...recipe.sections import config_section, trained_families
from ...recipe.texts import TextSettings, TextTokenizerSettings
from ...registry import FAMILIES
from ...settings import known_fields, option
from .card import TASK

TaggingKind: TypeAlias = Literal["word", "word_or_characters", "wordpiece", "unigram", "bpe", "whitespace"]

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

    # None until `settle`, after which there is a kind as in every tokenizer.
    kind: TaggingKind | None = option(  # type: ignore[assignment]
        None,
        "what a token is, of the kinds that see where the words of a list end; null: word, or word_or_characters "
        "where the model reads characters",
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

    def settle(self, *, reads_words: bool) -> None:
        """Choose the kind where nobody said one, and the labels of a model that makes one step of each word."""
        if self.kind is None:
            self.kind = "word_or_characters" if reads_words else "word"
        if not reads_words:
            return
        self.label_all_tokens = False
        if not self.tells_spellings:
            raise ValueError(
                f"tokenizer.kind={self.kind!r}: these tokens do not tell how words are spelled, and the model reads "
                "that: take word_or_characters, word, whitespace or wordpiece, leave the kind out, or take a model "
                "with model.characters=none."
            )


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
        if not self.budget.is_on:  # else the model is not known yet, see `follow`
            self.tokenizer.settle(reads_words=self.reads_words)
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
        self.tokenizer.settle(reads_words=self.reads_words)

    @property
    def reads_words(self) -> bool:
        """Whether the model knows how words are spelled, and makes one step of the tokens of each."""
        return bool(self.model["type"] == LINEAR or self.model.get("characters", "none") != "none")

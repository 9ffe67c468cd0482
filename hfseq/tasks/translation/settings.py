"""The settings of the recipe of models that write a text from a text."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ...data.parallel import ParallelSettings
from ...evaluation.scores import SCORES
from ...evaluation.translation import METRICS
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.translation import translation_sizes, translation_training, vocabulary_size
from ...recipe.sections import (
    OF_TAGGERS,
    CardSettings,
    HubSettings,
    TokenizerSettings,
    config_section,
    resume_flag,
    trained_families,
)
from ...registry import FAMILIES
from ...settings import check_known, fields_of, known_fields, option
from ...training.seq2seq import EncoderDecoderTrainingArguments
from .card import TASK

NOT_OF_THE_MODEL = (
    *("bidirectional", "pooling", "classifier_dropout", "wide_ngrams", "wide_buckets"),
    *OF_TAGGERS,
)
OF_TOKENS = ("decoder_vocab_size", "encoder_pad_token_id", "decoder_start_token_id", "adaptive_softmax_cutoffs")
# How the finished model writes stands in section `generation`; the others are read by nobody here.
NOT_OF_TRAINING = ("generation_config", "generation_max_length", "sortish_sampler")


@dataclass
class PairTokenizerSettings(TokenizerSettings):
    """How sources and targets become tokens, see `train_tokenizer`."""

    kind: Literal["bpe", "unigram", "char", "word_with_space", "whitespace"] = option(
        "bpe", "what a token is; kinds that can write a text again"
    )
    vocab_size: int = option(8_000, "most entries, special tokens included; of each of two vocabularies")
    shared: bool = option(True, "source and target have one vocabulary; false: each has its own")
    max_length: int = option(128, "training pairs with more tokens on either side are left out")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length < 2:
            raise ValueError(f"tokenizer.max_length={self.max_length} must be at least 2: a token and the end.")
        if self.lowercase and self.shared:
            both = "would lower-case the targets too, and the model would write no capital"
            raise ValueError(f"tokenizer.lowercase=true {both}: set tokenizer.shared=false, and sources alone are.")


@dataclass
class WritingSettings:
    """How the finished model writes; `generate` finds the numbers in the checkpoint."""

    num_beams: int = option(5, "texts that are followed side by side; 1: the likeliest token each time")
    length_penalty: float = option(1.0, "above 1: longer texts; a beam's log probability is divided by length^this")
    max_new_tokens: int | None = option(
        None, "tokens that are written at most; null: half more than the longest target"
    )

    def __post_init__(self) -> None:
        if self.num_beams < 1 or (self.max_new_tokens is not None and self.max_new_tokens < 1):
            both = f"generation.num_beams={self.num_beams} and max_new_tokens={self.max_new_tokens}"
            raise ValueError(f"{both} must be 1 or more.")


class WriterParts(Protocol):
    """What a model that writes is built from: of settings, these sections."""

    tokenizer: PairTokenizerSettings
    model: dict[str, Any]
    generation: WritingSettings


@dataclass
class TranslationSettings:
    """All settings of the recipe, a section each."""

    data: ParallelSettings
    card: CardSettings
    tokenizer: PairTokenizerSettings = field(default_factory=PairTokenizerSettings)
    model: dict[str, Any] = config_section(trained_families(TASK), *NOT_OF_THE_MODEL, *OF_TOKENS)
    training: dict[str, Any] = fields_of(EncoderDecoderTrainingArguments, without=NOT_OF_TRAINING)
    generation: WritingSettings = field(default_factory=WritingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    def __post_init__(self) -> None:
        if self.budget.minutes is not None:
            self.training = {
                **translation_training(self.budget.minutes, is_transformer=self._is_transformer),
                **self.training,
            }
        if (metric := self.training.get("metric_for_best_model")) is not None:
            check_known(
                str(metric).removeprefix("eval_"), (*METRICS, "loss"), "training.metric_for_best_model", "score"
            )
        self.card.check_metrics(SCORES)
        self.card.check_said(self.hub.repo_id)

    @property
    def _is_transformer(self) -> bool:
        return bool(self.model["type"] == "transformer_seq2seq")

    def follow(self, pairs: int) -> None:
        """Fill in what the number of training pairs decides, where there is a budget."""
        if not self.budget.is_on:
            return
        known = known_fields(FAMILIES[self.model["type"]].config)
        sizes = translation_sizes(pairs, self.model, is_transformer=self._is_transformer)
        self.model = {**{name: value for name, value in sizes.items() if name in known}, **self.model}
        if self.tokenizer.kind == "bpe" and self.tokenizer.vocab_size == PairTokenizerSettings.vocab_size:
            self.tokenizer.vocab_size = vocabulary_size(pairs)

"""What the recipes of texts with labels and of words with tags share: settings and facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from datasets import DatasetDict
from transformers import Pipeline, PreTrainedConfig, PreTrainedTokenizerFast

from ..cards.facts import ArchitectureFacts, DataFacts, SpeedFacts
from ..cards.measure import Asked, measure_speed
from ..data.text import DataSettings
from ..data.vectors import EmbeddingSettings
from ..evaluation.scores import SCORES
from ..models.features import FARTHEST, LONGEST_END
from ..models.words.bag import BagConfig
from ..registry import FAMILIES
from ..settings import fields_of, option
from ..tokenization import unknown_rate
from ..tokenization.limits import text_limit
from ..training.arguments import SequenceTrainingArguments
from .publish import network_facts
from .sections import CardSettings, HubSettings, TokenizerSettings, resume_flag

UNCUT, USUAL_LENGTH = 1_000_000, 128  # tokens
_OF_ONE_LABEL = {"class_weights": None, "label_smoothing_factor": 0.0}
_POOLED = ("text-classification", "intent-slots")  # tasks of models that make a vector of a text
NO_LIMIT = "take model.position_embedding_type=rotary or sinusoidal, which have no such limit"


@dataclass
class TextTokenizerSettings(TokenizerSettings):
    """How texts of a limited length become tokens."""

    max_length: int | None = option(
        None, "longer training texts are cut to so many tokens; null: 128, of a bag none is cut"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"max_length={self.max_length} must be at least 2: a word and the end of the text.")


@dataclass
class TextSettings:
    """The sections that both recipes have; each adds its `model`."""

    data: DataSettings
    card: CardSettings
    tokenizer: TextTokenizerSettings = field(default_factory=TextTokenizerSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    hub: HubSettings = field(default_factory=HubSettings)
    resume: bool = resume_flag()

    def __post_init__(self) -> None:
        self.card.check_metrics(SCORES)
        self.card.check_said(self.hub.repo_id)
        if self.tokenizer.max_length is None:
            is_bag = cast(Any, self).model["type"] == "bag"
            self.tokenizer.max_length = UNCUT if is_bag else USUAL_LENGTH


def check_own_loss(training: Mapping[str, Any], told: str) -> None:
    """Refuse options that make a loss of one label a text, where a model has a loss of its own.

    Args:
        training: The section.
        told: What alone such a loss would be made of, as an error says it.
    """
    for name, usual in _OF_ONE_LABEL.items():
        value = training.get(name, usual)
        if value != usual:
            raise ValueError(f"training.{name}={value!r} makes a loss of {told} alone: leave it out.")


def most_tokens(model: Mapping[str, Any]) -> int | None:
    """Return how many tokens the learned positions of a `model` section have room for; None: any number."""
    if model.get("position_embedding_type") != "learned":
        return None
    if "max_position_embeddings" in model:
        return int(model["max_position_embeddings"])
    return int(cast(Any, FAMILIES[model["type"]].config).max_position_embeddings)


def text_facts(
    settings: TextSettings, dataset: DatasetDict, texts: Sequence[Asked], split: str, pipe: Pipeline
) -> dict[str, Any]:
    """Gather the facts that both cards have; `texts` are those of the evaluated split, `pipe` is the saved model."""
    single = (each for text in texts for each in ([text] if isinstance(text, str) else text.values()))
    config, vectors = pipe.model.config, settings.embeddings.from_pretrained
    return {
        "architecture": ArchitectureFacts(
            **network_facts(config),
            bidirectional=getattr(config, "bidirectional", False),
            pooling=getattr(config, "pooling", None) if pipe.task in _POOLED else None,
            max_length=cast(int, settings.tokenizer.max_length),
            limit=text_limit(cast(PreTrainedTokenizerFast, pipe.tokenizer)),
            features=_features(config),
            characters=_characters(config),
        ),
        "data": DataFacts(
            **settings.card.data_facts(),
            hub_id=settings.data.hub_id,
            splits={name: rows.num_rows for name, rows in dataset.items()},
            evaluated_split=split,
            vocabulary_size=config.words_with_rows if isinstance(config, BagConfig) else config.vocab_size,
            unknown_rate=unknown_rate(cast(PreTrainedTokenizerFast, pipe.tokenizer), single),
        ),
        "speed": measure_speed(pipe, texts[:512]),
        "pretrained": None if vectors is None else Path(vectors).name,
    }


def _features(config: PreTrainedConfig) -> str | None:
    """Say in words what a bag counts, or what a tagger sees of words; None for other models."""
    if getattr(config, "feature_buckets", 0):
        own = f"spelling, shape, first and last 1 to {LONGEST_END} letters"
        return f"features of words ({own}; of {FARTHEST} neighbours on each side spelling and shape)"
    if not isinstance(config, BagConfig):
        return None
    kinds = ["words"]
    if config.longest_ngram:
        kinds.append(f"their character n-grams of {config.shortest_ngram} to {config.longest_ngram}")
    if config.word_ngrams > 1:
        kinds.append(f"runs of up to {config.word_ngrams} words")
    weights = "how often they occur" if config.weighting == "count" else "inverse document frequencies"
    return f"{', '.join(kinds)}, weighted by {weights}"


def _characters(config: PreTrainedConfig) -> str | None:
    """Say in words what reads the characters of words; None where nothing does."""
    own: Any = config
    reader = getattr(own, "characters", "none")
    if reader == "none":
        return None
    readers = {"cnn": f"a convolution over {own.character_kernel_size} of them", "lstm": "an LSTM from either end"}
    told = f"embeddings of {own.character_embedding_size}; {readers[reader]}, width {own.character_hidden_size}"
    return f"{told}; features of case" if own.case_features else told


def speed_line(speed: SpeedFacts) -> str:
    """Write in a line how fast the finished model answers."""
    return f"{speed.ms_per_text:.2f} ms a text, {speed.texts_per_second:.0f} texts/s in batches"

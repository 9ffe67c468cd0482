"""Sections of settings that several recipes have, and what is made of them: tokens, a model, the words of a card."""

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ..cards.publishing import CARD_WORDS, asked
from ..cards.words import CardWords
from ..data.sources import IF_A_COPY, Said, other_data
from ..registry import FAMILIES
from ..settings import check_known, fields_of, option
from ..tokenization import train_tokenizer
from ..tokenization.kinds import Kind
from ..tokenization.texts import Texts

logger = logging.get_logger(__name__)

_NOT_OF_THE_DATA = {"rivals", "same_data"}  # of section card
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
OF_TAGGERS = (  # fields of configs that no recipe offers to other models
    *("crf", "decoding", "characters", "character_embedding_size", "character_hidden_size", "character_kernel_size"),
    *("case_features", "feature_buckets"),
)
_SPELLINGS = ("num_characters", "spelling_size", "word_rows")
_CALIBRATED = ("slot_labels", "temperature", "unknown_threshold")
# What gates show is for people: in training it would only cost time.
_FILLED_IN = ("vocab_size", *SPECIAL_IDS, "freeze_embeddings", "output_gates", *_SPELLINGS, *_CALIBRATED)
_OF_TWO_LOSSES = ("intent_weight", "slot_weight")
_OF_NUMBERS = ("feature_size", "prediction_length", "num_targets")  # which follow from the columns of the data
_OF_FORECASTS = ("distribution", "quantiles", "num_mixtures")
_FROM_TRANSFORMERS = tuple(
    item.name for item in dataclasses.fields(PreTrainedConfig) if item.name != "tie_word_embeddings"
)


@dataclass
class TokenizerSettings:
    """How texts become tokens, see `train_tokenizer`."""

    kind: Kind = option("word", "what a token is, see hfseq.tokenization")
    vocab_size: int = option(10_000, "most entries, special tokens included")
    min_count: int | None = option(
        None, "rarer words, characters or merges are left out; null: 2 (unigram has none)", was="min_frequency"
    )
    lowercase: bool = option(False, "lower-case the texts")

    def __post_init__(self) -> None:
        if self.min_count is not None and self.min_count < 1:
            raise ValueError(f"tokenizer.min_count={self.min_count} must be 1 or more; null takes the default.")

    def train(self, texts: Texts, **options: Any) -> PreTrainedTokenizerFast:
        """Train the tokenizer; `options` are others of `train_tokenizer`."""
        if self.kind != "byte":  # its ids are the bytes; size and count are those of a bag's dictionary
            options |= {"vocab_size": self.vocab_size, "min_frequency": self.min_count}
        return train_tokenizer(texts, self.kind, lowercase=self.lowercase, **options)


@dataclass(kw_only=True)
class CardSettings(CardWords):
    """What the model card says and no run can measure."""

    ask: list[str] = field(
        default_factory=list, metadata={"help": "texts of our own that the finished model answers; []: none"}
    )
    show_rows: bool = option(False, "show rows of the data in the card")
    same_data: bool = option(False, "data.path or data.name of the command line is a copy of the file's data")

    def __post_init__(self) -> None:
        if self.ask and not any(self.ask):
            raise ValueError("card.ask holds empty texts alone: give one with words too, or leave it out.")
        super().__post_init__()

    @property
    def shows_rows(self) -> bool:
        """Whether the card may show rows of the data: where it is asked to, and no terms forbid it."""
        return self.show_rows and self.data_restriction is None

    @staticmethod
    def forgotten(file: Said, command: Said) -> set[str]:
        """Return the keys of a file's section `card` that are about other data than the command line names."""
        other = other_data(file, command)
        if not other:
            return set()
        keys = {key for section, key in file if section == "card"} - _NOT_OF_THE_DATA
        if lost := sorted(key for key in keys if ("card", key) not in command):
            logger.warning(
                "%s is other data than the settings file's: of its section card, %s no longer count. %s",
                *(other, ", ".join(lost), IF_A_COPY),
            )
        return keys

    def check_metrics(self, known: Iterable[str], kind: str = "metric") -> None:
        """Refuse published results in a metric that the run does not measure."""
        for row in self.published():
            check_known(row.metric, known, "card.comparisons", kind=kind)

    def check_said(self, repo_id: str | None, without: Container[str] = ()) -> None:
        """Refuse to train for the Hub a model whose card would lack what a reader there must know.

        Args:
            repo_id: Where it is to be published; None: nowhere.
            without: Words that say nothing of such a model.
        """
        if repo_id is None:
            return
        if missing := [name for name in CARD_WORDS if getattr(self, name) is None and name not in without]:
            options = " ".join(f"--card.{name}=TEXT" for name in missing)
            fault = f"hub.repo_id={repo_id} publishes a card, which does not say {asked(missing)}"
            raise ValueError(f"{fault}: give {options}, or push later with `hfseq push`.")


@dataclass
class HubSettings:
    """Where to publish."""

    repo_id: str | None = option(None, "push the finished model here; null: do not")
    private: bool = option(False, "make a new repository private")
    with_code: bool = option(False, "push the model's code too, see hfseq.push")
    force: bool = option(False, "push a model that is behind a simple system measured in the same run")


def resume_flag() -> Any:
    """Declare the flag that every recipe has."""
    return option(False, "go on from the last checkpoint in training.output_dir")


def trained_families(task: str) -> dict[str, type[PreTrainedConfig]]:
    """Return the configs of the families whose models of a task follow a gradient."""
    families = FAMILIES.items()  # what is counted instead has no body under its head
    return {name: row.config for name, row in families if task in row.heads and row.backbone is not None}


def config_section(
    source: type | Mapping[str, type], *without: str, has_slots: bool = False, has_forecasts: bool = False
) -> Any:
    """Declare a section of a model's config, without what a recipe fills in and what no model of ours reads.

    Args:
        has_slots: Whether the model has a head for slots as well, whose loss has a weight.
        has_forecasts: Whether the model says how sure it is of numbers that come.
    """
    others = (*(() if has_slots else _OF_TWO_LOSSES), *_OF_NUMBERS, *(() if has_forecasts else _OF_FORECASTS))
    return fields_of(source, without=(*_FILLED_IN, *_FROM_TRANSFORMERS, *others, *without))


def build_model(task: str, section: Mapping[str, Any], **options: Any) -> PreTrainedModel:
    """Build the model of a `model` section; `options` are what its config takes from the recipe."""
    family = FAMILIES[section["type"]]
    chosen = {name: value for name, value in section.items() if name != "type"}
    return family.heads[task](family.config(**{**options, **chosen}))


def token_options(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the options of a config that follow from the tokenizer."""
    return {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in SPECIAL_IDS}


def label_options(names: Sequence[str]) -> dict[str, Any]:
    """Return the options of a config that name its labels."""
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}

"""The settings of the text classification recipe.

A model starts from random weights, from word vectors (section `embeddings`) or from a whole language model (section
`transfer`), which `training.layer_rate_decay` and `training.unfreeze_every` fine-tune with care under a new head.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from ...data.text import DataSettings
from ...data.vectors import EmbeddingSettings
from ...recipe.budget import BudgetSettings
from ...recipe.sections import OF_TAGGERS, CardSettings, config_section, trained_families
from ...recipe.texts import NO_LIMIT, TextSettings, TextTokenizerSettings, most_tokens
from ...settings import fields_of, option
from ...training.arguments import SequenceTrainingArguments
from ...training.words.autotune import AutotuneSettings
from ...training.words.bag_trainer import BagTrainingArguments
from ...training.words.compression import CompressionSettings

TASK: Final = "text-classification"
AUTO: Final = "auto"
_OF_VOCABULARY = ("units", "lowercase", "num_ngrams", "num_words", "num_word_bytes")  # of a bag; from the tokenizer
_OF_FILES = ("ends_texts", "label_prefix", "num_kept_buckets", "row_codes", "norm_codes")  # fastText's; made smaller
Rivals: TypeAlias = Literal["words", "characters"]
# Fields of configs that no settings file says.
NOT_CHOSEN = ("tie_word_embeddings", *OF_TAGGERS, *_OF_VOCABULARY, *_OF_FILES)
_OF_TREES = "recursive"  # a family that learns from trees, by a recipe of its own
_KEPT_OF_TOKENIZER = ("max_length", "padding_side")  # with a language model's tokenizer


@dataclass
class LabelledTexts(DataSettings):
    """Which texts and labels to learn from, and from how many of them."""

    train_rows: int | None = option(None, "training rows kept, drawn with `seed`, some of each class; null: all")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_rows is not None and self.train_rows < 1:
            raise ValueError(f"train_rows={self.train_rows} must be at least 1; null keeps every row.")


@dataclass
class AutoChoice:
    """Several models are trained within budget.minutes, and the best on validation is kept."""


@dataclass
class TokenizerSettings(TextTokenizerSettings):
    """How texts become tokens, see `train_tokenizer`."""

    lowercase: bool = option(True, "lower-case the texts")
    padding_side: Literal["left", "right"] = option("right", "changes no answer")


@dataclass
class TransferSettings:
    """The language model that the classifier starts from."""

    from_pretrained: str | None = option(None, "its folder or Hub id, for tokenizer, embeddings, layers; null: none")
    revision: str | None = option(None, "branch, tag or commit of a Hub id")

    def __post_init__(self) -> None:
        if self.revision is not None and self.from_pretrained is None:
            raise ValueError(f"revision={self.revision!r} of what? Give from_pretrained as well, or leave it out.")


@dataclass(kw_only=True)
class ClassifierCardSettings(CardSettings):
    """What the card of a classifier says and no run can measure, and what is measured for it."""

    same_labels: list[list[str]] = field(
        default_factory=list, metadata={"help": "groups of labels that count as one in a second accuracy: [[nb, nn]]"}
    )
    rivals: Rivals = option(
        "words", "the simple systems beside it: regression of words; naive Bayes and language models of characters"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [name for group in self.same_labels for name in group]
        if len(set(names)) < len(names) or any(len(group) < 2 for group in self.same_labels):
            raise ValueError(
                f"card.same_labels={self.same_labels} must be groups of two labels or more, each label in one of them."
            )

    def _words(self) -> dict[str, str]:
        names = enumerate(name for group in self.same_labels for name in group)
        return super()._words() | {f"card.same_labels, name {place}": name for place, name in names}


def _families() -> dict[str, type]:
    return {name: config for name, config in trained_families(TASK).items() if name != _OF_TREES}


class ClassifierParts(Protocol):
    """What a classifier is built from and trained with: the recipe has these sections, and each rung of a ladder."""

    tokenizer: TokenizerSettings
    model: dict[str, Any]
    training: dict[str, Any]
    embeddings: EmbeddingSettings
    transfer: TransferSettings


@dataclass
class TextClassificationSettings(TextSettings):
    """All settings of the recipe, a section each."""

    data: LabelledTexts
    card: ClassifierCardSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    autotune: AutotuneSettings = field(default_factory=AutotuneSettings)
    compression: CompressionSettings = field(default_factory=CompressionSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    model: dict[str, Any] = config_section({**_families(), AUTO: AutoChoice}, *NOT_CHOSEN)
    training: dict[str, Any] = fields_of(
        {"": SequenceTrainingArguments, "bag": BagTrainingArguments}, chosen_by="model"
    )

    def __post_init__(self) -> None:
        follows_rows = self.budget.is_on and self.tokenizer.max_length is None
        super().__post_init__()
        if follows_rows:
            self.tokenizer.max_length = None  # see `follow_data`
        if self.data.text_pair_column is not None:
            self._check_pairs()
        if self.model["type"] == AUTO:
            self._check_auto()
        if self.model["type"] == "bag":
            self._check_bag()
        else:
            self._check_no_bag()
        if follows_rows:
            return
        if self.transfer.from_pretrained is None:
            check_length(cast(int, self.tokenizer.max_length), most_tokens(self.model))
            return
        if self.embeddings.from_pretrained is not None:
            replacing = f"embeddings.from_pretrained={self.embeddings.from_pretrained!r} would replace the embeddings"
            brought = f"transfer.from_pretrained={self.transfer.from_pretrained!r} brings"
            raise ValueError(f"{replacing} that {brought}: leave one of the two out.")
        for item in dataclasses.fields(TokenizerSettings):
            value = getattr(self.tokenizer, item.name)
            if item.name not in _KEPT_OF_TOKENIZER and value != item.default:
                raise ValueError(
                    f"tokenizer.{item.name}={value!r}: the tokenizer comes from transfer.from_pretrained, and of that "
                    f"section only {' and '.join(_KEPT_OF_TOKENIZER)} still count. Leave {item.name} out."
                )

    def _check_pairs(self) -> None:
        """Refuse single texts where the model answers two."""
        if self.card.ask:
            pairs = f"data.text_pair_column={self.data.text_pair_column!r} makes a model of pairs"
            raise ValueError(f"card.ask={self.card.ask} holds single texts, but {pairs}: leave card.ask out.")

    def _check_auto(self) -> None:
        """Refuse what needs one known model, and models without a time."""
        if not self.budget.is_on:
            raise ValueError("model.type=auto trains several models: say for how long, such as --budget.minutes=5.")
        for section in ("embeddings", "transfer"):
            given = getattr(self, section).from_pretrained
            if given is not None:
                raise ValueError(f"{section}.from_pretrained={given!r} fits one kind of model: name it in model.type.")
        if self.resume:
            raise ValueError("--resume goes on with one model, not with model.type=auto: name one, or start anew.")

    def _check_bag(self) -> None:
        """Refuse what is for networks alone; a regression learns from words that occur once, too."""
        if self.training.get("solver") == "regression" and self.tokenizer.min_count is None:
            self.tokenizer.min_count = 1  # as scikit-learn: 2 cost 1.5 to 3 points on 2,000 rows of SST-2 and AG News
        if self.transfer.from_pretrained is not None:
            given = f"transfer.from_pretrained={self.transfer.from_pretrained!r} brings the body of a language model"
            raise ValueError(f"{given}, which no bag has: leave it out, or take the model.type of that model.")
        if self.embeddings.freeze:
            raise ValueError("embeddings.freeze=True: the vectors of a bag are all that learns. Leave it out.")

    def _check_no_bag(self) -> None:
        """Refuse what is for bags alone."""
        if self.autotune.is_on:
            budget = f"minutes={self.autotune.minutes}, trials={self.autotune.trials}"
            raise ValueError(
                f"autotune ({budget}) searches for the settings of a bag, not of model.type={self.model['type']!r}: "
                "leave the section out."
            )
        if self.compression.is_on:
            fault = f"compression makes bags small, not a model of model.type={self.model['type']!r}"
            raise ValueError(f"{fault}: leave the section out.")


def check_length(max_length: int, limit: int | None) -> None:
    """Refuse texts that may be longer than the learned positions of the model."""
    if limit is not None and limit < max_length:
        positions = f"the {limit} learned positions of the model (max_position_embeddings)"
        long = f"tokenizer.max_length={max_length} lets texts be longer than {positions}"
        raise ValueError(f"{long}: lower the one or raise the other, or {NO_LIMIT}.")

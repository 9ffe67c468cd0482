"""The settings of the ladder of classifiers.

The networks are trained as `training` says, over the same tokens; `transformer_training` says where that one differs.
A bag has its own update: `bag_training` says how, and of `training` it keeps what is not about updates.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from huggingface_hub.errors import StrictDataclassError

from ...data.vectors import EmbeddingSettings
from ...models.recurrent.backbone import RecurrentConfig
from ...models.transformer.transformer import TransformerConfig
from ...models.windows.window import WindowConfig
from ...models.words.bag import BagConfig
from ...models.words.word2vec import Word2VecConfig
from ...recipe.sections import config_section
from ...recipe.texts import USUAL_LENGTH, most_tokens
from ...registry import FAMILIES
from ...settings import check_known, fields_of
from ...training.arguments import SequenceTrainingArguments
from ...training.words.bag_trainer import BagTrainingArguments
from ...training.words.trainer import FILLED_IN, Word2VecTrainingArguments
from ..text_classification.settings import NOT_CHOSEN, LabelledTexts, TokenizerSettings, TransferSettings, check_length

RUNGS: Final = (
    *("majority", "tf-idf", "bag", "bag-ngrams", "word-vectors"),
    *("window", "rnn", "lstm", "gru", "transformer"),
)
"""From the simplest to the one that has most to learn: the order in which they are climbed."""

# Fields of a config that nobody chooses, or that only language models read.
_LEFT_OUT = (
    *NOT_CHOSEN,
    *("adaptive_softmax_cutoffs", "use_cache", "activation_regularization", "temporal_activation_regularization"),
)
WITHOUT_GRADIENT: Final = ("majority", "tf-idf", "word-vectors")
_WORDS_ALONE: Final = {"word_ngrams": 1, "longest_ngram": 0, "ngram_buckets": 0}
_NOT_OF_UPDATES: Final = ("seed", "use_cpu", "disable_tqdm", "report_to")


@dataclass
class RungSettings:
    """Which rungs there are."""

    of: Literal["classifiers"] = field(metadata={"help": "what is compared; other ladders have other settings"})
    names: list[str] = field(default_factory=lambda: list(RUNGS), metadata={"help": f"of {', '.join(RUNGS)}"})

    def __post_init__(self) -> None:
        for name in self.names:
            check_known(name, RUNGS, "rungs.names", kind="rung")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"rungs.names={self.names} must name one rung or more, each once.")

    def in_order(self) -> list[str]:
        """Return the names from the simplest upwards."""
        return [name for name in RUNGS if name in self.names]

    def trained(self) -> list[str]:
        """Return those of them that are models of this package."""
        return [name for name in self.in_order() if name not in WITHOUT_GRADIENT]


@dataclass
class ModelParts:
    """What a bag or a network of the ladder is built from, as the recipe of classifiers builds it."""

    tokenizer: TokenizerSettings
    model: dict[str, Any]
    training: dict[str, Any]
    embeddings: EmbeddingSettings
    transfer: TransferSettings = field(default_factory=TransferSettings)


@dataclass
class ClassifierLadderSettings:
    """All settings of the recipe, a section each."""

    data: LabelledTexts
    rungs: RungSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    word_vectors: dict[str, Any] = config_section(Word2VecConfig, "tie_word_embeddings", *FILLED_IN)
    word_vectors_training: dict[str, Any] = fields_of(
        Word2VecTrainingArguments, without=("output_dir", "save_words", "save_total_limit", "num_processes")
    )
    bag: dict[str, Any] = config_section(BagConfig, *_LEFT_OUT)
    bag_training: dict[str, Any] = fields_of(BagTrainingArguments, without=("output_dir", *_NOT_OF_UPDATES))
    window: dict[str, Any] = config_section(WindowConfig, *_LEFT_OUT)
    network: dict[str, Any] = config_section(RecurrentConfig, *_LEFT_OUT)
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    transformer: dict[str, Any] = config_section(TransformerConfig, *_LEFT_OUT)
    transformer_training: dict[str, Any] = fields_of(SequenceTrainingArguments, without=("output_dir",))

    def __post_init__(self) -> None:
        if not self.training.get("output_dir"):
            raise ValueError("training.output_dir is not given: name the folder of the ladder, such as runs/ladder.")
        if self.tokenizer.max_length is None:
            self.tokenizer.max_length = USUAL_LENGTH  # of the bags too: all rungs read the same tokens
        check_length(self.tokenizer.max_length, most_tokens({"type": "transformer", **self.transformer}))
        if self.embeddings.from_pretrained is not None and (self.word_vectors or self.word_vectors_training):
            given = f"embeddings.from_pretrained={self.embeddings.from_pretrained!r} gives the word vectors"
            raise ValueError(f"{given}: leave out word_vectors and word_vectors_training, which describe others.")
        self._check_models()

    def _check_models(self) -> None:
        """Refuse what fits no model before the first rung is climbed, not minutes later."""
        Word2VecConfig(**self.word_vectors)
        Word2VecTrainingArguments(**self.word_vectors_training)
        for name in self.rungs.trained():
            section = self.parts_of(name, "").model
            config = FAMILIES[section.pop("type")].config
            try:
                config(**section)
            except StrictDataclassError as error:
                raise ValueError(f"The rung {name!r} cannot be built: {error}") from error

    def parts_of(self, name: str, folder: str) -> ModelParts:
        """Return what a bag or a network is built from and trained with, its checkpoints in a folder."""
        sections = {"window": self.window, "transformer": self.transformer, "bag": {**self.bag, **_WORDS_ALONE}}
        section = {"bag-ngrams": self.bag, **sections}.get(name, self.network)
        model = {"type": name.removesuffix("-ngrams"), **section}
        training = {**self._training_of(name), "output_dir": folder}
        return ModelParts(self.tokenizer, model, training, self.embeddings)

    def _training_of(self, name: str) -> dict[str, Any]:
        if name == "transformer":
            return {**self.training, **self.transformer_training}
        if name in ("bag", "bag-ngrams"):
            return {key: self.training[key] for key in _NOT_OF_UPDATES if key in self.training} | self.bag_training
        return self.training

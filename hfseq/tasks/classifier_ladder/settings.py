"""The settings of the ladder of classifiers.

The networks are trained as `training` says, over the same tokens; `transformer_training` says where that one differs.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ...data.vectors import EmbeddingSettings
from ...models.recurrent.backbone import RecurrentConfig
from ...models.transformer.transformer import TransformerConfig
from ...models.windows.window import WindowConfig
from ...models.words.word2vec import Word2VecConfig
from ...recipe.sections import config_section
from ...recipe.texts import most_tokens
from ...settings import check_known, fields_of
from ...training.arguments import SequenceTrainingArguments
from ...training.words.trainer import FILLED_IN, Word2VecTrainingArguments
from ..text_classification.settings import LabelledTexts, TokenizerSettings, TransferSettings, check_length

RUNGS: Final = ("majority", "tf-idf", "word-vectors", "window", "rnn", "lstm", "gru", "transformer")
"""From the simplest to the one that has most to learn: the order in which they are climbed."""

# Fields of a config that only language models read.
_OF_LANGUAGE_MODELS = (
    *("tie_word_embeddings", "adaptive_softmax_cutoffs", "use_cache"),
    *("activation_regularization", "temporal_activation_regularization"),
)


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


@dataclass
class NetworkParts:
    """What one network of the ladder is built from, as the recipe of classifiers builds it."""

    model: dict[str, Any]
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
    window: dict[str, Any] = config_section(WindowConfig, *_OF_LANGUAGE_MODELS)
    network: dict[str, Any] = config_section(RecurrentConfig, *_OF_LANGUAGE_MODELS)
    training: dict[str, Any] = fields_of(SequenceTrainingArguments)
    transformer: dict[str, Any] = config_section(TransformerConfig, *_OF_LANGUAGE_MODELS)
    transformer_training: dict[str, Any] = fields_of(SequenceTrainingArguments, without=("output_dir",))

    def __post_init__(self) -> None:
        if not self.training.get("output_dir"):
            raise ValueError("training.output_dir is not given: name the folder of the ladder, such as runs/ladder.")
        check_length(self.tokenizer.max_length, most_tokens(self.parts_of("transformer").model))
        if self.embeddings.from_pretrained is not None and (self.word_vectors or self.word_vectors_training):
            given = f"embeddings.from_pretrained={self.embeddings.from_pretrained!r} gives the word vectors"
            raise ValueError(f"{given}: leave out word_vectors and word_vectors_training, which describe others.")

    def parts_of(self, name: str) -> NetworkParts:
        """Return what the network of a rung is built from."""
        section = {"window": self.window, "transformer": self.transformer}.get(name, self.network)
        return NetworkParts({"type": name, **section}, self.embeddings)

    def training_of(self, name: str) -> dict[str, Any]:
        """Return how it is trained."""
        return {**self.training, **(self.transformer_training if name == "transformer" else {})}

"""The settings of the ladder of translators.

All rungs read and write the same tokens. Recurrent ones are built as `network` says and trained as `training` says;
`transformer_training` says where the transformer's differs, and `language_training` how the two language models are
trained of which `pretrained` is made.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from huggingface_hub.errors import StrictDataclassError

from ...data.parallel import ParallelSettings
from ...models.recurrent.seq2seq_config import Seq2SeqConfig
from ...models.transformer.transformer_seq2seq import TransformerSeq2SeqConfig
from ...recipe.sections import config_section
from ...registry import FAMILIES
from ...settings import check_known, fields_of, option
from ...training.seq2seq import EncoderDecoderTrainingArguments
from ...training.streams.trainer import StreamTrainingArguments
from ..translation.settings import NOT_OF_THE_MODEL, NOT_OF_TRAINING, OF_TOKENS, PairTokenizerSettings, WritingSettings

COUNTED: Final = "word_by_word"
RUNGS: Final = (COUNTED, "naive", "fed_back", "pretrained", "attention", "transformer")
"""From the simplest to the one that has most to learn: the order in which they are climbed."""

# What tells the recurrent rungs apart; the rest is theirs in common.
_VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "naive": {"attention": "none", "feedback": False},
    "fed_back": {"attention": "none"},
    "pretrained": {"attention": "none"},
    "attention": {},
}
_PLAIN: Final = ("attention", "num_attention_heads", "input_feeding", "coverage", "scheduled_sampling")
# The language models of `pretrained`, and the recurrent network that they become, have these fields in common.
_OF_LANGUAGE_MODELS: Final = (
    *("embedding_size", "hidden_size", "num_hidden_layers", "hidden_dropout", "tie_word_embeddings"),
)


@dataclass
class RungSettings:
    """Which rungs there are, and how long each may learn."""

    of: Literal["translators"] = field(metadata={"help": "what is compared; other ladders have other settings"})
    names: list[str] = field(default_factory=lambda: list(RUNGS), metadata={"help": f"of {', '.join(RUNGS)}"})
    minutes: float = option(8.0, "of training, each rung")
    pretraining_share: float = option(0.5, "share of these minutes in which `pretrained` trains its language models")

    def __post_init__(self) -> None:
        for name in self.names:
            check_known(name, RUNGS, "rungs.names", kind="rung")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"rungs.names={self.names} must name one rung or more, each once.")
        if not self.minutes > 0:
            raise ValueError(f"rungs.minutes={self.minutes} must be above 0.")
        if not 0 < self.pretraining_share < 1:
            raise ValueError(f"rungs.pretraining_share={self.pretraining_share} must be between 0 and 1.")

    def in_order(self) -> list[str]:
        """Return the names from the simplest upwards."""
        return [name for name in RUNGS if name in self.names]

    @property
    def language_minutes(self) -> float:
        """Minutes of each of the two language models."""
        return self.minutes * self.pretraining_share / 2


@dataclass
class TranslatorParts:
    """What one rung is built from, as the recipe of translation builds it."""

    tokenizer: PairTokenizerSettings
    model: dict[str, Any]
    generation: WritingSettings


@dataclass
class TranslationLadderSettings:
    """All settings of the recipe, a section each."""

    data: ParallelSettings
    rungs: RungSettings
    tokenizer: PairTokenizerSettings = field(default_factory=PairTokenizerSettings)
    network: dict[str, Any] = config_section(Seq2SeqConfig, "feedback", "use_cache", *OF_TOKENS)
    training: dict[str, Any] = fields_of(EncoderDecoderTrainingArguments, without=(*NOT_OF_TRAINING, "max_minutes"))
    language_training: dict[str, Any] = fields_of(
        StreamTrainingArguments, without=("output_dir", "mlm_probability", "max_minutes")
    )
    transformer: dict[str, Any] = config_section(
        TransformerSeq2SeqConfig, "pairs", "use_cache", *NOT_OF_THE_MODEL, *OF_TOKENS
    )
    transformer_training: dict[str, Any] = fields_of(
        EncoderDecoderTrainingArguments, without=(*NOT_OF_TRAINING, "max_minutes", "output_dir")
    )
    generation: WritingSettings = field(default_factory=WritingSettings)

    def __post_init__(self) -> None:
        if not self.training.get("output_dir"):
            raise ValueError("training.output_dir is not given: name the folder of the ladder, such as runs/ladder.")
        if not self.tokenizer.shared:
            raise ValueError("tokenizer.shared=false: all rungs of a ladder read the same tokens. Leave it out.")
        self._check_models()

    def _check_models(self) -> None:
        """Refuse what fits no model before the first rung is climbed, not minutes later."""
        for name in self.rungs.in_order():
            if name == COUNTED:
                continue
            section = self.parts_of(name).model
            config = FAMILIES[section.pop("type")].config
            try:
                config(**section)
            except StrictDataclassError as error:
                raise ValueError(f"The rung {name!r} cannot be built: {error}") from error
        if "pretrained" in self.rungs.names and (cell := self.language_model()["type"]) not in FAMILIES:
            cure = "take rnn, lstm or gru, or leave 'pretrained' out of rungs.names"
            raise ValueError(f"network.cell={cell!r} is the name of no language model: {cure}.")

    def parts_of(self, name: str) -> TranslatorParts:
        """Return what a rung is built from."""
        if name == "transformer":
            model = {"type": "transformer_seq2seq", **self.transformer}
        else:
            variant = _VARIANTS[name]
            left = _PLAIN if variant else ()
            common = {key: value for key, value in self.network.items() if key not in left}
            model = {"type": "seq2seq", **common, **variant}
        return TranslatorParts(self.tokenizer, model, self.generation)

    def language_model(self) -> dict[str, Any]:
        """Return the section of the two language models of which `pretrained` is made."""
        section: dict[str, Any] = {key: self.network[key] for key in _OF_LANGUAGE_MODELS if key in self.network}
        return {"type": self.network.get("cell", Seq2SeqConfig.cell), **section}

    def training_of(self, name: str) -> dict[str, Any]:
        """Return how a rung is trained, but for its folder and minutes."""
        return {**self.training, **(self.transformer_training if name == "transformer" else {})}

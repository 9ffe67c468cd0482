"""The settings of the ladder of language models.

The networks take as many steps over the same text, unless `transformer_training` says otherwise. A transformer has no
state to carry from window to window: it learns from windows that begin anywhere, in random order.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from ...data.documents import DocumentSettings
from ...models.recurrent.backbone import RecurrentConfig
from ...models.transformer.transformer import TransformerConfig
from ...recipe.language import (
    LONGEST_NGRAM,
    NOT_OF_LANGUAGE_MODELS,
    LanguageTokenizerSettings,
    carries_state,
    check_marks,
)
from ...recipe.sections import config_section, trained_families
from ...settings import check_known, fields_of, option
from ...training.streams.trainer import StreamTrainingArguments

TASK: Final = "text-generation"
# The families that learn by following a gradient; a cell of one's own is described by a section of its own.
NETWORKS = [name for name in trained_families(TASK) if name != "custom"]


@dataclass
class RungSettings:
    """Which rungs there are."""

    of: Literal["language_models"] = option("language_models", "what is compared; other ladders have other settings")
    orders: list[int] = field(default_factory=lambda: [1, 2, 5], metadata={"help": "n-grams to count, Kneser-Ney"})
    num_states: int = option(50, "states of the hidden Markov model; 0: leave it out")
    num_iterations: int = option(20, "most iterations of Baum-Welch")
    networks: list[str] = field(
        default_factory=lambda: ["rnn", "lstm", "gru"], metadata={"help": f"families to train: {', '.join(NETWORKS)}"}
    )

    def __post_init__(self) -> None:
        if any(not 1 <= order <= LONGEST_NGRAM for order in self.orders):
            raise ValueError(f"rungs.orders={self.orders} must be from 1 to {LONGEST_NGRAM} each.")
        for name in self.networks:
            check_known(name, NETWORKS, "rungs.networks", kind="family")
        if self.num_states < 0 or self.num_iterations < 1:
            iterations = f"num_iterations={self.num_iterations} 1 or more"
            raise ValueError(f"rungs.num_states={self.num_states} must be 0 or more and {iterations}.")
        if not (self.orders or self.num_states or self.networks):
            raise ValueError("rungs has no rung: give orders, num_states or networks.")


@dataclass
class LadderSettings:
    """All settings of the recipe, a section each."""

    data: DocumentSettings
    tokenizer: LanguageTokenizerSettings = field(default_factory=LanguageTokenizerSettings)
    rungs: RungSettings = field(default_factory=RungSettings)
    network: dict[str, Any] = config_section(RecurrentConfig, *NOT_OF_LANGUAGE_MODELS)
    training: dict[str, Any] = fields_of(StreamTrainingArguments, without=("mlm_probability",))
    transformer: dict[str, Any] = config_section(TransformerConfig, *NOT_OF_LANGUAGE_MODELS)
    transformer_training: dict[str, Any] = fields_of(StreamTrainingArguments, ("mlm_probability", "output_dir"))

    @property
    def carry(self) -> str:
        """How far a state is carried, see `StreamTrainingArguments`."""
        return cast(str, self.training.get("carry", StreamTrainingArguments.carry))

    def __post_init__(self) -> None:
        check_marks(self.tokenizer, self.data, self.carry)
        if self.training_of("transformer")["carry"] != "none":
            given = f"transformer_training.carry={self.transformer_training['carry']!r}"
            raise ValueError(f"{given}: a transformer has no state to carry. Leave it out.")

    def training_of(self, name: str) -> dict[str, Any]:
        """Return how a family is trained: as `training` says, without what means nothing for it."""
        if carries_state(name):
            return self.training
        return {**self.training, "carry": "none", "vary_window": False, **self.transformer_training}

    def network_of(self, name: str, window: int) -> dict[str, Any]:
        """Return the options of a family's network, made for texts of so many tokens where it has no state."""
        if carries_state(name):
            return self.network
        return {"max_position_embeddings": window, **self.transformer}

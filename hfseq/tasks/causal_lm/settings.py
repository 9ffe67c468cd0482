"""The settings of the recipe of language models that write: they learn the next token."""

from dataclasses import dataclass, field
from typing import Any

from ...cards.language import shown_metrics
from ...recipe.defaults.language import MIXED_ORDER
from ...recipe.language import LONGEST_NGRAM, NOT_OF_LANGUAGE_MODELS, LanguageSettings, check_marks, check_room
from ...recipe.sections import CardSettings, config_section, trained_families
from ...settings import option
from .card import TASK


@dataclass(kw_only=True)
class CausalCardSettings(CardSettings):
    """What the model card says and no run can measure."""

    ask: list[str] = field(
        default_factory=list,
        metadata={
            "help": "beginnings of our own that the finished model goes on from",
            "was": "generation.prompts fill_mask.prompts",  # the latter of settings that are for the masked recipe now
        },
    )


@dataclass
class GenerationSettings:
    """How the finished model writes; `generate` finds the numbers in the checkpoint."""

    seeds: list[int] = field(default_factory=lambda: [0, 1], metadata={"help": "one sample of each text for each"})
    max_new_tokens: int = option(100, "tokens that are written at most")
    temperature: float = option(0.8, "below 1: likely tokens become likelier")
    top_k: int = option(0, "draw from the so many likeliest tokens; 0: from all")

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("generation.seeds must hold one number or more.")
        if self.max_new_tokens < 1 or self.temperature <= 0 or self.top_k < 0:
            numbers = f"temperature={self.temperature} above 0 and top_k={self.top_k} 0 or more"
            raise ValueError(f"generation.max_new_tokens={self.max_new_tokens} must be 1 or more, {numbers}.")


@dataclass
class EvaluationSettings:
    """What the model is compared with."""

    ngram_order: int = option(5, "count n-grams of this order on the same tokens, for comparison; 0: none")

    def __post_init__(self) -> None:
        if not 0 <= self.ngram_order <= LONGEST_NGRAM:
            order = f"evaluation.ngram_order={self.ngram_order}"
            raise ValueError(f"{order} must be from 1 to {LONGEST_NGRAM}, or 0 for none.")


@dataclass
class MixtureSettings:
    """What the trained network is mixed with, in one model."""

    ngram_order: int | None = option(
        None, "count n-grams of this order and let both predict together; 0: no; null: 5 where there is a budget"
    )

    def __post_init__(self) -> None:
        if self.ngram_order is not None and self.ngram_order not in (0, *range(2, LONGEST_NGRAM + 1)):
            order = f"mixture.ngram_order={self.ngram_order}"
            raise ValueError(f"{order} must be from 2 to {LONGEST_NGRAM}, or 0 for a network alone.")


@dataclass
class CausalLMSettings(LanguageSettings):
    """All settings of the recipe, a section each."""

    card: CausalCardSettings
    model: dict[str, Any] = config_section(trained_families(TASK), *NOT_OF_LANGUAGE_MODELS)
    mixture: MixtureSettings = field(default_factory=MixtureSettings)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    @property
    def mixed_order(self) -> int:
        """Words of the n-grams that the network is mixed with; 0: it is alone."""
        if self.mixture.ngram_order is not None:
            return self.mixture.ngram_order
        return MIXED_ORDER if self.budget.is_on else 0

    def __post_init__(self) -> None:
        if (share := self.training.get("mlm_probability")) is not None:
            learnt = f"training.mlm_probability={share} hides tokens, but a model that writes learns the next one"
            raise ValueError(f"{learnt}: leave it out, or take recipes/masked_language_modeling.py.")
        super().__post_init__()
        check_marks(self.tokenizer, self.data, self.carry)
        if self.model.get("position_embedding_type") == "learned":
            check_room(self.model.get("max_position_embeddings", self.window), 1, self.generation.max_new_tokens)
        if "" in self.card.ask and not (self.tokenizer.start or self.tokenizer.end):
            unmarked = "card.ask holds an empty text, but no token marks where texts begin"
            raise ValueError(f"{unmarked}: set tokenizer.start or tokenizer.end, or give the text a character.")
        kind = self.tokenizer.kind
        self.card.check_metrics(shown_metrics(kind), kind=f"metric of tokens of kind {kind!r}")

"""The facts of a card of a language model that writes: what every language model has, and what it writes."""

from dataclasses import field
from typing import Literal

from ...cards.facts import FREE, MEASURED, checked
from ...cards.language import LanguageFacts


@checked
class GenerationSpeed:
    """How fast the model writes and reads on one CPU core."""

    ms_per_token: float  # of one text that is written, median
    tokens_per_second: float  # scored
    in_cpu_time: bool = False  # not by the clock, which on a busy machine counts the others too


@checked
class Sampling:
    """How the samples were drawn; the checkpoint's generation settings."""

    max_new_tokens: int
    temperature: float
    top_k: int  # of the so many likeliest tokens; 0: of all


@checked
class Sample:
    """A prompt of our own and how the model went on."""

    prompt: str
    seed: int
    text: str  # prompt and continuation


@checked
class LanguageModelFacts(LanguageFacts):
    """All that a card says about one language model that writes."""

    kind: Literal["language-model"] = "language-model"
    speed: GenerationSpeed = field(metadata=MEASURED)
    sampling: Sampling
    prompts: list[str] = field(metadata=FREE)  # of our own; the Hub offers them
    samples: list[Sample] = field(metadata=FREE | MEASURED)
    """None where nothing was asked, or where the terms of the data forbid to show what repeats them."""
    left_out: int = field(default=0, metadata=MEASURED)  # samples that quote the data, which nobody asked to show

    def validate_samples(self) -> None:
        """Check that what was asked is shown, or that the terms of the data forbid to."""
        if self.prompts and not any(self.prompts):
            raise ValueError("prompts must hold at least one text that the model goes on from, beside an empty one.")
        if self.data.restriction and self.samples:
            terms = f"the data are restricted ({self.data.restriction})"
            raise ValueError(f"{terms}, and samples repeat them: leave samples empty.")
        if self.prompts and not self.data.restriction and not self.samples and not self.left_out:
            raise ValueError("samples must hold at least one of the prompts; see written_samples.")

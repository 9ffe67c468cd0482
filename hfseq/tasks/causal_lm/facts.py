"""The facts of a card of a language model: texts, tokens, architecture, runs, and what it writes.

`build.py` measures them, `hfseq.cards.render` renders them; `masked_lm/facts.py` has what a masked model adds.
"""

import statistics
from dataclasses import dataclass, field
from typing import Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.utils import validate_repo_id

from ...cards.facts import Comparison, EnvironmentFacts, Facts, SeedRun, check_comparisons, check_license, check_seeds
from ...evaluation.scores import SCORES

CHARACTER_KINDS = ("char",)
WORD_KINDS = ("word_with_space", "whitespace")
"""Kinds of tokens that people take for characters and for words; any other is a piece of a word."""


def shown_metrics(kind: str) -> tuple[str, ...]:
    """Return the scores that tell how good a language model of such tokens is, the one that people quote first.

    Perplexity depends on what a token is, so it is quoted for words; what a character costs can be compared wherever
    no token is unknown.
    """
    if kind in CHARACTER_KINDS:
        return ("nats_per_token", "bits_per_character")
    return ("perplexity",) if kind in WORD_KINDS else ("bits_per_character", "perplexity")


@strict
@dataclass(kw_only=True)
class LanguageArchitecture:
    """The network in a line."""

    family: str
    """Tag on the Hub, e.g. "lstm"."""
    cell: str
    """Name for people, e.g. "LSTM"."""
    num_hidden_layers: int
    hidden_size: int
    embedding_size: int
    tied: bool
    """Whether the output weights are the embeddings."""
    options: dict[str, str]
    """What else the settings say of the network, as they spell it: dropout_kind -> locked."""
    context: int | None = None
    """Tokens that it reads at once, and sees at most; None: a state carries all that it has read."""


@strict
@dataclass(kw_only=True)
class TokenFacts:
    """What a token is."""

    kind: str
    """See `hfseq.tokenization`."""
    vocabulary_size: int
    lowercase: bool
    writes_start: bool
    """Whether each document begins with the start token."""
    writes_end: bool
    """Whether each document ends with the end token, which is then predicted as any other."""


@strict
@dataclass(kw_only=True)
class TextSize:
    """One split."""

    documents: int
    tokens: int
    """Start and end tokens that are written among them."""
    characters: int


@strict
@dataclass(kw_only=True)
class TextFacts:
    """What the model was trained and evaluated on."""

    name: str
    license: str
    domain: str
    """What the texts are, e.g. "plays by Shakespeare"."""
    documents: Literal["rows", "lines", "whole"]
    """What a document is."""
    splits: dict[str, TextSize]
    evaluated_split: str
    unknown_rate: float
    """Share of the evaluated split's tokens that are unknown, 0 to 1."""
    conditions: list[str] = field(default_factory=list)
    """The labels that texts are written on."""
    hub_id: str | None = None
    url: str | None = None
    restriction: str | None = None
    """Terms that forbid showing rows or free use, e.g. "non-commercial research only"."""


@strict
@dataclass(kw_only=True)
class TrainingFacts:
    """How the model was trained."""

    carry: Literal["stream", "document", "none"]
    """What the state goes on over, see `StreamTrainingArguments`."""
    window: int
    """Tokens between two cuts of the graph."""
    batch_size: int
    """Texts side by side in one update."""
    epochs: float
    optimizer: str
    learning_rate: float


@strict
@dataclass(kw_only=True)
class LanguageRun(SeedRun):
    """One training run; its metrics are those of the evaluated split."""

    others: dict[str, dict[str, float]] = field(default_factory=dict)
    """Another split that was scored -> its metrics."""


@strict
@dataclass(kw_only=True)
class GenerationSpeed:
    """How fast the model writes and reads on one CPU core."""

    ms_per_token: float
    """Of one text that is written, median."""
    tokens_per_second: float
    """Scored."""


@strict
@dataclass(kw_only=True)
class Sampling:
    """How the samples were drawn; the checkpoint's generation settings."""

    max_new_tokens: int
    temperature: float
    top_k: int
    """Of the so many likeliest tokens; 0: of all."""


@strict
@dataclass(kw_only=True)
class Sample:
    """A prompt of our own and how the model went on."""

    prompt: str
    seed: int
    text: str
    """Prompt and continuation."""


class LanguageFacts(Facts):
    """What the facts of language models share, whether they write or fill in; each kind has these fields and more."""

    architecture: LanguageArchitecture
    tokens: TokenFacts
    data: TextFacts
    training: TrainingFacts
    runs: list[LanguageRun]

    def other_mean(self, split: str, metric: str) -> float:
        """Return the mean of a score of another split over the runs."""
        return statistics.mean(run.others[split][metric] for run in self.runs)

    def known_metrics(self) -> tuple[str, ...]:
        """Return the names of the scores that such models have."""
        raise NotImplementedError

    def validate_names(self) -> None:
        """Check the ids against what they refer to."""
        validate_repo_id(self.model_id)
        if self.data.evaluated_split not in self.data.splits:
            raise ValueError(
                f"evaluated_split {self.data.evaluated_split!r} is not among the splits {tuple(self.data.splits)}."
            )
        if "train" not in self.data.splits:
            raise ValueError(f"the splits {tuple(self.data.splits)} must count the training texts as 'train'.")

    def validate_runs(self) -> None:
        """Check that the runs can be averaged, and that their scores are known."""
        check_seeds(self.runs)
        known = self.known_metrics()
        if not self.metric_names:
            raise ValueError(f"runs have no metrics; give each some of {known}.")
        if unknown := set(self.metric_names) - set(known):
            raise ValueError(f"unknown metrics {sorted(unknown)}; choose from {known}.")
        check_comparisons(self.comparisons, self.metric_names)
        first = self.runs[0].others
        for run in self.runs:
            if {split: set(scores) for split, scores in run.others.items()} != {
                split: set(self.metric_names) for split in first
            }:
                raise ValueError(
                    f"seed {run.seed} has other scores for {sorted(run.others)}: every run needs the metrics "
                    f"{self.metric_names} of the splits {sorted(first)}."
                )
        if unread := set(first) - set(self.data.splits):
            raise ValueError(f"the runs score {sorted(unread)}, which are not among the splits.")

    def validate_license(self) -> None:
        """Check that a licence the Hub does not list is named and linked."""
        check_license(self.license, self.license_name, self.license_link)


@strict
@dataclass(kw_only=True)
class LanguageModelFacts(LanguageFacts):
    """All that a card says about one language model that writes.

    `runs[0]` is the run whose weights are published; `speed` and `samples` are its.
    """

    kind: Literal["language-model"] = "language-model"
    model_id: str
    summary: str
    language: str
    license: str
    parameters: int
    file_mb: float
    architecture: LanguageArchitecture
    tokens: TokenFacts
    data: TextFacts
    training: TrainingFacts
    runs: list[LanguageRun]
    speed: GenerationSpeed
    sampling: Sampling
    prompts: list[str]
    """Of our own; the Hub offers them."""
    samples: list[Sample]
    """None where the terms of the data forbid to show what repeats them."""
    environment: EnvironmentFacts
    command: str
    comparisons: list[Comparison] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    citations: list[str] = field(default_factory=list)
    license_name: str | None = None
    license_link: str | None = None

    def known_metrics(self) -> tuple[str, ...]:
        """Return the names of the scores that any model may have."""
        return tuple(SCORES)

    def validate_samples(self) -> None:
        """Check that there is something to show, or that the terms of the data forbid to."""
        if not any(self.prompts):
            raise ValueError("prompts must hold at least one text that the model goes on from, beside an empty one.")
        if self.data.restriction and self.samples:
            raise ValueError(
                f"the data are restricted ({self.data.restriction}), and samples repeat them: leave samples empty."
            )
        if not self.data.restriction and not self.samples:
            raise ValueError("samples must hold at least one; see written_samples.")

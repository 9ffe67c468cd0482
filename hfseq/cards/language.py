"""What the cards of all language models say, whether they write or fill in: texts, tokens, network, runs."""

import statistics
from dataclasses import field
from typing import Literal

from .facts import FREE, MEASURED, Network, NetworkFacts, SeedRun, SplitSource, checked

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


@checked
class LanguageArchitecture(Network):
    """The network of a language model."""

    tied: bool  # whether the output weights are the embeddings
    options: dict[str, str]  # what else the settings say of the network, as they spell it: dropout_kind -> locked
    context: int | None = None
    """Tokens that it reads at once, and sees at most; None: a state carries all that it has read."""


@checked
class TokenFacts:
    """What a token is."""

    kind: str  # see `hfseq.tokenization`
    vocabulary_size: int
    lowercase: bool
    writes_start: bool  # whether each document begins with the start token
    writes_end: bool  # whether each document ends with the end token, which is then predicted as any other


@checked
class TextSize:
    """One split."""

    documents: int
    tokens: int  # start and end tokens that are written among them
    characters: int


@checked
class TextFacts(SplitSource):
    """What the model was trained and evaluated on."""

    documents: Literal["rows", "lines", "whole"]  # what a document is
    splits: dict[str, TextSize]
    conditions: list[str] = field(default_factory=list, metadata=FREE)  # the labels that texts are written on


@checked
class TrainingFacts:
    """How the model was trained."""

    carry: Literal["stream", "document", "none"]  # what the state goes on over, see `StreamTrainingArguments`
    window: int  # tokens between two cuts of the graph
    batch_size: int  # texts side by side in one update
    epochs: float
    optimizer: str
    learning_rate: float


@checked
class LanguageRun(SeedRun):
    """One training run; its metrics are those of the evaluated split."""

    others: dict[str, dict[str, float]] = field(default_factory=dict)  # another split that was scored -> its metrics


@checked
class LanguageFacts(NetworkFacts):
    """What the cards of all language models say, whether they write or fill in."""

    architecture: LanguageArchitecture
    tokens: TokenFacts
    data: TextFacts
    training: TrainingFacts
    runs: list[LanguageRun] = field(metadata=MEASURED)

    def other_mean(self, split: str, metric: str) -> float:
        """Return the mean of a score of another split over the runs."""
        return statistics.mean(run.others[split][metric] for run in self.runs)

    def validate_runs(self) -> None:
        """Check also that every run scored the same other splits."""
        super().validate_runs()
        first = self.runs[0].others
        expected = {split: set(self.metric_names) for split in first}
        for run in self.runs:
            if {split: set(scores) for split, scores in run.others.items()} != expected:
                raise ValueError(
                    f"seed {run.seed} has other scores for {sorted(run.others)}: every run needs the metrics "
                    f"{self.metric_names} of the splits {sorted(first)}."
                )
        if unread := set(first) - set(self.data.splits):
            raise ValueError(f"the runs score {sorted(unread)}, which are not among the splits.")

"""What the cards of all language models say, whether they write or fill in: texts, tokens, network, runs."""

import statistics
from dataclasses import field
from itertools import product
from typing import Any, Literal

from .facts import FREE, MEASURED, Network, NetworkFacts, SeedRun, SplitSource, checked
from .parts import UNNAMED, made, network_view, number, smallness, title
from .table import SPLIT, Column

_KINDS = {
    "char": "characters",
    "word_with_space": "words",
    "whitespace": "words",
    "bpe": "pieces of words (BPE)",
    "unigram": "pieces of words (unigram)",
}
_DOCUMENTS = {"rows": "text", "lines": "line", "whole": "running text"}
_CARRIED = {
    "stream": "the state runs on from window to window and from document to document",
    "document": "the state runs on from window to window and starts anew with each document",
    "none": "every window starts without a state",
}

NETWORK_AND_DATA: tuple[Column, ...] = (
    ("model", lambda facts: _size(facts.architecture)),
    ("data, tokens", lambda facts: f"{facts.data.name or UNNAMED}, {facts.tokens.kind}"),
    SPLIT,
)  # the first columns of README's tables of language models


def shown_metrics(kind: str) -> tuple[str, ...]:
    """Return the scores that tell how good a language model of such tokens is, the one that people quote first.

    Perplexity depends on what a token is, so it is quoted for words; what a character costs can be compared wherever
    no token is unknown.
    """
    if kind == "char":
        return ("nats_per_token", "bits_per_character")
    return ("perplexity",) if _KINDS.get(kind) == "words" else ("bits_per_character", "perplexity")


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
                needed = f"every run needs the metrics {self.metric_names} of the splits {sorted(first)}"
                raise ValueError(f"seed {run.seed} has other scores for {sorted(run.others)}: {needed}.")
        if unread := set(first) - set(self.data.splits):
            raise ValueError(f"the runs score {sorted(unread)}, which are not among the splits.")


def trained_view(facts: LanguageFacts, task: str, tag: str, **more: Any) -> dict[str, Any]:
    """Gather what the templates of all language models show; `more` are other keys of the metadata."""
    view = network_view(facts, task, tags=[tag], **more)
    for split, name in product(facts.runs[0].others, facts.metric_names):
        score = facts.score_of(name)
        view["scores"].append((title(score), split, number(facts.other_mean(split, name), score)))
    document = _DOCUMENTS[facts.data.documents]
    marks = {
        (True, True): f"every {document} begins with `<s>` and ends with `</s>`",
        (True, False): f"every {document} begins with `<s>`",
        (False, True): f"every {document} ends with `</s>`, which is predicted as any other token",
        (False, False): "nothing marks where a text begins or ends",
    }
    return view | {
        "kind": _KINDS[facts.tokens.kind],
        "marks": marks[facts.tokens.writes_start, facts.tokens.writes_end],
        "carried": _CARRIED[facts.training.carry],
    }


def _size(network: Network) -> str:
    return f"{network.cell} {network.num_hidden_layers} x {network.hidden_size}"


def language_limits(facts: LanguageFacts, look: str, unknown: str) -> list[str]:
    """Write the limits of any language model: `look` judges its answers, `unknown` tells of unknown tokens."""
    learnt_from = f"{facts.data.splits['train'].tokens:,} tokens"
    limits = [made(facts, "from"), smallness(facts, None, f"{learnt_from}: {look}")]
    if facts.data.unknown_rate > 0:
        limits.append(unknown)
    if facts.architecture.context is not None:
        longer = "longer texts, read or written, are beyond what it has learnt"
        limits.append(f"Trained on windows of {facts.training.window} tokens: {longer}.")
    return limits

"""The facts of a card of a tagger: words, tags, network, runs, and what it says of texts.

`hfseq.tasks.tagging.build` measures them, `hfseq.cards.render` renders them.
"""

from dataclasses import dataclass, field
from typing import Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.utils import validate_repo_id

from ...cards.facts import (
    ArchitectureFacts,
    Comparison,
    DataFacts,
    EnvironmentFacts,
    Examples,
    Facts,
    SeedRun,
    SpeedFacts,
    check_comparisons,
    check_license,
    check_seeds,
)
from ...evaluation.trainer_metrics import TAGGING


@strict
@dataclass(kw_only=True)
class WordFacts:
    """What the tokenizer makes of words."""

    kind: str
    """See `hfseq.tokenization`."""
    lowercase: bool
    tokens_per_word: float
    """In the evaluated split."""
    splits: dict[str, int]
    """Split -> number of words."""


@strict
@dataclass(kw_only=True)
class KindScore:
    """How well one kind of entities, or one tag, is told."""

    kind: str
    expected: int
    """How many the evaluated split has."""
    precision: float
    recall: float
    f1: float


@strict
@dataclass(kw_only=True)
class Answer:
    """One entity, or one token with its tag, of a pipeline's answer."""

    label: str
    text: str
    score: float


@strict
@dataclass(kw_only=True)
class TaggedText:
    """A text of our own and the pipeline's answer; a text may hold no entity."""

    text: str
    answers: list[Answer]


@strict
@dataclass(kw_only=True)
class TaggerFacts(Facts):
    """All that a card says about one tagger.

    `runs[0]` is the run whose weights are published; `kinds`, `speed`, `examples` and `widgets` are its.
    """

    kind: Literal["tagger"] = "tagger"
    model_id: str
    summary: str
    tagging: Literal["entities", "tags"]
    """What the tags tell: entities of several words, or something of each word."""
    labels: int
    """How many tags there are."""
    language: str
    license: str
    parameters: int
    file_mb: float
    architecture: ArchitectureFacts
    data: DataFacts
    words: WordFacts
    runs: list[SeedRun]
    kinds: list[KindScore]
    """The commonest first."""
    speed: SpeedFacts
    environment: EnvironmentFacts
    command: str
    examples: Examples
    """Their score is the share of words that are tagged right."""
    widgets: list[TaggedText]
    comparisons: list[Comparison] = field(default_factory=list)
    pretrained: str | None = None
    """Word vectors that came from elsewhere."""
    limits: list[str] = field(default_factory=list)
    citations: list[str] = field(default_factory=list)
    license_name: str | None = None
    license_link: str | None = None

    def validate_names(self) -> None:
        """Check the ids against what they refer to."""
        validate_repo_id(self.model_id)
        if self.data.evaluated_split not in self.data.splits:
            raise ValueError(
                f"evaluated_split {self.data.evaluated_split!r} is not among the splits {tuple(self.data.splits)}."
            )
        if "train" not in self.data.splits:
            raise ValueError(f"the splits {tuple(self.data.splits)} must count the training texts as 'train'.")
        if self.data.splits.keys() != self.words.splits.keys():
            raise ValueError(
                f"the words are those of {tuple(self.words.splits)}, the texts those of {tuple(self.data.splits)}."
            )
        if not self.widgets:
            raise ValueError("widgets must hold at least one text of our own, with the pipeline's answer.")

    def validate_runs(self) -> None:
        """Check that the runs can be averaged, and that their scores are those of such tags."""
        check_seeds(self.runs)
        if not self.metric_names:
            raise ValueError(f"runs have no metrics; give each some of {TAGGING[self.tagging]}.")
        if unknown := set(self.metric_names) - set(TAGGING[self.tagging]):
            raise ValueError(f"unknown metrics {sorted(unknown)}; choose from {TAGGING[self.tagging]}.")
        check_comparisons(self.comparisons, self.metric_names)

    def validate_license(self) -> None:
        """Check that a licence the Hub does not list is named and linked."""
        check_license(self.license, self.license_name, self.license_link)

    def validate_restriction(self) -> None:
        """Check that a card does not republish rows that its data forbid to."""
        if self.data.restriction and (self.examples.right or self.examples.wrong):
            raise ValueError(
                f"the data are restricted ({self.data.restriction}), so the card must not show their rows: "
                "leave examples empty."
            )

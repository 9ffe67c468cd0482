"""The facts of a card of a tagger: its words and tags, and what it says of texts."""

from collections.abc import Collection
from dataclasses import field
from typing import Final, Literal, TypeAlias

from ...cards.confusion import Confusion
from ...cards.facts import FREE, MEASURED, LabelledFacts, checked
from ...evaluation.trainer_metrics import TAGGING
from ...tokenization.word_lists import Aggregation

Problem: TypeAlias = Literal["entities", "tags"]  # what the tags tell: entities of words, or something of each word

DECODINGS: Final = ("viterbi", "marginal")


@checked
class WordFacts:
    """What the tokenizer makes of words."""

    kind: str  # see `hfseq.tokenization`
    lowercase: bool
    tokens_per_word: float  # in the evaluated split
    splits: dict[str, int]  # split -> number of words
    cut: float | None = None  # share of the training words that were cut off, 0 to 1; None: an older run, not counted


@checked
class KindScore:
    """How well one kind of entities, or one tag, is told."""

    kind: str
    expected: int  # how many the evaluated split has
    precision: float
    recall: float
    f1: float


@checked
class Answer:
    """One entity, or one token with its tag, of a pipeline's answer."""

    label: str
    text: str
    score: float


@checked
class TaggedText:
    """A text of our own and the pipeline's answer; a text may hold no entity."""

    text: str
    answers: list[Answer]


@checked
class DecodingFacts:
    """How a CRF chooses the tags of a text, and what either way scores on validation."""

    chosen: Literal["viterbi", "marginal"]
    named: bool  # whether the settings named it; else it is the better one
    metric: str
    scores: dict[str, float]  # decoding -> score

    def validate_scores(self) -> None:
        """Check that both decodings were scored."""
        if set(self.scores) != set(DECODINGS):
            raise ValueError(f"scores must be those of {DECODINGS}, got {tuple(self.scores)}.")


@checked
class TaggerFacts(LabelledFacts):
    """All that a card says about one tagger; the score of an example is the share of words that are tagged right."""

    kind: Literal["tagger"] = "tagger"
    tagging: Problem
    labels: int  # how many tags there are
    words: WordFacts
    aggregation: Aggregation = "simple"  # the pipeline's strategy that joins entities as they are scored
    decoding: DecodingFacts | None = field(default=None, metadata=MEASURED)  # None: without a CRF
    kinds: list[KindScore] = field(metadata=FREE | MEASURED)  # the commonest first
    confusions: list[Confusion] = field(default_factory=list, metadata=FREE | MEASURED)  # the most frequent first
    widgets: list[TaggedText] = field(metadata=FREE | MEASURED)

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of such tags."""
        return TAGGING[self.tagging]

    def validate_names(self) -> None:
        """Check that words and texts are of the same splits."""
        if self.data.splits.keys() != self.words.splits.keys():
            words, texts = tuple(self.words.splits), tuple(self.data.splits)
            raise ValueError(f"the words are those of {words}, the texts those of {texts}.")

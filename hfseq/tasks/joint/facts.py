"""The facts of a card of a model of intents and slots: what it says of texts, and how sure it may be."""

from collections.abc import Collection
from dataclasses import field
from typing import Literal

from ...cards.facts import FREE, MEASURED, LabelledFacts, checked
from ...evaluation.trainer_metrics import FRAMES
from ..tagging.facts import DecodingFacts, KindScore, WordFacts


@checked
class CoveragePoint:
    """What a threshold leaves of the answers on the evaluated split."""

    threshold: float
    coverage: float  # share of the texts that are answered
    accuracy: float | None  # of the answered ones; None where there are none
    answered_no_request: float | None = None  # share of the texts that are no request and are answered all the same


@checked
class CalibrationFacts:
    """How the probabilities of intents were made honest, on validation, and what the threshold does."""

    temperature: float
    nll_before: float  # of the intents of validation, in nats a text
    nll: float
    keep: float | None  # the share of the right answers on validation that the threshold was to leave
    threshold: float | None  # None: every text gets an intent
    answered: float  # share of the evaluated requests that get an intent
    accuracy: float | None  # of these
    no_requests: int = 0  # how many texts that are no request were asked
    rejected: float | None = None  # the share of them that gets no intent
    no_requests_from: str | None = None  # what these texts are
    curve: list[CoveragePoint]


@checked
class FoundSlot:
    """One slot of the pipeline's answer."""

    name: str
    value: str


@checked
class AnsweredRequest:
    """A text of our own and the pipeline's answer."""

    text: str
    intent: str | None
    score: float
    slots: list[FoundSlot]


@checked
class IntentSlotsFacts(LabelledFacts):
    """All that a card says about one such model; the score of an example is the probability of its intent."""

    kind: Literal["intent-slots"] = "intent-slots"
    intents: int  # how many there are
    slots: int  # kinds of slots
    words: WordFacts
    decoding: DecodingFacts | None = field(default=None, metadata=MEASURED)  # of a CRF
    kinds: list[KindScore] = field(metadata=FREE | MEASURED)  # of slots, the commonest first
    calibration: CalibrationFacts = field(metadata=FREE | MEASURED)
    widgets: list[AnsweredRequest] = field(metadata=FREE | MEASURED)

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of intents and slots."""
        return FRAMES

    def validate_names(self) -> None:
        """Check that words and texts are of the same splits."""
        if self.data.splits.keys() != self.words.splits.keys():
            words, texts = tuple(self.words.splits), tuple(self.data.splits)
            raise ValueError(f"the words are those of {words}, the texts those of {texts}.")

"""The facts of a card of a model that writes a text from a text: its pairs, how it writes, and how good that is."""

from collections.abc import Collection
from dataclasses import field
from typing import Literal

from ...cards.facts import (
    FREE,
    MEASURED,
    Examples,
    Network,
    NetworkFacts,
    SpeedFacts,
    SplitSource,
    checked,
)
from ...evaluation.translation import METRICS


@checked
class EncoderDecoderFacts(Network):
    """The network; its depth is that of the decoder."""

    num_encoder_layers: int
    attention: str | None = None  # how a recurrent decoder looks at the source; None: as transformers do
    options: dict[str, str]  # what else the settings say of the network, as they spell it


@checked
class PairFacts(SplitSource):
    """What the model was trained and evaluated on."""

    splits: dict[str, int]  # split -> number of pairs
    source_language: str | None
    target_language: str | None
    copies_source: bool  # an autoencoder writes what it has read
    kind: str  # of tokens, see `hfseq.tokenization`
    vocabulary_size: int  # of sources
    target_vocabulary_size: int | None  # None: one vocabulary is both
    max_length: int  # tokens of either side of a training pair at most
    left_out: int  # training pairs that are longer
    validated: int  # pairs that validation wrote in training, the first of its split


@checked
class WritingFacts:
    """How the finished model writes."""

    num_beams: int
    length_penalty: float
    max_new_tokens: int


@checked
class CurvePoint:
    """One evaluation in the training."""

    minutes: float  # of training until then, evaluations included
    step: int
    score: float  # BLEU of validation, written greedily


@checked
class WrittenText:
    """A text of our own and what the pipeline makes of it."""

    text: str
    written: str


@checked
class TranslatorFacts(NetworkFacts):
    """All that a card says about one model that writes a text from a text."""

    kind: Literal["translator"] = "translator"
    architecture: EncoderDecoderFacts
    data: PairFacts
    writing: WritingFacts
    signature: str = field(metadata=MEASURED)  # sacreBLEU's
    curve: list[CurvePoint] = field(metadata=MEASURED)
    speed: SpeedFacts = field(metadata=MEASURED)
    examples: Examples = field(metadata=FREE | MEASURED)  # the score is chrF
    widgets: list[WrittenText] = field(metadata=FREE | MEASURED)

    @property
    def languages(self) -> list[str]:
        """Those of source and target, where they are known; else the one that the card was told."""
        both = (self.data.source_language, self.data.target_language)
        return [code for code in both if code] or super().languages

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of written texts."""
        return METRICS

    def validate_restriction(self) -> None:
        """Check that a card does not republish rows that its data forbid to."""
        if self.data.restriction and (self.examples.right or self.examples.wrong):
            terms = f"the data are restricted ({self.data.restriction})"
            raise ValueError(f"{terms}, so the card must not show their rows: leave examples empty.")

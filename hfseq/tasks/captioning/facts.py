"""The facts of a card of a model that describes images: its pictures, how it looks and writes, how good that is."""

from collections.abc import Collection
from dataclasses import field
from typing import Literal

from ...cards.facts import FREE, MEASURED, Examples, Network, NetworkFacts, SpeedFacts, SplitSource, checked
from ...evaluation.translation import METRICS
from ..translation.facts import CurvePoint, WritingFacts


@checked
class CaptionerArchitecture(Network):
    """The network; its depth is that of the decoder."""

    attention: str  # how the decoder looks at the regions; "none": it sees the image once
    vision: str | None  # kind of the image encoder; None: it reads feature vectors
    vision_parameters: int
    regions: int  # of an image
    feature_size: int
    options: dict[str, str]  # what else the settings say of the network, as they spell it


@checked
class PictureFacts(SplitSource):
    """What the model was trained and evaluated on."""

    splits: dict[str, int]  # split -> number of pictures
    captions: dict[str, int]  # split -> number of captions
    kind: str  # of tokens, see `hfseq.tokenization`
    vocabulary_size: int
    lowercase: bool  # captions were lower-cased, those that are compared too
    max_length: int  # tokens of a training caption at most
    left_out: int  # training captions that are longer


@checked
class CaptionerFacts(NetworkFacts):
    """All that a card says about one model that describes images."""

    kind: Literal["captioner"] = "captioner"
    architecture: CaptionerArchitecture
    data: PictureFacts
    writing: WritingFacts
    signature: str = field(metadata=MEASURED)  # sacreBLEU's
    curve: list[CurvePoint] = field(metadata=MEASURED)
    speed: SpeedFacts = field(metadata=MEASURED)
    examples: Examples = field(metadata=FREE | MEASURED)  # the score is chrF
    pretrained: str | None = None  # the image encoder, where it came from elsewhere

    def known_metrics(self) -> Collection[str]:
        """Return the names of the scores of written texts."""
        return METRICS

    def validate_restriction(self) -> None:
        """Check that a card does not republish rows that its data forbid to."""
        if self.data.restriction and (self.examples.right or self.examples.wrong):
            terms = f"the data are restricted ({self.data.restriction})"
            raise ValueError(f"{terms}, so the card must not show their rows: leave examples empty.")

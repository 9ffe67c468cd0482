"""The facts of a toy's card."""

from dataclasses import field
from typing import Literal

from hfseq.cards.facts import FREE, MEASURED, NetworkFacts, Widget, checked


@checked
class ToyFacts(NetworkFacts):
    """All that a card says about one toy."""

    kind: Literal["toy"] = "toy"
    widgets: list[Widget] = field(metadata=FREE | MEASURED)

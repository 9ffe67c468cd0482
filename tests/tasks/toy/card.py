"""What the card of a toy says beside what every card says."""

from dataclasses import asdict
from typing import Any, Final

from hfseq.cards.parts import made, network_view
from hfseq.cards.table import CARD, DATA, RESULT, SCORE, ResultsTable

from .facts import ToyFacts

TASK: Final = "text-classification"  # of the pipeline, and on the Hub
TOY_TABLE = ResultsTable("toys", (DATA, SCORE, RESULT, CARD))


def toy_view(facts: ToyFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    view = network_view(facts, TASK, widget=[asdict(widget) for widget in facts.widgets])
    return {**view, "limits": [made(facts, "for")]}

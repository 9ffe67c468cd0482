"""What the card of a model that draws says beside what every card says."""

from typing import Any, Final

from ...cards.parts import code, network_view, smallness
from ...cards.table import CARD, DATA, MEGABYTES, MINUTES, PARAMETERS, RESULT, SCORE, ResultsTable, rival_text
from .facts import StrokesFacts

TASK: Final = "strokes-generation"
ON_THE_HUB: Final = "other"  # which has no task of this kind
LAST_OFFSET: Final = "Last offset"  # how the names of the simple systems begin
NO_CONTEXT: Final = "Mixture without context"

_LEARNT: Final = {
    "mdn": "the density of the next movement, a mixture of {} Gaussians and what the pen does (Graves 2013)",
    "mse": "the mean of the next movement, by its squared error, and what the pen does",
}
_GRAVES: Final = """@article{graves2013generating,
  title = {Generating Sequences With Recurrent Neural Networks},
  author = {Graves, Alex},
  journal = {arXiv:1308.0850},
  year = {2013}
}"""


def _size(facts: StrokesFacts) -> str:
    network = facts.architecture
    return f"{network.cell} {network.num_hidden_layers} x {network.hidden_size}, {network.loss}"


STROKES_TABLE = ResultsTable(
    "drawings",
    (
        ("model", _size),
        *(DATA, SCORE, RESULT),
        ("last offset", lambda facts: rival_text(facts, facts.metric_names[0], LAST_OFFSET)),
        ("mixture without context", lambda facts: rival_text(facts, facts.metric_names[0], NO_CONTEXT)),
        *(PARAMETERS, MINUTES, MEGABYTES),
        ("ms a step", lambda facts: f"{facts.speed.ms_per_step:.2f}"),
        CARD,
    ),
)


def strokes_view(facts: StrokesFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    ended, drawn = sum(each.has_ended for each in facts.drawn), len(facts.drawn)
    return {
        **network_view(facts, ON_THE_HUB, tags=[TASK]),
        "learnt": _LEARNT[facts.architecture.loss].format(facts.architecture.num_mixtures),
        "classes": ", ".join(map(code, facts.data.classes)),
        "asked": facts.data.classes[0] if facts.data.classes else None,
        "ended": f"{ended} of {drawn} ended by themselves within {facts.sampling.max_new_steps} steps",
        "papers": [_GRAVES],
        "limits": _limits(facts),
    }


def _limits(facts: StrokesFacts) -> list[str]:
    learnt = facts.data.splits["train"]
    lines = [
        f"Made for {facts.source.domain or 'drawings that were not described'}; measured on nothing else.",
        smallness(
            facts, None, f"{learnt.drawings:,} drawings of {learnt.points:,} points: it draws what looks like them."
        ),
        "Nats per step depend on the units of the offsets: they compare models of the same data alone.",
    ]
    if facts.architecture.loss == "mse":
        lines.append(
            "A mean is no drawing: where the pen may go left or right, it goes between. It is scored and sampled by "
            "one Gaussian around the mean, as wide as the mean was wrong in training."
        )
    return lines

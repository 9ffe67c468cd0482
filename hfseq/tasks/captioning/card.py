"""What the card of a model that describes images says beside what every card says."""

from typing import Any, Final

from ...cards.facts import Example
from ...cards.parts import UNNAMED, cell, example_tables, made, network_view, smallness
from ...cards.table import (
    CARD,
    MEGABYTES,
    MINUTES,
    MS_A_TEXT,
    PARAMETERS,
    RESULT,
    SCORE,
    SPLIT,
    ResultsTable,
    rival_text,
)
from .facts import CaptionerFacts

TASK: Final = "image-captioning"  # of the pipeline
ON_THE_HUB: Final = "image-to-text"
MOST_FREQUENT: Final = "Most frequent caption"
NEAREST: Final = "Caption of the nearest training picture"
_MOST_POINTS: Final = 12  # of the curve

CAPTIONER_TABLE = ResultsTable(
    "captioners",
    (
        ("model", lambda facts: _model(facts)),
        ("data", lambda facts: facts.source.name or UNNAMED),
        *(SPLIT, SCORE, RESULT),
        ("most frequent", lambda facts: rival_text(facts, facts.metric_names[0], MOST_FREQUENT)),
        ("nearest", lambda facts: rival_text(facts, facts.metric_names[0], NEAREST)),
        *(PARAMETERS, MINUTES, MEGABYTES, MS_A_TEXT, CARD),
    ),
)


def captioner_view(facts: CaptionerFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    return {
        **network_view(facts, ON_THE_HUB, tags=[TASK, "encoder-decoder"]),
        "pipeline_task": TASK,
        "time": "Time for one picture",
        "model": _model(facts),
        "curve": [f"{point.minutes:.1f} | {point.step:,} | {point.score:.1f}" for point in _spread(facts)],
        "examples": example_tables(facts.examples, "Equal to a caption", "Other than all captions", _example),
        "limits": _limits(facts),
    }


def _model(facts: CaptionerFacts) -> str:
    network = facts.architecture
    looks = "no attention" if network.attention == "none" else f"{network.attention} attention"
    eyes = "feature vectors" if network.vision is None else network.vision
    return f"{network.cell}, {looks}, {eyes}"


def _spread(facts: CaptionerFacts) -> list[Any]:
    """Return points at equal distances along the curve, the last one among them."""
    points = facts.curve[::-1]
    return points[:: 1 + max(len(points) - 1, 0) // _MOST_POINTS][::-1]


def _example(row: Example) -> list[str]:
    return [cell(row.predicted), cell(row.expected), f"{row.score:.0f}"]


def _limits(facts: CaptionerFacts) -> list[str]:
    data = facts.data
    learnt_from = f"{data.splits['train']:,} pictures with {data.captions['train']:,} captions"
    words = f"It knows {data.vocabulary_size:,} words, and names nothing else."
    return [
        made(facts, "for"),
        words,
        "It may name what is not there, and says nothing of how sure it is: do not rely on it where sight is needed.",
        *(["All captions are lower case, and so is what it writes."] if data.lowercase else []),
        smallness(facts, facts.pretrained, f"{learnt_from}: it knows little of the world."),
    ]

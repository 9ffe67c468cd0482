"""What the card of a model that writes a text from a text says beside what every card says."""

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
from .facts import TranslatorFacts, WrittenText

TASK: Final = "text2text-generation"  # of the pipeline
TRANSLATION: Final = "translation"  # on the Hub, where both languages are known
NEUTRAL: Final = "This is a sentence."  # the text of the snippet where nobody gave one
WORD_BY_WORD: Final = "Word by word (IBM model 1)"
NEAREST: Final = "Nearest training source (TF-IDF)"
_TOKENS: Final = {
    "bpe": "pieces of words (BPE)",
    "unigram": "pieces of words (unigram)",
    "char": "characters",
    "word_with_space": "words",
    "whitespace": "words",
}
_MOST_POINTS: Final = 12  # of the curve

TRANSLATOR_TABLE = ResultsTable(
    "translators",
    (
        ("model", lambda facts: _model(facts)),
        ("data", lambda facts: f"{facts.source.name or UNNAMED}, {_direction(facts)}"),
        *(SPLIT, SCORE, RESULT),
        ("word by word", lambda facts: rival_text(facts, facts.metric_names[0], WORD_BY_WORD)),
        ("nearest", lambda facts: rival_text(facts, facts.metric_names[0], NEAREST)),
        *(PARAMETERS, MINUTES, MEGABYTES, MS_A_TEXT, CARD),
    ),
)


def translator_view(facts: TranslatorFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    data, languages = facts.data, (facts.data.source_language, facts.data.target_language)
    is_translation = None not in languages
    task = TRANSLATION if is_translation else TASK
    asked = next(iter(facts.widgets), WrittenText(text=NEUTRAL, written=""))
    tags = ["encoder-decoder", *(["-".join(map(str, languages))] if is_translation else [])]
    return {
        **network_view(facts, task, tags=tags, widget=[{"text": each.text} for each in facts.widgets] or None),
        "pipeline_task": TASK,
        "model": _model(facts),
        "direction": _direction(facts),
        "asked": asked.text,
        "answer": asked.written,
        "tokens": _TOKENS[data.kind],
        "curve": [f"{point.minutes:.1f} | {point.step:,} | {point.score:.1f}" for point in _spread(facts)],
        "examples": example_tables(facts.examples, "Equal to the reference", "Other than the reference", _example),
        "limits": _limits(facts),
    }


def _model(facts: TranslatorFacts) -> str:
    attention = facts.architecture.attention
    beside = "" if attention is None else ", no attention" if attention == "none" else f", {attention} attention"
    return f"{facts.architecture.cell}{beside}"


def _direction(facts: TranslatorFacts) -> str:
    source, target = facts.data.source_language, facts.data.target_language
    if facts.data.copies_source:
        return "autoencoder"
    return f"{source} to {target}" if source and target else "source to target"


def _spread(facts: TranslatorFacts) -> list[Any]:
    """Return points at equal distances along the curve, the last one among them."""
    points = facts.curve[::-1]
    return points[:: 1 + max(len(points) - 1, 0) // _MOST_POINTS][::-1]


def _example(row: Example) -> list[str]:
    return [cell(row.text), cell(row.predicted), cell(row.expected), f"{row.score:.0f}"]


def _limits(facts: TranslatorFacts) -> list[str]:
    data = facts.data
    learnt_from = f"{data.splits['train']:,} pairs: it knows few words and little of the world."
    longer = f"It has learnt from texts of at most {data.max_length} tokens on either side: longer ones are beyond it."
    unknown = "Words outside the vocabulary are read as one unknown token, and cannot be written."
    return [
        made(facts, "for"),
        longer,
        *([unknown] if data.unknown_rate > 0 else []),
        "It may leave out, repeat or invent parts of a text, and says nothing of how sure it is.",
        smallness(facts, None, learnt_from),
    ]

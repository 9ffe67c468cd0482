"""What the card of a model of intents and slots says beside what every card says."""

from typing import Any, Final

from ...cards.facts import Example
from ...cards.parts import cell, example_tables, made, network_view, percent, quoted, smallness
from ...cards.table import ResultsTable, labelled_columns, rival_text
from ..tagging.card import decoding_line, kind_row, kind_words, reading_limits
from .facts import AnsweredRequest, CoveragePoint, IntentSlotsFacts

TASK: Final = "intent-slots"  # of the pipeline of ours
ON_THE_HUB: Final = "token-classification"  # which knows no task of two heads; the other one is a tag
JOINT_TABLE = ResultsTable(
    "assistants",
    (
        *labelled_columns("TF-IDF regression"),
        ("intent accuracy (%)", lambda facts: f"{100 * facts.mean('intent_accuracy'):.1f}"),
        ("slot F1 (%)", lambda facts: f"{100 * facts.mean('slot_f1'):.1f}"),
        ("CRF, slot F1", lambda facts: rival_text(facts, "slot_f1", "CRF")),
    ),
)
NEUTRAL: Final = "This is a sentence."  # the text of the snippet where nobody gave one
_SHOWN_KINDS = 25
_CHOICE = "rows at equal distances among those with the intent and all slots right and those without"


def joint_view(facts: IntentSlotsFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    unasked = AnsweredRequest(text=NEUTRAL, intent=None, score=0.0, slots=[])
    shown = next(iter(facts.widgets), unasked)
    tags = ["text-classification", TASK]
    widget = [{"text": each.text} for each in facts.widgets] or None
    return {
        **network_view(facts, ON_THE_HUB, tags=tags, widget=widget),
        "task": TASK,
        "decoding": decoding_line(facts.decoding),
        "text": shown.text,
        "answers": _answer(shown) if facts.widgets else [],
        "kinds": [kind_row(kind) for kind in facts.kinds[:_SHOWN_KINDS]],
        "rest": len(facts.kinds[_SHOWN_KINDS:]),
        "kind": kind_words(facts.words.kind),
        "curve": [_point(row, facts) for row in facts.calibration.curve],
        "unknown": list(calibration_lines(facts)),
        "examples": example_tables(facts.examples, "All right", "Some wrong", _example),
        "score_name": "Confidence",
        "choice": _CHOICE,
        "limits": _limits(facts),
    }


def _answer(shown: AnsweredRequest) -> list[str]:
    slots = [f"# {each.name}: {each.value}" for each in shown.slots]
    return [f"# {shown.intent} ({shown.score:.2f})", *slots]


def calibration_lines(facts: IntentSlotsFacts) -> list[str]:
    """Say how the threshold was chosen, and what it does."""
    found, split = facts.calibration, facts.data.evaluated_split
    lines = [
        f"The logits of the intents are divided by a temperature of {found.temperature:.2f}, fitted on validation: "
        f"the negative log likelihood there falls from {found.nll_before:.3f} to {found.nll:.3f} nats a text."
    ]
    if found.threshold is None or found.keep is None:
        return [*lines, "There is no threshold: every text gets an intent."]
    kept = percent(found.keep)
    right = "" if found.accuracy is None else f", of which {percent(found.accuracy)} are right"
    lines.append(
        f"A text whose likeliest intent has a probability below {found.threshold:.3f} is answered with no intent: the "
        f"highest threshold that leaves {kept} of the right answers on validation standing. On {split}, "
        f"{percent(found.answered)} of the requests get an intent{right}."
    )
    if found.rejected is None:
        return [*lines, "How many texts that are no request it turns away was not measured: the data have none."]
    share = percent(found.rejected) if found.rejected else "none"
    told = f"Of {found.no_requests:,} texts that are no request ({found.no_requests_from}) {share} are"
    return [*lines, f"{told} answered with no intent; it has not learnt from such texts."]


def _point(row: CoveragePoint, facts: IntentSlotsFacts) -> str:
    accuracy = "-" if row.accuracy is None else f"{100 * row.accuracy:.1f}"
    cells = [f"{row.threshold:.3g}", f"{100 * row.coverage:.1f}", accuracy]
    if facts.calibration.no_requests:
        share = row.answered_no_request
        cells.append("-" if share is None else f"{100 * share:.1f}")
    return " | ".join(cells)


def _example(row: Example) -> list[str]:
    return [cell(row.text), cell(row.predicted), cell(row.expected), f"{row.score:.2f}"]


def told(intent: str | None, slots: list[tuple[str, str]]) -> str:
    """Write a frame in a line: the intent, then the slots."""
    written = "; ".join(f"{name}: {quoted(value)}" for name, value in slots)
    return f"{intent}{f' ({written})' if written else ''}"


def _limits(facts: IntentSlotsFacts) -> list[str]:
    learnt_from = f"{facts.words.splits['train']:,} words in {facts.data.splits['train']:,} texts"
    return [
        made(facts, "for"),
        *reading_limits(facts),
        "A text has one intent; of two requests in one text it answers one.",
        f"It knows {facts.intents} intents and takes every text above its threshold for one of them.",
        smallness(facts, facts.pretrained, f"{learnt_from}: it knows few names."),
    ]

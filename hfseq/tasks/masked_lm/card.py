"""What the card of a masked language model says beside what every language model's says."""

from dataclasses import asdict
from typing import Any, Final

from ...cards.facts import WidgetLabel
from ...cards.language import NETWORK_AND_DATA, language_limits, trained_view
from ...cards.parts import cell
from ...cards.table import (
    CARD,
    MEGABYTES,
    MINUTES,
    MS_A_TEXT,
    PARAMETERS,
    Column,
    ResultsTable,
    result_text,
    rival_text,
)
from ...tokenization.kinds import MASK
from .facts import MaskedModelFacts

TASK: Final = "fill-mask"  # of the pipeline, and on the Hub
NEUTRAL: Final = f"This is a {MASK}."  # the text of the snippet where nobody gave one


def _beside_guess(title: str, metric: str) -> tuple[Column, Column]:
    return (
        (title, lambda facts: result_text(facts, metric)),
        ("commonest token", lambda facts: rival_text(facts, metric, "Unigram")),
    )


MASKED_TABLE = ResultsTable(
    "masked language models",
    (
        *NETWORK_AND_DATA,
        *_beside_guess("accuracy on hidden tokens (%), mean ± sd (seeds)", "accuracy"),
        *_beside_guess("perplexity on them", "perplexity"),
        *(PARAMETERS, MINUTES, MEGABYTES, MS_A_TEXT, CARD),
    ),
)


def masked_view(facts: MaskedModelFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    return {
        **trained_view(
            facts, TASK, "masked-language-model", widget=[asdict(widget) for widget in facts.widgets] or None
        ),
        "share": f"{100 * facts.hidden_share:g} %",
        "asked": facts.widgets[0].text if facts.widgets else NEUTRAL,
        "answer": [each.label for each in facts.widgets[0].output] if facts.widgets else None,
        "answers": [(widget.text, ", ".join(map(_shown, widget.output))) for widget in facts.widgets],
        "limits": language_limits(
            facts,
            "what it fills in suits its texts, and says nothing of what is true.",
            "Tokens outside the vocabulary are read as one unknown token, which is neither hidden nor filled in.",
        ),
    }


def _shown(answer: WidgetLabel) -> str:
    """Write a token as people read it: a space that belongs to it does not show, one that is all of it does."""
    return f"{cell(answer.label.strip() or repr(answer.label))} {answer.score:.2f}"

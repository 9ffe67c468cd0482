"""What the card of a masked language model says beside what every language model's says."""

from dataclasses import asdict
from typing import Any, Final

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
from ..causal_lm.card import NETWORK_AND_DATA, language_limits, trained_view
from .facts import MaskedModelFacts

MASKED_TASK: Final = "fill-mask"  # of the pipeline, and on the Hub


def _beside_guess(title: str, metric: str) -> tuple[Column, Column]:
    """Return the column of a score and that of the most frequent token as the guess."""
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
            facts, MASKED_TASK, "masked-language-model", widget=[asdict(widget) for widget in facts.widgets]
        ),
        "share": f"{100 * facts.hidden_share:g} %",
        "answer": [each.label for each in facts.widgets[0].output],
        "answers": [
            {
                "text": cell(widget.text),
                "tokens": ", ".join(f"{cell(_shown(each.label))} {each.score:.2f}" for each in widget.output),
            }
            for widget in facts.widgets
        ],
        "limits": language_limits(
            facts,
            "what it fills in suits its texts, and says nothing of what is true.",
            "Tokens outside the vocabulary are read as one unknown token, which is neither hidden nor filled in.",
        ),
    }


def _shown(token: str) -> str:
    """Write a token as people read it: a space that belongs to it does not show, one that is all of it does."""
    return token.strip() or repr(token)

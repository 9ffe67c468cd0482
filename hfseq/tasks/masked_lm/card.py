"""What the card of a masked language model says beside what every language model's says."""

from dataclasses import asdict
from typing import Any, Final

from ...cards.parts import cell
from ..causal_lm.card import language_limits, language_metadata, score_rows, trained_view
from .facts import MaskedModelFacts

MASKED_TASK: Final = "fill-mask"
"""Of the pipeline, and on the Hub."""


def masked_view(facts: MaskedModelFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    return {
        "front_matter": language_metadata(
            facts, MASKED_TASK, "masked-language-model", widget=[asdict(widget) for widget in facts.widgets]
        ),
        "task": MASKED_TASK,
        "share": f"{100 * facts.hidden_share:g} %",
        "scores": score_rows(facts),
        **trained_view(facts),
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
        "citations": facts.citations,
    }


def _shown(token: str) -> str:
    """A token as people read it: a space that belongs to it does not show, one that is all of it does."""
    return token.strip() or repr(token)

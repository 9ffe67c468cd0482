"""Model cards: the measured facts of a run -> a README.md with `model-index`, checked before it is written.

    facts = CardFacts(...)              # see facts.py, tagger_facts.py, word_facts.py, language_facts.py; kept as JSON
    write_card(folder, facts)           # renders the template of its kind and refuses a card with defects

KINDS has a template and a view, which gathers what the template shows, for each kind of model. Within a kind, what
differs between models is a fact, never a branch; what the templates share is in templates/_*.md and card_parts.py.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..tasks.causal_lm.card import language_view
from ..tasks.causal_lm.facts import LanguageModelFacts
from ..tasks.masked_lm.card import masked_view
from ..tasks.masked_lm.facts import MaskedModelFacts
from ..tasks.tagging.card import tagger_view
from ..tasks.tagging.facts import TaggerFacts
from ..tasks.text_classification.card import classifier_view
from ..tasks.word_vectors.card import word_vectors_view
from ..tasks.word_vectors.facts import WordVectorFacts
from .checks import check_card, check_facts, check_words
from .facts import CardFacts, Facts, read_json
from .parts import cell, code, comparison_rows, quoted, seeds_text, significant, spread_text

__all__ = ["KINDS", "CardKind", "check_card", "check_words", "load_facts", "render_card", "write_card"]


class CardKind(NamedTuple):
    """How one kind of model is told of."""

    facts: type[Facts]
    template: str
    view: Callable[[Any], dict[str, Any]]
    """Facts -> the template's variables."""


_FIRST_KIND = "classifier"  # its facts were there before there were kinds, and do not name theirs
KINDS = {
    _FIRST_KIND: CardKind(CardFacts, "tasks/text_classification/card.md", classifier_view),
    "tagger": CardKind(TaggerFacts, "tasks/tagging/card.md", tagger_view),
    "word-vectors": CardKind(WordVectorFacts, "tasks/word_vectors/card.md", word_vectors_view),
    "language-model": CardKind(LanguageModelFacts, "tasks/causal_lm/card.md", language_view),
    "masked-language-model": CardKind(MaskedModelFacts, "tasks/masked_lm/card.md", masked_view),
}
"""Every kind of model, by the value of `kind` in its facts."""


def load_facts(path: str | Path) -> Facts:
    """Read the facts of any kind; see `Facts.load`."""
    try:
        parsed = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    kind = parsed.get("kind", _FIRST_KIND) if isinstance(parsed, dict) else _FIRST_KIND
    if kind not in KINDS:
        raise ValueError(f"{path}: facts.kind is {kind!r}; choose one of {tuple(KINDS)}.")
    return KINDS[kind].facts.load(path)


def _template_environment() -> Environment:
    # Markdown is no HTML: `cell` and `code` escape what needs it, so autoescape stays off.
    made = Environment(
        loader=PackageLoader("hfseq", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "thousands": "{:,}".format,
        "significant": significant,
        "cell": cell,
        "code": code,
        "quoted": quoted,
    }
    return made


def render_card(facts: Facts) -> str:
    """Render the model card of `facts`.

    Returns:
        Markdown with YAML front matter that has passed `check_card`.

    Raises:
        ValueError: naming the facts that say nothing, or the defects of the card.
    """
    check_facts(facts)
    kind = next(kind for kind in KINDS.values() if isinstance(facts, kind.facts))
    text = (
        _template_environment()
        .get_template(kind.template)
        .render(
            facts=facts,
            spread=spread_text(facts),
            seeds=seeds_text(facts.runs),
            minutes=", ".join(f"{run.minutes:.1f}" for run in facts.runs),
            comparisons=comparison_rows(facts),
            **kind.view(facts),
        )
    )
    check_card(text)
    return text


def write_card(folder: str | Path, facts: Facts) -> None:
    """Render `facts` to README.md in an existing folder; a reader sees the old card or the whole new one."""
    text = render_card(facts)
    card = Path(folder) / "README.md"
    draft = card.with_name(f".README.{os.getpid()}.md")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, card)
    finally:
        draft.unlink(missing_ok=True)

"""What the card of a tagger says beside what every card says."""

from typing import Any, Final

from ...cards.facts import Examples
from ...cards.parts import cell, made_for, network_view, smallness
from ...cards.table import ResultsTable, labelled_columns
from .facts import KindScore, TaggerFacts

TAGGER_TABLE = ResultsTable("taggers", labelled_columns("most frequent tag", "Most frequent tag"))
TASK: Final = "token-classification"
"""Of the pipeline, and on the Hub."""
_SHOWN_KINDS = 25
_WORDS = {
    "word": "words",
    "whitespace": "words",
    "wordpiece": "pieces of words (WordPiece)",
    "bpe": "pieces of words (BPE)",
    "unigram": "pieces of words (unigram)",
}


def tagger_view(facts: TaggerFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    shown = next((widget for widget in facts.widgets if widget.answers), facts.widgets[0])
    return {
        **network_view(facts, TASK, widget=[{"text": widget.text} for widget in facts.widgets]),
        "aggregated": facts.tagging == "entities",
        "text": shown.text,
        "answers": [f"# {each.label}: {each.text} ({each.score:.2f})" for each in shown.answers],
        "what": "Entities" if facts.tagging == "entities" else "Tags",
        "kinds": [_kind_row(kind) for kind in facts.kinds[:_SHOWN_KINDS]],
        "rest": len(facts.kinds[_SHOWN_KINDS:]),
        "tokens": _tokens(facts),
        "examples": _examples(facts.examples),
        "limits": _limits(facts),
    }


def _kind_row(kind: KindScore) -> dict[str, str]:
    measures = (kind.precision, kind.recall, kind.f1)
    return {
        "kind": kind.kind,
        "expected": f"{kind.expected:,}",
        "measures": " | ".join(f"{100 * measure:.1f}" for measure in measures),
    }


def _tokens(facts: TaggerFacts) -> str:
    """Say what a token is, and how many words are more than one."""
    words, data = facts.words, facts.data
    return ", ".join(
        [
            f"{_WORDS[words.kind]}{', lower-cased' if words.lowercase else ''}",
            f"{data.vocabulary_size:,} different ones, {words.tokens_per_word:.2f} a word of the data",
            f"{100 * data.unknown_rate:.2f} % of those of {data.evaluated_split} are unknown",
        ]
    )


def _examples(examples: Examples) -> list[dict[str, Any]]:
    """Write the rows of both tables."""
    return [
        {
            "title": name,
            "rows": [
                " | ".join([cell(row.text), cell(row.predicted), cell(row.expected), f"{100 * row.score:.0f}"])
                for row in rows
            ],
        }
        for name, rows in (("All tags right", examples.right), ("Some wrong", examples.wrong))
    ]


def _limits(facts: TaggerFacts) -> list[str]:
    learnt_from = f"{facts.words.splits['train']:,} words in {facts.data.splits['train']:,} texts"
    names = ": it knows few names" if facts.tagging == "entities" else ""
    return [
        made_for(facts),
        "Measured on texts that were parted into words beforehand. A pipeline parts a text by itself, which may "
        "differ; `is_split_into_words=True` gives it the words.",
        f"Trained on texts of at most {facts.architecture.max_length} tokens; what is measured is every word.",
        smallness(facts, facts.pretrained, f"{learnt_from}{names}."),
    ]

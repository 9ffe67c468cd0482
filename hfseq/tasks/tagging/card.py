"""What the card of a tagger says beside what every card says."""

from typing import Any, Final, Protocol

from ...cards.confusion import confusion_view
from ...cards.facts import ArchitectureFacts, Example
from ...cards.parts import cell, code, example_tables, made, network_view, number, percent, smallness
from ...cards.table import ResultsTable, labelled_columns
from ...evaluation.scores import SCORES
from .facts import DECODINGS, DecodingFacts, KindScore, TaggedText, TaggerFacts, WordFacts

TAGGER_TABLE = ResultsTable("taggers", labelled_columns("Most frequent tag"))
TASK: Final = "token-classification"  # of the pipeline, and on the Hub
NEUTRAL: Final = "This is a sentence."  # the text of the snippet where nobody gave one
_SHOWN_KINDS = 25
_ROWS = "rows at equal distances among those with all tags right and those without"
_CHOICE = {"entities": _ROWS, "tags": f"{_ROWS}; of the latter, the words with a wrong tag"}
_WORDS = {
    "word": "words",
    "whitespace": "words",
    "word_or_characters": "words, and the characters of rare ones",
    "wordpiece": "pieces of words (WordPiece)",
    "bpe": "pieces of words (BPE)",
    "unigram": "pieces of words (unigram)",
}


def tagger_view(facts: TaggerFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    unasked = TaggedText(text=NEUTRAL, answers=[])
    shown = next((widget for widget in facts.widgets if widget.answers), next(iter(facts.widgets), unasked))
    return {
        **network_view(facts, TASK, widget=[{"text": widget.text} for widget in facts.widgets] or None),
        "aggregated": facts.aggregation if facts.tagging == "entities" else None,
        "text": shown.text,
        "answers": [f"# {each.label}: {each.text} ({each.score:.2f})" for each in shown.answers],
        "decoding": decoding_line(facts.decoding),
        "what": "Entities" if facts.tagging == "entities" else "Tags",
        "kinds": [kind_row(kind) for kind in facts.kinds[:_SHOWN_KINDS]],
        "rest": len(facts.kinds[_SHOWN_KINDS:]),
        **confusion_view(facts.confusions, "tags", "Words"),
        "kind": kind_words(facts.words.kind),
        "examples": example_tables(facts.examples, "All tags right", "Some wrong", _example),
        "score_name": "Words right (%)",
        "choice": _CHOICE[facts.tagging],
        "limits": _limits(facts),
    }


def decoding_line(found: DecodingFacts | None) -> str | None:
    """Say how a CRF chooses the tags, and what the other way scores."""
    if found is None:
        return None
    score, (other,) = SCORES[found.metric], [each for each in DECODINGS if each != found.chosen]
    own, others = (number(found.scores[each], score) for each in (found.chosen, other))
    why = "as the settings say" if found.named else "chosen on validation"
    measured = f"{score.title} {own} on validation, {others} with `{other}`"
    return f"A CRF chooses the tags of a text together. Its decoding is `{found.chosen}`, {why} ({measured})."


def kind_words(kind: str) -> str:
    """Say what a token of a tokenizer is."""
    return _WORDS[kind]


def kind_row(kind: KindScore) -> str:
    """Write how well one kind of entities, or one tag, is told."""
    measures = [f"{100 * measure:.1f}" for measure in (kind.precision, kind.recall, kind.f1)]
    return " | ".join([code(kind.kind), f"{kind.expected:,}", *measures])


def _example(row: Example) -> list[str]:
    return [cell(row.text), cell(row.predicted), cell(row.expected), f"{100 * row.score:.0f}"]


class _OfWords(Protocol):
    """The facts of a model that tags words."""

    architecture: ArchitectureFacts
    words: WordFacts


def reading_limits(facts: _OfWords) -> list[str]:
    """Say how texts are parted into words, and how long they may be."""
    return [
        "Measured on texts that were parted into words beforehand. A pipeline parts a text by itself, which may "
        "differ; `is_split_into_words=True` gives it the words.",
        f"{_trained_on(facts)}; what is measured is every word.",
        *_limit(facts),
    ]


def _trained_on(facts: _OfWords) -> str:
    longest, cut = facts.architecture.max_length, facts.words.cut
    if cut:
        return f"Training texts were cut to {longest} tokens, and {percent(cut)} of their words were left out"
    return f"Trained on texts of at most {longest} tokens" + ("" if cut is None else ", of which none was cut")


def _limit(facts: _OfWords) -> list[str]:
    limit = facts.architecture.limit
    if limit is None:
        return []
    return [f"It has learnt {limit} positions: a pipeline reads so many tokens of a text and tags no word after them."]


def _limits(facts: TaggerFacts) -> list[str]:
    learnt_from = f"{facts.words.splits['train']:,} words in {facts.data.splits['train']:,} texts"
    names = ": it knows few names" if facts.tagging == "entities" else ""
    return [
        made(facts, "for"),
        *reading_limits(facts),
        smallness(facts, facts.pretrained, f"{learnt_from}{names}."),
    ]

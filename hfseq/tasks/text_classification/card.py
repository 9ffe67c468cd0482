"""What the card of a text classifier says beside what every card says."""

from dataclasses import asdict
from typing import Any

from ...cards.facts import Example
from ...cards.parts import cell, code, example_tables, made, network_view, smallness
from ...cards.table import ResultsTable, labelled_columns
from .facts import CardFacts

CLASSIFIER_TABLE = ResultsTable("recipes", labelled_columns("Bag of words"))


# The titles of the two tables of examples, that of their score, and how the rows were chosen.
_CLASSIFIED = ("Right", "Wrong", "Confidence", "rows at equal distances among the right and the wrong ones")
_REGRESSION = ("Closest", "Furthest", "Absolute error", "the rows of smallest and of greatest error")


def classifier_view(facts: CardFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    data, widgets = facts.data, [asdict(widget) for widget in facts.widgets]
    right, wrong, score, choice = _REGRESSION if facts.problem_type == "regression" else _CLASSIFIED
    learnt_from = f"{data.splits['train']:,} texts with a vocabulary of {data.vocabulary_size:,} tokens"
    return {
        **network_view(facts, facts.task, metrics=_shown_metrics(facts), widget=widgets),
        "answer": widgets[0]["output"][:1],
        "examples": example_tables(facts.examples, right, wrong, _example),
        "score_name": score,
        "choice": choice,
        "limits": [
            made(facts, "for"),
            *_longest(facts),
            smallness(facts, facts.pretrained, f"{learnt_from}: it knows little of the world."),
        ],
    }


def _longest(facts: CardFacts) -> list[str]:
    if facts.architecture.features is not None:
        return ["The order of words counts inside n-grams alone."]
    return [f"Trained on texts of at most {facts.architecture.max_length} tokens; longer ones are unmeasured."]


def _example(row: Example) -> list[str]:
    return [cell(row.text), code(row.predicted), code(row.expected), f"{row.score:.2f}"]


def _shown_metrics(facts: CardFacts) -> list[str]:
    """Leave Micro F1 out where every text has one label: there it is the accuracy under another name."""
    repeats = facts.problem_type == "single_label_classification" and "accuracy" in facts.metric_names
    return [name for name in facts.metric_names if not (repeats and name == "f1_micro")]

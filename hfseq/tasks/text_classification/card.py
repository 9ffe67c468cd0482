"""What the card of a text classifier says beside what every card says."""

from dataclasses import asdict
from typing import Any, NamedTuple

from ...cards.facts import Example
from ...cards.parts import cell, code, example_tables, made, network_view, smallness
from ...cards.table import ResultsTable, labelled_columns
from .facts import CardFacts

CLASSIFIER_TABLE = ResultsTable("recipes", labelled_columns("bag of words", "Bag of words"))


class Wording(NamedTuple):
    """The words of the examples of one problem type."""

    right: str
    wrong: str
    score: str
    choice: str


_CLASSIFIED = Wording("Right", "Wrong", "Confidence", "rows at equal distances among the right and the wrong ones")
_WORDING = {
    "single_label_classification": _CLASSIFIED,
    "multi_label_classification": _CLASSIFIED,
    "regression": Wording("Closest", "Furthest", "Absolute error", "the rows of smallest and of greatest error"),
}


def classifier_view(facts: CardFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    data, wording = facts.data, _WORDING[facts.problem_type]
    learnt_from = f"{data.splits['train']:,} texts with a vocabulary of {data.vocabulary_size:,} tokens"
    return {
        **network_view(
            facts, facts.task, metrics=_shown_metrics(facts), widget=[asdict(widget) for widget in facts.widgets]
        ),
        "answer": [asdict(label) for label in facts.widgets[0].output[:1]],
        "examples": example_tables(facts.examples, wording.right, wording.wrong, _example),
        "score_name": wording.score,
        "choice": wording.choice,
        "limits": [
            made(facts, "for"),
            f"Trained on texts of at most {facts.architecture.max_length} tokens; longer ones are unmeasured.",
            smallness(facts, facts.pretrained, f"{learnt_from}: it knows little of the world."),
        ],
    }


def _example(row: Example) -> list[str]:
    return [cell(row.text), code(row.predicted), code(row.expected), f"{row.score:.2f}"]


def _shown_metrics(facts: CardFacts) -> list[str]:
    """Leave Micro F1 out where every text has one label: there it is the accuracy under another name."""
    one_label = facts.problem_type == "single_label_classification"
    repeated = {"f1_micro"} if one_label and "accuracy" in facts.metric_names else set()
    return [name for name in facts.metric_names if name not in repeated]

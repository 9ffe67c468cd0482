"""What the card of a text classifier says beside what every card says."""

from dataclasses import asdict
from typing import Any, NamedTuple

from ...cards.facts import CardFacts, WidgetLabel
from ...cards.parts import BIASES, front_matter, result, score_text, slug, term_limits, title


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
    return {
        "front_matter": _front_matter(facts),
        "scores": [
            {"title": title(facts.score_of(name)), "text": score_text(facts, name)} for name in _shown_metrics(facts)
        ],
        "answer": _outputs(facts.widgets[0].output[:1]),
        "wording": _WORDING[facts.problem_type],
        "limits": _limits(facts),
        "citations": facts.citations,
    }


def _outputs(labels: list[WidgetLabel]) -> list[dict[str, Any]]:
    return [asdict(label) for label in labels]


def _shown_metrics(facts: CardFacts) -> list[str]:
    """Leave Micro F1 out where every text has one label: there it is the accuracy under another name."""
    one_label = facts.problem_type == "single_label_classification"
    repeated = {"f1_micro"} if one_label and "accuracy" in facts.metric_names else set()
    return [name for name in facts.metric_names if name not in repeated]


def _limits(facts: CardFacts) -> list[str]:
    """Write the limits that follow from the facts, then those that were given."""
    data = facts.data
    start = "scratch" if facts.pretrained is None else facts.pretrained
    return [
        f"Made for {data.domain} in the language `{facts.language}`; measured on nothing else.",
        f"Trained on texts of at most {facts.architecture.max_length} tokens; longer ones are unmeasured.",
        f"A small model ({facts.parameters:,} parameters), trained from {start} on {data.splits['train']:,} texts "
        f"with a vocabulary of {data.vocabulary_size:,} tokens: it knows little of the world.",
        BIASES,
        *term_limits(facts, data.restriction),
        *facts.limits,
    ]


def _front_matter(facts: CardFacts) -> str:
    about = {
        "task_type": facts.task,
        "dataset_type": facts.data.hub_id or slug(facts.data.name),
        "dataset_name": facts.data.name,
        "dataset_split": facts.data.evaluated_split,
    }
    return front_matter(
        facts,
        task=facts.task,
        tags=[facts.architecture.family],
        hub_id=facts.data.hub_id,
        results=[result(facts, metric, **about) for metric in _shown_metrics(facts)],
        widget=[{"text": widget.text, "output": _outputs(widget.output)} for widget in facts.widgets],
    )

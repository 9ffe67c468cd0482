"""What the card of a model of trees says beside what every card says."""

from dataclasses import asdict
from typing import Any, Final

from ...cards.confusion import confusion_view
from ...cards.facts import Example
from ...cards.parts import cell, code, example_tables, made, network_view, percent, smallness
from ...cards.table import ResultsTable, labelled_columns, result_text, rival_text
from ...evaluation.trainer_metrics import NODES
from .facts import LengthFacts, NegationFacts, TreeFacts

TASK: Final = "tree-sentiment"  # of the pipeline of ours
ON_THE_HUB: Final = "text-classification"  # which gives the root alone
OF_TEXTS: Final = "Bag of words"  # how the names of the regressions begin: of whole texts, and of phrases
OF_PHRASES: Final = "Words of phrases"
NEUTRAL: Final = "This is a sentence."  # the text of the snippet where nobody gave one

_COMPOSED: Final = {
    "matrix": "a matrix",
    "matrix_vector": "a matrix and a vector of each phrase (MV-RNN)",
    "tensor": "a tensor (RNTN)",
    "tree_lstm": "a binary Tree-LSTM",
    "child_sum": "a child-sum Tree-LSTM",
    "tree_gru": "a Tree-GRU",
}
_SHAPES: Final = {
    "given": "Trees are read as they are given; plain text branches to the right.",
    "right": "Words alone are read, joined to a tree that branches to the right: other trees are not looked at.",
    "left": "Words alone are read, joined to a tree that branches to the left: other trees are not looked at.",
    "balanced": "Words alone are read, joined to a balanced tree: other trees are not looked at.",
}


def _nodes(facts: TreeFacts) -> str:
    return result_text(facts, NODES) if NODES in facts.metric_names else "-"


TREE_TABLE = ResultsTable(
    "trees",
    (
        ("composition", lambda facts: facts.composition),
        ("trees", lambda facts: f"{facts.tree}, {facts.learns}"),
        *labelled_columns(OF_TEXTS)[1:],
        ("node accuracy (%)", _nodes),
        ("words of phrases, nodes (%)", lambda facts: rival_text(facts, NODES, OF_PHRASES)),
    ),
)


def tree_view(facts: TreeFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    widgets = [{"text": each.text, "output": asdict(each)["output"]} for each in facts.widgets]
    shown = next(iter(facts.widgets), None)
    return {
        **network_view(facts, ON_THE_HUB, tags=[TASK], widget=widgets or None),
        "task": TASK,
        "composed": _COMPOSED.get(facts.composition, facts.composition),
        "shape": _SHAPES.get(facts.tree, facts.tree),
        "asked": NEUTRAL if shown is None else shown.text,
        "answers": [] if shown is None else [f"# {shown.output[0].label} ({shown.output[0].score:.2f})"],
        "brackets": None if shown is None else f"# {shown.brackets}",
        "label_names": ", ".join(map(code, facts.labels)),
        "mapped": [f"{code(old)} is {code(new)}" for old, new in (facts.label_map or {}).items()],
        "lengths": [_length(row) for row in facts.lengths],
        "has_peer": any(row.peer is not None for row in facts.lengths),
        "negation": None if facts.negation is None else negation_line(facts.negation),
        **confusion_view(facts.confusions, "labels", "Texts"),
        "examples": example_tables(facts.examples, "Right", "Wrong", _example),
        "score_name": "Confidence",
        "choice": "rows at equal distances among the right and the wrong ones",
        "limits": _limits(facts),
    }


def _length(row: LengthFacts) -> str:
    words = f"{row.shortest} or more" if row.longest is None else f"{row.shortest} to {row.longest}"
    cells = [str(row.shortest) if row.longest == row.shortest else words, f"{row.phrases:,}", _share(row.accuracy)]
    return " | ".join(cells if row.peer is None else [*cells, _share(row.peer)])


def _share(share: float) -> str:
    return f"{100 * share:.1f}"


def negation_line(found: NegationFacts) -> str:
    """Say how the model takes negations."""
    line = f"{found.phrases:,} phrases are made of a negation and a phrase. {_share(found.accuracy)} % are told right"
    if found.peer is not None:
        line += f" ({_share(found.peer)} % by the regression on words of phrases)"
    if found.changed_accuracy is None:
        return f"{line}. The negation changes the label of none of them."
    changed = f"{percent(found.changed)} of the phrases have another label than without the negation"
    return f"{line}. {changed}; of these {_share(found.changed_accuracy)} % are told right."


def _example(row: Example) -> list[str]:
    return [cell(row.text), code(row.predicted), code(row.expected), f"{row.score:.2f}"]


def _limits(facts: TreeFacts) -> list[str]:
    learnt_from = f"{facts.data.splits['train']:,} texts with a vocabulary of {facts.data.vocabulary_size:,} tokens"
    lines = [made(facts, "for"), _SHAPES.get(facts.tree, facts.tree)]
    if facts.tree == "given":
        lines.append("It was measured on given trees: on plain text, without a parser, expect less.")
    if facts.learns == "root":
        lines.append("It has learnt from the labels of whole texts: those of inner nodes are its guess.")
    return [*lines, smallness(facts, facts.pretrained, f"{learnt_from}: it knows little of the world.")]

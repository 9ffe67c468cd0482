"""Which labels a classifier takes for which, and its accuracy where close labels count as one."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...data.text import TextTask
from .facts import Confusion

FEW_LABELS = 10  # so few can be told apart without a table
_SHOWN = 10  # pairs of labels


def most_confused(names: Sequence[str], expected: np.ndarray, predicted: np.ndarray) -> list[Confusion]:
    """List the pairs of labels that are confused most often, if there are more than a few labels.

    Args:
        names: Of the labels.
        expected: (texts,), the true labels.
        predicted: (texts,), the answers.
    """
    if len(names) <= FEW_LABELS:
        return []
    wrong = expected != predicted
    pairs = Counter(zip(expected[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    texts = np.bincount(expected, minlength=len(names))
    # Those of one count in the order of the labels, so that the same answers make the same table.
    often = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    return [
        Confusion(expected=names[true], predicted=names[answer], texts=count, of=int(texts[true]))
        for (true, answer), count in often
    ]


def check_groups(groups: Sequence[Sequence[str]], task: TextTask) -> None:
    """Refuse, before the training, labels that count as one where there are none, or that the data lack."""
    if groups and task.problem_type != "single_label_classification":
        raise ValueError(
            f"card.same_labels={groups} is about the one label of a text, but this is {task.problem_type}: leave it "
            "out."
        )
    unknown = [name for group in groups for name in group if name not in task.classes.names]
    if unknown:
        raise ValueError(f"card.same_labels names {unknown}, which are not among the labels {task.classes.names}.")


def group_ids(names: Sequence[str], groups: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the number that stands for each label, the same for all labels of a group."""
    first = {name: group[0] for group in groups for name in group}
    return np.array([names.index(first.get(name, name)) for name in names])

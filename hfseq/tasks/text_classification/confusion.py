"""The accuracy of a classifier where close labels count as one."""

from collections.abc import Sequence

import numpy as np

from ...data.text import TextTask


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

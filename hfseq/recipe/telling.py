"""What a recipe says before it trains: what was read, and what was chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import DatasetDict

_LONGEST = 160  # characters of a list of labels
_OF_TRAINING = (
    "learning_rate",
    "total_train_batch_size",
    "max_steps",
    "num_train_epochs",
    "solver",
    "wide_solver",
    "class_weights",
)


def rows_line(dataset: DatasetDict, what: str, labels: Sequence[str] = ()) -> str:
    """Say how many rows each split has, and which labels there are."""
    splits = ", ".join(f"{rows.num_rows:,} {name}" for name, rows in dataset.items())
    listed = ", ".join(labels)
    if len(listed) > _LONGEST:
        listed = listed[:_LONGEST].rpartition(", ")[0] + " ..."
    return f"read: {splits} {what}" + (f"; {len(labels)} labels: {listed}" if labels else "")


def chosen_line(model: Mapping[str, Any], training: Mapping[str, Any], **others: Any) -> str:
    """Say which model is trained and how, of what was said or filled in; settings.yaml has all of it."""
    shown = {name: value for name, value in model.items() if name != "type"} | others
    shown |= {name: training[name] for name in _OF_TRAINING if training.get(name) is not None}
    values = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown.items()
    )
    clock = f"; at most {training['max_minutes']:.2g} minutes" if training.get("max_minutes") else ""
    return f"train: {model.get('type', 'word2vec')}: {values}{clock}"

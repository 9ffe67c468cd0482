"""Labels that only validation or test shows: told with their numbers, refused, or their rows left out."""

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias

from datasets import Dataset

logger = logging.getLogger(__name__)

UnseenLabels: TypeAlias = Literal["wrong", "drop", "refuse"]

NAMED: Final = 10  # labels that a message names
_NAMES = "data.label_names"


def without_labels(rows: Dataset, split: str, unseen: Collection[Any]) -> Dataset:
    """Leave out the rows of a split that have one of these labels; those of train are mistakes, found later."""
    if split == "train" or not unseen:
        return rows
    labels = [own if isinstance(own, list) else [own] for own in rows["labels"][:]]
    kept = [row for row, own in enumerate(labels) if not any(label in unseen for label in own)]
    lost = rows.num_rows - len(kept)
    if not lost:
        return rows
    example = next(label for own in labels for label in own if label in unseen)
    told = f"{lost} of {rows.num_rows} rows have labels that train never shows, such as {example!r}"
    if not kept:
        cure = f"Name all classes in {_NAMES}."
        raise ValueError(f"Split {split!r}: {told}, and data.unseen_labels=drop leaves none. {cure}")
    logger.warning("Split %r: %s, and are left out.", split, told)
    # Not `select`: a cast of lists to classes sees the rows that it hides.
    return Dataset.from_dict(rows[kept], features=rows.features)


def tell_never_seen(
    seen: Mapping[str, Mapping[Any, int]],
    unseen: Collection[str],
    also: Collection[str],
    *,
    refuse: bool,
    named_in: str = _NAMES,
) -> None:
    """Warn of labels that train lacks, with their numbers.

    Args:
        seen: Split -> each label and how often it has it.
        unseen: The names of labels that the model has no output for.
        also: Names of those that train lacks and the model has an output for.
        refuse: Whether unseen ones are an error.
        named_in: The option that names all classes.
    """
    cure = f"Name all classes in {named_in}, or leave such rows out with data.unseen_labels=drop."
    for split, labels in seen.items():
        missing = {label: count for label, count in labels.items() if label not in seen["train"]}
        lost = {label: count for label, count in missing.items() if str(label) in unseen}
        hard = {label: count for label, count in missing.items() if label not in lost and label not in also}
        if hard:
            logger.warning("Labels %s of split %r never occur in train.", _with_counts(hard), split)
        if lost and refuse:
            told = f"Split {split!r} has labels that train never shows: {_with_counts(lost)}. {cure}"
            raise ValueError(f"{told} With data.unseen_labels=wrong they count as wrong.")
        if lost:
            warning = "Split %r has labels that train never shows: %s. No model has an answer for them: they count as "
            logger.warning(warning + "wrong. %s", split, _with_counts(lost), cure)


def _with_counts(labels: Mapping[Any, int]) -> str:
    often = sorted(labels, key=lambda label: (-labels[label], label))
    told = ", ".join(f"{label!r} ({labels[label]})" for label in often[:NAMED])
    return told + (f" and {len(often) - NAMED} more" if len(often) > NAMED else "")

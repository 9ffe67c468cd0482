"""Pairs of sentences with a score of how alike they are, as `sentence1`, `sentence2` and `score`."""

from dataclasses import dataclass
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, Value

from ..settings import option
from .columns import is_text, spelled
from .sources import SplitSettings, column_values, cut_splits, load_splits, take_columns

FEATURES = Features({"sentence1": Value("string"), "sentence2": Value("string"), "score": Value("float64")})
_EMBEDDED_PAIRS = 1000  # a split, at most


@dataclass
class PairSettings(SplitSettings):
    """Where the pairs come from. Those of `embedded` are drawn: half of them ask for the same, half do not."""

    text_column: str = option("sentence1", "the column of first sentences")
    other_column: str = option("sentence2", "the column of second sentences")
    score_column: str = option("score", "the column of numbers, higher for sentences that are more alike")
    max_rows: int | None = option(None, "pairs kept of each split, drawn with `seed`")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows is not None and self.max_rows < 2:
            raise ValueError(f"max_rows={self.max_rows} must be at least 2, or there is no order to compare.")
        columns = (self.text_column, self.other_column, self.score_column)
        if len(set(columns)) < len(columns):
            raise ValueError(f"text_column, other_column and score_column must differ, got {', '.join(columns)}.")


def load_pairs(settings: PairSettings) -> DatasetDict:
    """Read train, validation and, if there is one, test."""
    splits = load_splits(settings)
    if settings.path is None and settings.name == "embedded":
        pairs = {name: _drawn(rows, settings.seed) for name, rows in splits.items()}
    else:
        pairs = {name: _checked(rows, name, settings) for name, rows in splits.items()}
    dataset = DatasetDict(pairs)
    cut_splits(dataset, settings, settings.max_rows)
    return dataset


def _checked(rows: Dataset, split: str, settings: PairSettings) -> Dataset:
    names = {"text_column": "sentence1", "other_column": "sentence2", "score_column": "score"}
    found = take_columns(rows, split, settings, **names)
    for setting, column in names.items():
        feature = found.features[column]
        is_number = isinstance(feature, Value) and feature.dtype.startswith(("float", "int", "uint"))
        wanted = "numbers" if column == "score" else "texts"
        if not (is_number if column == "score" else is_text(feature)):
            held = f"data.{setting}={getattr(settings, setting)!r} holds {spelled(feature)}"
            raise ValueError(f"Split {split!r}: {held}, not {wanted}.")
    found = found.cast(FEATURES)
    finite = pc.is_finite(column_values(found, "score"))
    if (row := pc.index(finite, pa.scalar(False)).as_py()) >= 0:
        raise ValueError(f"Split {split!r}, row {row}: the score is NaN or infinite; remove such rows.")
    return found


def _drawn(rows: Dataset, seed: int) -> Dataset:
    """Draw pairs of utterances: the score is 1 where both have one intent, else 0."""
    random, texts, labels = Random(seed), rows["text"][:], rows["label"][:]
    of_label: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        of_label.setdefault(label, []).append(place)
    pairs = []
    for first in random.sample(range(len(texts)), min(_EMBEDDED_PAIRS, len(texts))):
        alike = random.random() < 0.5 and len(of_label[labels[first]]) > 1
        second = first
        while second == first or (labels[second] == labels[first]) != alike:
            second = random.choice(of_label[labels[first]]) if alike else random.randrange(len(texts))
        pairs.append({"sentence1": texts[first], "sentence2": texts[second], "score": float(alike)})
    return Dataset.from_list(pairs, FEATURES)

"""Texts for language models: text files, tables of texts, datasets of the Hub or our generator, as documents.

A document is what a model reads from its beginning to its end: a row of a table, a line of text, or the whole of a
split. Where a source has no validation or test split, a share of the training text is cut off: of one whole text its
end, as books are cut; of documents those that a seed draws.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from ..models.packed_files import open_text
from ..settings import option
from .sources import SplitSettings, load_splits, take_columns

TEXT, CONDITION = "text", "condition"
"""The columns of prepared documents; the second one only where texts are written on a condition."""

_BATCH = 1000
_PIECE = 1 << 16  # characters of a long text that are cut into tokens at once
_ANY_TOKENS_CUT = re.compile(r"(?<=\S)\s(?=\S)")  # no kind of token reaches over such a place


@dataclass
class DocumentSettings(SplitSettings):
    """Which texts to learn from: a text file (also .gz, .bz2, .xz), a table, or a folder of tables."""

    condition_column: str | None = option(None, "a column of labels: each text begins with its label")
    documents: Literal["rows", "lines", "whole"] = option("rows", "a document is a row of a table, a line, or all")
    test_fraction: float = option(0.0, "share of train that becomes test where there is none", was="test_share")
    max_characters: int | None = option(
        None,
        "keep the first documents of each split, up to so many characters; of a text file its beginning alone is "
        "read, and the splits that it lacks are cut off that",
    )

    def __post_init__(self) -> None:
        """Refuse what names no text, or cannot be cut."""
        super().__post_init__()
        if self.test_fraction < 0 or self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} and test_fraction={self.test_fraction} must leave "
                "something to train on: none is below 0, and together they are below 1."
            )
        if self.max_characters is not None and self.max_characters < 1:
            raise ValueError(f"max_characters={self.max_characters} must be 1 or more; null keeps everything.")
        if self.condition_column is not None and self.documents != "rows":
            raise ValueError(
                f"condition_column={self.condition_column!r} labels rows, so data.documents must be 'rows', got "
                f"{self.documents!r}."
            )
        if self.condition_column == self.text_column:
            raise ValueError(f"condition_column and text_column are both {self.text_column!r}; they must differ.")


def load_documents(settings: DocumentSettings) -> DatasetDict:
    """Read the splits train, validation and, where there is one, test.

    Returns:
        Rows with a column `text`, a document each, and with `condition` where `condition_column` is given.

    Raises:
        ValueError: If a split has no text, or rows lack a text or a label.
    """
    source = load_splits(settings, read_other=partial(_read_text, settings=settings))
    splits = {name: _documents(rows, name, settings) for name, rows in source.items()}
    dataset = DatasetDict(_with_cut_off(splits, settings))
    for name, rows in dataset.items():
        if settings.max_characters is not None:
            dataset[name] = _first(rows, settings.max_characters, settings)
        if not any(map(str.strip, dataset[name][TEXT])):
            raise ValueError(f"Split {name!r} has no text; give a longer one, or other shares of it.")
    return dataset


def conditions(dataset: DatasetDict) -> list[str]:
    """Return the labels of the training split, sorted; none where texts are written on no condition.

    Raises:
        ValueError: If another split has a label that training does not show.
    """
    if CONDITION not in dataset["train"].column_names:
        return []
    known = sorted(set(dataset["train"][CONDITION]))
    for name, rows in dataset.items():
        if unseen := sorted(set(rows[CONDITION]) - set(known)):
            raise ValueError(
                f"Split {name!r} has the conditions {unseen}, which train never shows; remove those rows."
            )
    return known


def condition_token(label: str) -> str:
    """Write a label as the token that a text begins with."""
    return f"<{'_'.join(label.split())}>"


def pieces(text: str) -> Iterator[str]:
    """Cut a long text where no token is cut, so that its tokens need not be in memory at once."""
    start = 0
    while len(text) - start > 2 * _PIECE:
        found = _ANY_TOKENS_CUT.search(text, start + _PIECE, start + 2 * _PIECE)
        end = found.start() if found is not None else start + _PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def token_ids(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, *, start: Sequence[int] = (), end: Sequence[int] = ()
) -> Iterator[np.ndarray]:
    """Turn documents into token ids, int32, one array each.

    Args:
        rows: As `load_documents` makes them.
        tokenizer: What it adds by itself is left out.
        start: Ids before each document; its condition comes after them.
        end: Ids after each document.
    """
    for first in range(0, rows.num_rows, _BATCH):
        batch = rows[first : first + _BATCH]
        labels = batch.get(CONDITION, [None] * len(batch[TEXT]))
        parts = [list(pieces(text)) for text in batch[TEXT]]
        flat = [part for text in parts for part in text]
        encoded = iter(tokenizer(flat, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])
        for label, text in zip(labels, parts, strict=True):
            condition = [] if label is None else [tokenizer.convert_tokens_to_ids(condition_token(label))]
            ids = [*start, *condition], *(next(encoded) for _ in text), end
            yield np.concatenate([np.asarray(part, dtype=np.int32) for part in ids])


def _read_text(path: Path, settings: DocumentSettings) -> Dataset:
    """Read a text file, or as much as is kept of it, as a table of one row; all line breaks become the same."""
    if settings.documents == "rows":
        raise ValueError(
            f"{path} is a text, which has no rows: set data.documents to 'lines', if every line is a document of its "
            "own, or to 'whole'."
        )
    with open_text(path) as file:
        text = file.read(_characters(settings))
        goes_on = file.read(1) != ""
    if not text:
        raise ValueError(f"{path} is empty; give a text.")
    if goes_on and settings.documents == "lines":  # the last one may be cut
        text = text[: text.rfind("\n") + 1] or text
    return Dataset.from_dict({settings.text_column: [text]})


def _characters(settings: DocumentSettings) -> int:
    """Return how much of a text file gives each split that may be cut off it `max_characters`; -1 for all of it."""
    if settings.max_characters is None:
        return -1
    cut_off = settings.validation_fraction, settings.test_fraction
    smallest = min(part for part in (*cut_off, 1 - sum(cut_off)) if part > 0)
    return math.ceil(settings.max_characters / smallest) + len(cut_off)  # the cuts are rounded down


def _documents(rows: Dataset, split: str, settings: DocumentSettings) -> Dataset:
    """Turn a table into documents."""
    wanted = {"text_column": TEXT}
    if settings.condition_column is not None:
        wanted["condition_column"] = CONDITION
    rows = take_columns(rows, split, settings, **wanted)
    columns = {new: _strings(rows, new, split, getattr(settings, setting)) for setting, new in wanted.items()}
    for number, label in enumerate(columns.get(CONDITION, ())):
        if not label.strip():
            raise ValueError(
                f"Split {split!r}, row {number}: the condition is blank; give it a label or remove the row."
            )
    if settings.documents == "lines":
        columns[TEXT] = [line for text in columns[TEXT] for line in _lines(text)]
    elif settings.documents == "whole":
        columns[TEXT] = ["\n".join(columns[TEXT])]
    return Dataset.from_dict(columns)


def _strings(rows: Dataset, column: str, split: str, given: str) -> list[str]:
    """Take a column of strings; the names of classes are strings too."""
    feature, values = rows.features[column], rows[:][column]
    if hasattr(feature, "int2str"):
        values = [feature.int2str(value) for value in values]
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"Split {split!r}, row {number}: {given!r} is {value!r}, not a text; mend such rows.")
    return values


def _lines(text: str) -> list[str]:
    """Cut at line breaks alone; an empty line is a document too, which corpora of running text count."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _with_cut_off(splits: dict[str, Dataset], settings: DocumentSettings) -> dict[str, Dataset]:
    """Cut off the splits that the source lacks and that are asked for: the test from the end, validation before it."""
    fractions = {"test": settings.test_fraction, "validation": settings.validation_fraction}
    missing = {name: fraction for name, fraction in fractions.items() if name not in splits and fraction > 0}
    if not missing:
        return splits
    train, is_whole = splits["train"], settings.documents == "whole"
    end = total = len(train[0][TEXT]) if is_whole else train.num_rows
    train = train if is_whole else train.shuffle(seed=settings.seed)
    cut = dict(splits)
    for name, fraction in missing.items():
        start = int(end - fraction * total)
        cut[name] = _part(train, start, end, settings)
        end = start
    cut["train"] = _part(train, 0, end, settings)
    return {name: cut[name] for name in ("train", "validation", "test") if name in cut}


def _part(rows: Dataset, start: int, end: int, settings: DocumentSettings) -> Dataset:
    if settings.documents == "whole":
        return Dataset.from_dict({TEXT: [rows[0][TEXT][start:end]]})
    return rows.select(range(start, end))


def _first(rows: Dataset, characters: int, settings: DocumentSettings) -> Dataset:
    """Keep the first so many characters of a whole text, or the first documents that have no more together."""
    if settings.documents == "whole":
        return _part(rows, 0, characters, settings)
    fitting = sum(total <= characters for total in accumulate(map(len, rows[TEXT])))
    return rows.select(range(max(fitting, 1)))

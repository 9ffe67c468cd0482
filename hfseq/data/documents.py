"""Texts for language models: text files, tables, datasets of the Hub or our generator, as documents.

A document is what a model reads from its beginning to its end: a row, a line, or the whole of a split. A validation or
test split that the source lacks is cut off train: the end of a whole text, or documents that a seed draws.
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
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from ..models.packed_files import open_text
from ..progress import progress_bar
from ..settings import option
from .columns import TEXTS, find_columns
from .sources import SplitSettings, load_splits, take_columns

TEXT, CONDITION = "text", "condition"  # columns of prepared documents; the second only where there are conditions
_BATCH = 1000
_PIECE = 1 << 16  # characters of a long text that are cut into tokens at once
_ANY_TOKENS_CUT = re.compile(r"(?<=\S)\s(?=\S)")  # no kind of token reaches over such a place


@dataclass
class DocumentSettings(SplitSettings):
    """Which texts to learn from: a text file (also .gz, .bz2, .xz), a table, or a folder of either."""

    condition_column: str | None = option(None, "a column of labels: each text begins with its label")
    documents: Literal["rows", "lines", "whole"] = option("rows", "a document is a row of a table, a line, or all")
    test_fraction: float = option(0.0, "share of train that becomes test where there is none", was="test_share")
    max_characters: int | None = option(
        None, "keep so many of each split; a text file is read so far, and missing splits are cut off that"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_fraction < 0 or self.validation_fraction + self.test_fraction >= 1:
            given = f"validation_fraction={self.validation_fraction} and test_fraction={self.test_fraction}"
            raise ValueError(f"{given} must leave something to train on: none below 0, and together below 1.")
        if self.max_characters is not None and self.max_characters < 1:
            raise ValueError(f"max_characters={self.max_characters} must be 1 or more; null keeps everything.")
        if self.condition_column is not None and self.documents != "rows":
            given = f"condition_column={self.condition_column!r}"
            raise ValueError(f"{given} labels rows, so data.documents must be 'rows', got {self.documents!r}.")
        if self.condition_column is not None and self.condition_column == self.text_column:
            raise ValueError(f"condition_column and text_column are both {self.text_column!r}; they must differ.")


def load_documents(settings: DocumentSettings) -> DatasetDict:
    """Read train, validation and, if there is one, test: a row is a document, `text` and perhaps its `condition`."""
    source = load_splits(settings, read_other=partial(_read_text, settings=settings))
    find_columns(settings, source, TEXTS, taken=[settings.condition_column])
    splits = {name: _documents(rows, name, settings) for name, rows in source.items()}
    dataset = DatasetDict(_with_cut_off(splits, settings))
    for name, rows in dataset.items():
        if settings.max_characters is not None:
            dataset[name] = _first(rows, settings.max_characters, settings)
        if not any(map(str.strip, dataset[name][TEXT])):
            raise ValueError(f"Split {name!r} has no text; give a longer one, or other shares of it.")
    return dataset


def conditions(dataset: DatasetDict) -> list[str]:
    """Return the labels of train, sorted; no other split may have one that train lacks."""
    if CONDITION not in dataset["train"].column_names:
        return []
    known = sorted(set(dataset["train"][CONDITION]))
    for name, rows in dataset.items():
        if unseen := sorted(set(rows[CONDITION]) - set(known)):
            raise ValueError(f"Split {name!r} has the conditions {unseen}, which train never shows; remove them.")
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
    """Turn documents into int32 ids, an array each: `start`, the condition, the text, `end`."""
    with progress_bar("Tokenizing", unit="character") as bar:
        for first in range(0, rows.num_rows, _BATCH):
            batch = rows[first : first + _BATCH]
            labels = batch.get(CONDITION, [None] * len(batch[TEXT]))
            parts = [list(pieces(text)) for text in batch[TEXT]]
            encoded = _encoded([part for text in parts for part in text], tokenizer, bar)
            for label, text in zip(labels, parts, strict=True):
                condition = [] if label is None else [tokenizer.convert_tokens_to_ids(condition_token(label))]
                ids = [*start, *condition], *(next(encoded) for _ in text), end
                yield np.concatenate([np.asarray(part, dtype=np.int32) for part in ids])


def _encoded(parts: Sequence[str], tokenizer: PreTrainedTokenizerBase, bar: tqdm) -> Iterator[np.ndarray]:
    for first in range(0, len(parts), _BATCH):
        some = parts[first : first + _BATCH]
        found = tokenizer(some, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        bar.update(sum(map(len, some)))
        yield from (np.asarray(ids, dtype=np.int32) for ids in found)


def _read_text(path: Path, settings: DocumentSettings) -> Dataset:
    if settings.documents == "rows":
        raise ValueError(f"{path} is a text, which has no rows: set data.documents to 'lines' or to 'whole'.")
    with open_text(path) as file:
        text = file.read(_characters(settings))
        goes_on = file.read(1) != ""
    if not text:
        raise ValueError(f"{path} is empty; give a text.")
    if goes_on and settings.documents == "lines":  # the last one may be cut
        text = text[: text.rfind("\n") + 1] or text
    return Dataset.from_dict({settings.text_column or TEXT: [text]})


def _characters(settings: DocumentSettings) -> int:
    """Return how much of a text file gives each split that may be cut off it `max_characters`; -1 for all of it."""
    if settings.max_characters is None:
        return -1
    cut_off = settings.validation_fraction, settings.test_fraction
    smallest = min(part for part in (*cut_off, 1 - sum(cut_off)) if part > 0)
    return math.ceil(settings.max_characters / smallest) + len(cut_off)  # the cuts are rounded down


def _documents(rows: Dataset, split: str, settings: DocumentSettings) -> Dataset:
    wanted = {"text_column": TEXT}
    if settings.condition_column is not None:
        wanted["condition_column"] = CONDITION
    rows = take_columns(rows, split, settings, **wanted)
    columns = {new: _strings(rows, new, split, getattr(settings, setting)) for setting, new in wanted.items()}
    for number, label in enumerate(columns.get(CONDITION, ())):
        if not label.strip():
            raise ValueError(f"Split {split!r}, row {number}: the condition is blank; label or remove the row.")
    if settings.documents == "lines":  # an empty one is a document too, which corpora of running text count
        columns[TEXT] = [line for text in columns[TEXT] if text for line in text.removesuffix("\n").split("\n")]
    elif settings.documents == "whole":
        columns[TEXT] = ["\n".join(columns[TEXT])]
    return Dataset.from_dict(columns)


def _strings(rows: Dataset, column: str, split: str, given: str) -> list[str]:
    feature, values = rows.features[column], rows[:][column]
    if hasattr(feature, "int2str"):  # names of classes are strings too
        values = feature.int2str(values)
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"Split {split!r}, row {number}: {given!r} is {value!r}, not a text; mend such rows.")
    return values


def _with_cut_off(splits: dict[str, Dataset], settings: DocumentSettings) -> dict[str, Dataset]:
    fractions = {"test": settings.test_fraction, "validation": settings.validation_fraction}  # the test from the end
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
    if settings.documents == "whole":
        return _part(rows, 0, characters, settings)
    fitting = sum(total <= characters for total in accumulate(map(len, rows[TEXT])))
    return rows.select(range(max(fitting, 1)))

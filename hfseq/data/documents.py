"""Texts for language models: text files, tables of texts, datasets of the Hub or our generator, as documents.

A document is what a model reads from its beginning to its end: a row of a table, a line of text, or the whole of a
split. Where a source has no validation or test split, a share of the training text is cut off: of one whole text its
end, as books are cut; of documents those that a seed draws.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from ..models.packed_files import open_text
from ..settings import check_known
from .text import FORMATS, DataSettings, chosen_splits, existing_path, read_splits

TEXT, CONDITION = "text", "condition"
"""The columns of prepared documents; the second one only where texts are written on a condition."""

_BATCH = 1000
_PIECE = 1 << 16  # characters of a long text that are cut into tokens at once
_ANY_TOKENS_CUT = re.compile(r"(?<=\S)\s(?=\S)")  # no kind of token reaches over such a place
_CUT_OFF = ("test", "validation")  # from the end of the text: the last part is the test


@dataclass
class DocumentSettings:
    """Which texts to learn from."""

    name: str | None = field(
        default=None, metadata={"help": "a dataset on the Hub (user/name), or `embedded` for the generated one"}
    )
    config: str | None = field(default=None, metadata={"help": "configuration of the Hub dataset"})
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit of the Hub dataset"})
    path: str | dict[str, str] | None = field(
        default=None,
        metadata={"help": "a text file (also .gz, .bz2, .xz), a table, a folder of tables, or {split: file}"},
    )
    splits: dict[str, str] | None = field(
        default=None, metadata={"help": "which splits to use, {train: ..., validation: ..., test: ...}"}
    )
    text_column: str = field(default="text", metadata={"help": "the column of texts"})
    condition_column: str | None = field(
        default=None, metadata={"help": "a column of labels that texts are written on: each begins with its label"}
    )
    documents: Literal["rows", "lines", "whole"] = field(
        default="rows", metadata={"help": "what a document is: a row of a table, a line, or the whole split"}
    )
    validation_share: float = field(
        default=0.1, metadata={"help": "share of train that becomes validation where there is none"}
    )
    test_share: float = field(default=0.0, metadata={"help": "share of train that becomes test where there is none"})
    max_characters: int | None = field(
        default=None,
        metadata={
            "help": "keep the first documents of each split, up to so many characters; of a text file its beginning "
            "alone is read, and the splits that it lacks are cut off that"
        },
    )
    seed: int = field(default=0, metadata={"help": "seed of generated data, and of the documents that are cut off"})

    def __post_init__(self) -> None:
        """Refuse what names no text, or cannot be cut."""
        if self.name is None and self.path is None:
            raise ValueError(
                "no text: give data.name (a Hub dataset or `embedded`) or data.path (a text file or a table)."
            )
        if self.validation_share <= 0 or self.test_share < 0 or self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share={self.validation_share} and test_share={self.test_share} must leave something to "
                "train on: the first is above 0, the second 0 or more, and together they are below 1."
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

    @property
    def hub_id(self) -> str | None:
        """The data set of the Hub that is read: none where local files take its place or the text is generated."""
        return self.name if self.path is None and self.name != "embedded" else None


def load_documents(settings: DocumentSettings) -> DatasetDict:
    """Read the splits train, validation and, where there is one, test.

    Returns:
        Rows with a column `text`, a document each, and with `condition` where `condition_column` is given.

    Raises:
        ValueError: If a split has no text, or rows lack a text or a label.
    """
    source = chosen_splits(_read(settings), settings.splits)
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
            before = [
                *start,
                *([tokenizer.convert_tokens_to_ids(condition_token(label))] if label is not None else []),
            ]
            ids = [np.asarray(next(encoded), dtype=np.int32) for _ in text]
            yield np.concatenate([np.asarray(before, np.int32), *ids, np.asarray(end, np.int32)])


def _read(settings: DocumentSettings) -> dict[str, Dataset]:
    """Read every split of the source as a table; a text file becomes one of a single row, or of its lines."""
    path = settings.path
    if isinstance(path, dict):
        return {split: _read_file(existing_path(file), split, settings) for split, file in path.items()}
    if path is not None and existing_path(path).is_file():
        return {"train": _read_file(existing_path(path), "train", settings)}
    return read_splits(
        DataSettings(
            name=settings.name,
            config=settings.config,
            revision=settings.revision,
            path=path,
            splits=settings.splits,
            label_column="",  # none is read
            seed=settings.seed,
        )
    )


def _read_file(path: Path, split: str, settings: DocumentSettings) -> Dataset:
    if path.suffix in FORMATS:
        return read_splits(DataSettings(path={split: str(path)}, label_column=""))[split]
    if settings.documents == "rows":
        raise ValueError(
            f"{path} is a text, which has no rows: set data.documents to 'lines', if every line is a document of its "
            "own, or to 'whole'."
        )
    return Dataset.from_dict({settings.text_column: [_text(path, settings)]})


def _text(path: Path, settings: DocumentSettings) -> str:
    """Read a text file as it is, or as much as is kept of it; line breaks of any system become one character."""
    with open_text(path) as file:
        text = file.read(_characters(settings))
        goes_on = file.read(1) != ""
    if not text:
        raise ValueError(f"{path} is empty; give a text.")
    if goes_on and settings.documents == "lines":  # the last one may be cut
        text = text[: text.rfind("\n") + 1] or text
    return text


def _characters(settings: DocumentSettings) -> int:
    """How much of a text file gives each split that may be cut off it `max_characters`; -1 for all of it."""
    if settings.max_characters is None:
        return -1
    cut_off = settings.validation_share, settings.test_share
    smallest = min(share for share in (*cut_off, 1 - sum(cut_off)) if share > 0)
    return math.ceil(settings.max_characters / smallest) + len(cut_off)  # the cuts are rounded down


def _documents(rows: Dataset, split: str, settings: DocumentSettings) -> Dataset:
    """Turn a table into documents."""
    wanted = {settings.text_column: TEXT}
    if settings.condition_column is not None:
        wanted[settings.condition_column] = CONDITION
    for column in wanted:
        check_known(column, rows.column_names, f"split {split!r}", kind="column")
    columns = {new: _strings(rows, old, split) for old, new in wanted.items()}
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


def _strings(rows: Dataset, column: str, split: str) -> list[str]:
    """Take a column of strings; the names of classes are strings too."""
    feature, values = rows.features[column], rows[:][column]
    if hasattr(feature, "int2str"):
        values = [feature.int2str(value) for value in values]
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"Split {split!r}, row {number}: {column!r} is {value!r}, not a text; mend such rows.")
    return values


def _lines(text: str) -> list[str]:
    """Cut at line breaks alone; an empty line is a document too, which corpora of running text count."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _with_cut_off(splits: dict[str, Dataset], settings: DocumentSettings) -> dict[str, Dataset]:
    """Cut off the splits that the source lacks and that are asked for."""
    shares = {"test": settings.test_share, "validation": settings.validation_share}
    missing = {name: shares[name] for name in _CUT_OFF if name not in splits and shares[name] > 0}
    if not missing:
        return splits
    train = splits["train"]
    total = len(train[0][TEXT]) if settings.documents == "whole" else train.num_rows
    if settings.documents != "whole":
        train = train.shuffle(seed=settings.seed)
    end = total
    for name, share in missing.items():
        start = int(end - share * total)
        splits = {**splits, name: _part(train, start, end, settings)}
        end = start
    order = ("train", "validation", "test")
    splits = {**splits, "train": _part(train, 0, end, settings)}
    return {name: splits[name] for name in order if name in splits}


def _part(rows: Dataset, start: int, end: int, settings: DocumentSettings) -> Dataset:
    if settings.documents == "whole":
        return Dataset.from_dict({TEXT: [rows[0][TEXT][start:end]]})
    return rows.select(range(start, end))


def _first(rows: Dataset, characters: int, settings: DocumentSettings) -> Dataset:
    """Keep the first so many characters of a whole text, or the first documents that have no more together."""
    if settings.documents == "whole":
        return _part(rows, 0, characters, settings)
    return rows.select(range(_fitting(rows[TEXT], characters)))


def _fitting(texts: Iterable[str], characters: int) -> int:
    """Count the texts that fit; the first one always does."""
    count = total = 0
    for text in texts:
        total += len(text)
        if total > characters:
            break
        count += 1
    return max(count, 1)

"""The first line of a CSV or TSV file: the names of its columns, or a row of a file that has none."""

import csv
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
from datasets import Dataset

from .columns import USUAL_NAMES, is_text, plain_name

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_LONG_NAME: Final = 5  # words
_LONG_VALUE: Final = 3  # words of a value, in the mean, of a column whose name may be one of its texts
_ASKS: Final = ("?", ":")  # ends of names in tables of answers
_OF_TRAIN: Final = ("--data.column_names=[{}]", "--data.text_column=NAME")  # the cures of `hfseq train`
_RARELY: Final = 1000  # a label that so few of its rows have could be there by chance


def first_row(path: Path, options: dict[str, Any]) -> list[str]:
    """Return the cells of the first line, no cell where they cannot be told.

    Args:
        options: How `datasets` reads the file: `sep` and `quoting`.
    """
    how: dict[str, Any] = {"delimiter": options.get("sep", ","), "quoting": options.get("quoting", csv.QUOTE_MINIMAL)}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip() for cell in next(csv.reader(file, **how), [])]
    except csv.Error:  # a cell that is longer than the module reads
        return []


class NoHeaderError(ValueError):
    """The first line of a file is a row, where the names of its columns should be."""

    def __init__(self, path: Path, first: Sequence[str], fault: str, cures: tuple[str, str] = _OF_TRAIN) -> None:
        self.path, self.first, self.fault = path, first, fault
        shown = ", ".join(repr(cell if len(cell) <= 40 else f"{cell[:36]} ...") for cell in first[:4])
        names = ", ".join(["text", "label", *(f"column_{place}" for place in range(3, len(first) + 1))][: len(first)])
        give, is_name = cures
        super().__init__(
            f"{path} seems to have no header: its first line is {shown}, and {fault}. Add a first line with the names "
            f"of the columns, or give them as '{give.format(names)}'. If these are the names, say so with {is_name}."
        )

    def with_cure(self, give: str, is_name: str) -> "NoHeaderError":
        """Return the same error for a command that takes names with other words.

        Args:
            give: How the names are given; they come in place of `{}`.
            is_name: How one of the first line is said to be a name.
        """
        return NoHeaderError(self.path, self.first, self.fault, (give, is_name))


def check_header(path: Path, first: Sequence[str], rows: Dataset, said: Collection[str]) -> None:
    """Refuse a file whose first line is a row of data: it would be lost, and the columns have no names.

    Args:
        path: Named in the error.
        first: The cells of the first line.
        rows: What was read with the first line as names.
        said: The columns that a person has named.
    """
    fault = None if set(first) & set(said) else _fault(first, rows)
    if fault is not None:
        raise NoHeaderError(path, first, fault)


def check_names(path: Path, first: Sequence[str], rows: Dataset, names: Sequence[str]) -> None:
    """Refuse names that are not one for each column, and a file with a header, which would become a row."""
    given = f"data.column_names={list(names)}"
    if [plain_name(cell) for cell in first] == [plain_name(name) for name in names]:
        raise ValueError(f"{path} has a header, which says the same as {given}: leave that out.")
    if first and len(first) != len(names):
        raise ValueError(f"{given} must name each column of {path}, which has {len(first)}; it begins {first[:4]}.")
    for cell, column in zip(first, names, strict=False):
        if plain_name(cell) in USUAL_NAMES and not _times(cell, rows, column):
            raise ValueError(
                f"{path} seems to have a header: it begins {first[:4]}, and {cell!r} is a usual name of a column. "
                f"Leave {given} out, or the names are read as a row. "
                "If the line is a row, let the file begin with another."
            )


def _fault(first: Sequence[str], rows: Dataset) -> str | None:
    """Say why the first line is a row and no header, if it is."""
    for cell, column in zip(first, rows.column_names, strict=False):
        if count := _times(cell, rows, column):
            return f"{cell!r} is also what {count} of the other rows hold in its place"
    names = _without_edges(first)
    if USUAL_NAMES.intersection(map(plain_name, names)) or names == [str(place) for place in range(len(names))]:
        return None  # the latter as pandas writes a table without names
    if "" in names:
        return f"cell {names.index('') + 1} is empty"
    for name in names:
        if names.count(name) > 1:
            return f"{name!r} is there twice"
        if _NUMBER.fullmatch(name):
            return f"{name!r} is a number"
    texts = (name for name, column in zip(first, rows.column_names, strict=False) if _is_long(name, rows, column))
    return next((f"{name[:40]!r} is as long as a text" for name in texts), None)


def _without_edges(first: Sequence[str]) -> list[str]:
    """Leave out the empty name of pandas' numbers of rows, and those behind a last separator."""
    names = list(first)
    while names and not names[-1]:
        names.pop()
    return names[1:] if len(names) > 1 and not names[0] else names


def _times(cell: str, rows: Dataset, column: str) -> int:
    """Count the rows with this cell in a column of labels; 0 where they are few or the column is none of labels."""
    if not cell or not is_text(rows.features[column]):
        return 0
    values = rows.select_columns(column).with_format("arrow")[:].column(column)
    count = int(pc.sum(pc.equal(pc.utf8_trim_whitespace(values), cell)).as_py() or 0)
    if count < 2 or count * _RARELY < rows.num_rows:
        return 0
    return count if 2 * len(pc.unique(values)) <= rows.num_rows else 0


def _is_long(name: str, rows: Dataset, column: str) -> bool:
    if len(name.split()) < _LONG_NAME or name.endswith(_ASKS) or not is_text(rows.features[column]):
        return False
    values = [value for value in rows[:100][column] if value]
    return sum(len(value.split()) for value in values) >= _LONG_VALUE * len(values)

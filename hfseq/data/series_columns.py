"""The columns of a table of series: numbers, times and labels, each cell checked."""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from ..models.base import IGNORED

_MISSING: Final = (None, "")
_COMMA: Final = re.compile(r"[-+]?\d+,\d+")


def numbers(table: pa.Table, columns: Sequence[str], where: str, *, allow_missing: bool) -> np.ndarray:
    """Return columns as numbers, (rows, columns); nan where a value is missing and may be.

    Args:
        table: The rows.
        columns: The names of the columns.
        where: The data, as an error names them.
        allow_missing: Whether a cell may be empty.
    """
    found = np.empty((table.num_rows, len(columns)))
    for place, column in enumerate(columns):
        values = _as_numbers(table.column(column), column, where)
        if (bad := np.flatnonzero(np.isinf(values))).size:
            at = f"{where}, row {bad[0]}: column {column!r} is {values[bad[0]]}"
            raise ValueError(f"{at}. Correct the value, or leave the cell empty and set --data.missing=mask.")
        if not allow_missing and (bad := np.flatnonzero(np.isnan(values))).size:
            at = f"{where}, row {bad[0]}: column {column!r} has no value"
            cure = "Fill it in, or set --data.missing=mask (a column that is known ahead has a value in every row)"
            raise ValueError(f"{at} ({bad.size} rows have none). {cure}.")
        found[:, place] = values
    return found


def _as_numbers(cells: pa.ChunkedArray, column: str, where: str) -> np.ndarray:
    kind = cells.type
    if pa.types.is_null(kind):
        return np.full(len(cells), np.nan)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return np.array(cells.to_pandas(), dtype=float)
    if pa.types.is_decimal(kind):
        return np.array([np.nan if each is None else float(each) for each in cells.to_pylist()])
    values = cells.to_pylist()
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise _no_number(where, 0, column, values[0])
    found = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            found[row] = np.nan if value in _MISSING else float(value)
        except ValueError:
            raise _no_number(where, row, column, value) from None
    return found


def _no_number(where: str, row: int, column: str, value: Any) -> ValueError:
    cure = (
        "Leave the column out with data.feature_columns, or write numbers (classes as columns of 0 and 1); the column "
    )
    cure += "that names the series is data.group_column"
    if isinstance(value, str) and _COMMA.fullmatch(value):
        cure = "Write a point in place of the comma, or nothing where it marks thousands"
    return ValueError(f"{where}, row {row}: column {column!r} holds {value!r:.60}, which is no number. {cure}.")


def time_values(table: pa.Table, column: str | None, where: str) -> tuple[np.ndarray, list[str]]:
    """Return the time of each row as a number that grows with it, and as people write it; no column: the row."""
    if column is None:
        return np.arange(table.num_rows), []
    cells = table.column(column)
    kind = cells.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = np.array(cells.to_pandas(), dtype=float)
        if (bad := np.flatnonzero(~np.isfinite(values))).size:
            raise _no_time(where, bad[0], column, cells[int(bad[0])].as_py())
        days = pd.to_datetime(pd.Series([f"{value:.0f}" for value in values]), format="%Y%m%d", errors="coerce")
        if ((values > 19000000) & (values < 21000000) & days.notna()).all():
            day = f"{days[0]:%Y-%m-%d}"
            raise ValueError(f"{where}: column {column!r} holds dates such as {values[0]:.0f}: write them as {day}.")
        return values, [f"{value:.15g}" for value in values]
    texts = cells.to_pylist()
    dates = pd.Series(pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce"))
    if (bad := np.flatnonzero(dates.isna())).size:
        raise _no_time(where, bad[0], column, texts[bad[0]])
    has_hours = bool((dates != dates.dt.normalize()).any())
    written = dates.dt.strftime("%Y-%m-%d %H:%M:%S" if has_hours else "%Y-%m-%d")
    return dates.to_numpy(dtype="datetime64[ns]").astype(np.int64), written.tolist()


def _no_time(where: str, row: int, column: str, value: Any) -> ValueError:
    cure = "Write dates as 2024-03-31 or 2024-03-31T14:00, or numbers"
    return ValueError(f"{where}, row {row}: column {column!r} holds {value!r:.60}, which is no time. {cure}.")


def label_values(
    table: pa.Table, column: str, where: str, names: Sequence[str] | None, *, allow_missing: bool
) -> tuple[np.ndarray, list[str]]:
    """Return the class of each row, -100 where it has none and may have none, and the names of the classes.

    Args:
        table: The rows.
        column: The column of labels: words, whole numbers, or numbers of `names`.
        where: The data, as an error names them.
        names: The names of numbered classes; None: what stands in the column.
        allow_missing: Whether a label may be missing.
    """
    values = table.column(column).to_pylist()
    if pa.types.is_floating(table.column(column).type):  # whole numbers, where some cells are empty
        values = [None if value is None or np.isnan(value) else value for value in values]
        if fractions := [value for value in values if value is not None and value % 1]:
            raise ValueError(
                f"{where}: column {column!r} holds {fractions[0]:g}, which is no class. To predict numbers name it in "
                "data.target_columns."
            )
        values = [None if value is None else int(value) for value in values]
    if names is not None:
        values = [None if value is None or value < 0 else names[value] for value in values]
    empty = [row for row, value in enumerate(values) if value in _MISSING]
    if empty and not allow_missing:
        fault = f"{where}, row {empty[0]}: column {column!r} has no label ({len(empty)} rows have none)"
        raise ValueError(f"{fault}. Fill it in, or set --data.missing=mask.")
    held = {value for value in values if value not in _MISSING}
    classes = list(names) if names is not None else [str(value) for value in sorted(held)]
    if len(held) < 2:
        raise ValueError(f"{where}: column {column!r} holds {len(held)} class(es); a classifier needs two or more.")
    ids = {name: index for index, name in enumerate(classes)}
    return np.array([IGNORED if value in _MISSING else ids[str(value)] for value in values]), classes

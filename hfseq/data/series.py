"""Series from a table: CSV, Parquet, JSON, a Hub data set, or our generator, with a row for each step.

    day,shop,sales,visitors,holiday
    2024-01-01,north,12.5,310,1
    2024-01-02,north,17.0,402,0

One column may tell the time, one the group (several series in a file, of any lengths), others the targets (what is
predicted), the features (what is seen beside them) and what is known ahead (holidays, prices: seen for the steps that
are predicted, too). A column of labels has a class for each step. Every fault names the data, the row (the first is
row 0), the column, the value and what helps.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset

from ..settings import check_known, option
from .series_columns import label_values, numbers, time_values
from .sources import Formats, SourceSettings, read_splits

logger = logging.getLogger(__name__)

SERIES_FORMATS: Final[Formats] = {  # an empty cell is a value that is missing
    ".parquet": ("parquet", {}),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
}
_UNEVEN: Final = 0.15  # steps that differ by less from the usual one are even: months have 28 to 31 days


@dataclass
class SeriesDataSettings(SourceSettings):
    """Which table to read, and what its columns are."""

    time_column: str | None = option(None, "dates (ISO 8601) or numbers; null: rows are in order, a step apart")
    target_columns: list[str] = field(
        default_factory=list, metadata={"help": "what is predicted; it is seen up to now as well"}
    )
    feature_columns: list[str] | None = option(
        None, "what is seen up to now beside the targets; null: all columns that are nothing else"
    )
    known_columns: list[str] = field(
        default_factory=list, metadata={"help": "features that are known ahead, such as holidays"}
    )
    group_column: str | None = option(None, "the name of the series that a row belongs to; null: all are one series")
    label_column: str | None = option(None, "a class for each step, in place of targets")
    label_delay: int = option(0, "steps that a label looks ahead: so much later it is known what it is")
    sort: bool = option(False, "put the rows of each series in the order of time")
    missing: Literal["refuse", "mask"] = option("refuse", "empty cells are an error, or are masked")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_column is not None:
            raise ValueError(f"text_column={self.text_column!r}: series are numbers; name data.target_columns.")
        if bool(self.target_columns) == (self.label_column is not None):
            told = f"target_columns={self.target_columns}, label_column={self.label_column!r}"
            raise ValueError(f"{told}: name one or more columns of numbers to predict, or one column of classes.")
        if self.label_delay < 0:
            raise ValueError(f"label_delay={self.label_delay} must be 0 or more steps.")
        named = [*self.target_columns, *(self.feature_columns or []), *self.known_columns]
        named += [each for each in (self.time_column, self.group_column, self.label_column) if each is not None]
        if twice := [name for name, count in Counter(named).items() if count > 1]:
            raise ValueError(
                f"the column {twice[0]!r} is named for two things. A target is seen up to now without being a "
                "feature; named as known ahead it would show what is to be predicted."
            )

    @property
    def where(self) -> str:
        """The data, as an error names them."""
        return f"data.name={self.name}" if self.path is None else f"data.path={self.path}"


@dataclass(frozen=True)
class Series:
    """One series: T steps, O targets first among C observed columns, K columns that are known ahead."""

    name: str
    steps: np.ndarray  # (T,) the place of each row on the axis of all times
    observed: np.ndarray  # (T, C), nan: missing
    known: np.ndarray  # (T, K)
    labels: np.ndarray  # (T,) classes, -100: none; (0,) where series have targets

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class SeriesTable:
    """The series of a table, and the names of what is in it."""

    where: str
    series: list[Series]
    axis: list[str]  # every time that is in the data, in order, as people write it
    targets: list[str]
    features: list[str]  # without targets
    known: list[str]
    classes: list[str]
    has_time: bool

    @property
    def columns(self) -> list[str]:
        """The names of all columns that a model sees: targets, features, and those known ahead."""
        return [*self.targets, *self.features, *self.known]


def load_series(settings: SeriesDataSettings) -> SeriesTable:
    """Read a table, and check every cell of the columns that count."""
    splits = read_splits(settings, formats=SERIES_FORMATS)
    if len(splits) != 1:
        held = ", ".join(splits)
        raise ValueError(
            f"{settings.where} holds the splits {held}: series are cut by time, so give one table, as in "
            "--data.path=FILE.csv; rows of several files belong in one."
        )
    return read_series(next(iter(splits.values())), settings)


def read_series(rows: Dataset, settings: SeriesDataSettings) -> SeriesTable:
    """Turn a table into series."""
    where = settings.where
    if rows.num_rows < 2:
        raise ValueError(f"{where} holds {rows.num_rows} row(s): a series has two steps or more.")
    features = _feature_columns(rows, settings)
    table = rows.with_format("arrow")[:]
    targets, known, mask = settings.target_columns, settings.known_columns, settings.missing == "mask"
    observed = numbers(table, [*targets, *features], where, allow_missing=mask)
    ahead = numbers(table, known, where, allow_missing=False)
    labels, classes = np.zeros(0, np.int64), list[str]()
    if settings.label_column is not None:
        names = _class_names(rows, settings.label_column)
        labels, classes = label_values(table, settings.label_column, where, names, allow_missing=mask)
    times, written = time_values(table, settings.time_column, where)
    groups = _groups(table, settings.group_column, where)
    parts = {name: _ordered(times, places, name, settings) for name, places in groups.items()}
    if settings.time_column is None:  # every series begins at step 0
        axis = np.arange(max(map(len, parts.values())))
        steps = {name: axis[: len(places)] for name, places in parts.items()}
        shown = list(map(str, axis))
    else:
        axis, first = np.unique(times, return_index=True)
        steps = {name: np.searchsorted(axis, times[places]) for name, places in parts.items()}
        shown = [written[place] for place in first]
    found = [
        Series(name, steps[name], observed[places], ahead[places], labels[places] if len(labels) else labels)
        for name, places in parts.items()
    ]
    _refuse_constant(found, targets, where)
    return SeriesTable(where, found, shown, targets, features, known, classes, settings.time_column is not None)


def _feature_columns(rows: Dataset, settings: SeriesDataSettings) -> list[str]:
    """Check the names of columns, and return those of the features."""
    taken = [*settings.target_columns, *settings.known_columns]
    taken += [
        each for each in (settings.time_column, settings.group_column, settings.label_column) if each is not None
    ]
    for name in [*taken, *(settings.feature_columns or [])]:
        check_known(name, rows.column_names, settings.where, kind="column")
    if settings.feature_columns is not None:
        return settings.feature_columns
    return [name for name in rows.column_names if name not in taken]


def _class_names(rows: Dataset, column: str) -> list[str] | None:
    feature = rows.features[column]
    return feature.names if isinstance(feature, ClassLabel) else None


def _groups(table: pa.Table, column: str | None, where: str) -> dict[str, np.ndarray]:
    """Return the rows of each series, by its name."""
    if column is None:
        return {"": np.arange(table.num_rows)}
    names = table.column(column).to_pylist()
    if None in names or "" in names:
        row = next(place for place, name in enumerate(names) if name in (None, ""))
        raise ValueError(f"{where}, row {row}: column {column!r} is empty; name the series of each row.")
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(str(name), []).append(place)
    return {name: np.array(places) for name, places in found.items()}


def _ordered(times: np.ndarray, places: np.ndarray, name: str, settings: SeriesDataSettings) -> np.ndarray:
    """Return the rows of a series in the order of time; refuse doubles, and what is unsorted unless it is asked to."""
    where, column = settings.where, settings.time_column
    own = f" of the series {name!r}" if name else ""
    if len(places) < 2:
        raise ValueError(f"{where}, row {places[0]}: the only row{own}; a series has two steps or more: leave it out.")
    if column is None:
        return places
    if settings.sort:
        places = places[np.argsort(times[places], kind="stable")]
    apart = np.diff(times[places])
    if (back := np.flatnonzero(apart < 0)).size:
        fault = f"the time in column {column!r} goes back{own}"
        raise ValueError(
            f"{where}, row {places[back[0] + 1]}: {fault}. Sort the rows, set --data.sort=true{_tell_apart(settings)}."
        )
    if (double := np.flatnonzero(apart == 0)).size:
        fault = f"the time in column {column!r} is that of row {places[double[0]]}{own}"
        raise ValueError(
            f"{where}, row {places[double[0] + 1]}: {fault}. Keep one row for each time, or name the column that "
            "tells the series apart, data.group_column."
        )
    usual = float(np.median(apart))
    uneven = np.flatnonzero(np.abs(apart - usual) > _UNEVEN * usual)
    if uneven.size:
        logger.warning(
            "%s: %d of %d steps%s are longer or shorter than the usual one, the first before row %d. A model counts "
            "rows, not time: fill in rows that are missing, or read what follows with care.",
            *(where, uneven.size, len(apart), own, places[uneven[0] + 1]),
        )
    return places


def _tell_apart(settings: SeriesDataSettings) -> str:
    """Say what helps where rows of several series are read as one."""
    return "" if settings.group_column else ", or name the column that tells the series apart, data.group_column"


def _refuse_constant(series: list[Series], targets: list[str], where: str) -> None:
    for column, name in enumerate(targets):
        values = np.concatenate([each.observed[:, column] for each in series])
        values = values[~np.isnan(values)]
        if not len(values):
            raise ValueError(f"{where}: the target column {name!r} has no value; name another one.")
        if np.ptp(values) == 0:
            raise ValueError(
                f"{where}: the target column {name!r} is {values[0]:g} in every row, so there is nothing to predict; "
                "name another one."
            )


def describe(table: SeriesTable) -> dict[str, Any]:
    """Return what a card says of a table: how many series of which lengths, from when to when."""
    lengths = [len(each) for each in table.series]
    return {
        "series": len(lengths),
        "rows": sum(lengths),
        "shortest": min(lengths),
        "longest": max(lengths),
        "first": table.axis[0],
        "last": table.axis[-1],
    }

"""Drawings from the Hub, local files or our own pen: rows of points (dx, dy, pen), checked, and batches of them.

A row has a column of drawings, [[dx, dy, pen], ...], or three columns of numbers, as the stroke-3 sets of sketch-rnn
have them: `dx`, `dy` and `pen_up`, 1 where the pen is lifted behind the point. What is learnt from them is
`input_values`, all points, and `labels`: 0 the pen goes on, 1 the stroke ends, 2 the drawing ends, which is what
follows the last point.

The first point says where a drawing begins, which changes nothing of it. Its offset becomes (0, 0), and its label is
-100: that point is read, and never predicted. A density would put a peak without limit on a number that is always the
same, and its score would say nothing of the drawings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from ..models.base import IGNORED
from ..models.recurrent.stroke_density import DRAWS, ENDS, LIFTS
from ..settings import check_known, option
from .embedded.pen import load_pen_drawings
from .sources import SplitSettings, cut_splits, load_splits

DRAWING: Final = "drawing"
CLASS: Final = "class_ids"
_MOST_CLASSES: Final = 1_000
_LARGEST: Final = float(np.finfo(np.float32).max)
_POINTS: Final = List(List(Value("float32")))


@dataclass
class DrawingSettings(SplitSettings):
    """Which drawings to learn from."""

    drawing_column: str | None = option(
        None, "the column of drawings, [[dx, dy, pen], ...]; null: `drawing`, if it is there"
    )
    point_columns: list[str] = field(
        default_factory=lambda: ["dx", "dy", "pen_up"],
        metadata={"help": "without a column of drawings: those of dx, dy and of 1 where the pen is lifted"},
    )
    class_column: str | None = option(None, "the column of classes, to be able to ask for one; null: none is learnt")
    grid: float | None = option(
        None,
        "offsets are whole multiples of this number: they are spread evenly around each multiple (dequantisation), or "
        "no density would have a limit; null: they are real numbers",
    )
    max_points: int | None = option(None, "training drawings with more points are left out; null: none is")
    max_rows: int | None = option(None, "drawings kept of each split, drawn with `seed`")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_rows", "max_points"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1; null keeps every drawing.")
        if self.text_column is not None:
            raise ValueError(f"text_column={self.text_column!r}: drawings have no texts; name drawing_column.")
        if self.grid is not None and not 0 < self.grid < math.inf:
            raise ValueError(f"grid={self.grid} must be a number above 0; null where offsets are real numbers.")
        if len(self.point_columns) != 3 or len(set(self.point_columns)) < 3:
            raise ValueError(f"point_columns={self.point_columns} must name three columns: of dx, dy and the pen.")


class StrokesTask(NamedTuple):
    """Prepared drawings.

    Attributes:
        dataset: Columns `drawing`, (points, 3) with pens 0, 1 and at the end 2, and perhaps `class_ids`.
        class_names: Of the classes; None: there are none.
    """

    dataset: DatasetDict
    class_names: list[str] | None

    def drawings(self, split: str) -> list[np.ndarray]:
        """Return the drawings of a split, (points, 3) each."""
        return [np.asarray(each, dtype=np.float64) for each in self.dataset[split][DRAWING][:]]

    def points(self, split: str) -> int:
        """Count the points of a split."""
        return sum(map(len, self.dataset[split][DRAWING][:]))


def load_strokes(settings: DrawingSettings) -> StrokesTask:
    """Load drawings, check every point, and cut a validation split off train where there is none."""
    if settings.path is None and settings.name == "embedded":
        splits: dict[str, Dataset] = dict(load_pen_drawings(settings.seed))
    else:
        splits = load_splits(settings)
    dataset = DatasetDict(splits)
    for split, rows in dataset.items():
        if rows.num_rows == 0:
            raise ValueError(f"Split {split!r} is empty; give rows, or choose other splits with data.splits.")
    cut_splits(dataset, settings, settings.max_rows)
    names = None if settings.class_column is None else _class_names(dataset, settings.class_column)
    return StrokesTask(
        DatasetDict({split: _prepared(rows, split, settings, names) for split, rows in dataset.items()}), names
    )


def _prepared(rows: Dataset, split: str, settings: DrawingSettings, names: list[str] | None) -> Dataset:
    """Return the columns of `StrokesTask`."""
    rng = np.random.default_rng([settings.seed, *split.encode()])  # of each split its own
    made: dict[str, list[Any]] = {DRAWING: []}
    features: dict[str, Any] = {DRAWING: _POINTS}
    if names is not None:
        made[CLASS], features[CLASS] = (
            _numbers(rows, split, str(settings.class_column), names),
            ClassLabel(names=names),
        )
    most = settings.max_points if split == "train" else None
    kept = []
    for place, points in enumerate(_raw(rows, split, settings)):
        drawing = check_drawing(points, f"Split {split!r}, row {place}")
        if most is None or len(drawing) <= most:
            kept.append(place)
            made[DRAWING].append(_on_grid(drawing, settings.grid, rng, f"Split {split!r}, row {place}"))
    if not kept:
        raise ValueError(
            f"Split {split!r}: no drawing has {most} points or fewer (data.max_points); give a larger one."
        )
    if max(map(len, made[DRAWING])) < 2:
        raise ValueError(
            f"Split {split!r}: every drawing has one point, where it begins; there is nothing to predict."
        )
    if names is not None:
        made[CLASS] = [made[CLASS][place] for place in kept]
    return Dataset.from_dict(made, Features(features))


def _raw(rows: Dataset, split: str, settings: DrawingSettings) -> Iterator[Any]:
    """Yield what each row says of its points."""
    column = settings.drawing_column or (DRAWING if DRAWING in rows.column_names else None)
    if column is not None:
        check_known(column, rows.column_names, f"split {split!r}", kind="data.drawing_column")
        yield from rows[column][:]
        return
    for name in settings.point_columns:
        check_known(name, rows.column_names, f"split {split!r}", kind="data.point_columns")
    for place, numbers in enumerate(zip(*(rows[name][:] for name in settings.point_columns), strict=True)):
        lengths = [len(each) if isinstance(each, list) else None for each in numbers]
        if None in lengths or len(set(lengths)) > 1:
            told = ", ".join(f"{name} {count}" for name, count in zip(settings.point_columns, lengths, strict=True))
            raise ValueError(f"Split {split!r}, row {place}: its columns have different numbers of points ({told}).")
        yield list(zip(*numbers, strict=True))


def check_drawing(points: Any, where: str) -> np.ndarray:
    """Return (points, 3) numbers that begin at (0, 0) and end with the pen 2; a ValueError says what is wrong."""
    if points is None or len(points) == 0:
        raise ValueError(f"{where} has no points: remove such rows.")
    try:
        given = np.array(points)  # without a type: numpy reads "1" as a number where it is told to
        drawing = given.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is no row of points, three numbers each: dx, dy and the pen.") from error
    if given.dtype.kind not in "iuf":
        raise ValueError(f"{where}: its points must be numbers (dx, dy, pen), and they are {given.dtype}.")
    if drawing.ndim != 2 or drawing.shape[1] != 3:
        width = f"{drawing.shape[1]} numbers each" if drawing.ndim == 2 else f"the shape {drawing.shape}"
        raise ValueError(f"{where}: its points must be three numbers each (dx, dy, pen), and they have {width}.")
    broken = ~(np.abs(drawing) <= _LARGEST).all(axis=1)  # NaN is broken too
    if broken.any():
        place = int(broken.argmax())
        raise ValueError(
            f"{where}, point {place}: {drawing[place].tolist()} is not finite in 32 bits; correct or remove the row."
        )
    pens = drawing[:, 2]
    wrong = ~np.isin(pens, (DRAWS, LIFTS)) & ~((pens == ENDS) & (np.arange(len(pens)) == len(pens) - 1))
    if wrong.any():
        place = int(wrong.argmax())
        raise ValueError(
            f"{where}, point {place}: the pen is {pens[place]:g}, and must be 0 (it goes on) or 1 (it is lifted); the "
            "last point may have 2 (the drawing ends)."
        )
    drawing[0, :2], drawing[-1, 2] = 0.0, ENDS
    return drawing


def _on_grid(drawing: np.ndarray, grid: float | None, rng: np.random.Generator, where: str) -> np.ndarray:
    if grid is None:
        return drawing
    counted = drawing[:, :2] / grid
    off = np.abs(counted - counted.round()).max(axis=1) > 1e-6
    if off.any():
        place = int(off.argmax())
        raise ValueError(
            f"{where}, point {place}: {drawing[place, :2].tolist()} are no multiples of data.grid={grid}."
        )
    spread = rng.uniform(-0.5, 0.5, counted.shape)
    spread[0] = 0.0  # where the drawing begins
    return np.concatenate(((counted.round() + spread) * grid, drawing[:, 2:]), axis=1)


def _class_names(dataset: DatasetDict, column: str) -> list[str]:
    """Return the names of the classes that train shows."""
    for split, rows in dataset.items():
        check_known(column, rows.column_names, f"split {split!r}", kind="data.class_column")
    feature = dataset["train"].features[column]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    if not isinstance(feature, Value) or feature.dtype.startswith("float"):
        raise ValueError(f"data.class_column={column!r} holds {feature}, not one class a drawing.")
    names = sorted({str(value) for value in dataset["train"][column][:] if value is not None})
    if len(names) > _MOST_CLASSES:
        raise ValueError(
            f"data.class_column={column!r} holds {len(names):,} classes, and {_MOST_CLASSES:,} are allowed."
        )
    return names


def _numbers(rows: Dataset, split: str, column: str, names: Sequence[str]) -> list[int]:
    values, feature = rows[column][:], rows.features[column]
    known = {name: place for place, name in enumerate(names)}
    for place, value in enumerate(values):
        if value is None or (isinstance(feature, ClassLabel) and value < 0):
            raise ValueError(
                f"Split {split!r}, row {place}: {column!r} is {value}, no class; correct or remove the row."
            )
    if isinstance(feature, ClassLabel):
        values = [feature.names[value] for value in values]
    for place, value in enumerate(values):
        if str(value) not in known:
            raise ValueError(
                f"Split {split!r}, row {place}: the class {value!r} of {column!r} is not among those of train."
            )
    return [known[str(value)] for value in values]


def offset_scale(drawings: Sequence[np.ndarray]) -> float:
    """Return the root mean square of the offsets behind the first points: what a network divides them by."""
    offsets = np.concatenate([each[1:, :2] for each in drawings])
    scale = float(np.sqrt(np.square(offsets).mean())) if len(offsets) else 0.0
    if scale == 0:
        raise ValueError("No pen moves: behind their first points, all offsets of the training drawings are 0.")
    return scale


def make_rows(dataset: DatasetDict) -> DatasetDict:
    """Turn drawings into rows to train on: `input_values`, `labels`, perhaps `class_ids`, and `length`."""
    return DatasetDict({split: _rows(rows) for split, rows in dataset.items()})


def _rows(rows: Dataset) -> Dataset:
    drawings = rows[DRAWING][:]
    made: dict[str, Any] = {
        "input_values": drawings,
        "labels": [[IGNORED, *(int(point[2]) for point in points[1:])] for points in drawings],
        "length": [len(points) for points in drawings],
    }
    features = {"input_values": _POINTS, "labels": List(Value("int8")), "length": Value("int32")}
    if CLASS in rows.column_names:
        made[CLASS], features[CLASS] = rows[CLASS][:], rows.features[CLASS]
    return Dataset.from_dict(made, Features(features))


class StrokesCollator:
    """Make padded batches of drawings.

    Args:
        padding_side: On which side of a short drawing zeros are added; it changes no answer.
    """

    def __init__(self, padding_side: str = "right") -> None:
        if padding_side not in ("right", "left"):
            raise ValueError(f"padding_side={padding_side!r} must be 'right' or 'left'.")
        self.padding_side = padding_side

    def __call__(self, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Pad rows of `make_rows`, or plain drawings (points, 3), to one batch.

        Returns:
            `input_values` (B, T, 3), `attention_mask` (B, T), `labels` (B, T), and `class_ids` (B,) if the rows
            have them.
        """
        if len(rows) == 0:
            raise ValueError("There is no drawing to make a batch of: give one or more.")
        given = [row if isinstance(row, dict) else _row_of(row, place) for place, row in enumerate(rows)]
        values = [np.asarray(row["input_values"], dtype=np.float32) for row in given]
        longest = max(map(len, values))
        batch: dict[str, np.ndarray] = {
            "input_values": np.zeros((len(given), longest, 3), dtype=np.float32),
            "attention_mask": np.zeros((len(given), longest), dtype=np.int64),
            "labels": np.full((len(given), longest), IGNORED, dtype=np.int64),
        }
        for place, (row, points) in enumerate(zip(given, values, strict=True)):
            own = slice(len(points)) if self.padding_side == "right" else slice(longest - len(points), None)
            batch["input_values"][place, own] = points
            batch["attention_mask"][place, own] = 1
            batch["labels"][place, own] = row["labels"]
        if CLASS in given[0]:
            batch[CLASS] = np.array([row[CLASS] for row in given], dtype=np.int64)
        return {name: torch.from_numpy(value) for name, value in batch.items()}


def _row_of(drawing: Any, place: int) -> dict[str, Any]:
    checked = check_drawing(drawing, f"Drawing {place}")
    return {"input_values": checked, "labels": [IGNORED, *checked[1:, 2].astype(int)]}


__all__ = ["DrawingSettings", "StrokesCollator", "StrokesTask", "load_strokes"]

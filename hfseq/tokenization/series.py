"""Series of numbers made ready for a model, as a tokenizer does it with texts: scaled, padded, with gaps marked.

    v' = (v - mean) / std           of each column, as they are in the training split and nowhere else
    missing="mask":  [v'; m]        m = 1 where a number is known; where it is not, v' = 0, the mean, and m = 0

The statistics are learnt once, by `fit`, and kept in `preprocessor_config.json` beside the model, so that whoever
loads both gives numbers in the units of the data and gets predictions in these units (`restore`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import logging

logger = logging.get_logger(__name__)

Series = Any
"""(T, F) numbers: an array, a tensor, or lists; (T) does where F = 1."""


class SeriesFeatureExtractor(SequenceFeatureExtractor):
    """Makes `input_values` (B, T, feature_size) and `attention_mask` (B, T) of series.

    Args:
        feature_size: Numbers of a step as the model reads them (`config.feature_size`): with missing="mask" twice the
            number of columns.
        mean: Of each column.
        std: Of each column.
        target_mean: Of each number that is predicted; None: they are the columns.
        target_std: Of each number that is predicted.
        columns: Names of the columns, for messages and for input by names.
        targets: Names of what is predicted.
        missing: What to do with NaN: "refuse" it, or "mask" it.
        max_length: Where `truncation` cuts; the last steps are kept, which are the newest.
        **kwargs: `padding_side`, `padding_value`, `return_attention_mask`.
    """

    model_input_names = ["input_values", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 1,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        target_mean: Sequence[float] | None = None,
        target_std: Sequence[float] | None = None,
        columns: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
        missing: Literal["refuse", "mask"] = "refuse",
        max_length: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("sampling_rate", None)  # saved by transformers; series have steps, not hertz
        super().__init__(feature_size, 1, kwargs.pop("padding_value", 0.0), **kwargs)
        if missing not in ("refuse", "mask"):
            raise ValueError(f"missing={missing!r} is not one of 'refuse' and 'mask'.")
        if missing == "mask" and feature_size % 2:
            raise ValueError(
                f"feature_size={feature_size} with missing='mask' must be even: each column comes with its mask."
            )
        self.missing, self.max_length = missing, max_length
        self.mean = _numbers("mean", mean, 0.0, self.num_columns)
        self.std = _numbers("std", std, 1.0, self.num_columns, least=0.0)
        size = None if target_mean is None else len(target_mean)
        self.target_mean = None if size is None else _numbers("target_mean", target_mean, 0.0, size)
        self.target_std = None if size is None else _numbers("target_std", target_std, 1.0, size, least=0.0)
        for name, names, count in (("columns", columns, self.num_columns), ("targets", targets, size)):
            if names is not None and count is not None and len(names) != count:
                raise ValueError(f"{name}={list(names)} must be {count} names.")
        self.columns = None if columns is None else list(columns)
        self.targets = None if targets is None else list(targets)

    @property
    def num_columns(self) -> int:
        """How many numbers a step has in the data."""
        return self.feature_size // 2 if self.missing == "mask" else self.feature_size

    @classmethod
    def fit(
        cls,
        series: Sequence[Series],
        targets: Sequence[Series] | None = None,
        *,
        column_names: Sequence[str] | None = None,
        target_names: Sequence[str] | None = None,
        missing: Literal["refuse", "mask"] = "refuse",
        **kwargs: Any,
    ) -> "SeriesFeatureExtractor":
        """Learn the statistics of series, which must be those of the training split alone.

        Args:
            series: (T, F) each.
            targets: (T, O) each, of what is predicted; None: the columns themselves.
            column_names: Of the F columns.
            target_names: Of the O numbers.
            missing: As in the class.
            **kwargs: Of the class.
        """
        mean, std = learn_scale(series, "column", column_names, allow_missing=missing == "mask")
        found: dict[str, Any] = {"mean": mean, "std": std, "columns": column_names, "missing": missing}
        if targets is not None:
            scale = learn_scale(targets, "target", target_names, allow_missing=True)
            found |= dict(zip(("target_mean", "target_std"), scale, strict=True)) | {"targets": target_names}
        return cls(feature_size=len(mean) * (2 if missing == "mask" else 1), **found, **kwargs)

    def __call__(
        self,
        series: Series | Sequence[Series],
        padding: bool | str = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Scale series, and pad them to one length.

        Args:
            series: One or several, each (T, F) numbers or a mapping of column names to (T) numbers.
            padding: As in transformers; True: to the longest one.
            truncation: Keep the last `max_length` steps.
            max_length: None: that of the extractor.
            return_tensors: "pt" or "np".
            **kwargs: Of `pad`.
        """
        several = [series] if self._is_one(series) else list(series)
        if not several:
            raise ValueError("There is no series: give one or more.")
        scaled = [self.scale(self._as_rows(each, place), place) for place, each in enumerate(several)]
        longest = self.max_length if max_length is None else max_length
        if truncation:
            if longest is None:
                raise ValueError("truncation=True needs max_length, in the call or in the extractor.")
            # The newest steps, where transformers' own truncation keeps the oldest.
            scaled = [each[-longest:] for each in scaled]
        batch = BatchFeature({"input_values": scaled})
        return self.pad(
            batch,
            padding=padding,
            max_length=longest if padding == "max_length" else None,
            return_tensors=return_tensors,
            **kwargs,
        )

    def scale(self, rows: np.ndarray, place: int = 0) -> np.ndarray:
        """Return (T, feature_size) float32 of (T, columns) numbers; `place` names the series in messages."""
        if not len(rows):
            raise ValueError(f"Series {place} has no step: give it at least one.")
        rows = np.asarray(rows, dtype=np.float64)
        missing = np.isnan(rows)
        self._check_finite(rows, missing, place)
        scaled = (np.where(missing, 0.0, rows) - self.mean) / self.std
        if self.missing == "mask":
            scaled = np.concatenate([np.where(missing, 0.0, scaled), ~missing], axis=1)
        return scaled.astype(np.float32)

    def scale_targets(self, targets: np.ndarray) -> np.ndarray:
        """Return (..., O) numbers of the data as the model learns them; NaN stays NaN."""
        mean, std = self._target_scale()
        return ((np.asarray(targets, dtype=np.float64) - mean) / std).astype(np.float32)

    def restore(self, predictions: Any) -> np.ndarray:
        """Return (..., O) predictions of the model in the units of the data."""
        mean, std = self._target_scale()
        return np.asarray(predictions, dtype=np.float64) * std + mean

    def _target_scale(self) -> tuple[np.ndarray, np.ndarray]:
        if self.target_mean is None or self.target_std is None:
            return np.asarray(self.mean), np.asarray(self.std)
        return np.asarray(self.target_mean), np.asarray(self.target_std)

    def _is_one(self, series: Any) -> bool:
        """Tell one series from several."""
        if isinstance(series, Mapping) or hasattr(series, "columns"):
            return True
        if hasattr(series, "ndim"):
            return series.ndim == 2 or (series.ndim == 1 and np.asarray(series).dtype != object)
        if len(series) == 0:
            return False
        first = series[0]
        if isinstance(first, Mapping) or hasattr(first, "columns"):
            return False
        depth = _depth(first)
        if depth == 0:  # numbers: one series of one column
            return True
        # A list of steps is one series, a list of lists of steps several; with one column (T,) lists are several.
        return depth == 1 and not (self.num_columns == 1 and len(first) != 1)

    def _as_rows(self, series: Any, place: int) -> np.ndarray:
        """Return (T, columns) of one series."""
        if isinstance(series, Mapping) or hasattr(series, "columns"):
            series = self._by_names(series, place)
        try:
            rows = np.asarray(series.detach().cpu() if hasattr(series, "detach") else series, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Series {place} is not made of numbers, or its steps differ in length: {error}"
            ) from error
        rows = rows[:, None] if rows.ndim == 1 and (self.num_columns == 1 or not rows.size) else rows
        if rows.size == 0:
            return np.zeros((0, self.num_columns))
        if rows.ndim != 2 or rows.shape[1] != self.num_columns:
            names = f": {', '.join(self.columns)}" if self.columns else ""
            raise ValueError(
                f"Series {place} has the shape {rows.shape}, and this model reads steps of {self.num_columns} "
                f"numbers{names}. Give it (steps, {self.num_columns})."
            )
        return rows

    def _by_names(self, series: Any, place: int) -> np.ndarray:
        if self.columns is None:
            raise ValueError("This extractor knows no names of columns: give it arrays, or fit it with column_names.")
        absent = [name for name in self.columns if name not in series]
        if absent:
            raise ValueError(f"Series {place} lacks the columns {absent}; it has {list(series)}.")
        return np.stack([np.asarray(series[name], dtype=np.float64) for name in self.columns], axis=1)

    def _check_finite(self, rows: np.ndarray, missing: np.ndarray, place: int) -> None:
        wrong = np.isinf(rows) if self.missing == "mask" else ~np.isfinite(rows)
        if wrong.any():
            step, column = np.argwhere(wrong)[0]
            name = f"column {self.columns[column]!r}" if self.columns else f"column {column}"
            cure = "" if np.isinf(rows[step, column]) else ", or make the extractor with missing='mask'"
            raise ValueError(f"Series {place} has {rows[step, column]} in {name}, step {step}: mend the data{cure}.")
        if missing.all():
            raise ValueError(f"Series {place} has no number at all: leave it out.")

    def _pad(self, processed_features: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # With one number a step transformers takes a series for (T), and would pad its columns too.
        values = processed_features["input_values"]
        if self.feature_size > 1 or np.ndim(values) == 1:
            return super()._pad(processed_features, *args, **kwargs)
        padded = super()._pad({**processed_features, "input_values": values[:, 0]}, *args, **kwargs)
        return {**padded, "input_values": padded["input_values"][:, None]}


def _depth(value: Any) -> int:
    """Return how many lists lie in one another, also where their lengths differ."""
    if hasattr(value, "ndim"):
        return int(value.ndim)
    if isinstance(value, list | tuple):
        return 1 + (_depth(value[0]) if value else 0)
    return 0


def learn_scale(
    series: Sequence[Series], what: str, names: Sequence[str] | None, *, allow_missing: bool
) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each column over all series, without what is missing.

    A column that never changes gets the standard deviation 1: it is told of, and becomes 0.
    """
    if not len(series):
        raise ValueError("There is no series to learn the statistics of: give the training split.")
    rows = np.concatenate([_column_rows(each) for each in series])
    if names is not None and len(names) != rows.shape[1]:
        raise ValueError(f"{list(names)} must be {rows.shape[1]} names, one a {what}.")
    wrong = np.isinf(rows) if allow_missing else ~np.isfinite(rows)
    if wrong.any():
        step, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{what} {_named(names, column)} holds {rows[step, column]}: mend the data"
            f"{', or use missing=' + repr('mask') if np.isnan(rows[step, column]) else ''}."
        )
    known = (~np.isnan(rows)).sum(0)
    if not known.all():
        raise ValueError(f"{what} {_named(names, int(known.argmin()))} has no number at all: leave it out.")
    mean, std = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    # Relative to its size: the spread of a constant that is no binary fraction is rounding.
    still = std <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    for column in np.flatnonzero(still):
        logger.warning(f"{what} {_named(names, column)} is always {mean[column]:g}: a model learns nothing from it.")
    return mean.tolist(), np.where(still, 1.0, std).tolist()


def _column_rows(series: Series) -> np.ndarray:
    rows = np.asarray(series, dtype=np.float64)
    return rows[:, None] if rows.ndim == 1 else rows


def _named(names: Sequence[str] | None, column: Any) -> str:
    return str(int(column)) if names is None else repr(names[int(column)])


def _numbers(
    name: str, given: Sequence[float] | None, usual: float, size: int, *, least: float = -np.inf
) -> list[float]:
    """Return one number a column, the usual one where none were given; each above `least`."""
    values = [usual] * size if given is None else [float(value) for value in given]
    if len(values) != size or not np.isfinite(values).all() or min(values) <= least:
        above = "" if least == -np.inf else f" above {least:g}"
        raise ValueError(f"{name}={values} must be {size} finite numbers{above}, one a column.")
    return values


__all__ = ["SeriesFeatureExtractor"]

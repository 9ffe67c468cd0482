"""The pipeline of forecasts, for which transformers has none; `import hfseq` registers it.

pipe = pipeline("series-forecasting", model="user/demand")
pipe([12.5, 17.0, 16.0])                            # {"forecast": [15.2], "lower": [13.0], "upper": [17.9]}
pipe({"sales": [...], "holiday": [...]}, known={"holiday": [0, 1]})     # what is known of the steps that come
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch
from transformers import Pipeline, PreTrainedModel

from ..tokenization.known_ahead import with_known

_HEAD = "ForSeriesPrediction"
_DRAWN = 400  # futures, from which intervals beyond the steps of the model are read


class SeriesForecastingPipeline(Pipeline):
    """Says what follows the last step of a series, in the units of the data.

    A frame with the columns of the training table may have its time, which must not go back, and the names of its
    series, which must be one.

    A series is a list of numbers (where a step is one number), a list of steps, an array or tensor (steps, columns), a
    dict or a pandas frame of columns; oldest step first. Several of them are a list, and get a list of answers. An
    answer is a dict:

    - `forecast`: what is expected of each step that comes: a number each, or with several targets a list each;
    - `lower` and `upper`: the interval around it, where the model says more than one number;
    - `quantiles`: of a model of quantiles, each of them by its share; beyond the steps of the model they are None, as
      are `lower` and `upper` there (a Gaussian or a mixture has them, from futures that are drawn);
    - `targets`: the names of what is predicted, where the model knows them.

    Parameters, here or in a call: `known`, the columns that are known ahead, for the steps that come, of each series
    (a dict or frame of columns, or (steps, columns)); `interval`, the share of what comes that the interval shall hold
    (0.8); `steps`, how many to predict (those of the model); `batch_size`.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = True
    _load_tokenizer: Any = False
    model: Any
    feature_extractor: Any

    def __init__(self, model: PreTrainedModel, *, feature_extractor: Any = None, **kwargs: Any) -> None:
        saved = (getattr(model.config, "architectures", None) or [type(model).__name__])[0]
        if not saved.endswith(_HEAD) or not hasattr(model, "forecast"):
            raise ValueError(
                f"The task series-forecasting needs a model that predicts numbers, such as LSTM{_HEAD}; this one was "
                f"saved as {saved}."
            )
        if not hasattr(feature_extractor, "restore"):
            raise ValueError(
                "The task series-forecasting needs the SeriesFeatureExtractor that was saved beside the model "
                f"(preprocessor_config.json), got {type(feature_extractor).__name__}."
            )
        super().__init__(model, feature_extractor=feature_extractor, **kwargs)
        self.known: list[str] = list(getattr(feature_extractor, "known_columns", None) or [])
        self.horizon: int = model.config.prediction_length
        self.seen: int = feature_extractor.num_columns - len(self.known) * self.horizon
        names = feature_extractor.columns
        self.names = None if names is None else [*names[: self.seen], *self.known]

    @property
    def width(self) -> int:
        """How many columns a step has."""
        return self.seen + len(self.known)

    def _sanitize_parameters(
        self, interval: float | None = None, steps: int | None = None, **pipeline_parameters: Any
    ) -> Any:
        if pipeline_parameters:
            named = ", ".join(pipeline_parameters)
            raise TypeError(
                f"series-forecasting has the parameters known, interval and steps, and none named {named}."
            )
        if interval is not None and not 0 < interval < 1:
            raise ValueError(f"interval={interval!r} must be a share between 0 and 1, such as 0.8.")
        if interval is not None and not self._reaches(interval):
            shares = getattr(self.model.density, "shares", None)
            told = "one number and no interval" if shares is None else f"the quantiles {list(shares)} and none beyond"
            raise ValueError(
                f"interval={interval!r}: this model has learnt {told}. Leave interval out, or train with "
                "--model.distribution=gaussian."
            )
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ValueError(f"steps={steps!r} must be a number from 1 up.")
        return {}, {} if steps is None else {"steps": steps}, {} if interval is None else {"interval": interval}

    def __call__(self, inputs: Any, known: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Predict what follows a series, or each of several."""
        if self._is_one(inputs):
            return super().__call__([{"series": inputs, "known": known, "place": 0}], **kwargs)[0]
        series = list(inputs)
        if _has_columns(known):
            raise ValueError(f"known is one table for {len(series)} series: give a list with one dict each.")
        ahead = [None] * len(series) if known is None else list(known)
        if len(ahead) != len(series):
            raise ValueError(f"known holds {len(ahead)} entries for {len(series)} series: give one each.")
        items = [
            {"series": each, "known": own, "place": place}
            for place, (each, own) in enumerate(zip(series, ahead, strict=True))
        ]
        return super().__call__(items, **kwargs)

    def _is_one(self, inputs: Any) -> bool:
        """Tell one series from several."""
        if inputs is None or isinstance(inputs, str | bytes):
            raise TypeError(f"series-forecasting takes numbers, got {inputs!r:.60}.")
        if _has_columns(inputs):
            return True
        if hasattr(inputs, "ndim"):
            return int(inputs.ndim) < 3
        if not isinstance(inputs, Sequence):
            raise TypeError(f"series-forecasting takes a series or a list of them, got {type(inputs).__name__}.")
        if not len(inputs):
            raise ValueError("There is no series: give one with a step or more.")
        first = inputs[0]
        if _has_columns(first) or isinstance(first, str | bytes):
            return not _has_columns(first)
        if np.ndim(first) != 1:  # numbers are one series, tables several
            return np.ndim(first) == 0
        # Lists of numbers are the steps of one series, or with one column several series.
        return self.width > 1 or len(first) == 1

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> Any:
        """Make a series the model's input."""
        place = input_["place"]
        self._check_rows(input_["series"], f"Series {place}")
        rows = self._rows(input_["series"], self.names, self.width, f"Series {place}")
        observed, known = rows[:, : self.seen], rows[:, self.seen :]
        if self.known:
            known = np.concatenate([known, self._ahead(input_["known"], place)])
            if not np.isfinite(known).all():
                step = int(np.argwhere(~np.isfinite(known))[0][0])
                raise ValueError(
                    f"Series {place}, step {step}: a column that is known ahead has no value; fill it in."
                )
        elif input_["known"] is not None:
            raise ValueError("known was given, and this model knows no column ahead: leave it out.")
        read = with_known(observed, known, self.horizon)
        longest = self.feature_extractor.max_length
        return dict(self.feature_extractor(read, truncation=longest is not None, return_tensors="pt"))

    def _check_rows(self, series: Any, what: str) -> None:
        """Refuse a table of several series, or one whose time goes back."""
        group, time = (getattr(self.feature_extractor, f"{name}_column", None) for name in ("group", "time"))
        if not _has_columns(series):
            return
        if group in series and len(names := dict.fromkeys(map(str, np.atleast_1d(series[group])))) > 1:
            raise ValueError(
                f"{what} has the rows of {len(names)} series in column {group!r} ({', '.join(list(names)[:3])}, ...): "
                f"give one, as in rows[rows[{group!r}] == {next(iter(names))!r}], or a list of them."
            )
        if time in series and (np.diff(_as_times(series[time])) < 0).any():
            raise ValueError(f"{what}: the time in column {time!r} goes back; give the oldest step first.")

    def _ahead(self, known: Any, place: int) -> np.ndarray:
        names = ", ".join(self.known)
        if known is None:
            raise ValueError(
                f"Series {place}: this model is told {names} of the {self.horizon} steps that come: give them as "
                f"known, {self.horizon} rows."
            )
        rows = self._rows(known, self.known, len(self.known), f"known of series {place}")
        if len(rows) != self.horizon:
            raise ValueError(
                f"known of series {place} has {len(rows)} rows, and {self.horizon} steps are predicted: give one each."
            )
        return rows

    def _rows(self, series: Any, names: list[str] | None, width: int, what: str) -> np.ndarray:
        """Return (steps, width) numbers, columns in the order of their names."""
        if _has_columns(series):
            if names is None:
                raise ValueError(f"{what} has named columns, and this model knows no names: give (steps, {width}).")
            absent = [name for name in names if name not in series]
            if absent:
                raise ValueError(f"{what} lacks the columns {absent}; it has {list(series)}.")
            if alone := [name for name in names if np.ndim(series[name]) == 0]:
                raise ValueError(
                    f"{what}, column {alone[0]!r} is {series[alone[0]]!r:.60}: give a list, a number for each step."
                )
            lengths = {name: len(series[name]) for name in names}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"{what} has columns of several lengths, {lengths}: each step needs all of them.")
            series = np.column_stack([_numbers(series[name], f"{what}, column {name!r}") for name in names])
        rows = _numbers(series, what)
        rows = rows[:, None] if rows.ndim == 1 and width == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != width:
            told = f": {', '.join(names)}" if names else ""
            raise ValueError(
                f"{what} has the shape {rows.shape}, and this model reads steps of {width} number(s){told}. Give it "
                f"(steps, {width})."
            )
        if not len(rows):
            raise ValueError(f"{what} has no step: give one or more.")
        return rows

    def _forward(self, input_tensors: Any, steps: int | None = None) -> Any:  # type: ignore[override]
        told = self.model.forecast(input_tensors["input_values"], input_tensors.get("attention_mask"), steps=steps)
        found = {"prediction": told.prediction, "parameters": told.parameters}
        if steps is not None and steps > self.horizon and self.model.config.distribution in ("gaussian", "mixture"):
            found["samples"] = self._draw(steps, **input_tensors)
        return found

    def _draw(self, steps: int, input_values: Any, attention_mask: Any = None) -> torch.Tensor:
        """Draw futures (B, S, N, O), the same ones for a series alone and among others."""
        found = []
        for row in range(len(input_values)):
            own = slice(row, row + 1)
            told = self.model.forecast(
                input_values[own],
                None if attention_mask is None else attention_mask[own],
                steps=steps,
                num_samples=_DRAWN,
                generator=torch.Generator(input_values.device).manual_seed(0),
            )
            found.append(told.samples[:, 0])
        return torch.stack(found)

    def postprocess(self, model_outputs: Any, interval: float = 0.8) -> Any:  # type: ignore[override]
        """Write numbers in the units of the data."""
        answer: dict[str, Any] = {"forecast": self._told(model_outputs["prediction"][0].float())}
        if self._reaches(interval):
            for name, share in _ends(interval).items():
                answer[name] = self._quantile(model_outputs, share)
        if (shares := getattr(self.model.density, "shares", None)) is not None:
            answer["quantiles"] = {share: self._quantile(model_outputs, share) for share in shares}
        if self.feature_extractor.targets is not None:
            answer["targets"] = list(self.feature_extractor.targets)
        return answer

    def _reaches(self, interval: float) -> bool:
        """Tell whether the model says an interval that holds this share."""
        if self.model.config.distribution != "quantile":
            return bool(self.model.config.distribution != "point")
        shares, ends = self.model.density.shares, _ends(interval)
        return bool(shares[0] <= ends["lower"] and ends["upper"] <= shares[-1])

    def _quantile(self, model_outputs: Any, share: float) -> list[Any]:
        """Return a quantile of each step; beyond those of the model that of what was drawn, or None."""
        parameters = model_outputs["parameters"][0].float()
        told = self._told(self.model.density.quantile(parameters[: self.horizon], share))
        if len(parameters) <= self.horizon:
            return told
        if "samples" in model_outputs:
            drawn = model_outputs["samples"][0, :, self.horizon :].float()
            return told + self._told(drawn.quantile(share, dim=0))
        nothing = None if parameters.shape[1] == 1 else [None] * parameters.shape[1]
        return told + [nothing] * (len(parameters) - self.horizon)

    def _told(self, numbers: Any) -> list[Any]:
        restored = self.feature_extractor.restore(numbers.cpu().numpy())
        found: list[Any] = (restored[:, 0] if restored.shape[1] == 1 else restored).tolist()
        return found


def _ends(interval: float) -> dict[str, float]:
    return {"lower": round((1 - interval) / 2, 9), "upper": round((1 + interval) / 2, 9)}  # 0.1, not 0.0999...


def _as_times(values: Any) -> np.ndarray:
    """Return times as numbers that grow with them; nan where that is not told."""
    values = np.atleast_1d(np.asarray(values))
    if values.dtype.kind in "iuf":
        return values.astype(float)
    if values.dtype.kind == "M":
        return np.where(np.isnat(values), np.nan, values.astype("datetime64[ns]").astype(np.int64) / 1e9)
    return np.array([_seconds(value) for value in values])


def _seconds(value: Any) -> float:
    """Return a date as seconds; nan where it is none."""
    try:
        date = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp()
    except ValueError:  # a text that is no date, or the date that pandas has for none
        return float("nan")


def _has_columns(series: Any) -> bool:
    return isinstance(series, Mapping) or hasattr(series, "columns")


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        rows = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
        found = None if rows.dtype.kind in "mM" else np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not made of numbers, or its steps differ in length: {error}") from error
    if found is None:
        raise ValueError(f"{what} holds times, and this model reads numbers: leave that column out.")
    return found

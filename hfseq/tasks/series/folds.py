"""One cut in time: what is learnt before it, how the model is trained on it, and what is measured after it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.trainer_utils import set_seed

from ...data.series import SeriesTable
from ...data.series_windows import Span, Windows, windows_in
from ...data.walk_forward import Fold, check_no_look_ahead, rows_in
from ...evaluation.language import evaluating
from ...evaluation.scores import compute_score
from ...evaluation.series import INTERVAL, Forecasts, find_period, forecast_scores, naive_scale
from ...models.base import IGNORED
from ...recipe.sections import build_model, label_options
from ...tokenization.known_ahead import known_names, with_known
from ...tokenization.series import SeriesFeatureExtractor, learn_scale
from ...training.series import (
    SeriesArrays,
    SeriesStreams,
    SeriesTrainer,
    SeriesTrainingArguments,
    SeriesWholes,
    SeriesWindows,
    pad_windows,
)
from .card import OF_LABELS, TASK
from .facts import SCORES_OF_LABELS
from .rivals import Parts, forecast_rivals, label_rivals
from .settings import SeriesSettings

_LONGEST_PERIOD = 400  # steps that are looked at
_BATCH = 64


@dataclass(frozen=True)
class PreparedFold:
    """The windows of a cut, and their numbers as the model reads them."""

    fold: Fold
    train: Windows  # that the model learns from, `train_stride` rows apart; each step of a window teaches it
    parts: Parts  # for the simple systems, whose training windows begin at every row: they learn from last steps alone
    arrays: SeriesArrays
    extractor: SeriesFeatureExtractor


@dataclass(frozen=True)
class FoldResult:
    """What was measured after a cut."""

    fold: Fold
    windows: int
    metrics: dict[str, float]
    rivals: dict[str, dict[str, float]]  # name of a simple system -> its scores
    expected: np.ndarray  # (n, H, O) numbers, or (n,) classes
    told: Any  # Forecasts, or (n,) classes
    answers: dict[str, Any]  # of the simple systems


def prepare(settings: SeriesSettings, table: SeriesTable, fold: Fold) -> PreparedFold:
    """Cut windows and learn the scale of the columns, from what lies before the cut alone; refuse what looks ahead."""
    windows = settings.windows
    sizes: dict[str, Any] = {"context": windows.context, "horizon": settings.horizon}
    train, every = (
        windows_in(table.series, fold.train, **sizes, stride=stride, within=True) for stride in (windows.apart, 1)
    )
    held = [
        windows_in(table.series, span, **sizes, stride=windows.test_stride) for span in (fold.validation, fold.test)
    ]
    parts = Parts(every, *held)
    for name, own, span in zip(("train", "validation", "test"), (train, *held), _spans(fold), strict=True):
        _check_windows(settings, table, name, own, span)
    extractor = make_extractor(settings, table, fold.train)
    seen = len(table.targets) + len(table.features)
    statistics = np.array(extractor.mean)[:seen], np.array(extractor.std)[:seen]
    check_no_look_ahead(table, fold, every, held, statistics=statistics)  # of which `train` is a part
    return PreparedFold(fold, train, parts, _arrays(settings, table, extractor), extractor)


def too_short(settings: SeriesSettings, table: SeriesTable) -> list[str]:
    """Name the series that no window fits into."""
    least = settings.windows.context + settings.horizon
    return [each.name for each in table.series if len(each) < least]


def _spans(fold: Fold) -> tuple[Span, Span, Span]:
    return fold.train, fold.validation, fold.test


def _check_windows(settings: SeriesSettings, table: SeriesTable, name: str, windows: Windows, span: Span) -> None:
    if len(windows):
        return
    context, horizon = settings.windows.context, settings.horizon
    longest = max(map(len, table.series))
    lengths = f"the longest series has {longest} rows, and this part {span.steps} steps of time"
    needed = f"windows.context={context} and {horizon} rows ahead" if horizon else f"windows.context={context}"
    cure = "lower windows.context, the horizon or split.folds, or give more rows"
    raise ValueError(
        f"{table.where}: there is no window for {name}: {needed} do not fit; {lengths}. {cure.capitalize()}."
    )


def make_extractor(settings: SeriesSettings, table: SeriesTable, span: Span) -> SeriesFeatureExtractor:
    """Learn means and deviations of the columns from the rows in a span."""
    masks, rows = settings.data.missing == "mask", rows_in(table.series, span)
    names, count = [*table.targets, *table.features], len(table.targets)
    pairs = [(each, own) for each, own in zip(table.series, rows, strict=True) if own.stop > own.start]
    observed = [each.observed[own] for each, own in pairs]
    mean, std = learn_scale(observed, "column", names, allow_missing=masks)
    if table.known:
        scale = learn_scale([each.known[own] for each, own in pairs], "column", table.known, allow_missing=False)
        steps = 1 if settings.predicts_labels else settings.horizon
        mean, std = mean + steps * scale[0], std + steps * scale[1]
    ahead = known_names(table.known, 0 if settings.predicts_labels else settings.horizon)
    targets: dict[str, Any] = {}
    if count:
        targets = {"target_mean": mean[:count], "target_std": std[:count], "targets": table.targets}
    return SeriesFeatureExtractor(
        feature_size=len(mean) * (2 if masks else 1),
        mean=mean,
        std=std,
        columns=[*names, *ahead],
        missing=settings.data.missing,
        max_length=None if settings.training.get("carry_state") else settings.windows.context,
        known_columns=table.known,  # which the pipeline asks for
        group_column=settings.data.group_column,  # and what it checks, where a table has them
        time_column=settings.data.time_column,
        **targets,
    )


def _arrays(settings: SeriesSettings, table: SeriesTable, extractor: SeriesFeatureExtractor) -> SeriesArrays:
    horizon = 0 if settings.predicts_labels else settings.horizon
    read = [with_known(each.observed, each.known, horizon) for each in table.series]
    nothing = np.zeros((0, extractor.feature_size), np.float32)  # of a series that ends before the horizon does
    inputs = [extractor.scale(rows, place) if len(rows) else nothing for place, rows in enumerate(read)]
    if settings.predicts_labels:
        return SeriesArrays(inputs, [each.labels for each in table.series], 0)
    targets = [extractor.scale_targets(each.observed[:, : len(table.targets)]) for each in table.series]
    return SeriesArrays(inputs, targets, horizon)


def make_model(settings: SeriesSettings, table: SeriesTable, extractor: SeriesFeatureExtractor) -> PreTrainedModel:
    """Build the model of the `model` section for these columns."""
    options: dict[str, Any] = {"feature_size": extractor.feature_size, "bidirectional": False}
    if settings.predicts_labels:
        return build_model(OF_LABELS, settings.model, **options, **label_options(table.classes))
    options |= {"prediction_length": settings.horizon, "num_targets": len(table.targets)}
    return build_model(TASK, settings.model, **options)


def make_trainer(
    settings: SeriesSettings, args: SeriesTrainingArguments, table: SeriesTable, own: PreparedFold, model: Any
) -> SeriesTrainer:
    """Make what trains a model on the windows of a cut; validation windows choose among its checkpoints."""
    held: Any = SeriesWindows(own.parts.validation, own.arrays, every_step=False)
    train: Any = SeriesWindows(own.train, own.arrays, every_step=True)
    if args.carry_state:
        rows = [
            slice(rows.start, max(rows.stop - settings.horizon, rows.start))
            for rows in rows_in(table.series, own.fold.train)
        ]
        train = SeriesStreams(rows, own.arrays, cast(int, args.total_train_batch_size))
        held = SeriesWholes(own.parts.validation, own.arrays)
    return SeriesTrainer(
        model,
        args,
        window=settings.windows.context,
        train_dataset=train,
        eval_dataset=held,
        processing_class=own.extractor,
    )


def measure(settings: SeriesSettings, table: SeriesTable, own: PreparedFold, model: Any) -> FoldResult:
    """Let a model and the simple systems answer the test windows, and score them."""
    test, span = own.parts.test, own.fold.train
    said = last_answers(model, test, own.arrays, carries=bool(settings.training.get("carry_state")))
    if settings.predicts_labels:
        labels = [each.labels for each in table.series]
        expected = np.array([labels[owner][last] for owner, last in test.places])
        beside: dict[str, Any] = dict(label_rivals(table, span, own.parts, settings.horizon))
        told: Any = said.argmax(-1).numpy()
        known = expected != IGNORED
        scores = {
            name: {score: compute_score(score, each[known], expected[known]) for score in SCORES_OF_LABELS}
            for name, each in {"": told, **beside}.items()
        }
    else:
        targets = [each.observed[:, : len(table.targets)] for each in table.series]
        expected, told = test.after(targets), restored(model, said, own.extractor)
        period = period_of(settings, table, span)
        beside = dict(forecast_rivals(table, span, own.parts, period))
        rows = rows_in(table.series, span)
        scales = np.stack([naive_scale(each[part], period) for each, part in zip(targets, rows, strict=True)])
        scores = {
            name: forecast_scores(expected, each, scales[test.owner]) for name, each in {"": told, **beside}.items()
        }
    metrics = scores.pop("")
    rivals = {name: {key: found[key] for key in metrics} for name, found in scores.items()}
    return FoldResult(own.fold, len(test), metrics, rivals, expected, told, beside)


def period_of(settings: SeriesSettings, table: SeriesTable, span: Span) -> int:
    """Return the period of the seasonal naive forecast: the one that was said, or the one of the training rows."""
    if settings.rivals.period is not None:
        return settings.rivals.period
    rows = rows_in(table.series, span)
    parts = [each.observed[own, 0] for each, own in zip(table.series, rows, strict=True)]
    parts = [part for part in parts if np.isfinite(part).sum() > 3]
    return find_period(parts, min(_LONGEST_PERIOD, max(map(len, parts)) // 3)) if parts else 1


@torch.no_grad()
def last_answers(model: Any, windows: Windows, arrays: SeriesArrays, *, carries: bool) -> torch.Tensor:
    """Return what a model says at the last step of each window: (n, H, O, P) parameters, or (n, L) logits.

    Args:
        model: Of series.
        windows: What it is asked.
        arrays: What it reads.
        carries: Whether it reads each series from its beginning, as it has learnt to.
    """
    found: list[torch.Tensor] = []
    with evaluating(model):
        if carries:
            wholes = SeriesWholes(windows, arrays)
            for index in range(len(wholes)):
                values = torch.from_numpy(wholes[index]["input_values"])[None].to(model.device)
                found.append(model(input_values=values).logits[0, wholes.asked[index]].float().cpu())
            return torch.cat(found)[torch.from_numpy(wholes.order)]
        rows = SeriesWindows(windows, arrays, every_step=False)
        for begin in range(0, len(rows), _BATCH):
            batch = pad_windows([rows[place] for place in range(begin, min(begin + _BATCH, len(rows)))])
            found.append(model(input_values=batch["input_values"].to(model.device)).logits[:, -1].float().cpu())
    return torch.cat(found)


def restored(model: Any, said: torch.Tensor, extractor: SeriesFeatureExtractor) -> Forecasts:
    """Turn parameters (n, H, O, P) into forecasts in the units of the data."""
    center = extractor.restore(model.density.center(said))
    if model.config.distribution == "point":
        return Forecasts(center)
    try:
        lower, upper = (extractor.restore(model.density.quantile(said, share)) for share in INTERVAL)
    except ValueError:  # quantiles were learnt, and they do not reach as far
        return Forecasts(center)
    return Forecasts(center, lower, upper)


def walk(
    settings: SeriesSettings, args: SeriesTrainingArguments, table: SeriesTable, folds: Sequence[Fold]
) -> list[FoldResult]:
    """Train a model at each of these cuts as the last one was trained, and measure it; its files are deleted."""
    found = []
    for number, fold in enumerate(folds):
        place = Path(str(args.output_dir)) / "folds" / str(number)
        own = SeriesTrainingArguments(**{**settings.training, "output_dir": str(place)})
        set_seed(args.seed)
        prepared = prepare(settings, table, fold)
        model = make_model(settings, table, prepared.extractor)
        trainer = make_trainer(settings, own, table, prepared, model)
        trainer.train()
        found.append(measure(settings, table, prepared, trainer.model))
        trainer.accelerator.wait_for_everyone()
        if trainer.is_world_process_zero():
            shutil.rmtree(place, ignore_errors=True)
    if found and trainer.is_world_process_zero():
        shutil.rmtree(Path(str(args.output_dir)) / "folds", ignore_errors=True)
    return found

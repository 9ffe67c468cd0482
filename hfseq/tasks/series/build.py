"""The parts of `recipes/series.py` that tell of a finished model: its facts, its pictures, its last lines."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from ...cards.confusion import most_confused
from ...cards.facts import Network, SeedRun
from ...cards.measure import median_ms, one_thread
from ...data.series import SeriesTable, describe
from ...evaluation.series import mean_absolute_error
from ...models.base import IGNORED
from ...recipe.pictures import draw_confusion, draw_forecasts
from ...recipe.publish import network_facts, rival, run_facts, split_line
from .facts import FoldFacts, SeriesFacts, SeriesSource, StepFacts, WindowSpeed
from .folds import FoldResult, PreparedFold, last_answers, period_of, too_short
from .settings import SeriesSettings

_TIMED_WINDOWS = 512
_BATCH = 64
_MOST_NAMES = 5  # of series that are too short
_MOST_STEPS = 12  # rows of the table of steps ahead
_MOST_PICTURES = 4  # series
_SEEN_STEPS = 3  # horizons that a picture shows before a forecast
TEST = "test"


def read_line(settings: SeriesSettings, table: SeriesTable, own: PreparedFold) -> str:
    """Say what was read, and how it was cut."""
    found, axis, fold = describe(table), table.axis, own.fold
    parts = {"train": own.train, "validation": own.parts.validation, TEST: own.parts.test}
    windows = ", ".join(f"{len(each):,} {name}" for name, each in parts.items())
    labels = f"; {len(table.classes)} labels: {', '.join(table.classes)}" if table.classes else ""
    cut = f"learnt before {axis[fold.train.end]}, measured from {axis[fold.test.begin]} on"
    lines = [f"read: {found['series']} series, {found['rows']:,} rows; windows {windows}; {cut}{labels}"]
    if short := too_short(settings, table):
        least = settings.windows.context + settings.horizon
        names = ", ".join(short[:_MOST_NAMES]) + (", ..." if len(short) > _MOST_NAMES else "")
        lines.append(
            f"warning: {len(short)} of {found['series']} series have fewer than {least} rows (windows.context and "
            f"what is predicted) and give no window: {names}. Lower windows.context to use them."
        )
    return "\n".join(lines)


def card_facts(
    settings: SeriesSettings,
    table: SeriesTable,
    own: PreparedFold,
    results: Sequence[FoldResult],
    model: Any,
    folder: Path,
    run: SeedRun,
) -> SeriesFacts:
    """Gather what the card says of the run and of the saved model.

    Args:
        settings: Of the run.
        table: The series.
        own: The last cut, before which the model was trained.
        results: What was measured after each cut, that of the model last.
        model: The model.
        folder: Where it was saved.
        run: Its scores and minutes.
    """
    last, config = results[-1], model.config
    is_labels = settings.predicts_labels
    found = describe(table)
    _draw(settings, table, own, last, folder)
    known = last.expected != IGNORED if is_labels else None
    return SeriesFacts(
        **run_facts(settings.card, model, folder, run),
        architecture=Network(**network_facts(config)),
        data=SeriesSource(
            **settings.card.data_facts(),
            hub_id=settings.data.hub_id,
            splits={"train": len(own.train), "validation": len(own.parts.validation), TEST: len(own.parts.test)},
            evaluated_split=TEST,
            unknown_rate=_missing(table),
            left_out=len(too_short(settings, table)),
            **found,
            targets=table.targets,
            features=table.features,
            known=table.known,
            group=settings.data.group_column,
        ),
        context=settings.windows.context,
        horizon=settings.horizon,
        distribution=None if is_labels else config.distribution,
        shares=list(model.density.shares) if not is_labels and config.distribution == "quantile" else [],
        classes=table.classes,
        carries_state=bool(settings.training.get("carry_state")),
        masks=settings.data.missing == "mask",
        train=settings.split.train,
        gap=settings.split.gap,
        period=1 if is_labels else period_of(settings, table, own.fold.train),
        folds=[_fold_facts(table, each, next(iter(last.metrics))) for each in results],
        steps=[] if is_labels else _steps(last),
        speed=_speed(model, own),
        confusions=[]
        if known is None
        else most_confused(table.classes, last.expected[known], last.told[known], few=2),
        comparisons=[
            *(row for name, scores in last.rivals.items() for row in rival(name, scores)),
            *settings.card.published(),
        ],
    )


def report_lines(facts: SeriesFacts) -> Iterator[str]:
    """Say of the finished model how good it is after each cut, and how fast."""
    metric = facts.metric_names[0]
    for fold in facts.folds:
        rivals = "".join(f"; {name} {score:.3f}" for name, score in fold.rivals.items())
        score = "-" if fold.score is None else f"{fold.score:.3f}"
        yield f"{fold.test_from} to {fold.test_until}: {metric} {score}{rivals}"
    yield "It is not advice."
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)
    yield f"{facts.speed.ms_per_window:.2f} ms a window, {facts.speed.windows_per_second:.0f} windows/s in batches"


def _missing(table: SeriesTable) -> float:
    cells = [each.observed for each in table.series] if table.targets or table.features else []
    count = sum(each.size for each in cells)
    return sum(int(np.isnan(each).sum()) for each in cells) / count if count else 0.0


def _fold_facts(table: SeriesTable, result: FoldResult, metric: str) -> FoldFacts:
    fold, axis = result.fold, table.axis
    return FoldFacts(
        train_until=axis[fold.train.end - 1],
        test_from=axis[fold.test.begin],
        test_until=axis[fold.test.end - 1],
        windows=result.windows,
        score=result.metrics.get(metric),
        rivals={name: scores[metric] for name, scores in result.rivals.items() if metric in scores},
    )


def _steps(result: FoldResult) -> list[StepFacts]:
    """Return the mean absolute error of some steps ahead, the first and the last among them."""
    horizon = result.expected.shape[1]
    chosen = sorted(set(np.linspace(0, horizon - 1, min(horizon, _MOST_STEPS)).round().astype(int).tolist()))
    return [
        StepFacts(
            ahead=step + 1,
            error=mean_absolute_error(result.expected[:, step], result.told.center[:, step]),
            rivals={
                name: mean_absolute_error(result.expected[:, step], each.center[:, step])
                for name, each in result.answers.items()
            },
        )
        for step in chosen
        if not np.isnan(result.expected[:, step]).all()
    ]


def _speed(model: Any, own: PreparedFold) -> WindowSpeed:
    """Time the model on one CPU thread: the median call with one window, and a pass in batches."""
    test = own.parts.test
    rows = np.arange(min(len(test), _TIMED_WINDOWS))
    some = type(test)(test.series, test.context, test.horizon, test.owner[rows], test.last[rows])
    singles = [
        type(test)(test.series, test.context, test.horizon, test.owner[[row]], test.last[[row]]) for row in rows
    ]
    answer = partial(last_answers, model.to("cpu"), arrays=own.arrays, carries=False)
    ms = median_ms(answer, singles)
    with one_thread():
        start = process_time()
        answer(some)
        seconds = process_time() - start
    return WindowSpeed(ms_per_window=ms, windows_per_second=len(rows) / max(seconds, 1e-9), batch_size=_BATCH)


def _draw(settings: SeriesSettings, table: SeriesTable, own: PreparedFold, result: FoldResult, folder: Path) -> None:
    """Draw confusions, or the last forecast of some series where the terms of the data do not forbid to show rows."""
    if settings.predicts_labels:
        known = result.expected != IGNORED
        draw_confusion(table.classes, result.expected[known], result.told[known], folder)
        return
    if settings.card.data_restriction is None:
        draw_forecasts(_panels(table, own, result), folder)


def _panels(table: SeriesTable, own: PreparedFold, result: FoldResult) -> dict[str, dict[str, Any]]:
    test = own.parts.test
    panels = {}
    for owner in np.unique(test.owner)[:_MOST_PICTURES]:
        place = int(np.flatnonzero(test.owner == owner)[-1])
        last, series = int(test.last[place]), table.series[owner]
        seen = series.observed[max(last + 1 - _SEEN_STEPS * max(test.horizon, 8), 0) : last + 1, :1]
        panels[series.name or table.targets[0]] = {
            "history": seen,
            "predicted": result.told.center[place, :, :1],
            "came": result.expected[place, :, :1],
            **{
                name: None if (ends := getattr(result.told, name)) is None else ends[place, :, :1]
                for name in ("lower", "upper")
            },
        }
    return panels

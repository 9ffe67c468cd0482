"""The parts of `recipes/strokes.py`: its model, what is measured, its drawings, and the facts of its card."""

import statistics
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset

from ...cards.facts import SeedRun
from ...cards.measure import cpu_timed, one_thread
from ...cards.pictures import DRAWINGS
from ...data.strokes import StrokesCollator, StrokesTask, make_rows, offset_scale
from ...evaluation.language import evaluating
from ...models.auto import AutoModelForStrokes
from ...models.base import IGNORED, load_with_weights_checked
from ...models.recurrent.stroke_density import ENDS
from ...models.recurrent.strokes import StrokesForGeneration
from ...recipe.pictures import draw_strokes
from ...recipe.publish import network_facts, run_facts, split_line
from ...recipe.sections import build_model
from .card import TASK
from .facts import DrawingCount, DrawingSpeed, DrawnFacts, Sampling, StrokesData, StrokesFacts, StrokesNetwork
from .rivals import rivals
from .settings import StrokesSettings

_BATCH = 128
_FITTED = 2_000  # training drawings by which the width of a mean is told
_TIMED = 300  # steps drawn, and drawings scored, to measure the speed


def make_model(settings: StrokesSettings, task: StrokesTask) -> StrokesForGeneration:
    """Build the model of the `model` section for these classes, and for offsets of this size."""
    options = {"class_names": task.class_names, "offset_scale": offset_scale(task.drawings("train"))}
    return cast(StrokesForGeneration, build_model(TASK, settings.model, **options))


def fit_width(model: StrokesForGeneration, rows: Dataset) -> None:
    """Tell a model that has learnt the mean of the next offset how far it is from it, on training drawings."""
    if model.config.loss == "mse":
        step = max(1, rows.num_rows // _FITTED)
        model.fit_residual_std(_batches(rows.select(range(0, rows.num_rows, step))))


def score(model: StrokesForGeneration, rows: Dataset) -> dict[str, float]:
    """Score rows of `make_rows`: nats per step, and the squared error of the mean offset in units of the scale."""
    nats = squares = 0.0
    points = 0
    with evaluating(model), torch.no_grad():
        for batch in _batches(rows):
            batch = {name: value.to(model.device) for name, value in batch.items()}
            logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
            nats -= float(model.step_log_probs(**batch, logits=logits).double().sum())
            offsets = batch["input_values"][:, 1:, :2] / model.config.offset_scale
            asked = batch["labels"][:, 1:] != IGNORED
            squares += float((model.density(logits[:, :-1]).mean() - offsets).square().double().mean(-1)[asked].sum())
            points += int(asked.sum())
    return {"nats_per_step": nats / points, "mse": squares / points}


def _batches(rows: Dataset) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of drawings that are about as long as each other."""
    order, collate = np.argsort(rows["length"][:], kind="stable").tolist(), StrokesCollator()
    for start in range(0, len(order), _BATCH):
        yield collate([rows[place] for place in order[start : start + _BATCH]])


def card_facts(
    settings: StrokesSettings, task: StrokesTask, split: str, folder: Path, *, run: SeedRun
) -> StrokesFacts:
    """Gather what the card says of the run and of the saved model, loaded back as anybody would load it."""
    model: Any = load_with_weights_checked(AutoModelForStrokes, str(folder))
    config, card, drawing = model.config, settings.card, settings.generation
    kinds = kinds_asked(settings, task)
    drawn = [] if card.data_restriction else make_drawings(model, settings, kinds)
    draw_strokes(drawn, None if task.class_names is None else [str(kind) for kind in kinds], folder)
    return StrokesFacts(
        **run_facts(card, model, folder, run),
        architecture=StrokesNetwork(
            **{**network_facts(config), "cell": config.cell}, loss=config.loss, num_mixtures=config.num_mixtures
        ),
        data=StrokesData(
            **card.data_facts(),
            hub_id=settings.data.hub_id,
            splits={
                name: DrawingCount(drawings=rows.num_rows, points=task.points(name))
                for name, rows in task.dataset.items()
            },
            evaluated_split=split,
            grid=None if settings.data.grid is None else float(settings.data.grid),
            classes=task.class_names or [],
        ),
        offset_scale=float(config.offset_scale),
        speed=_speed(model, make_rows(task.dataset)[split], kinds[0]),
        sampling=Sampling(
            seed=drawing.seed,
            bias=float(drawing.bias),
            temperature=float(drawing.temperature),
            max_new_steps=drawing.max_new_steps,
        ),
        drawn=[
            DrawnFacts(kind=kind, points=len(each), has_ended=float(each[-1, 2]) == ENDS)
            for kind, each in zip(kinds, drawn, strict=False)
        ],
        comparisons=[*rivals(task, split, float(config.offset_scale), config.num_mixtures), *card.published()],
    )


def make_drawings(model: Any, settings: StrokesSettings, kinds: list[str | None]) -> list[torch.Tensor]:
    """Let the finished model draw, one of each kind."""
    drawing = settings.generation
    found: list[torch.Tensor] = model.generate_strokes(
        len(kinds),
        classes=None if kinds[0] is None else kinds,
        bias=drawing.bias,
        temperature=drawing.temperature,
        max_new_steps=drawing.max_new_steps,
        seed=drawing.seed,
    )
    return found


def kinds_asked(settings: StrokesSettings, task: StrokesTask) -> list[str | None]:
    """Return the class of each drawing of the card; None where there are no classes."""
    count, asked = settings.generation.num_drawings, settings.card.ask
    if task.class_names is None:
        if asked:
            raise ValueError(f"card.ask={asked} names classes, and the data have none: leave it out.")
        return [None] * count
    if unknown := [name for name in asked if name not in task.class_names]:
        raise ValueError(f"card.ask names {unknown[0]!r}, which is no class: choose among {task.class_names[:20]}.")
    return list(islice(cycle(asked or task.class_names), count))


def _speed(model: Any, rows: Dataset, kind: str | None) -> DrawingSpeed:
    """Time the model on one CPU thread: steps of one drawing, and drawings of the split."""
    some = rows.select(range(min(_TIMED, rows.num_rows)))
    with one_thread():
        model.generate_strokes(classes=kind, seed=0, max_new_steps=5)  # warms up
        times, steps = list[float](), 0
        while steps < _TIMED:
            drawn, seconds = cpu_timed(lambda: model.generate_strokes(classes=kind, seed=len(times)))
            made = len(drawn[0]) - 1  # behind the first point, which nobody draws
            times.append(seconds / made)
            steps += made
        _, reading = cpu_timed(lambda: score(model, some))
    return DrawingSpeed(ms_per_step=1000 * statistics.median(times), steps_per_second=count_steps(some) / reading)


def count_steps(rows: Dataset) -> int:
    """Count what is predicted of rows of `make_rows`: all points but the first of each drawing."""
    steps: int = sum(rows["length"][:]) - rows.num_rows
    return steps


def report_lines(facts: StrokesFacts) -> Iterator[str]:
    """Say of the finished model what it draws, how fast, and how good it is."""
    if facts.drawn:
        ended = sum(each.has_ended for each in facts.drawn)
        yield f"{len(facts.drawn)} drawings, {ended} of which ended by themselves: {DRAWINGS}.svg, .png and .gif"
    yield f"{facts.speed.ms_per_step:.2f} ms a step drawn, {facts.speed.steps_per_second:,.0f} steps/s scored"
    yield split_line(facts.data.evaluated_split, facts.runs[0].metrics)

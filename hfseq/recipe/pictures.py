"""The pictures that a recipe leaves beside the card: curves, confusions, forecasts, captions, drawings ..."""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..cards.pictures import CAPTIONS, CONFUSION, COVERAGE, CURVES, DRAWINGS, FORECASTS, LOOKS

logger = logging.getLogger(__name__)

_DRAWINGS_IN_A_ROW = 9


def draw_curves(trainer: Any, folder: Path, beside: str | None = None) -> None:
    """Draw the losses and the main score of a finished training beside the card; without matplotlib say so only.

    Args:
        trainer: Has the `args` and the `state` of a `Trainer`, or of the trainer of word vectors.
        beside: What was put beside the network when its training was over; a regression is known to the trainer.
    """
    if (paths := _paths(folder, CURVES)) is None:
        return
    from ..insight.plots.curves import plot_curves

    metric = getattr(trainer.args, "metric_for_best_model", None)
    score = None if metric is None else f"eval_{metric.removeprefix('eval_')}"
    mixed, loss = getattr(trainer, "mixed", None), None
    if mixed is not None and mixed.of_regression:  # else the network answers alone
        beside, loss = "regression", mixed.loss
    said: dict[str, Any] = {"kept": kept_step(trainer), "score": score, "beside": beside, "mixed_loss": loss}
    plot_curves(trainer.state.log_history, *paths, **said)


def kept_step(trainer: Any) -> int | None:
    """Return the update of the model that is saved: the best one where the trainer went back to it, else the last."""
    if getattr(trainer.args, "load_best_model_at_end", False) and trainer.state.best_global_step:
        return int(trainer.state.best_global_step)
    return getattr(trainer.state, "global_step", None)


def draw_confusion(names: list[str], expected: np.ndarray, predicted: np.ndarray, folder: Path) -> None:
    """Draw the confusions of a classifier beside the card; without matplotlib say so only."""
    if (paths := _paths(folder, CONFUSION)) is None:
        return
    from ..insight.plots.confusion import plot_confusion

    plot_confusion(names, expected, predicted, *paths)


def draw_coverage(shares: np.ndarray, right: np.ndarray, folder: Path, *, threshold: float | None) -> None:
    """Draw how often a classifier is right, by how many texts it answers; without matplotlib say so only."""
    if (paths := _paths(folder, COVERAGE)) is None:
        return
    from ..insight.plots.coverage import plot_coverage

    plot_coverage(shares, right, *paths, threshold=threshold)


def draw_captions(pictures: Sequence[Any], written: list[str], wanted: list[list[str]], folder: Path) -> None:
    """Draw pictures beside the card, with what was written of them; without matplotlib say so only."""
    if (paths := _paths(folder, CAPTIONS)) is None:
        return
    from ..insight.plots.captions import plot_captions

    right = [text in texts for text, texts in zip(written, wanted, strict=False)]
    plot_captions(pictures, written, right, *paths)


def draw_looks(pipe: Any, pictures: Sequence[Any], folder: Path) -> None:
    """Draw where each word of a caption looks, if there is attention; without matplotlib say so only."""
    paths = _paths(folder, LOOKS)
    if paths is None or getattr(pipe.model.config, "attention", "none") == "none":
        return
    from ..insight.looks import look_at
    from ..insight.plots.captions import looks

    found = [look_at(pipe, picture) for picture in pictures]
    for path in paths:
        looks(*found, path=path)


def draw_forecasts(panels: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Draw forecasts of several series beside the card, see `plots.forecast`; without matplotlib say so only."""
    if (paths := _paths(folder, FORECASTS)) is None:
        return
    from ..insight.plots.forecasts import forecast

    for path in paths:
        forecast(panels, path=path)


def _paths(folder: Path, name: str) -> list[Path] | None:
    """Return the files to draw into, after those of an older run are deleted; None without matplotlib."""
    paths = [folder / f"{name}{suffix}" for suffix in (".svg", ".png")]
    for path in paths:
        path.unlink(missing_ok=True)
    if find_spec("matplotlib") is None:
        logger.warning('No picture %s without matplotlib: pip install "hfseq[plots]"', paths[0].name)
        return None
    return paths


def draw_strokes(drawings: Sequence[Any], titles: Sequence[str] | None, folder: Path) -> None:
    """Draw what a model has drawn beside the card, still and moving; without matplotlib there is no .png."""
    paths = [folder / f"{DRAWINGS}{suffix}" for suffix in (".svg", ".gif", ".png")]
    for path in paths:
        path.unlink(missing_ok=True)
    needed = (None, "PIL", "matplotlib")
    for path, module in zip(paths if drawings else (), needed, strict=False):
        if module is not None and find_spec(module) is None:
            logger.warning('No picture %s without %s: pip install "hfseq[plots]"', path.name, module)
            continue
        from ..insight.plots.strokes import strokes

        strokes(drawings, titles=titles, path=path, columns=_DRAWINGS_IN_A_ROW)

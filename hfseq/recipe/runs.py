"""Keeps the runs of a recipe apart: each has a folder of its own, with the settings it was made with."""

import dataclasses
from collections.abc import Container
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME, logging

from ..settings import read_settings, save_settings
from ..training.checkpoints import checkpoints_in, newest_whole

logger = logging.get_logger(__name__)

SETTINGS_FILE = "settings.yaml"
_NOT_TRAINED_WITH = ("card", "evaluation", "generation", "hub", "save")  # may change between the launches of a run


def evaluated_split(splits: Container[str]) -> str:
    """Name the split that a finished model is measured on: the test split, or validation where there is none."""
    return "test" if "test" in splits else "validation"


def open_run(settings: Any, folder: str | Path, *, resume: bool, record: bool = True) -> str | None:
    """Record the settings in the folder of a run, and find the newest whole checkpoint where training is to go on.

    A folder holds one run. Without `resume` it must be free of models and checkpoints, or hold a finished run of the
    same settings, which is then done again. With `resume` it must hold a checkpoint of the same settings, where those
    of `training` may differ (more epochs, say), which is logged. Sections that training does not depend on may always
    differ. Of several processes the first one looks and records; call it where the first one goes first.
    """
    folder = Path(folder)
    checkpoints = checkpoints_in(folder)
    if resume and not checkpoints:
        what = "has no checkpoint" if folder.is_dir() else "does not exist"
        cure = "Start without --resume, or name the folder of the run with --training.output_dir."
        raise ValueError(f"--resume: the folder {str(folder)!r} {what}. {cure}")
    if record:
        if checkpoints or (folder / CONFIG_NAME).is_file():
            _check_same_run(settings, folder, resume)
        folder.mkdir(parents=True, exist_ok=True)
        save_settings(settings, folder / SETTINGS_FILE)
    if not resume:
        return None
    return str(newest_whole(folder) if record else checkpoints[-1])  # the trainer lets the first process decide


def save_history(trainer: Any, folder: Path) -> None:
    """Write what a training has logged beside the model: the checkpoint that is kept may be of an early step."""
    trainer.state.save_to_json(str(folder / TRAINER_STATE_NAME))


def _check_same_run(settings: Any, folder: Path, resume: bool) -> None:
    if (folder / SETTINGS_FILE).is_file():
        before = read_settings(type(settings), ["--config", str(folder / SETTINGS_FILE)])
        different = _differences(before, settings)
    else:
        different = [f"no {SETTINGS_FILE} tells them"]
    resumable = all(line.startswith("training.") for line in different)
    cure = "To start a new run name another folder with --training.output_dir, or delete that one."
    if different and not (resume and resumable):
        raise ValueError(f"{folder} holds a run with other settings ({'; '.join(different)}). {cure}")
    if different:
        logger.warning("Resuming with other settings: %s.", "; ".join(different))
    model, recorded = folder / CONFIG_NAME, folder / SETTINGS_FILE
    is_finished = model.is_file() and model.stat().st_mtime_ns >= recorded.stat().st_mtime_ns  # it is saved last
    if not resume and not is_finished:
        raise ValueError(f"{folder} holds a run that is not finished: go on with --resume. {cure}")


def _differences(before: Any, now: Any) -> list[str]:
    old, new = dataclasses.asdict(before), dataclasses.asdict(now)
    lines = []
    for section, values in new.items():
        if isinstance(values, dict) and section not in _NOT_TRAINED_WITH:
            for key in {**old[section], **values}:
                one, other = old[section].get(key), values.get(key)
                if one != other and (section, key) != ("training", "output_dir"):  # the folder may have been moved
                    lines.append(f"{section}.{key}: {one!r} -> {other!r}")
    return lines

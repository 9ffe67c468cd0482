"""The mean of the weights of several checkpoints of one run, as a checkpoint of its own.

    w = 1 / N * (w_1 + ... + w_N)         the last N checkpoints, usually a better model than each of them

(Vaswani et al. 2017 average the last 5 to 20.) Weights are read tensor by tensor, so that memory never holds all of
the checkpoints.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers.trainer import TRAINER_STATE_NAME

from ..models.artifacts import CONFIG_NAME, check_weights_folder, read_json
from .checkpoints import checkpoints_in

_NOT_OF_A_MODEL: Final = (TRAINER_STATE_NAME, "facts.json")  # beside it, and of one training or one measurement
_NOT_OF_A_SHAPE: Final = ("transformers_version", "_name_or_path")  # what configs may differ in


def last_checkpoints(run: str | Path, count: int) -> list[Path]:
    """Return the last checkpoints in the folder of a run, the oldest first.

    The best on validation, which a run keeps beside its last ones, is none of them.
    """
    if not Path(run).is_dir():
        raise FileNotFoundError(f"{run} is no folder: give that of a run with checkpoints.")
    found = checkpoints_in(run)
    if len(found) < count:
        held = f"{run} holds {len(found)} checkpoints, not {count}"
        raise ValueError(f"{held}: train with --training.save_total_limit={count} or more, or ask for fewer.")
    last = found[-count:]
    if count > 1 and _lies_apart(*last[:2], newest=last[-1]):
        told = f"{last[0]} was kept as the best on validation, and those between it and {last[1].name} are gone"
        cure = f"train with --training.save_total_limit={count + 1} or more"
        raise ValueError(f"{told}. Ask for fewer than {count}, or {cure}.")
    return last


def _lies_apart(one: Path, other: Path, *, newest: Path) -> bool:
    """Tell whether checkpoints between the best one and the next were deleted; the log of the newest shows it.

    A run that keeps its best saves at every n-th evaluation, so that n of them in between had a checkpoint.
    """
    path = newest / TRAINER_STATE_NAME
    state = read_json(path) if path.is_file() else {}
    if str(state.get("best_global_step")) != _step(one):
        return False
    between = range(int(_step(one)) + 1, int(_step(other)))
    evaluated = {entry["step"] for entry in state["log_history"] if "eval_loss" in entry}
    saved_of = max(state["save_steps"] // max(state["eval_steps"], 1), 1)
    return len(evaluated.intersection(between)) >= saved_of


def _step(checkpoint: Path) -> str:
    return checkpoint.name.rpartition("-")[2]


def average_checkpoints(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the mean of the weights of checkpoints, with the config and the tokenizer of the last one.

    Weights that are equal in all stay as they are, to the bit. Numbers that are none of weights (counts, ids) have no
    mean: they must be equal.

    Args:
        folders: Folders of one model each, with the same config.
        out: A folder that is not there, or is empty.
    """
    paths, target = [Path(folder) for folder in folders], Path(out)
    if len(paths) < 2:
        raise ValueError(f"{len(paths)} checkpoint has no mean: give two or more.")
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is there already, and not empty: name another folder.")
    files = _files_of(paths)
    _check_configs(paths)
    target.mkdir(parents=True, exist_ok=True)
    for name in files:
        _average_file([path / name for path in paths], target / name)
    for file in sorted(paths[-1].iterdir()):
        if file.suffix in (".json", ".txt", ".jinja") and file.name not in _NOT_OF_A_MODEL:
            shutil.copyfile(file, target / file.name)
    return target


def _files_of(paths: Sequence[Path]) -> list[str]:
    """Return the names of the files of weights, which are the same in all."""
    for path in paths:
        if not (path / CONFIG_NAME).is_file():
            raise FileNotFoundError(f"{path} holds no {CONFIG_NAME}: give folders of checkpoints.")
    names = [[file.name for file in sorted(check_weights_folder(path))] for path in paths]
    for path, own in zip(paths, names, strict=True):
        if own != names[0]:
            raise ValueError(f"{path} has the files {own}, {paths[0]} has {names[0]}: they are of different models.")
    return names[0]


def _check_configs(paths: Sequence[Path]) -> None:
    configs = [_shape(read_json(path / CONFIG_NAME)) for path in paths]
    for path, config in zip(paths, configs, strict=True):
        differing = sorted(key for key in {*configs[0], *config} if configs[0].get(key) != config.get(key))
        if differing:
            told = ", ".join(f"{key}: {configs[0].get(key)!r}, {config.get(key)!r}" for key in differing[:5])
            raise ValueError(f"{paths[0]} and {path} are different models ({told}): average those of one run.")


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NOT_OF_A_SHAPE}


def _average_file(files: Sequence[Path], target: Path) -> None:
    with ExitStack() as opened:
        sources: list[Any] = [opened.enter_context(safe_open(file, framework="pt")) for file in files]
        keys = [set(source.keys()) for source in sources]
        for file, own in zip(files, keys, strict=True):
            if odd := sorted(own ^ keys[0]):
                told = ", ".join(odd[:5]) + (" ..." if len(odd) > 5 else "")
                raise ValueError(
                    f"{file} and {files[0]} do not hold the same weights ({told}): average those of one run."
                )
        tensors = {key: _mean(key, [source.get_tensor(key) for source in sources]) for key in sorted(keys[0])}
        save_file(tensors, target, metadata=sources[-1].metadata())


def _mean(key: str, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    first = tensors[0]
    for tensor in tensors:
        if tensor.shape != first.shape or tensor.dtype != first.dtype:
            shapes = f"{tuple(first.shape)} of {first.dtype} and {tuple(tensor.shape)} of {tensor.dtype}"
            raise ValueError(f"{key} is {shapes}: these checkpoints are of different models.")
    if all(tensor.equal(first) for tensor in tensors):
        return first
    if not first.is_floating_point():
        raise ValueError(f"{key} holds whole numbers that differ, and they have no mean: average those of one run.")
    total = torch.zeros(first.shape, dtype=torch.float64)
    for tensor in tensors:  # in double precision, where the order of the sum changes nothing that is kept
        total += tensor
    return (total / len(tensors)).to(first.dtype)

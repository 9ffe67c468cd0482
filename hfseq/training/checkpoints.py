"""Checkpoints that are whole or not there, and training that stops when a loss or a weight is NaN or infinite.

A run may be killed, or its disk be full, at any moment. So a checkpoint is written into a folder beside its own, and
renamed when every process has written its share and all of it is on the disk. transformers' own Trainer writes in
place; its torn checkpoints are found and skipped.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import nn
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, rotate_checkpoints
from transformers.utils import ADAPTER_CONFIG_NAME, logging

from ..models.artifacts import (
    CONFIG_NAME,
    UnsafeArtifactError,
    check_finite_weights,
    check_weights,
    check_weights_file,
    check_weights_folder,
    read_json,
)
from ..models.base import not_finite
from .streams.states import CarriedStates, check_states

logger = logging.get_logger(__name__)

UNFINISHED: Final = "_unfinished"
"""The folder where checkpoints are written before they get their names. Trainer uploads nothing that begins with _."""

# What FSDP and DeepSpeed write in the place of one file of weights and one of the optimizer; they read it themselves.
_SHARDED = ("pytorch_model_fsdp*", "optimizer_*", "optimizer.bin", "global_step*")


def checkpoints_in(folder: str | Path) -> list[Path]:
    """List the checkpoints of a run, whole or torn, the newest last."""
    pattern = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")
    found = {path: pattern.fullmatch(path.name) for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*")}
    numbered = {path: int(match[1]) for path, match in found.items() if match and path.is_dir()}
    return sorted(numbered, key=lambda path: numbered[path])


def last_of(checkpoints: list[Path]) -> str:
    """Tell somebody whose run diverged what is left of it."""
    return f"The last checkpoint before it is {checkpoints[-1]}." if checkpoints else "No checkpoint was written."


def newest_whole(folder: str | Path) -> Path | None:
    """Find the checkpoint that a run goes on from, None without any; log it, and what is wrong with newer ones."""
    reasons = []
    for checkpoint in reversed(checkpoints_in(folder)):
        try:
            check_checkpoint(checkpoint)
        except UnsafeArtifactError as error:
            logger.warning("%s is left aside: %s", checkpoint, error)
            reasons.append(str(error))
        else:
            logger.warning("Going on from %s.", checkpoint)
            return checkpoint
    if reasons:
        raise UnsafeArtifactError(
            f"Training can go on from none of the checkpoints in {str(folder)!r}: {' '.join(reasons)} "
            "Name another output_dir and start anew."
        )
    return None


def agreed_checkpoint(checkpoint: str | os.PathLike[str] | bool | None, output_dir: str | None) -> str | None:
    """Let the first process tell the others what `resume_from_checkpoint` means: the newest whole, one named, none."""
    processes = PartialState()
    agreed = [_found(checkpoint, output_dir) if processes.is_main_process else None]
    return broadcast_object_list(agreed)[0] if processes.num_processes > 1 else agreed[0]


def _found(checkpoint: str | os.PathLike[str] | bool | None, output_dir: str | None) -> str | None:
    if not checkpoint:
        return None
    if checkpoint is True:
        found, where = output_dir and newest_whole(output_dir), f"in output_dir={output_dir!r}"
    else:
        found, where = Path(checkpoint), f"at {os.fspath(checkpoint)!r}"
        if found.is_dir():
            check_checkpoint(found)
    if not found or not Path(found).is_dir():
        raise ValueError(f"There is no checkpoint to resume {where}: start without resume_from_checkpoint.")
    return str(found)


def check_checkpoint(folder: Path) -> None:
    """Raise an UnsafeArtifactError unless a run of our trainers, or of transformers', can go on from a checkpoint."""
    if not (folder / TRAINER_STATE_NAME).is_file():  # which is written last
        raise UnsafeArtifactError(f"{folder} lacks {TRAINER_STATE_NAME}: its run was stopped while it wrote it.")
    state = read_json(folder / TRAINER_STATE_NAME)
    if any(next(folder.glob(pattern), None) is not None for pattern in _SHARDED):
        return
    if "position" in state:  # of word vectors, which have no optimizer
        check_finite_weights(check_weights_folder(folder))
        return
    check_finite_weights(_weights_in(folder))
    if not isinstance(state.get("global_step"), int):
        raise UnsafeArtifactError(f"{folder / TRAINER_STATE_NAME} tells no step: it is no state of a trainer.")
    random_states, count = ["rng_state.pth"], len(list(folder.glob("rng_state_*.pth")))
    if count and not (folder / "rng_state.pth").is_file():
        random_states = [f"rng_state_{process}.pth" for process in range(max(count, 2))]
    missing = [name for name in (OPTIMIZER_NAME, *random_states, SCHEDULER_NAME) if not (folder / name).is_file()]
    if missing:
        raise UnsafeArtifactError(
            f"{folder} lacks {', '.join(missing)}: training would go on otherwise than it stopped "
            "(save_only_model=True leaves such files out). Start from its weights alone with from_pretrained."
        )
    for path in sorted(folder.glob("*.pt*")):
        _check_archive(path)
    check_states(folder)


def _weights_in(folder: Path) -> list[Path]:
    # Of a model of transformers, which alone has a config.json, of another module, or of adapters with other names.
    for config in (folder / CONFIG_NAME, *folder.rglob(ADAPTER_CONFIG_NAME)):
        if config.is_file():
            read_json(config)
    files = sorted(set(folder.rglob("*.safetensors")) - set(CarriedStates.files(folder)))
    of_a_model = any(next(folder.glob(pattern), None) for pattern in ("model[.-]*", "pytorch_model*.bin"))
    if of_a_model or not files:
        check_weights(folder)
    for path in files:
        check_weights_file(path)
    return files


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:  # of torch.save; its sums tell without unpickling it
            torn = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise UnsafeArtifactError(f"{path} is torn, or was not written by torch.save ({error}).") from error
    if torn is not None:
        raise UnsafeArtifactError(f"{path} is torn: the sum of {torn} is another.")


@contextmanager
def written_beside(checkpoint: Path) -> Iterator[Path]:
    """Yield the folder to write in, which `publish` renames at the end; after an error it is removed."""
    try:
        yield checkpoint.parent / UNFINISHED / checkpoint.name
    except Exception as error:
        shutil.rmtree(checkpoint.parent / UNFINISHED, ignore_errors=True)
        if not isinstance(error, OSError | RuntimeError | SafetensorError):  # what Python, torch, safetensors raise
            raise
        older = checkpoints_in(checkpoint.parent)
        kept = f"{older[-1].name}, the one before it, is as it was: --resume goes on from there. " if older else ""
        cure = "If the disk is full, free some of it, or keep fewer checkpoints with save_total_limit."
        raise OSError(f"{checkpoint} could not be written ({error}). {kept}{cure}") from error


def clear_unfinished(run: Path) -> None:
    """Remove what a killed run left half written."""
    shutil.rmtree(run / UNFINISHED, ignore_errors=True)


def publish(unfinished: Path, checkpoint: Path) -> None:
    """Give a checkpoint its name, when all of it is on the disk."""
    for path in (*unfinished.rglob("*"), unfinished):
        _flush(path)
    if checkpoint.exists():  # a torn one, or that of the same step of the run before
        checkpoint.rename(unfinished.with_name("replaced"))
    unfinished.rename(checkpoint)
    _flush(checkpoint.parent)
    clear_unfinished(checkpoint.parent)


def _flush(path: Path) -> None:
    is_folder = path.is_dir()
    with suppress(OSError) if is_folder else nullcontext():  # not every system can open or flush a folder
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class DivergedError(ValueError):
    """A training led to numbers that are none."""


class WholeCheckpointTrainer(Trainer):
    """`Trainer` whose checkpoints are whole or not there, and which stops when it diverges."""

    _is_saving = False

    @property
    def _takes_back_explosions(self) -> bool:
        """Whether training goes on after a loss that is NaN or infinite, from weights that are sound."""
        return False

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train; `resume_from_checkpoint=True` goes on from the newest checkpoint that is whole."""
        output = super().train(agreed_checkpoint(resume_from_checkpoint, self.args.output_dir), *args, **kwargs)
        self._refuse_diverged()
        return output

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Take `Trainer`'s step; a loss that is NaN or infinite ends the training."""
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss) and not self._takes_back_explosions:
            self._stop_diverged(self.state.global_step + 1, f"the loss is {loss.item()}")
        return loss

    def _refuse_diverged(self) -> None:
        broken = not_finite(cast(nn.Module, self.model).named_parameters())
        if broken:
            self._stop_diverged(self.state.global_step, f"NaN or infinite numbers are in {', '.join(broken[:5])}")

    def _stop_diverged(self, step: int, what: str) -> NoReturn:
        kept = last_of(checkpoints_in(str(self.args.output_dir)))
        raise DivergedError(
            f"The training diverged: {what} at step {step}, with the learning rate {self._get_learning_rate():g} "
            f"(learning_rate={self.args.learning_rate:g}). Lower learning_rate, or warm up (warmup_steps), or clip "
            f"the gradient (max_grad_norm), and start anew. {kept}"
        )

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, UNFINISHED) if self._is_saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._refuse_diverged()
        run = super()._get_output_dir(trial)
        checkpoint = Path(run, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.args.should_save:
            clear_unfinished(Path(run))
        self.accelerator.wait_for_everyone()
        with written_beside(checkpoint) as unfinished:
            self._is_saving = True
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._is_saving = False
            # Note the best by the name that it will have, not by the one that it has while it is written.
            step = self.state.best_global_step
            best = os.path.join(run, f"{PREFIX_CHECKPOINT_DIR}-{step}")
            if step and (step == self.state.global_step or os.path.isdir(best)):
                self.state.best_model_checkpoint = best
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self.state.save_to_json(str(unfinished / TRAINER_STATE_NAME))  # with the name of the best
                publish(unfinished, checkpoint)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(checkpoint))
        if self.args.should_save:
            rotate_checkpoints(
                output_dir=run,
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self._is_saving:  # only when the checkpoint has its name: the upload goes on while training does
            super()._push_from_checkpoint(checkpoint_folder)

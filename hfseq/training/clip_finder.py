"""Find the threshold of gradient clipping as one does by hand: lower it until the explosions disappear.

    explosion    the norm of the gradient is NaN or infinite, or above `jump` x max(m, m_0)
                 m: median of the last 100 sound norms        m_0: median of the first 10
    then         threshold <- factor x threshold, for every clipping that is on
                 the update is left out; where the next one explodes as well, the weights go back to sound ones

The norm is that before `max_grad_norm` and `clip_grad_value`, and behind `clip_hidden`, which is a part of the
backward pass. A loss that is no number gives such a norm. m_0 is there because late in a training the norms are near
zero, where one hard text is many times the median and no explosion.
"""

import math
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

import torch
from torch import nn
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.utils import logging

logger = logging.get_logger(__name__)

PLACES: Final = ("max_grad_norm", "clip_grad_value", "clip_hidden")
"""The training arguments that clip: the norm of the whole gradient, its elements, what steps hand back."""

_FIRST, _LAST = 10, 100  # norms that the medians are taken of
_SOUND = 10  # updates without an explosion after which the weights are kept


class ClipFinder(TrainerCallback, ExportableState):
    """Lower the thresholds of clipping until explosions disappear; a callback of `SequenceTrainer`.

    It lowers whichever of `max_grad_norm`, `clip_grad_value` and `clip_hidden` are on. Trainer's `max_grad_norm` is on
    unless it is 0: set it to 0 to look for another one alone. Each change is a warning and an entry of the log
    (`trainer.state.log_history`); the thresholds found are in `found`, and in the trainer's arguments. Checkpoints
    keep them, and a resumed run goes on with them. A run without an explosion is the one that it would be without
    this.

    An update that explodes is left out: its gradients are None. A copy of the weights and of the optimizer's state is
    made every ten sound updates, and put back where two updates in a row explode; it takes as much memory as these.

    Args:
        factor: What a threshold is multiplied with after an explosion.
        jump: How many times the usual norm is an explosion.
        attempts: Explosions, without ten sound updates between them, after which training stops with an error.
    """

    def __init__(self, factor: float = 0.5, jump: float = 20.0, attempts: int = 20) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"factor={factor} must lie between 0 and 1: a threshold is lowered to this share of it.")
        if jump <= 1:
            raise ValueError(f"jump={jump} must be above 1, or every other update would be an explosion.")
        if attempts < 1:
            raise ValueError(f"attempts={attempts} must be 1 or more.")
        self.factor, self.jump, self.attempts = factor, jump, attempts
        self.found: dict[str, float] = {}
        self._begin()

    def _begin(self) -> None:
        self.norms: list[float] = []
        self.usual_at_first: float | None = None
        self.sound_in_a_row = self.tries = 0
        self._kept: _Kept | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        names = ("found", "norms", "usual_at_first", "sound_in_a_row", "tries")
        return {
            "args": {"factor": self.factor, "jump": self.jump, "attempts": self.attempts},
            "attributes": {name: getattr(self, name) for name in names},
        }

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check that something clips; go on from the thresholds of a checkpoint."""
        _check(args)
        self._begin()
        # Trainer fails to save a callback without an entry, which a checkpoint of a run without this one lacks.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.found = {name: getattr(args, name) for name in _clippings_on(args)}
        if state.global_step > 0:
            for name, value in saved["attributes"].items():
                if name != "found":
                    setattr(self, name, value)
            for name, value in saved["attributes"]["found"].items():
                if name in self.found:
                    self._set(args, name, min(value, self.found[name]))
        args.logging_nan_inf_filter = True  # the loss of an update that is left out is not in the log

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the memory of the copy back."""
        self._kept = None
        args.logging_nan_inf_filter = False  # as in SequenceTrainingArguments

    def _set(self, args: Any, name: str, value: float) -> None:
        setattr(args, name, value)
        self.found[name] = value

    def sees_explosion(self, args: Any, step: int, model: nn.Module, optimizer: Any) -> bool:
        """Look at the gradient of an update before it is clipped; leave an explosion out, and lower the thresholds.

        Args:
            args: The training arguments, whose thresholds change.
            step: Number of this update.
            model: Holds the gradient.
            optimizer: The one that would take the update.
        """
        norm = _norm(model.parameters())
        if not self._is_explosion(norm):
            self._note(norm, model, optimizer)
            return False
        model.zero_grad(set_to_none=True)  # an optimizer passes over what has no gradient
        told = "this update is left out"
        if self.sound_in_a_row == 0 and self._kept is not None:
            self._kept.put_back(model, optimizer)
            told += ", and the weights are again those of the last sound update that was kept"
        self.sound_in_a_row, self.tries = 0, self.tries + 1
        changes = []
        for name in _clippings_on(args):
            before = getattr(args, name)
            self._set(args, name, before * self.factor)
            changes.append(f"{name} from {before:g} to {self.found[name]:g}")
        logger.warning(f"Step {step}: the norm of the gradient is {norm:g}. {', '.join(changes)}; {told}.")
        return True

    @property
    def is_at_its_end(self) -> bool:
        """Whether lower thresholds did not help."""
        return self.tries >= self.attempts

    def _is_explosion(self, norm: float) -> bool:
        if not math.isfinite(norm):
            return True
        return self.usual_at_first is not None and norm > self.jump * max(self.usual_at_first, median(self.norms))

    def _note(self, norm: float, model: nn.Module, optimizer: Any) -> None:
        self.norms = [*self.norms, norm][-_LAST:]
        if self.usual_at_first is None and len(self.norms) == _FIRST:
            self.usual_at_first = median(self.norms)
        self.sound_in_a_row += 1
        if self.sound_in_a_row == _SOUND:
            self.tries = 0
        if self._kept is None or self.sound_in_a_row % _SOUND == 0:
            self._kept = _Kept(model, optimizer)


class _Kept:
    """A copy of the weights and of the optimizer's state."""

    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self.weights = [weight.detach().clone() for weight in model.parameters()]
        self.of_optimizer = {weight: _copied(state) for weight, state in optimizer.state.items()}

    @torch.no_grad()
    def put_back(self, model: nn.Module, optimizer: Any) -> None:
        """Make model and optimizer what they were; learning rates follow the steps as ever."""
        for weight, kept in zip(model.parameters(), self.weights, strict=True):
            weight.copy_(kept)
        for weight in list(optimizer.state):
            if weight in self.of_optimizer:
                optimizer.state[weight] = _copied(self.of_optimizer[weight])
            else:
                del optimizer.state[weight]


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in state.items()}


def _norm(parameters: Iterable[nn.Parameter]) -> float:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(nn.utils.get_total_norm(gradients))


def _clippings_on(args: Any) -> list[str]:
    return [name for name in PLACES if getattr(args, name, None)]


def _check(args: Any) -> None:
    """Refuse trainings where no threshold could be found."""
    if not hasattr(args, "clip_hidden"):
        raise ValueError(
            f"ClipFinder looks at gradients before they are clipped, which the trainer of {type(args).__name__} does "
            "not show: use hfseq.SequenceTrainer with SequenceTrainingArguments."
        )
    if not _clippings_on(args):
        off = ", ".join(f"{name}={getattr(args, name)}" for name in PLACES)
        raise ValueError(
            f"ClipFinder lowers a threshold, and {off} clip nothing: set one, for example max_grad_norm=5."
        )
    for name in ("fp16", "fsdp", "deepspeed"):
        if getattr(args, name, None):
            raise ValueError(
                f"ClipFinder sees no whole gradient as it is with {name}={getattr(args, name)!r} (fp16 scales it, the "
                f"others spread it over processes): leave {name} out, bf16 is fine."
            )

"""Callbacks of `SequenceTrainer`: clipping by value, and the clock of a training."""

from time import perf_counter
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class ClipGradValue(TrainerCallback):
    """Clip each element of the gradient, after Trainer has clipped its norm and before the optimizer steps."""

    def __init__(self, value: float) -> None:
        self.value = value

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip once an update, when the gradients of all processes are summed."""
        torch.nn.utils.clip_grad_value_(kwargs["model"].parameters(), self.value)


class TrainingClock(TrainerCallback, ExportableState):
    """Count the seconds of training over all launches of a run, with evaluations and checkpoints: these keep them.

    What an interrupted launch did after its last checkpoint is not counted: it is not in the model either.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.before = seconds
        self.started: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds until now, or until training ended."""
        return self.before if self.started is None else self.before + perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"args": {"seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start, in a resumed run from the seconds of its checkpoint."""
        self.before, self.started = 0.0, None
        # A checkpoint of another Trainer has no entry, and Trainer fails to save a callback without one.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if state.global_step > 0:
            self.before = saved["args"]["seconds"]
        self.started = perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        self.before, self.started = self.seconds, None

"""Callbacks of `SequenceTrainer`: clipping by value, the clock of a training, and the limit of its time."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import IntervalStrategy, SaveStrategy


class ClipGradValue(TrainerCallback):
    """Clip each element of the gradient, after Trainer has clipped its norm and before the optimizer steps."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip once an update, when the gradients of all processes are summed."""
        with_gradient = [parameter for parameter in kwargs["model"].parameters() if parameter.grad is not None]
        if with_gradient:  # torch fails on none, and `ClipFinder` may have left the update out
            torch.nn.utils.clip_grad_value_(with_gradient, args.clip_grad_value)  # asked each time: it may be lowered


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


class TimeLimit(TrainerCallback):
    """Stop a training when its minutes are over, after one more evaluation, and let its learning rate fall with them.

    The last evaluation and what follows it come on top of the minutes.
    """

    def __init__(self, minutes: float, seconds: Callable[[], float]) -> None:
        self.limit = 60 * minutes
        self.seconds = seconds
        self.share = 0.0  # of the time that has gone, the same in all processes

    @property
    def is_over(self) -> bool:
        """Whether the time has stopped the training."""
        return self.share >= 1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin anew, with no time gone."""
        self.share = 0.0

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the clock before the learning rate of the next step is set."""
        share = [self.seconds() / self.limit]
        # Each process has a clock of its own, and they must stop at the same step: that of the first one counts.
        self.share = (broadcast_object_list(share) if args.world_size > 1 else share)[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop, and evaluate and save the last model where that is done each so many steps."""
        if not self.is_over:
            return
        control.should_training_stop = True
        control.should_evaluate |= args.eval_strategy == IntervalStrategy.STEPS
        control.should_save |= args.save_strategy == SaveStrategy.STEPS

    def follow(self, schedule: torch.optim.lr_scheduler.LRScheduler, num_steps: int) -> None:
        """Let a schedule of Trainer's be as far as the steps or the time, whichever is further."""
        if isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):  # the others follow no number of steps
            schedule.lr_lambdas = [self._followed(factor, num_steps) for factor in schedule.lr_lambdas]

    def _followed(self, factor: Callable[[Any], float], num_steps: int) -> Callable[[int], float]:
        # A function: the state of any other callable would go into the checkpoints.
        return lambda step: factor(max(step, min(self.share, 1.0) * num_steps))

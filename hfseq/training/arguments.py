"""The arguments of `SequenceTrainer`: those of transformers, and what sequences need."""

import math
import os
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from transformers import TrainingArguments

from ..evaluation.scores import SCORES
from ..settings import option

SEVERAL_PROCESSES: Final = (
    "accelerate launch --multi_gpu --num_processes {} --num_machines 1 --mixed_precision no --dynamo_backend no"
)
"""The spelling that starts several processes, also on a CPU, where most others silently start one."""

# What TrainingArguments offers and SequenceTrainer would silently not do: the one value that is taken, and why.
_FIXED: dict[str, tuple[Any, str]] = {
    "dataloader_drop_last": (False, "every row is trained on and evaluated"),
    "auto_find_batch_size": (False, "the size of an update is fixed; raise gradient_accumulation_steps"),
    "average_tokens_across_devices": (True, "the loss is divided by what all processes count together"),
    "accelerator_config.split_batches": (False, "total_train_batch_size is dealt out to the processes already"),
    "accelerator_config.dispatch_batches": (None, "each process loads its own rows"),
    "accelerator_config.use_seedable_sampler": (True, "the order of the rows always follows from data_seed"),
}


def refuse(*checks: tuple[object, str]) -> None:
    """Raise a ValueError with the message of the first condition that holds."""
    for is_wrong, message in checks:
        if is_wrong:
            raise ValueError(message)


def check_num_processes(wanted: int | None, running: int, cure: str) -> None:
    """Raise a ValueError, with the cure, if a run has another number of processes than was asked for."""
    if wanted not in (None, running):
        raise ValueError(f"num_processes={wanted} was asked for, {running} run. {cure}")


@dataclass
class SequenceTrainingArguments(TrainingArguments):
    """`TrainingArguments` and what `SequenceTrainer` adds.

    Give `total_train_batch_size` instead of `per_device_train_batch_size`, and the update stays the same however many
    processes and accumulation steps it is dealt to.
    """

    total_train_batch_size: int | None = option(
        None, "Rows of one update over all processes and accumulation steps, in place of per_device_train_batch_size."
    )
    total_train_batch_tokens: int | None = option(
        None, "Tokens (with padding) of one update at most; needs group_by_length."
    )
    clip_grad_value: float | None = option(None, "Clip each element of the gradient to [-value, value].")
    clip_hidden: float | None = option(
        None, "Recurrent models: clip each element of what a step hands back to the one before to [-value, value]."
    )
    early_stopping_patience: int | None = option(
        None, "Stop after so many evaluations without a better metric_for_best_model."
    )
    layer_rate_decay: float | None = option(
        None, "For a pretrained body: a layer's learning rate as a share of the one above it; 0.38 in ULMFiT."
    )
    unfreeze_every: float | None = option(
        None, "For a pretrained body: begin with the head, add a layer each so many epochs; 1 in ULMFiT."
    )
    class_weights: Literal["balanced"] | None = option(
        None, "Text classifiers: balanced lets each class count the same, however few texts it has; null: each text."
    )
    wide_solver: Literal["steps", "regression"] = option(
        "steps",
        "How the wide part of a classifier or the features of a tagger learn: in steps, or as a regression beside.",
    )
    num_processes: int | None = option(None, "Processes that this run must have; another number is an error.")
    max_minutes: float | None = option(
        None, "Stop after so many minutes over all launches; the learning rate falls with them, or with the steps."
    )

    fixed = _FIXED

    def __post_init__(self) -> None:
        """Check what was added, set up devices and processes, and check what was inherited."""
        self._check_own()
        score = SCORES.get((self.metric_for_best_model or "").removeprefix("eval_"))
        if self.greater_is_better is None and score is not None:
            self.greater_is_better = score.greater_is_better  # TrainingArguments takes all but "...loss" for greater
        super().__post_init__()
        for name, (taken, reason) in self.fixed.items():
            value, cure = attrgetter(name)(self), "Leave it out"
            if name in _FIXED:  # what a subclass refuses besides, transformers' Trainer does not have
                cure += ", or use transformers.Trainer"
            refuse((value != taken, f"{type(self).__name__} takes no {name}={value!r}: {reason}. {cure}."))
        # True, the inherited default, would put another loss into the log than the one that training stops at.
        self.logging_nan_inf_filter = False
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False  # every parameter of ours gets a gradient; looking costs time
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # for transfers to a GPU; without one torch warns at every loader
        if self.early_stopping_patience is not None:
            self.restore_callback_states_from_checkpoint = True  # else a resumed run would wait all over again
        shares = self.world_size * self.gradient_accumulation_steps
        if self.total_train_batch_size is None:
            self.total_train_batch_size = self.per_device_train_batch_size * shares
        else:
            self.per_device_train_batch_size = math.ceil(self.total_train_batch_size / shares)
        self._check_processes()

    def _check_own(self) -> None:
        # The fields of this class alone, which are all numbers but two.
        for name in SequenceTrainingArguments.__annotations__:
            value = getattr(self, name)
            if name not in ("class_weights", "wide_solver") and value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}; leave it out to go without.")
        refuse(
            (
                self.class_weights not in (None, "balanced"),
                f"class_weights={self.class_weights!r} must be 'balanced', or null for none.",
            ),
            (
                self.wide_solver not in ("steps", "regression"),
                f"wide_solver={self.wide_solver!r} must be 'steps' or 'regression'.",
            ),
            (
                self.class_weights is not None and self.label_smoothing_factor > 0,
                f"class_weights={self.class_weights!r} and label_smoothing_factor={self.label_smoothing_factor} are "
                "two losses: leave one of them out.",
            ),
            (
                (self.layer_rate_decay or 0) > 1,
                f"layer_rate_decay={self.layer_rate_decay} would train the embeddings fastest: give at most 1.",
            ),
            (
                self.early_stopping_patience is not None and not self.load_best_model_at_end,
                f"early_stopping_patience={self.early_stopping_patience} needs load_best_model_at_end=True (and "
                "eval_strategy with metric_for_best_model): without it the last model is kept, not the best.",
            ),
        )

    def _check_processes(self) -> None:
        # Without GPUs most spellings of a two-process launch run one process, or two that each train alone.
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        cure = f"On CPU launch with: {SEVERAL_PROCESSES.format('N')} recipes/... --training.use_cpu=true"
        refuse(
            (
                self.n_gpu > 1,
                f"One process cannot deal an update to {self.n_gpu} GPUs. Launch one for each GPU: accelerate launch "
                f"--multi_gpu --num_processes {self.n_gpu} recipes/...; or set CUDA_VISIBLE_DEVICES=0 to use one GPU.",
            ),
            (
                launched > 1 and self.world_size != launched,
                f"{launched} processes were launched, but they do not know of one another: "
                f"each would train alone. {cure}",
            ),
        )
        check_num_processes(self.num_processes, self.world_size, cure)

"""The arguments of `SequenceTrainer`: those of transformers, and what sequences need."""

import math
import os
from dataclasses import dataclass, field
from typing import Any, Final

from transformers import TrainingArguments

from ..evaluation.scores import SCORES

SEVERAL_PROCESSES: Final = (
    "accelerate launch --multi_gpu --num_processes {} --num_machines 1 --mixed_precision no --dynamo_backend no"
)
"""The spelling that starts several processes, also on a CPU, where most others silently start one."""

# What TrainingArguments offers and SequenceTrainer would silently not do.
_REFUSED = {
    "dataloader_drop_last": "every row is trained on and evaluated",
    "auto_find_batch_size": "the size of an update is fixed; give a smaller total_train_batch_size, or the same one "
    "with more gradient_accumulation_steps",
}
_REFUSED_OF_ACCELERATE = {
    "split_batches": (False, "total_train_batch_size is dealt out to the processes already"),
    "dispatch_batches": (None, "each process loads its own rows"),
    "use_seedable_sampler": (True, "the order of the rows always follows from data_seed"),
}


def option(default: Any, meaning: str) -> Any:
    """Declare a field of arguments with what `--help` says of it."""
    return field(default=default, metadata={"help": meaning})


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
        None,
        "Rows of one update, over all processes and accumulation steps; follows from per_device_train_batch_size "
        "unless given.",
    )
    total_train_batch_tokens: int | None = option(
        None, "Tokens (with padding) of one update at most; needs group_by_length."
    )
    clip_grad_value: float | None = option(None, "Clip each element of the gradient to [-value, value].")
    early_stopping_patience: int | None = option(
        None, "Stop after so many evaluations without a better metric_for_best_model."
    )
    layer_rate_decay: float | None = option(
        None,
        "Each layer's learning rate as a share of that of the layer above it; the head has learning_rate, the "
        "embeddings the least. For a pretrained body; 0.38 in ULMFiT.",
    )
    unfreeze_every: float | None = option(
        None,
        "Train the head alone at first, and one layer more after each so many epochs, from above. For a pretrained "
        "body; 1 in ULMFiT.",
    )
    num_processes: int | None = option(
        None, "How many processes this run must have; an error if it got another number."
    )

    def __post_init__(self) -> None:
        """Check what was added, then let transformers set up devices and processes."""
        self._check_own()
        score = SCORES.get((self.metric_for_best_model or "").removeprefix("eval_"))
        if self.greater_is_better is None and score is not None:
            self.greater_is_better = score.greater_is_better  # TrainingArguments takes all but "...loss" for greater
        super().__post_init__()
        self._check_inherited()
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
        # Only the fields of this class, which are all numbers: a subclass says itself what it needs.
        for name in SequenceTrainingArguments.__annotations__:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}; leave it out to go without.")
        refuse(
            (
                (self.layer_rate_decay or 0) > 1,
                f"layer_rate_decay={self.layer_rate_decay} would train the embeddings fastest: give a share of at "
                "most 1, such as 0.38.",
            ),
            (
                self.early_stopping_patience is not None and not self.load_best_model_at_end,
                f"early_stopping_patience={self.early_stopping_patience} needs load_best_model_at_end=True (and "
                "eval_strategy with metric_for_best_model): without it the last model is kept, not the best.",
            ),
        )

    def _check_inherited(self) -> None:
        refused = {name: reason for name, reason in _REFUSED.items() if getattr(self, name)}
        for name, (default, reason) in _REFUSED_OF_ACCELERATE.items():
            if getattr(self.accelerator_config, name) != default:
                refused[f"accelerator_config.{name}"] = reason
        if not self.average_tokens_across_devices:
            refused["average_tokens_across_devices=False"] = "the loss is divided by what all processes count together"
        for name, reason in refused.items():
            raise ValueError(f"SequenceTrainer has no {name}: {reason}. Leave it out, or use transformers.Trainer.")

    def _check_processes(self) -> None:
        """Stop a launch that silently became something else.

        On a machine without GPUs most spellings of a two-process launch run one process, or two that each train alone.
        """
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
                f"{launched} processes were launched, but they do not know of one another: each would train alone. "
                f"{cure}",
            ),
        )
        check_num_processes(self.num_processes, self.world_size, cure)

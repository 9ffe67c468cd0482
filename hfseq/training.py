"""A thin Trainer: what sequences need, and nothing that transformers' Trainer has.

Stock `Trainer` trains our models just as well. This one adds updates that do not depend on how many processes and
accumulation steps they are dealt to, batches of rows of one length, clipping by value, and early stopping by an
argument.
"""

import math
import os
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PredictionOutput

from .data.batching import UpdateSampler, row_lengths


@dataclass
class SequenceTrainingArguments(TrainingArguments):
    """`TrainingArguments` and what `SequenceTrainer` adds.

    Give `total_train_batch_size` instead of `per_device_train_batch_size`, and the update stays the same however many
    processes and accumulation steps it is dealt to.
    """

    total_train_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rows of one update, over all processes and accumulation steps; follows from "
            "per_device_train_batch_size unless given."
        },
    )
    total_train_batch_tokens: int | None = field(
        default=None, metadata={"help": "Tokens (with padding) of one update at most; needs group_by_length."}
    )
    clip_grad_value: float | None = field(
        default=None, metadata={"help": "Clip each element of the gradient to [-value, value]."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better metric_for_best_model."}
    )
    num_processes: int | None = field(
        default=None, metadata={"help": "How many processes this run must have; an error if it got another number."}
    )

    def __post_init__(self) -> None:
        """Check what was added, then let transformers set up devices and processes."""
        for name in (
            "total_train_batch_size",
            "total_train_batch_tokens",
            "clip_grad_value",
            "early_stopping_patience",
            "num_processes",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}; leave it out to go without.")
        super().__post_init__()
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False  # every parameter of ours gets a gradient; looking costs time
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # for transfers to a GPU; without one torch warns at every loader
        if self.early_stopping_patience is not None and not self.load_best_model_at_end:
            raise ValueError(
                f"early_stopping_patience={self.early_stopping_patience} needs load_best_model_at_end=True (and "
                "eval_strategy with metric_for_best_model): without it the last model is kept, not the best."
            )
        if self.early_stopping_patience is not None:
            self.restore_callback_states_from_checkpoint = True  # else a resumed run would wait all over again
        shares = self.world_size * self.gradient_accumulation_steps
        if self.total_train_batch_size is None:
            self.total_train_batch_size = self.per_device_train_batch_size * shares
        else:
            self.per_device_train_batch_size = math.ceil(self.total_train_batch_size / shares)
        self._check_processes()

    def _check_processes(self) -> None:
        """Stop a launch that silently became something else.

        On a machine without GPUs most spellings of a two-process launch run one process, or two that each train alone.
        """
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        cure = (
            "On CPU launch with: accelerate launch --multi_gpu --num_processes N --num_machines 1 "
            "--mixed_precision no --dynamo_backend no recipes/... --training.use_cpu=true"
        )
        if launched > 1 and self.world_size != launched:
            raise ValueError(
                f"{launched} processes were launched, but they do not know of one another: each would train alone. "
                f"{cure}"
            )
        if self.num_processes is not None and self.num_processes != self.world_size:
            raise ValueError(f"num_processes={self.num_processes} was asked for, {self.world_size} run. {cure}")


class ClipGradValue(TrainerCallback):
    """Clips each element of the gradient, after Trainer has clipped its norm and before the optimizer steps."""

    def __init__(self, value: float) -> None:
        self.value = value

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by Trainer once an update, when the gradients of all processes are summed."""
        torch.nn.utils.clip_grad_value_(kwargs["model"].parameters(), self.value)


class SequenceTrainer(Trainer):
    """`Trainer` with `SequenceTrainingArguments`; takes the same arguments.

    Evaluation and prediction run over rows sorted by length, several times faster than over rows in any order, and
    give the same answers (padding changes none) in the order of the dataset.
    """

    args: SequenceTrainingArguments

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.args.clip_grad_value is not None:
            self.add_callback(ClipGradValue(self.args.clip_grad_value))
        if self.args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(self.args.early_stopping_patience))
        if isinstance(self.eval_dataset, Dataset):
            self.eval_dataset = self.eval_dataset.select(_by_length(self.eval_dataset))

    def get_train_dataloader(self) -> DataLoader:
        """Batches of `UpdateSampler`, for this process."""
        dataset = self.train_dataset
        if not isinstance(dataset, Dataset):
            raise ValueError(
                f"SequenceTrainer trains on a datasets.Dataset with a column input_ids, got {type(dataset).__name__}. "
                "transformers.Trainer takes other kinds."
            )
        sampler = UpdateSampler(
            row_lengths(dataset),
            rows_per_update=cast(int, self.args.total_train_batch_size),  # set in __post_init__
            tokens_per_update=self.args.total_train_batch_tokens,
            strategy=self.args.train_sampling_strategy,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            num_processes=self.args.world_size,
            process_index=self.args.process_index,
            accumulation_steps=self.args.gradient_accumulation_steps,
        )
        loader = DataLoader(
            self._remove_unused_columns(dataset, description="training"),
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            # Its own generator: else a resumed run would draw from the restored global one and leave the track.
            generator=torch.Generator().manual_seed(self.args.seed),
        )
        # num_processes=1: the sampler has dealt the rows out already.
        return prepare_data_loader(loader, self.args.device, num_processes=1, process_index=0, put_on_device=True)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler:
        """In order. Trainer groups evaluation by length too, and then returns predictions in that order."""
        return SequentialSampler(eval_dataset)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """As `Trainer.predict`; predictions and labels are in the order of `test_dataset`."""
        if not isinstance(test_dataset, Dataset):
            return super().predict(test_dataset, *args, **kwargs)
        order = _by_length(test_dataset)
        predictions, label_ids, metrics = super().predict(test_dataset.select(order), *args, **kwargs)
        back = np.argsort(order)
        return PredictionOutput(_rows(predictions, back), _rows(label_ids, back), metrics)

    def score(self, dataset: Dataset) -> tuple[np.ndarray, dict[str, float]]:
        """Logits for a labelled dataset, in its order, and what `compute_metrics` says of them."""
        output = self.predict(dataset, metric_key_prefix="score")
        logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
        bookkeeping = {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}
        metrics = {name.removeprefix("score_"): value for name, value in (output.metrics or {}).items()}
        return logits, {name: value for name, value in metrics.items() if name not in bookkeeping}


def _by_length(dataset: Dataset) -> np.ndarray:
    return np.argsort(row_lengths(dataset), kind="stable")


def _rows(values: Any, order: np.ndarray) -> Any:
    """Reorder the rows of an array, or of each array of a tuple."""
    if values is None:
        return None
    return tuple(_rows(value, order) for value in values) if isinstance(values, tuple) else values[order]

"""A thin Trainer: what sequences need, and nothing that transformers' Trainer has.

Stock `Trainer` trains our models just as well. This one adds updates that do not depend on how many processes and
accumulation steps they are dealt to, batches of rows of one length, clipping by value, early stopping by an argument,
and a pretrained body that learns slower and later than its new head. Its checkpoints are whole or not there
(`checkpoints.py`).
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PreTrainedModel,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import PredictionOutput

from .checkpoints import WholeCheckpointTrainer
from .data.batching import PaddingCollator, UpdateSampler, row_lengths
from .fine_tuning import Depths, drop_frozen_gradients, parameter_depths, set_layer_rates
from .metrics import SCORES
from .models.language import next_tokens

SEVERAL_PROCESSES: Final = (
    "accelerate launch --multi_gpu --num_processes {} --num_machines 1 --mixed_precision no --dynamo_backend no"
)
"""The spelling that starts several processes, also on a CPU, where most others silently start one."""

_REFUSED = {
    "dataloader_drop_last": "every row is trained on and evaluated",
    "logging_nan_inf_filter": "training stops at a loss that is NaN or infinite",
    "auto_find_batch_size": "the size of an update is fixed; give a smaller total_train_batch_size, or the same one "
    "with more gradient_accumulation_steps",
}
_REFUSED_OF_ACCELERATE = {
    "split_batches": (False, "total_train_batch_size is dealt out to the processes already"),
    "dispatch_batches": (None, "each process loads its own rows"),
    "use_seedable_sampler": (True, "the order of the rows always follows from data_seed"),
}


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
    layer_rate_decay: float | None = field(
        default=None,
        metadata={
            "help": "Each layer's learning rate as a share of that of the layer above it; the head has learning_rate, "
            "the embeddings the least. For a pretrained body; 0.38 in ULMFiT."
        },
    )
    unfreeze_every: float | None = field(
        default=None,
        metadata={
            "help": "Train the head alone at first, and one layer more after each so many epochs, from above. For a "
            "pretrained body; 1 in ULMFiT."
        },
    )
    num_processes: int | None = field(
        default=None, metadata={"help": "How many processes this run must have; an error if it got another number."}
    )

    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Not for SequenceTrainer, which stops at a loss that is NaN or infinite."},
    )

    def __post_init__(self) -> None:
        """Check what was added, then let transformers set up devices and processes."""
        for name in (
            "total_train_batch_size",
            "total_train_batch_tokens",
            "clip_grad_value",
            "early_stopping_patience",
            "layer_rate_decay",
            "unfreeze_every",
            "num_processes",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}; leave it out to go without.")
        if self.layer_rate_decay is not None and self.layer_rate_decay > 1:
            raise ValueError(
                f"layer_rate_decay={self.layer_rate_decay} would train the embeddings fastest: give a share of at "
                "most 1, such as 0.38."
            )
        score = SCORES.get((self.metric_for_best_model or "").removeprefix("eval_"))
        if self.greater_is_better is None and score is not None:
            self.greater_is_better = score.greater_is_better  # TrainingArguments takes all but "...loss" for greater
        super().__post_init__()
        self._check_inherited()
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

    def _check_inherited(self) -> None:
        """Refuse by name what TrainingArguments offers and SequenceTrainer would silently not do."""
        refused = {name: reason for name, reason in _REFUSED.items() if getattr(self, name)}
        for name, (default, reason) in _REFUSED_OF_ACCELERATE.items():
            if getattr(self.accelerator_config, name) != default:
                refused[f"accelerator_config.{name}"] = reason
        if not self.average_tokens_across_devices:
            refused["average_tokens_across_devices=False"] = (
                "an update's loss is divided by what it counts over all processes"
            )
        for name, reason in refused.items():
            raise ValueError(f"SequenceTrainer has no {name}: {reason}. Leave it out, or use transformers.Trainer.")

    def _check_processes(self) -> None:
        """Stop a launch that silently became something else.

        On a machine without GPUs most spellings of a two-process launch run one process, or two that each train alone.
        """
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        cure = f"On CPU launch with: {SEVERAL_PROCESSES.format('N')} recipes/... --training.use_cpu=true"
        if self.n_gpu > 1:
            raise ValueError(
                f"One process cannot deal an update to {self.n_gpu} GPUs. Launch one for each GPU: accelerate launch "
                f"--multi_gpu --num_processes {self.n_gpu} recipes/...; or set CUDA_VISIBLE_DEVICES=0 to use one GPU."
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


class TrainingClock(TrainerCallback, ExportableState):
    """Counts the seconds of training, over all launches of a run: checkpoints keep them.

    What counts is all from the first update to the last, with the evaluations and checkpoints between them; not
    preparing the data, nor what an interrupted launch did after its last checkpoint, which is not in the model either.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.before = seconds
        self.started: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds until now, or until training ended."""
        return self.before if self.started is None else self.before + perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
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
        """Stop."""
        self.before, self.started = self.seconds, None


class SequenceTrainer(WholeCheckpointTrainer):
    """`Trainer` with `SequenceTrainingArguments`; takes the same arguments.

    It trains on a `datasets.Dataset` with a column `input_ids`; streamed data (`IterableDataset`), whose lengths are
    not known beforehand, are for `transformers.Trainer`.

    Evaluation and prediction run over rows sorted by length, several times faster than over rows in any order, and
    give the same answers (padding changes none). Predictions come in the order of the dataset; `compute_metrics` sees
    the sorted rows.

    Args:
        model: As `Trainer`'s.
        args: `SequenceTrainingArguments()` unless given.
        *others: As `Trainer`'s.
        **kwargs: As `Trainer`'s.
    """

    args: SequenceTrainingArguments

    def __init__(self, model: Any = None, args: TrainingArguments | None = None, *others: Any, **kwargs: Any) -> None:
        args = SequenceTrainingArguments() if args is None else args
        if not isinstance(args, SequenceTrainingArguments):
            raise ValueError(
                f"SequenceTrainer takes SequenceTrainingArguments, got {type(args).__name__}: the same arguments and "
                "a few more, from hfseq.training."
            )
        super().__init__(model, args, *others, **kwargs)
        if self.optimizer is not None and args.layer_rate_decay is not None:
            raise ValueError(
                f"layer_rate_decay={args.layer_rate_decay} sets the rates of the optimizer that the arguments "
                "describe; the one given by optimizers=... has its own. Leave one of the two out."
            )
        self._depths: Depths = {}
        collator = self.data_collator
        if type(collator) is DataCollatorWithPadding and not others and kwargs.get("data_collator") is None:
            self.data_collator = PaddingCollator(collator.tokenizer)  # in the place of Trainer's own choice
        self.add_callback(TrainingClock())
        if self.args.clip_grad_value is not None:
            self.add_callback(ClipGradValue(self.args.clip_grad_value))
        if self.args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(self.args.early_stopping_patience))

    @property
    def training_seconds(self) -> float:
        """Seconds of training as `TrainingClock` counts them, over all launches of a resumed run."""
        # Trainer may replace a callback when it resumes, so it is looked up.
        return sum(item.seconds for item in self.callback_handler.callbacks if isinstance(item, TrainingClock))

    def get_train_dataloader(self) -> DataLoader:
        """Batches of `UpdateSampler`, for this process."""
        dataset = self.train_dataset
        if not isinstance(dataset, Dataset):
            raise ValueError(
                f"SequenceTrainer trains on a datasets.Dataset with a column input_ids, got {type(dataset).__name__}. "
                "transformers.Trainer takes other kinds."
            )
        sampler = UpdateSampler(
            row_lengths(dataset, self.args.length_column_name),
            rows_per_update=cast(int, self.args.total_train_batch_size),  # set in __post_init__
            tokens_per_update=self.args.total_train_batch_tokens,
            strategy=self.args.train_sampling_strategy,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            num_processes=self.args.world_size,
            process_index=self.args.process_index,
            accumulation_steps=self.args.gradient_accumulation_steps,
        )
        return self._dealt_loader(self._remove_unused_columns(dataset, description="training"), sampler)

    def _dealt_loader(self, dataset: Any, sampler: Sampler) -> DataLoader:
        """A loader, as the arguments describe it, of batches that the sampler has dealt out to the processes."""
        loader: DataLoader = DataLoader(
            dataset,
            batch_sampler=cast(Any, sampler),  # declared as lists of indices; a sampler of windows yields those
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
            in_order=self.args.dataloader_in_order,
            # Its own generator: else a resumed run would draw from the restored global one and leave the track.
            generator=torch.Generator().manual_seed(self.args.seed),
        )
        # num_processes=1: the sampler has dealt the rows out already.
        return prepare_data_loader(
            loader,
            self.args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            non_blocking=cast(AcceleratorConfig, self.args.accelerator_config).non_blocking,
        )

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Any:
        """As `Trainer`'s, of the tokens that a language model predicts: with padding on the left that is one fewer."""
        if self._loss_shifts_labels:
            batch_samples = [
                batch
                if "shift_labels" in batch or "labels" not in batch
                else {**batch, "shift_labels": next_tokens(batch["labels"], batch.get("attention_mask"))}
                for batch in batch_samples
            ]
        return super()._get_num_items_in_batch(batch_samples, device)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As Trainer's, with the learning rates of `layer_rate_decay`."""
        is_new = self.optimizer is None
        if self.args.layer_rate_decay is not None or self.args.unfreeze_every is not None:
            self._depths = parameter_depths(cast(PreTrainedModel, self.model))
        optimizer = super().create_optimizer(model)
        if is_new and self.args.layer_rate_decay is not None:
            set_layer_rates(optimizer, self._depths, self.args.layer_rate_decay)
        return optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As Trainer's; what `unfreeze_every` keeps frozen is left without a gradient, also for the clipping."""
        loss = super().training_step(*args, **kwargs)
        if self.args.unfreeze_every is not None:
            drop_frozen_gradients(self._depths, epoch=self.state.epoch or 0.0, every=self.args.unfreeze_every)
        return loss

    def _get_eval_sampler(self, eval_dataset: Any) -> Iterable[int]:  # type: ignore[override] # as DataLoader takes it
        """By length, in an order that `predict` knows. Trainer's own grouping would leave predictions out of order."""
        order = _by_length(eval_dataset)
        return SequentialSampler(eval_dataset) if order is None else order.tolist()

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """As `Trainer.predict`; predictions and labels are in the order of `test_dataset`."""
        output = super().predict(test_dataset, *args, **kwargs)
        order = _by_length(test_dataset)
        if order is None:
            return output
        predictions, label_ids, metrics = output
        back = np.argsort(order)
        return PredictionOutput(_rows(predictions, back), _rows(label_ids, back), metrics)

    def score(self, dataset: Dataset) -> tuple[np.ndarray, dict[str, float]]:
        """Logits for a labelled dataset, in its order, and what `compute_metrics` says of them."""
        output = self.predict(dataset, metric_key_prefix="score")
        logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
        bookkeeping = {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}
        metrics = {name.removeprefix("score_"): value for name, value in (output.metrics or {}).items()}
        return logits, {name: value for name, value in metrics.items() if name not in bookkeeping}


def _by_length(dataset: Any) -> np.ndarray | None:
    """The rows of a dataset from the shortest to the longest; None if it does not tell their lengths.

    Only `input_ids` count, whatever the column of lengths says: Trainer drops that one before it asks for a sampler.
    """
    if not isinstance(dataset, Dataset) or "input_ids" not in dataset.column_names:
        return None
    return np.argsort(row_lengths(dataset.select_columns("input_ids")), kind="stable")


def _rows(values: Any, order: np.ndarray) -> Any:
    """Reorder the rows of an array, or of each array of a tuple."""
    if values is None:
        return None
    return tuple(_rows(value, order) for value in values) if isinstance(values, tuple) else values[order]

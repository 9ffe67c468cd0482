"""A thin Trainer: what sequences need, and nothing that transformers' Trainer has.

Stock `Trainer` trains our models just as well. This one adds what `SequenceTrainingArguments` asks for, updates that
do not depend on how they are dealt out, and checkpoints that are whole or not there.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import DataCollatorWithPadding, EarlyStoppingCallback, ProgressCallback, TrainingArguments
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import PredictionOutput, TrainOutput

from ..models.base import IGNORED
from ..models.heads.causal_lm import next_tokens
from ..models.heads.classification import SequenceClassificationMixin
from ..models.heads.tagging import TokenClassificationMixin
from ..models.recurrent.clipping import check_clips_hidden, clipping_hidden
from ..models.recurrent.recursive import RecursiveForSequenceClassification
from ..models.words.bag import BagForSequenceClassification
from ..tokenization.padding import PaddingCollator
from .arguments import SequenceTrainingArguments
from .batching import Shares, UpdateSampler, row_lengths
from .callbacks import ClipGradValue, TimeLimit, TrainingClock
from .checkpoints import WholeCheckpointTrainer
from .class_weights import WeightedLoss
from .clip_finder import ClipFinder
from .feature_regression import FeatureRegression, has_features, is_linear
from .fine_tuning import Depths, drop_frozen_gradients, parameter_depths, set_layer_rates
from .lines import ProgressLines
from .parts import OF_LAYERS, InParts, parts_of
from .unseen import hide_unseen
from .wide import fit_wide

if TYPE_CHECKING:
    from .wide import Mixed
    from .wide_regression import WideRegression

_CLASSIFIERS = (
    *(SequenceClassificationMixin, TokenClassificationMixin),
    *(BagForSequenceClassification, RecursiveForSequenceClassification),
)
_OF_STEPS = ("learning_rate", "num_train_epochs", "max_steps", "early_stopping_patience", "load_best_model_at_end")
_SHARE_OF_SOLVER = 0.5  # of the minutes, that a regression of features beside a network may take at most
_LOADER = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "multiprocessing_context", "in_order")


class SequenceTrainer(WholeCheckpointTrainer):
    """`Trainer` with `SequenceTrainingArguments`; takes the same arguments.

    It trains on a `datasets.Dataset` with a column `input_ids`. Evaluation and prediction run over rows sorted by
    length, several times faster, with the same answers. A batch with very long texts is read in parts, so that it fits
    into the memory. Predictions come in the order of the dataset; `compute_metrics` sees the sorted rows.
    """

    args: SequenceTrainingArguments
    arguments_class: ClassVar[type[SequenceTrainingArguments]] = SequenceTrainingArguments

    def __init__(self, model: Any = None, args: TrainingArguments | None = None, *others: Any, **kwargs: Any) -> None:
        args = self.arguments_class() if args is None else args
        if not isinstance(args, self.arguments_class):
            raise ValueError(
                f"{type(self).__name__} takes {self.arguments_class.__name__}, got {type(args).__name__}: the same "
                "arguments and a few more. Import them from hfseq."
            )
        super().__init__(model, args, *others, **kwargs)
        if args.label_smoothing_factor:
            _check_smoothing(model, args.label_smoothing_factor)
        if self.optimizer is not None and args.layer_rate_decay is not None:
            raise ValueError(
                f"layer_rate_decay={args.layer_rate_decay} sets the rates of the optimizer that the arguments "
                "describe; the one given by optimizers=... has its own. Leave one of the two out."
            )
        if args.clip_hidden is not None:
            check_clips_hidden(cast(torch.nn.Module, self.model), args.clip_hidden)
        self._depths: Depths = {}
        collator = self.data_collator
        if type(collator) is DataCollatorWithPadding and not others and kwargs.get("data_collator") is None:
            self.data_collator = PaddingCollator(collator.tokenizer)  # in the place of Trainer's own choice
        self.add_callback(TrainingClock())
        self.time_limit: TimeLimit | None = None
        self.mixed: Mixed | None = None  # how much network and regression count, with wide_solver="regression"
        self._solver_seconds = 0.0
        if args.max_minutes is not None:
            self.time_limit = TimeLimit(args.max_minutes, lambda: self.training_seconds)
            self.add_callback(self.time_limit)
        if self.pop_callback(ProgressCallback) is not None:  # it is not there with disable_tqdm
            self.add_callback(ProgressLines(lambda: self.callback_handler.callbacks))  # Trainer may replace some
        if args.clip_grad_value is not None:
            self.add_callback(ClipGradValue())
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))

    @property
    def training_seconds(self) -> float:
        """The seconds of training as `TrainingClock` counts them, over all launches of a resumed run."""
        # Looked up, since Trainer may replace a callback when it resumes.
        clocks = [item.seconds for item in self.callback_handler.callbacks if isinstance(item, TrainingClock)]
        return sum(clocks) + self._solver_seconds

    @property
    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def _shares(self, accumulation_steps: int | None = None) -> Shares:
        steps = accumulation_steps or self.args.gradient_accumulation_steps
        return Shares(self.args.world_size, self.args.process_index, steps)

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train; document frequencies of a new wide part and weights of classes come from the training rows."""
        beside: WideRegression | FeatureRegression | None = None
        if isinstance(self.train_dataset, Dataset):
            fit_wide(self.model, self.train_dataset)
            if self.args.class_weights is not None:
                self.compute_loss_func = WeightedLoss.balanced(self.model, self.train_dataset)
            if self.args.wide_solver == "regression":
                beside = self._regression(self.train_dataset)
        if isinstance(beside, FeatureRegression) and is_linear(self.model):
            return self._without_network(beside)
        output = super().train(*args, **kwargs)
        if beside is not None:
            started, validation = perf_counter(), cast(Dataset, self.eval_dataset)
            if isinstance(beside, FeatureRegression):
                self.mixed = beside.mix(validation)
            else:
                self.mixed = beside.mix(self.score(validation)[0], validation)
            self._solver_seconds += perf_counter() - started
        return output

    def _without_network(self, found: FeatureRegression) -> TrainOutput:
        """End the training of a model that is a regression and nothing else."""
        metrics = {"train_runtime": self._solver_seconds, "train_loss": found.stand_alone()}
        self.log(dict(metrics))
        return TrainOutput(0, metrics["train_loss"], metrics)

    def _regression(self, train_dataset: Dataset) -> "WideRegression | FeatureRegression":
        """Fit the wide part before the network learns; what that takes is of the minutes."""
        self._check_regression(train_dataset)
        started = perf_counter()
        try:
            if has_features(self.model):
                share, minutes = 1.0 if is_linear(self.model) else _SHARE_OF_SOLVER, self.args.max_minutes
                return FeatureRegression(self.model, train_dataset, None if minutes is None else share * minutes)
            from .wide_regression import WideRegression  # brings scikit-learn, which other trainings need not wait for

            return WideRegression(self.model, train_dataset, self.args.class_weights)
        finally:
            self._solver_seconds = perf_counter() - started

    def _check_regression(self, train_dataset: Dataset) -> None:
        for is_wrong, how in (
            (self.model_init is not None, "model_init makes another model when training begins: give model"),
            (self.is_fsdp_enabled or self.is_deepspeed_enabled, "the weights are spread over processes"),
        ):
            if is_wrong:
                raise ValueError(
                    f"wide_solver='regression' fills the model that was given, but {how}, or leave it out."
                )
        if getattr(self.model, "wide", None) is None and not has_features(self.model):
            raise ValueError(
                "wide_solver='regression' needs a classifier with wide_ngrams of 1 or more, or a tagger with "
                "feature_buckets: leave it out."
            )
        if has_features(self.model) and getattr(self.model, "slot_classifier", None) is not None:
            raise ValueError(
                "wide_solver='regression' fits the features of a tagger, not those of a model of intents and slots: "
                "leave it out, and they learn in steps, or set feature_buckets=0."
            )
        if getattr(self.model, "is_siamese", False):
            raise ValueError(
                "wide_solver='regression' adds up what words say, and of pairs='siamese' what two texts share tells: "
                "leave it out."
            )
        needed: list[tuple[str, Any]] = [("train_dataset", train_dataset)]
        if is_linear(self.model):
            self._check_no_steps()
        else:
            needed.append(("eval_dataset", self.eval_dataset))
        for name, rows in needed:
            if not isinstance(rows, Dataset) or "labels" not in rows.column_names:
                raise ValueError(
                    "wide_solver='regression' learns from training texts and chooses on validation texts: give "
                    f"{name} with a column labels."
                )

    def _check_no_steps(self) -> None:
        """Refuse, for a model that is a regression and nothing else, what only steps have."""
        for name in _OF_STEPS:
            value = getattr(self.args, name)
            if value != type(self.args).__dataclass_fields__[name].default:
                raise ValueError(
                    f"{name}={value!r} is for steps, and wide_solver='regression' takes none with a linear CRF: leave "
                    "it out, or take wide_solver='steps'."
                )

    def get_train_dataloader(self) -> DataLoader:
        """Load this process's batches of `UpdateSampler`."""
        dataset = self.train_dataset
        if not isinstance(dataset, Dataset):
            raise ValueError(
                "SequenceTrainer trains on a datasets.Dataset with a column input_ids or input_values, got "
                f"{type(dataset).__name__}. transformers.Trainer takes other kinds."
            )
        sampler = UpdateSampler(
            self._lengths(dataset),
            rows_per_update=cast(int, self.args.total_train_batch_size),  # set in __post_init__
            tokens_per_update=self.args.total_train_batch_tokens,
            strategy=self.args.train_sampling_strategy,
            seed=self._data_seed,
            shares=self._shares(),
        )
        return self._dealt_loader(self._remove_unused_columns(dataset, description="training"), sampler)

    def _lengths(self, dataset: Dataset) -> np.ndarray:
        return row_lengths(dataset, self.args.length_column_name)

    def _dealt_loader(self, dataset: Any, sampler: Sampler, collate: Any = None) -> DataLoader:
        options: dict[str, Any] = {name: getattr(self.args, f"dataloader_{name}") for name in _LOADER}
        # Its own generator: else a resumed run would draw from the restored global one and leave the track.
        options["generator"] = torch.Generator().manual_seed(self.args.seed)
        loader: DataLoader = DataLoader(
            dataset, batch_sampler=cast(Any, sampler), collate_fn=collate or self.data_collator, **options
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
        """Count the tokens that a language model predicts: with padding on the left that is one fewer."""
        if self._loss_shifts_labels:
            batch_samples = [
                batch
                if "shift_labels" in batch or "labels" not in batch
                else {**batch, "shift_labels": next_tokens(batch["labels"], batch.get("attention_mask"))}
                for batch in batch_samples
            ]
        return super()._get_num_items_in_batch(batch_samples, device)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create `Trainer`'s optimizer, with the learning rates of `layer_rate_decay`."""
        is_new = self.optimizer is None
        if self.args.layer_rate_decay is not None or self.args.unfreeze_every is not None:
            self._depths = parameter_depths(cast(Any, self.model))
        optimizer = super().create_optimizer(model)
        if is_new and self.args.layer_rate_decay is not None:
            set_layer_rates(optimizer, self._depths, self.args.layer_rate_decay)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create `Trainer`'s schedule, which falls with the clock where that is further than the steps."""
        is_new = self.lr_scheduler is None
        schedule = super().create_scheduler(num_training_steps, optimizer)
        if is_new and self.time_limit is not None:
            self.time_limit.follow(schedule, num_training_steps)
        return schedule

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Take `Trainer`'s step; what `unfreeze_every` keeps frozen loses its gradient before the clipping."""
        with clipping_hidden(cast(torch.nn.Module, self.model), self.args.clip_hidden):
            loss = super().training_step(*args, **kwargs)
        if self.args.unfreeze_every is not None:
            drop_frozen_gradients(self._depths, epoch=self.state.epoch or 0.0, every=self.args.unfreeze_every)
        finder = self.clip_finder
        if finder is not None and self.accelerator.sync_gradients:  # the gradient of the update is whole
            self._look_for_explosion(finder)
        return loss

    @property
    def clip_finder(self) -> ClipFinder | None:
        """The callback that lowers the thresholds of clipping, if there is one."""
        finders = (item for item in self.callback_handler.callbacks if isinstance(item, ClipFinder))
        return next(finders, None)  # looked up, since Trainer may replace a callback when it resumes

    @property
    def _takes_back_explosions(self) -> bool:
        return self.clip_finder is not None

    def _look_for_explosion(self, finder: ClipFinder) -> None:
        """Let the finder look at the gradient; log what it changes, and stop where that does not help."""
        step, model = self.state.global_step + 1, cast(torch.nn.Module, self.model)
        if not finder.sees_explosion(self.args, step, model, self.optimizer):
            return
        self._forget_explosion()
        self.log(dict(finder.found))
        if finder.is_at_its_end:
            self._stop_diverged(step, f"{finder.attempts} updates exploded, with ever lower thresholds of clipping,")

    def _forget_explosion(self) -> None:
        """Clear what an exploded forward pass may have left beside the weights; nothing here."""

    def _get_eval_sampler(self, eval_dataset: Any) -> Iterable[int]:  # type: ignore[override] # as DataLoader takes it
        # In an order that `predict` knows: Trainer's own grouping would leave predictions out of order.
        order = _by_length(eval_dataset)
        return SequentialSampler(eval_dataset) if order is None else order.tolist()

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Take `Trainer`'s step, in parts where long texts would fill the memory.

        Labels that training never shows count in the scores, and not in the loss. What a model tells of its layers
        (`attentions`, `hidden_states`) is left out, as batches of different lengths cannot be joined.
        """
        if ignore_keys is None:
            config = getattr(self.model, "config", None)
            ignore_keys = [*getattr(config, "keys_to_ignore_at_inference", ["past_key_values"]), *OF_LAYERS]
        parts, labels = parts_of(inputs), inputs.get("labels")
        reader = InParts(model, parts) if len(parts) > 1 else model
        if labels is None or not isinstance(self.model, _CLASSIFIERS):
            return super().prediction_step(reader, inputs, prediction_loss_only, ignore_keys)
        own: Any = self.model.config
        seen = {"labels": hide_unseen(labels, own.num_labels, own.problem_type)}
        if (slots := inputs.get("slot_labels")) is not None:
            seen["slot_labels"] = hide_unseen(slots, len(own.slot_labels))
        loss, logits, told = super().prediction_step(reader, {**inputs, **seen}, prediction_loss_only, ignore_keys)
        if loss is not None and not bool((seen["labels"] != IGNORED).any()):
            loss = loss.nan_to_num(0.0)  # the mean over nothing
        if told is not None:
            told = tuple(inputs[name].detach() for name in seen) if isinstance(told, tuple) else labels.detach()
        return loss, logits, told

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Predict; predictions and labels are in the order of `test_dataset`."""
        output = super().predict(test_dataset, *args, **kwargs)
        order = _by_length(test_dataset)
        if order is None:
            return output
        back = np.argsort(order)
        return output._replace(predictions=_rows(output.predictions, back), label_ids=_rows(output.label_ids, back))

    def score(self, dataset: Dataset) -> tuple[np.ndarray, dict[str, float]]:
        """Return the logits for a labelled dataset, in its order, and what `compute_metrics` says of them."""
        output = self.predict(dataset, metric_key_prefix="score")
        logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
        metrics = {name.removeprefix("score_"): value for name, value in (output.metrics or {}).items()}
        for bookkeeping in ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"):
            metrics.pop(bookkeeping, None)
        return logits, metrics


def _check_smoothing(model: Any, share: float) -> None:
    """Refuse a loss that transformers makes of `logits` by itself, in the place of the model's own."""
    if getattr(getattr(model, "config", None), "slot_labels", None) is not None:
        raise ValueError(
            f"label_smoothing_factor={share} makes a loss of intents alone, under which a model would learn no slots: "
            "leave it out."
        )
    if getattr(model, "crf", None) is not None:
        raise ValueError(
            f"label_smoothing_factor={share} makes a loss of each word alone, under which a CRF would learn nothing: "
            "leave it out, or train with crf=False."
        )


def _by_length(dataset: Any) -> np.ndarray | None:
    # Whatever the column of lengths says: Trainer drops that one before it asks for a sampler.
    if not isinstance(dataset, Dataset) or "input_ids" not in dataset.column_names:
        return None
    return np.argsort(row_lengths(dataset.select_columns("input_ids")), kind="stable")


def _rows(values: Any, order: np.ndarray) -> Any:
    if isinstance(values, tuple):
        return tuple(_rows(value, order) for value in values)
    return None if values is None else values[order]

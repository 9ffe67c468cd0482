"""Training bags of words and n-grams: the loop is Trainer's, a step of it is a slice of the texts.

    model, tokenizer = hfseq.train_bag("train.txt")          # a file of fastText's, `__label__sports The match ...`

`BagTrainer` is a `SequenceTrainer`: evaluation, checkpoints, resuming, schedules, logs, callbacks and pushes are those
of transformers. What it takes in the place of a gradient is the engine's (`bag_engines.py`): each text moves the rows
of its features and the labels' vectors. Several processes train apart and average after each slice.

With `solver="regression"` nothing is stepped: the weights are those of a convex problem (`regression.py`).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from ...models.heads.classification import problem_type_of
from ...models.words.bag import BagForSequenceClassification
from ...settings import option
from ..arguments import SequenceTrainingArguments, refuse
from ..batching import UpdateSampler
from ..trainer import SequenceTrainer
from .averaging import ParameterAveraging
from .bag_corpus import BagCorpus, BagTargets, bag_kernels, fit_row_weights
from .bag_engines import BagEngine, NumbaBagEngine, TorchBagEngine
from .regression import Fitted, fit_regression

_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 100_000, 5, 50
_OF_STEPS = ("learning_rate", "num_train_epochs", "word_dropout", "early_stopping_patience", "load_best_model_at_end")
_SLICES, _SMALLEST_SLICE = 20, 2_000  # of an epoch; texts

_DEFAULTS = TrainingArguments.__dataclass_fields__
_OWN_UPDATE = "a bag moves after each text, along its plain gradient"
_FIXED: dict[str, tuple[Any, str]] = {
    "wide_solver": ("steps", "a bag has no network beside it"),
    **dict.fromkeys(("weight_decay", "label_smoothing_factor"), (0.0, _OWN_UPDATE)),
    **dict.fromkeys(
        ("bf16", "fp16", "gradient_checkpointing", "torch_compile", "use_liger_kernel"), (False, _OWN_UPDATE)
    ),
    **dict.fromkeys(("optim_args", "neftune_noise_alpha", "deepspeed"), (None, _OWN_UPDATE)),
    **dict.fromkeys(("bf16_full_eval", "fp16_full_eval"), (False, "the engine holds the weights, in float32")),
    **{name: (_DEFAULTS[name].default, _OWN_UPDATE) for name in ("optim", "adam_beta1", "adam_beta2", "adam_epsilon")},
    **dict.fromkeys(("total_train_batch_tokens", "clip_grad_value", "clip_hidden"), (None, _OWN_UPDATE)),
    **dict.fromkeys(("layer_rate_decay", "unfreeze_every"), (None, "a bag has no layers")),
    "gradient_accumulation_steps": (1, _OWN_UPDATE),
    "max_grad_norm": (0.0, _OWN_UPDATE),
    "train_sampling_strategy": ("random", "texts need no padding"),
}


def usual_epochs(num_texts: int) -> float:
    """Return how many times so many texts are read if nobody says: fewer texts more often."""
    return float(min(max(math.ceil(_STEPS / max(num_texts, 1)), _FEWEST_EPOCHS), _MOST_EPOCHS))


@dataclass
class BagTrainingArguments(SequenceTrainingArguments):
    """`SequenceTrainingArguments` for bags: their own update, and defaults that are right for it."""

    learning_rate: float = option(0.5, "At the beginning; it falls along a line, see lr_scheduler_type.")
    num_train_epochs: float = option(
        0.0, "Times the texts are read; 0: as often as 100,000 texts take, 5 to 50 times."
    )
    max_grad_norm: float = option(0.0, "Nothing is clipped.")
    per_device_eval_batch_size: int = option(256, "Texts of a batch in evaluation.")
    solver: Literal["steps", "regression"] = option(
        "steps",
        "steps: a step along the gradient for each text; regression: the minimum of a convex problem, for up to some "
        "100,000 texts and few labels.",
    )
    engine: Literal["auto", "numba", "torch"] = option(
        "auto", "numba: a fast loop on the CPU; torch: any device; auto: numba where it is installed, on a CPU."
    )
    num_threads: int | None = option(None, "Engine numba; null: all cores. One is deterministic.")
    word_dropout: float = option(0.0, "Engine numba: share of a text's words that are left out each time it is read.")
    texts_per_step: int = option(16, "Engine torch: texts that are computed from the same state.")

    fixed = SequenceTrainingArguments.fixed | _FIXED

    def __post_init__(self) -> None:
        """Refuse what a bag would silently not do."""
        default = _DEFAULTS["per_device_train_batch_size"].default
        given = (self.total_train_batch_size, self.per_device_train_batch_size) != (None, default)
        sizes = f"{self.total_train_batch_size}, per_device_train_batch_size={self.per_device_train_batch_size}"
        refuse(
            (given, f"total_train_batch_size={sizes}: {_OWN_UPDATE}. Leave both out."),
            (
                self.num_threads is not None and self.num_threads < 1,
                f"num_threads={self.num_threads} must be 1 or more",
            ),
            (
                not 0 <= self.word_dropout < 1,
                f"word_dropout={self.word_dropout} must be at least 0 and less than 1",
            ),
            (self.texts_per_step < 1, f"texts_per_step={self.texts_per_step} must be 1 or more"),
            (self.num_train_epochs < 0, f"num_train_epochs={self.num_train_epochs} must be 0 or more"),
            *self._without_steps(),
            (
                self.class_weights is not None and self.solver == "steps",
                f"class_weights={self.class_weights!r}: the steps of a bag weigh all texts alike; add "
                "solver='regression', or leave it out.",
            ),
        )
        super().__post_init__()

    def _without_steps(self) -> Iterator[tuple[object, str]]:
        """Refuse, for a regression, what only steps have."""
        for name in _OF_STEPS if self.solver == "regression" else ():
            value = getattr(self, name)
            is_other = value != type(self).__dataclass_fields__[name].default
            yield is_other, f"{name}={value!r} is for steps, and solver='regression' takes none. Leave it out."


class BagTrainer(SequenceTrainer):
    """Train a `BagForSequenceClassification` on a `datasets.Dataset` with the columns `input_ids` and `labels`."""

    args: BagTrainingArguments
    arguments_class: ClassVar[type[SequenceTrainingArguments]] = BagTrainingArguments

    def __init__(self, model: BagForSequenceClassification, args: Any = None, *others: Any, **kwargs: Any) -> None:
        if not isinstance(model, BagForSequenceClassification):
            raise TypeError(f"BagTrainer trains a BagForSequenceClassification, got {type(model).__name__}.")
        if model.config.row_codes:
            raise ValueError(f"row_codes={model.config.row_codes}: quantized rows do not learn; train before.")
        super().__init__(model, args, *others, **kwargs)
        self.bag = model
        self._engine: BagEngine | None = None
        self._averaging: ParameterAveraging | None = None
        self.fitted: Fitted | None = None  # with solver="regression", what was chosen

    @property
    def num_texts(self) -> int:
        """How many texts there are to train on."""
        return len(cast(Any, self.train_dataset))

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train, as `Trainer` does.

        A new bag takes its document frequencies and label counts from these texts; one that was trained before takes
        the frequencies of features that are new to it.
        """
        if self.args.solver == "regression":
            return self._solve()
        if not self.args.num_train_epochs:
            self.args.num_train_epochs = usual_epochs(self.num_texts)
        self._engine = self._averaging = None
        self._corpus = BagCorpus.of(cast(Any, self.train_dataset), self.bag.model)
        self._fit_counts()
        try:
            return super().train(*args, **kwargs)
        finally:
            self._engine = None
            for parameter in self.bag.parameters():  # no more a part of the engine's padded rows
                parameter.data = parameter.data.contiguous()

    def _solve(self) -> TrainOutput:
        """Put the bag that a regression has filled in the place of the given one."""
        started = time.perf_counter()
        validation = cast(Any, self.eval_dataset)
        options: dict[str, Any] = {"seed": self.args.seed, "class_weights": self.args.class_weights}
        self.fitted = fit_regression(self.bag, cast(Any, self.train_dataset), validation, **options)
        self.take(self.fitted.model)
        self._seconds = time.perf_counter() - started
        metrics = {"train_runtime": self._seconds, "train_loss": self.fitted.loss}
        self.log(dict(metrics))
        return TrainOutput(0, self.fitted.loss, metrics)

    @property
    def training_seconds(self) -> float:
        """The seconds of training; a regression has no steps that a clock could count."""
        return self._seconds if self.fitted is not None else super().training_seconds

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate; the engine's padded rows are copied first, which torch would do for each batch."""
        held = [(parameter, parameter.data) for parameter in self.bag.parameters()]
        for parameter, rows in held:
            parameter.data = rows.contiguous()
        try:
            return super().evaluation_loop(*args, **kwargs)
        finally:
            for parameter, rows in held:
                parameter.data = rows

    def take(self, model: BagForSequenceClassification) -> None:
        """Go on with another model, which is evaluated and saved in the place of the trained one."""
        self.bag = self.model = self.model_wrapped = model.eval().to(self.args.device)

    def _fit_counts(self) -> None:
        """Count features and labels for a new bag; one that has met texts keeps its counts, and adds new features."""
        if self.bag.model.row_weights is not None:
            fit_row_weights(self.bag.model, self._corpus)
        # Counts of 1 may be those of texts; but the vectors of labels are 0 before the first of them.
        is_new = not bool(self.bag.classifier.weight.any())
        if self.bag.config.hierarchical_softmax and is_new and bool((self.bag.label_counts == 1).all()):
            labels = self._targets().labels
            counts = np.bincount(labels, minlength=self.bag.num_labels)
            self.bag.label_counts.copy_(torch.from_numpy(counts))

    def _targets(self) -> BagTargets:
        dataset = cast(Any, self.train_dataset)
        problem_type = problem_type_of(self.bag.config, torch.tensor(dataset["labels"][:1]))
        return BagTargets.of(dataset, self.bag, problem_type)

    def make_engine(self) -> BagEngine:
        """Build the engine that the arguments describe."""
        on_cpu = self.args.device.type == "cpu"
        kind = self.args.engine
        if kind == "auto":
            kind = "numba" if on_cpu and bag_kernels() else "torch"
        if kind == "numba" and not on_cpu:
            raise ValueError(f"engine='numba' runs on the CPU, not on {self.args.device}; add use_cpu=True.")
        if kind == "torch" and self.args.word_dropout:
            raise ValueError(f"word_dropout={self.args.word_dropout} needs engine='numba', this run has 'torch'.")
        targets, problem_type = self._targets(), cast(str, self.bag.config.problem_type)
        made: Callable[..., BagEngine] = NumbaBagEngine if kind == "numba" else TorchBagEngine
        args = self.args
        own: dict[str, Any] = {"texts_per_step": args.texts_per_step}
        if kind == "numba":
            own = {"num_threads": args.num_threads, "word_dropout": args.word_dropout, "seed": self._data_seed}
        return made(self.bag, self._corpus, targets, problem_type=problem_type, **own)

    def get_train_dataloader(self) -> DataLoader:
        """Deal out numbers of texts, in slices between which Trainer logs, evaluates and saves."""
        size = max(_SMALLEST_SLICE, math.ceil(self.num_texts / _SLICES))
        sampler = UpdateSampler(
            np.ones(self.num_texts, dtype=np.int64), rows_per_update=size, seed=self._data_seed, shares=self._shares()
        )
        return self._dealt_loader(_Numbers(self.num_texts), sampler, lambda rows: {"texts": torch.tensor(rows)})

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log without the norm of a gradient: there is none."""
        logs.pop("grad_norm", None)
        super().log(logs, *args, **kwargs)

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: nobody counts those of an engine."""
        return 0

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Let the engine take a step for each text of the slice."""
        if self._engine is None:  # made now, when Trainer has put the weights where they stay
            self._engine = self.make_engine()
            if self.args.world_size > 1:
                self._averaging = ParameterAveraging(self._engine.matrices, self._occurrences(), self.args.world_size)
        texts = inputs["texts"].cpu().numpy()
        loss = self._engine.run(texts, self._rates(), self.state.global_step)
        if self._averaging is not None:
            self._averaging.average(len(texts) * self.args.world_size / self.num_texts)
        if not math.isfinite(loss):
            self._stop_diverged(self.state.global_step + 1, f"the loss is {loss}")
        return torch.tensor(loss, device=self.args.device)

    def _rates(self) -> tuple[float, float]:
        """Return the learning rates at the beginning and the end of this step of Trainer's."""
        now = float(self._get_learning_rate())
        schedule: Any = getattr(self.lr_scheduler, "scheduler", self.lr_scheduler)  # accelerate wraps it
        if not isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):
            return now, now
        after = schedule.lr_lambdas[0](schedule.last_epoch + 1) * schedule.base_lrs[0]
        return now, float(after)

    def _occurrences(self) -> list[torch.Tensor]:
        inputs = torch.from_numpy(self._corpus.frequencies(self.bag.model, once_a_text=False)).double()
        classifier = self.bag.classifier
        everywhere = torch.full((classifier.out_features,), float(self.num_texts)).double()
        return [inputs, *(everywhere for _ in classifier.parameters())]


class _Numbers:
    """Texts by their numbers, as a DataLoader reads them: all of a slice at once."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, rows: list[int]) -> list[int]:
        return rows

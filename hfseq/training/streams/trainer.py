"""Language models trained on one long text, by truncated back-propagation through time.

    h_0 = 0,   h_{k+1} = f(window_k, stop(h_k))          the state goes on, the gradient ends at the window's beginning

`windows.py` says how the text is cut, `states.py` keeps the states, also in checkpoints: a resumed run goes on in the
middle of its text as if it had never stopped. A model without a state, such as a transformer, takes windows in any
order (`carry="none"`). With `mlm_probability` it learns to tell hidden tokens (`masking.py`).
"""

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase
from transformers.cache_utils import DynamicCache
from transformers.trainer_utils import PredictionOutput, speed_metrics

from ...evaluation.language import exp_or_inf
from ...models.base import IGNORED
from ...settings import option
from ..arguments import SequenceTrainingArguments, refuse
from ..batching import Shares
from ..trainer import SequenceTrainer
from .masked_scores import EVALUATION_SEED, masked_sums
from .masking import MaskedWindowDataset, Masking
from .states import CarriedStates
from .windows import (
    DEVIATION,
    Carry,
    ChunkCutter,
    Cutter,
    DocumentCutter,
    OrderedCutter,
    StreamCutter,
    TokenText,
    WindowDataset,
    WindowSampler,
)

_LEAST_VARIED_WINDOW = 10
_FACTS = ("carry", "total_train_batch_size", "window", "vary_window", "train_sampling_strategy", "mlm_probability")
_FIXED: dict[str, tuple[Any, str]] = {
    "label_smoothing_factor": (0.0, "the loss is -log P of the tokens, whose exponential is the perplexity"),
    "wide_solver": ("steps", "a language model has no wide part"),
    "class_weights": (None, "a language model labels no texts"),
    "total_train_batch_tokens": (None, "an update has total_train_batch_size x window tokens, set those"),
    "fp16_full_eval": (False, "StreamTrainer evaluates in the model's own precision"),
    "bf16_full_eval": (False, "StreamTrainer evaluates in the model's own precision"),
}


@dataclass
class StreamTrainingArguments(SequenceTrainingArguments):
    """`SequenceTrainingArguments` for one long text; `total_train_batch_size` is the number of streams (or chunks)."""

    window: int = option(64, "Tokens between two cuts of the gradient, at most.")
    vary_window: bool = option(
        False, "carry=stream: draw windows around `window`, and scale steps with their length (Merity et al. 2017)."
    )
    carry: Carry = option(
        "stream", "How far a state is carried: to the end of the `stream`, of a `document`, or `none`: random chunks."
    )
    mlm_probability: float | None = option(
        None, "carry=none, a model for fill-mask: hide this share of the tokens and learn to tell them; 0.15 in BERT."
    )
    fixed = SequenceTrainingArguments.fixed | _FIXED

    def __post_init__(self) -> None:
        """Check what was added, and refuse by name what means nothing for a stream."""
        hides, carry = self.mlm_probability is not None, self.carry
        checkpointing = self.gradient_checkpointing or getattr(self, "activation_checkpointing", False)
        refuse(
            (carry not in get_args(Carry), f"carry={carry!r} is not one of 'stream', 'document', 'none'."),
            (self.window < 1, f"window must be 1 or more tokens, got {self.window}."),
            (
                hides and not 0 < (self.mlm_probability or 0) < 1,
                f"mlm_probability={self.mlm_probability} is the share of the tokens that are hidden: give one between "
                "0 and 1, or leave it out to learn the next token.",
            ),
            (
                hides and carry != "none",
                f"mlm_probability={self.mlm_probability} reads windows from both sides, and carry={carry!r} reads "
                "them forward, one after the other: use carry='none'.",
            ),
            (
                self.vary_window and carry != "stream",
                f"vary_window=True moves the cuts of streams, and carry={carry!r} has none to move: documents set the "
                "cuts, and the cuts of chunks move anyway. Leave it out.",
            ),
            (
                self.vary_window and self.window < _LEAST_VARIED_WINDOW,
                f"vary_window=True draws windows with a standard deviation of {DEVIATION} tokens around "
                f"window={self.window}: raise window to {_LEAST_VARIED_WINDOW} or more.",
            ),
            (
                carry != "none" and checkpointing,
                "gradient checkpointing runs each layer twice, and the second run would meet the state that the first "
                f"left: carry={carry!r} goes without it, carry='none' with it.",
            ),
            (
                self.train_sampling_strategy == "group_by_length",
                "train_sampling_strategy='group_by_length': windows have one length. Leave it out.",
            ),
        )
        super().__post_init__()


class StreamTrainer(SequenceTrainer):
    """`SequenceTrainer` for a `TokenText`.

    An update takes the next window of every stream, and its loss is the mean over its tokens. With `vary_window` the
    sum is divided by what windows of `window` tokens would have: every token of the text then weighs the same, in a
    long window or in a short one. The logged loss is nats per token either way, with AR and TAR.
    With `mlm_probability` the tokens of an update are those that it hides, and `processing_class` says with what.

    Args:
        model: A causal language model, without a recurrent state only with `carry="none"`; or a masked one.
        eval_dataset: A `TokenText`, or a dictionary of them.
        **kwargs: Those of `Trainer`; no `compute_metrics`, which would need the logits of the whole text.
    """

    args: StreamTrainingArguments
    arguments_class: ClassVar[type[SequenceTrainingArguments]] = StreamTrainingArguments
    model: Any

    def __init__(
        self,
        model: Any = None,
        args: StreamTrainingArguments | None = None,
        train_dataset: TokenText | None = None,
        eval_dataset: TokenText | dict[str, TokenText] | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ("data_collator", "compute_metrics", "compute_loss_func", "preprocess_logits_for_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(f"StreamTrainer has no {name}: windows are batches, and logits are not gathered.")
        for text in (train_dataset, *(eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset])):
            _check_text(text)
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, data_collator=_as_it_is, **kwargs
        )
        args = self.args
        self.masking: Masking | None = None
        if args.mlm_probability is not None:
            self.masking = _new_masking(self.model, self.processing_class, args.mlm_probability)
        self.carries = self.masking is None and carries_state(self.model)
        if args.carry != "none" and not self.carries:
            raise ValueError(
                f"carry={args.carry!r} needs a model whose state goes on from window to window (that of "
                f"hfseq's recurrent models), and {type(self.model).__name__} has none: use carry='none'."
            )
        self.states = CarriedStates(self.model, self._shares())
        self._loss_scale = 1.0

    def _train_cutter(self, text: TokenText) -> Cutter:
        args, seed = self.args, self._data_seed
        rows = cast(int, args.total_train_batch_size)
        if args.carry == "none":
            dealt = {"rows_per_update": rows, "strategy": args.train_sampling_strategy, "shares": self._shares()}
            return ChunkCutter(text, args.window, seed=seed, reads_last=self.masking is not None, **dealt)
        self._shares().check(rows, "streams")
        if args.carry == "document":
            shuffle = args.train_sampling_strategy != "sequential"
            return DocumentCutter(text, rows, args.window, shuffle=shuffle, seed=seed)
        return StreamCutter(text, rows, args.window, vary=args.vary_window, seed=seed)

    def get_train_dataloader(self) -> DataLoader:
        """Load this process's windows of `train_dataset`."""
        text = _check_text(self.train_dataset, needed="train_dataset")
        return self._loader(text, self._train_cutter(text), self._data_seed)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Load this process's windows of a text to evaluate, `per_device_eval_batch_size` at once."""
        text = _check_text(eval_dataset, needed="eval_dataset")
        return self._loader(text, self._eval_cutter(text), EVALUATION_SEED, steps=1)

    def _eval_cutter(self, text: TokenText) -> Cutter:
        rows, window = self.args.per_device_eval_batch_size * self.args.world_size, self.args.window
        if not self.carries:
            return OrderedCutter(text, rows, window, reads_last=self.masking is not None)
        if self.args.carry == "document":
            documents = max(int((text.lengths > 1).sum()), 1)
            return DocumentCutter(text, min(rows, documents), window, shuffle=False)
        return StreamCutter(text, max(min(rows, len(text) - 1), 1), window)

    def _loader(self, text: TokenText, cutter: Cutter, seed: int, steps: int | None = None) -> DataLoader:
        dataset = WindowDataset(text, getattr(self.model.config, "pad_token_id", None) or 0)
        if self.masking is not None:
            dataset = MaskedWindowDataset(text, self.masking, dataset.pad_token_id, seed=seed)
        return self._dealt_loader(dataset, WindowSampler(cutter, self._shares(steps)))

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Return an update's batches, and by what its summed loss is divided; see the class for `vary_window`."""
        batches, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not self.args.vary_window or tokens is None:
            return batches, tokens
        self._loss_scale = batches[0]["input_ids"].shape[1] / self.args.window
        return batches, tokens / self._loss_scale

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Take `Trainer`'s step; what is returned, and logged, is nats per token."""
        return super().training_step(*args, **kwargs) / self._loss_scale

    def _forget_explosion(self) -> None:
        """Begin all streams anew: their states may be no numbers either."""
        self.states.forget()

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss from the state that the last update left."""
        restart, slot = inputs.pop("restart"), inputs.pop("slot")
        if hasattr(model, "token_log_probs") or hasattr(getattr(model, "module", None), "token_log_probs"):
            inputs["logits_to_keep"] = 1  # the loss is of all tokens; nobody reads the logits
        if self.args.carry == "none":
            return super().compute_loss(model, inputs, *args, **kwargs)
        inputs = {**inputs, "cache": self.states.begin(slot, restart)}
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.states.cut(slot)
        return loss

    def _facts(self) -> dict[str, str]:
        # What decides where in the text an update is.
        facts = {name: getattr(self.args, name) for name in _FACTS}
        facts |= {"data_seed": self._data_seed, "tokens": len(cast(TokenText, self.train_dataset))}
        return {name: str(value) for name, value in facts.items() if value is not None}

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        self.states.save(Path(output_dir), self._facts())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.states.load(Path(checkpoint), self._facts())

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return `eval_loss`, the mean of -log P over all tokens of a text, with `eval_perplexity` = exp(eval_loss).

        No logits are kept, and `ignore_keys` is not used. The text is read in `per_device_eval_batch_size` streams a
        process, each from an empty state: one stream reads it as a whole. What `carry` says of documents holds here
        too. A model without a state reads windows in their order, cut alike however many are read at once. A masked
        model is asked as `score_masked` does, which adds `eval_accuracy`. Samples are tokens.
        """
        texts = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(texts, dict):
            named = [self.evaluate(text, ignore_keys, f"{metric_key_prefix}_{name}") for name, text in texts.items()]
            return {name: value for metrics in named for name, value in metrics.items()}
        self._memory_tracker.start()
        loader, start = self.get_eval_dataloader(texts), time.time()
        nats, tokens, hits = self._score_text(loader)
        loss = nats / tokens
        metrics = {
            f"{metric_key_prefix}_loss": loss,
            f"{metric_key_prefix}_perplexity": exp_or_inf(loss),
            **({} if self.masking is None else {f"{metric_key_prefix}_accuracy": hits / tokens}),
            **speed_metrics(metric_key_prefix, start, num_samples=int(tokens), num_steps=len(loader)),
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._memory_tracker.stop_and_update_metrics(metrics)
        return metrics

    def _score_text(self, loader: DataLoader) -> tuple[float, float, float]:
        # The sum of -log P over all tokens, their number, and how many were guessed, over all processes.
        self.model.eval()
        optimizer: Any = self.optimizer
        if hasattr(optimizer, "eval"):  # those without a schedule have two sets of weights
            optimizer.eval()
        self.callback_handler.eval_dataloader = loader
        states = CarriedStates(self.model, Shares())
        sums = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        for inputs in loader:
            if len(inputs["input_ids"]):  # a short text may have fewer streams than there are processes
                sums += masked_sums(self.model, inputs) if self.masking is not None else self._score(inputs, states)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        nats, tokens, hits = cast(torch.Tensor, self.accelerator.reduce(sums)).tolist()
        return nats, tokens, hits

    @torch.no_grad()
    def _score(self, inputs: dict[str, Any], states: CarriedStates) -> torch.Tensor:
        # The same of a batch; guesses are not counted.
        input_ids, targets, mask = inputs["input_ids"], inputs["shift_labels"], inputs.get("attention_mask")
        state = {"cache": states.begin(0, inputs["restart"])} if self.carries else {}
        if hasattr(self.model, "token_log_probs"):
            log_probs = self.model.token_log_probs(input_ids, targets, mask, **state)
        else:
            logits = self.model(input_ids=input_ids, attention_mask=mask, **state).logits
            log_probs = -nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
        nats = -log_probs.double().sum()
        return torch.stack([nats, (targets != IGNORED).sum().double(), torch.zeros_like(nats)])

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Raise a ValueError: the logits of a whole text are of no use and fill the memory."""
        raise ValueError("StreamTrainer has no predict: evaluate() scores a text, generate() continues one.")


def _as_it_is(windows: dict[str, Any]) -> dict[str, Any]:
    return windows  # a batch of `WindowDataset` already


def _check_text(text: Any, needed: str | None = None) -> Any:
    if isinstance(text, TokenText) or (text is None and needed is None):
        return text
    if text is None:
        raise ValueError(f"StreamTrainer needs a TokenText as its {needed}.")
    cure = "TokenText.from_documents(dataset) makes one" if isinstance(text, Dataset | Sequence) else "see TokenText"
    raise ValueError(f"StreamTrainer takes a TokenText, got {type(text).__name__}: {cure}.")


def _new_masking(model: nn.Module, processing_class: Any, probability: float) -> Masking:
    if not isinstance(processing_class, PreTrainedTokenizerBase):
        got = type(processing_class).__name__
        raise ValueError(f"mlm_probability needs the tokenizer, it got {got}: give it as processing_class.")
    if not getattr(getattr(model, "config", None), "bidirectional", True):
        raise ValueError(
            f"{type(model).__name__} reads forward: it would not see what follows a hidden token. Take a model for "
            "fill-mask, or leave mlm_probability out."
        )
    return Masking.of(processing_class, probability)


def carries_state(model: nn.Module) -> bool:
    """Tell whether the state of a model can go on from window to window."""
    config = getattr(model, "config", None)
    if getattr(config, "bidirectional", False):
        raise ValueError(
            f"{type(model).__name__} is bidirectional: it would read the token that it is to predict. Set "
            "bidirectional=False in the config."
        )
    has_layers = hasattr(config, "num_hidden_layers")  # a model that counts has none
    if not has_layers or "cache" not in inspect.signature(model.forward).parameters:
        return False
    layers = DynamicCache(config=cast(Any, config)).layers
    return bool(layers) and all(hasattr(layer, "restart") and hasattr(layer, "detach") for layer in layers)

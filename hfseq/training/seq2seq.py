"""Training of models that write a target from a source: our trainer, with the habits of transformers' Seq2SeqTrainer.

    loss = 1 / N * sum_t [(1 - e) (-log P(y_t)) + e * mean_v (-log P(v))]       e: label_smoothing_factor

N counts the target tokens of the whole update, over all processes and accumulation steps, so that neither changes what
is learned. `total_train_batch_tokens` bounds source and target together, each padded to its longest.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, Seq2SeqTrainer
from transformers import Seq2SeqTrainingArguments as TheirArguments

from ..evaluation.translation import translation_scores
from ..models.base import IGNORED
from ..models.heads.conditional_generation import ConditionalGenerationMixin
from ..settings import option
from ..tokenization.padding import PaddingCollator
from .arguments import SequenceTrainingArguments, refuse
from .batching import row_lengths
from .trainer import SequenceTrainer


@dataclass
class EncoderDecoderTrainingArguments(SequenceTrainingArguments, TheirArguments):
    """`SequenceTrainingArguments` and those of transformers' `Seq2SeqTrainer`."""

    predict_with_generate: bool = option(
        True, "Write the targets of validation at each evaluation, for BLEU; false: the loss alone."
    )
    generation_num_beams: int | None = option(
        1, "Beams of these evaluations; the finished model has those of its generation_config."
    )

    def __post_init__(self) -> None:
        """Refuse what is for other models, and what would never be measured."""
        refuse(
            *(
                (
                    getattr(self, name) not in (None, "steps"),
                    f"{name}={getattr(self, name)!r} is for models of labelled texts: leave it out.",
                )
                for name in ("class_weights", "wide_solver", "layer_rate_decay", "unfreeze_every")
            ),
            (
                self.generation_num_beams is not None and self.generation_num_beams < 1,
                f"generation_num_beams={self.generation_num_beams} must be 1 or more.",
            ),
            (
                not self.predict_with_generate
                and (self.metric_for_best_model or "loss").removeprefix("eval_") != "loss",
                f"metric_for_best_model={self.metric_for_best_model!r} needs predict_with_generate=true: without it "
                "the loss alone is measured.",
            ),
        )
        super().__post_init__()


class SourceTargetCollator:
    """Make batches of pairs: sources, (B, S), labels (B, T) with -100 behind each, and what the decoder reads."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
        self._sources = PaddingCollator(getattr(tokenizer, "source", tokenizer))
        self._model: Any = model

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad rows with `input_ids` and `labels`."""
        batch = self._sources([{"input_ids": row["input_ids"]} for row in rows])
        labels = np.full((len(rows), max(len(row["labels"]) for row in rows)), IGNORED, dtype=np.int64)
        for place, row in enumerate(rows):
            labels[place, : len(row["labels"])] = row["labels"]
        batch["labels"] = torch.from_numpy(labels)
        # Trainer takes the labels away where it smooths those of others' models, which could not make these any more.
        batch["decoder_input_ids"] = self._model.prepare_decoder_input_ids_from_labels(batch["labels"])
        return batch


def written_scores(tokenizer: PreTrainedTokenizerBase) -> Any:
    """Build the trainer's `compute_metrics`: BLEU, chrF and exact matches of the written tokens, as texts."""

    def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
        written, wanted = evaluated.predictions, evaluated.label_ids
        return translation_scores(texts_of(wanted, tokenizer), texts_of(written, tokenizer))

    return compute_metrics


def texts_of(ids: Any, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the texts of rows of target ids, where -100 fills rows up."""
    pad: Any = tokenizer.pad_token_id
    return tokenizer.batch_decode(np.where(np.asarray(ids) < 0, pad, ids), skip_special_tokens=True)


class EncoderDecoderTrainer(SequenceTrainer, Seq2SeqTrainer):
    """`SequenceTrainer` for pairs: a dataset with columns `input_ids` and `labels`, rows of ids both.

    An evaluation writes the targets (`predict_with_generate`) and logs the minutes of training until then, so that the
    log is a curve of BLEU against minutes.
    """

    args: EncoderDecoderTrainingArguments
    arguments_class: ClassVar[type[SequenceTrainingArguments]] = EncoderDecoderTrainingArguments

    def __init__(self, model: Any = None, args: Any = None, *others: Any, **kwargs: Any) -> None:
        tokenizer = kwargs.get("processing_class")
        if not others and kwargs.get("data_collator") is None and tokenizer is not None:
            kwargs["data_collator"] = SourceTargetCollator(tokenizer, model)
            if kwargs.get("compute_metrics") is None and args is not None and args.predict_with_generate:
                kwargs["compute_metrics"] = written_scores(tokenizer)
        super().__init__(model, args, *others, **kwargs)
        # Ours smooth their loss themselves, in pieces; theirs needs the logits of all tokens, several times over.
        if isinstance(self.model, ConditionalGenerationMixin):
            self.label_smoother = None

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Compute the loss as `Trainer`; of our models in training smoothed, without a table of logits."""
        if model.training and isinstance(self.model, ConditionalGenerationMixin):
            inputs = {**inputs, "label_smoothing": self.args.label_smoothing_factor, "logits_to_keep": 1}
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _lengths(self, dataset: Dataset) -> np.ndarray:
        """Return the tokens of sources and of targets, (rows, 2), for both are padded."""
        labels = dataset.select_columns("labels").rename_column("labels", "input_ids")
        return np.stack([row_lengths(dataset.select_columns("input_ids")), row_lengths(labels)], axis=1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as `Trainer`; of an evaluation also the minutes of training until then."""
        if any(name.startswith("eval_") for name in logs):
            logs = {**logs, "eval_minutes": round(self.training_seconds / 60, 3)}
        super().log(logs, start_time)

    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **generation: Any,
    ) -> Any:
        """Write the targets and take the loss; without `predict_with_generate` the loss alone."""
        # Theirs would count the rows twice that fill the last batch up for several processes.
        self.gather_function = self.accelerator.gather_for_metrics
        only_loss = prediction_loss_only or not self.args.predict_with_generate
        own: Any = self.model
        kept = own.generation_config
        own.generation_config = deepcopy(kept)  # theirs writes defaults into it, which would be saved with the model
        try:
            # Not by SequenceTrainer, whose parts of long texts know nothing of a second text.
            return Seq2SeqTrainer.prediction_step(self, model, inputs, only_loss, ignore_keys, **generation)
        finally:
            own.generation_config = kept

    def write(self, dataset: Dataset, **generation: Any) -> list[str]:
        """Write the target of each row, in the order of the dataset.

        Args:
            dataset: Has `input_ids` and `labels`.
            **generation: Of `generate`; what is not said is as in the model's `generation_config`.
        """
        output = self.predict(dataset, metric_key_prefix="score", **generation)
        return texts_of(output.predictions, cast(PreTrainedTokenizerBase, self.processing_class))

"""The trained bag made small, as the section `compression` says."""

from pathlib import Path
from typing import Any

from datasets import DatasetDict

from ...training.trainer import SequenceTrainer
from ...training.words.bag_trainer import BagTrainer, BagTrainingArguments
from ...training.words.compression import compress_bag
from .facts import CompressionFacts
from .settings import TextClassificationSettings

_WITHOUT_CHECKPOINTS = {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False}


def compress(
    settings: TextClassificationSettings, trainer: SequenceTrainer, tokens: DatasetDict
) -> CompressionFacts | None:
    """Put a small model in the trainer's place, and return what the card says of it; None where nobody asks."""
    if not settings.compression.is_on or not isinstance(trainer, BagTrainer):
        return None

    def retrain(model: Any) -> None:
        given = {**settings.training, **_WITHOUT_CHECKPOINTS, "early_stopping_patience": None}
        # Made here alone: new arguments reset accelerate's state, which only a new trainer sets up again.
        args = BagTrainingArguments(**{**given, "output_dir": str(Path(str(trainer.args.output_dir)) / "compression")})
        BagTrainer(model, args, train_dataset=tokens["train"], processing_class=trainer.processing_class).train()

    small, report = compress_bag(
        trainer.bag,
        tokens["train"],
        tokens["validation"],
        retrain=retrain if settings.compression.retrain else None,
        seed=trainer.args.seed,
        **settings.compression.options,
    )
    trainer.take(small)
    return CompressionFacts(
        mb_before=report.mb_before,
        mb=report.mb,
        rows_before=report.rows_before,
        rows=report.rows,
        row_bytes=report.row_codes + int(report.norm_codes),
        metric=report.score_name,
        score_before=report.score_before,
        score=report.score,
    )

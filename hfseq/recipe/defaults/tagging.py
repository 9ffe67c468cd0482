"""Defaults of taggers that follow the data and the minutes; what the settings say stays.

A few thousand sentences are learnt by heart in ten epochs, so much is dropped; the clock or the validation ends the
training, and the best model on validation is kept.
"""

from typing import Any

from .stopping import kept_on_validation

_MOST_EPOCHS = 40
_PATIENCE = 8  # epochs
_FEW = 5_000  # texts


def tagging_training(minutes: float, *, is_transformer: bool) -> dict[str, Any]:
    """Return the `training` section of a tagger that may learn for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "total_train_batch_size": 32,
        "train_sampling_strategy": "group_by_length",
        "learning_rate": 1e-3 if is_transformer else 3e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.02,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 256,
        **kept_on_validation("accuracy", "epoch", patience=_PATIENCE),
        "logging_steps": 50,
    }


def tagging_sizes(rows: int, *, is_transformer: bool) -> dict[str, Any]:
    """Return sizes and dropout of a tagger that learns from so many texts."""
    dropout = 0.5 if rows < _FEW else 0.4
    if is_transformer:
        return {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_dropout": 0.2}
    sizes = {"embedding_size": 128, "hidden_size": 128, "embedding_dropout": 0.2}
    return {**sizes, "hidden_dropout": dropout, "classifier_dropout": dropout}

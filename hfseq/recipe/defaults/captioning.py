"""Defaults of models that describe images; what the settings say stays.

The clock or validation ends the training, and the model with the best chrF on validation is kept: as with
translations, BLEU is 0 until four words in a row are right.
"""

from typing import Any, Final

from .stopping import kept_on_validation

_MOST_EPOCHS: Final = 100
_PATIENCE: Final = 8  # evaluations
_FEW: Final = 20_000  # captions


def caption_training(minutes: float) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "total_train_batch_size": 64,
        "learning_rate": 2e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 128,
        **kept_on_validation("chrf", "epoch", patience=_PATIENCE),
        "logging_steps": 50,
    }


def caption_sizes(captions: int) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many captions."""
    width = 128 if captions < _FEW else 256
    return {"attention": "additive", "hidden_size": width, "embedding_size": width, "hidden_dropout": 0.3}

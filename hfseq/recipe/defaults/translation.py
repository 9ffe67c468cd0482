"""Defaults of models that write a text from a text; what the settings say stays.

The clock or validation ends the training, and the model with the best BLEU on validation is kept: the loss, which
smoothed labels and much dropout change, is the worse judge of what is written. Each evaluation writes up to a thousand
texts, so there are few of them.
"""

from typing import Any, Final

from .stopping import kept_on_validation

_MOST_EPOCHS: Final = 100
_UPDATES_BETWEEN: Final = 250  # two evaluations
_PATIENCE: Final = 8  # evaluations
_FEW: Final = 20_000  # pairs
_TOKENS: Final = 4_096  # of source and target together, an update


def translation_training(minutes: float, *, is_transformer: bool) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "train_sampling_strategy": "group_by_length",
        "total_train_batch_size": 512,
        "total_train_batch_tokens": _TOKENS,
        "label_smoothing_factor": 0.1,
        "learning_rate": 1e-3 if is_transformer else 2e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1 if is_transformer else 0.02,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 128,
        "eval_steps": _UPDATES_BETWEEN,
        "save_steps": _UPDATES_BETWEEN,
        **kept_on_validation("bleu", "steps", patience=_PATIENCE),
        "logging_steps": 50,
    }


def translation_sizes(pairs: int, *, is_transformer: bool) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many pairs."""
    dropout = 0.3 if pairs < _FEW else 0.2
    if is_transformer:
        sizes = {"hidden_size": 128 if pairs < _FEW else 256, "num_hidden_layers": 3, "num_attention_heads": 4}
        return {**sizes, "position_embedding_type": "sinusoidal", "hidden_dropout": dropout}
    return {"embedding_size": 128, "hidden_size": 128 if pairs < _FEW else 256, "hidden_dropout": dropout}


def vocabulary_size(pairs: int) -> int:
    """Return how many pieces of words there are."""
    return 4_000 if pairs < _FEW else 8_000

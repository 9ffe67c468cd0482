"""Defaults of language models that follow the data and the minutes; what the settings say stays.

On cuts of half a megabyte and a megabyte the length of the training decides, then dropout, then the width. Updates are
not counted in epochs: a short text is read up to 40 times, the clock ends that earlier where the text is long, and the
best model on validation is kept.
"""

from typing import Any, Final

from .stopping import kept_on_validation

MIXED_ORDER: Final = 5  # of the n-grams that a model is mixed with

_MOST_EPOCHS = 40
_UPDATES_BETWEEN = 250  # two evaluations
_PATIENCE = 8  # evaluations
# Characters up to which a text gets a hidden size, and a dropout.
_SIZES = ((100_000, 128, 0.3), (700_000, 256, 0.3), (3_000_000, 384, 0.2), (20_000_000, 512, 0.1))
_LARGEST = (512, 0.0)


def language_training(minutes: float, carry: str) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "carry": carry,
        "window": 64,
        "total_train_batch_size": 32,
        "learning_rate": 2e-3 if carry == "none" else 4e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.02,
        "max_grad_norm": 1.0,
        "eval_steps": _UPDATES_BETWEEN,
        "save_steps": _UPDATES_BETWEEN,
        **kept_on_validation("loss", "steps", patience=_PATIENCE),
        "logging_steps": 50,
    }


def language_sizes(characters: int, *, is_recurrent: bool) -> dict[str, Any]:
    """Return sizes and dropout of a model of a text of so many characters."""
    width, dropout = next((row[1:] for row in _SIZES if characters <= row[0]), _LARGEST)
    if is_recurrent:
        return {"embedding_size": 64, "hidden_size": width, "hidden_dropout": dropout, "input_dropout": 0.0}
    return {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "position_embedding_type": "rotary",
        "hidden_dropout": dropout,
    }

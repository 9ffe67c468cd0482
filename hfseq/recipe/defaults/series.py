"""Defaults of models of series that follow the windows and the minutes; what the settings say stays."""

from collections.abc import Mapping
from typing import Any, Final

from .stopping import kept_on_validation

_BATCH: Final = 32  # windows of an update
_UPDATES: Final = 3_000
_EVALUATIONS: Final = 30
_PATIENCE: Final = 6  # evaluations
_STEPS: Final = ("num_train_epochs", "max_steps", "eval_strategy", "save_strategy", "eval_steps", "save_steps")


def series_model(family: str, predicts_labels: bool) -> dict[str, Any]:
    """Return sizes and dropout of a model of series; of one that predicts numbers the interval too."""
    said: dict[str, Any] = {} if predicts_labels else {"distribution": "quantile"}
    if family == "transformer":
        return {**said, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_dropout": 0.1}
    return {**said, "embedding_size": 64, "hidden_size": 64, "hidden_dropout": 0.1}


def series_training(family: str, minutes: float, windows: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training` section of a model that learns from so many windows, see `kept_on_validation`.

    Args:
        family: Its name.
        minutes: By the clock.
        windows: Training windows.
        said: The section as the settings have it.
    """
    options: dict[str, Any] = {
        "max_minutes": minutes,
        "total_train_batch_size": _BATCH,
        "learning_rate": 1e-3 if family == "transformer" else 3e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 256,
        **kept_on_validation("loss", "steps", patience=_PATIENCE),
        "logging_steps": 50,
    }
    if said.keys().isdisjoint(_STEPS):
        every = max(_UPDATES // _EVALUATIONS, 1)
        options |= {"max_steps": _UPDATES, "eval_steps": every, "save_steps": every}
    return options

"""Validation says when to stop, and which model is kept: the arguments that all defaults share."""

from typing import Any, Literal


def kept_on_validation(metric: str, strategy: Literal["steps", "epoch"], *, patience: int) -> dict[str, Any]:
    """Return arguments that keep the best model on validation, and stop after `patience` evaluations without one."""
    return {
        "eval_strategy": strategy,
        "save_strategy": strategy,
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": metric,
        "early_stopping_patience": patience,
    }

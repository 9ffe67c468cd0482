"""Defaults of models of intents and slots that follow the data and the minutes; what the settings say stays.

They are those of a tagger, which has the harder part of the work, with a vector of the whole text beside it.
"""

from typing import Any

from .tagging import tagging_sizes, tagging_training


def joint_training(minutes: float, *, is_transformer: bool) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes."""
    return {**tagging_training(minutes, is_transformer=is_transformer), "metric_for_best_model": "frame_accuracy"}


def joint_sizes(rows: int, *, is_transformer: bool) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many texts."""
    return {**tagging_sizes(rows, is_transformer=is_transformer), "pooling": "max"}

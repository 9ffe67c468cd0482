"""Defaults of models that draw that follow the data and the minutes; what the settings say stays."""

from collections.abc import Mapping
from typing import Any, Final

from .tagging import network_training

_MANY: Final = 10_000  # drawings


def strokes_training(minutes: float, rows: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes, see `network_training`."""
    return network_training("strokes", minutes, rows, "loss", said)


def strokes_model(rows: int) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many drawings; few are learnt by heart."""
    return (
        {"hidden_size": 256, "hidden_dropout": 0.0} if rows >= _MANY else {"hidden_size": 128, "hidden_dropout": 0.1}
    )

"""Defaults of models of trees that follow the data and the minutes; what the settings say stays."""

from collections.abc import Mapping
from typing import Any, Final

from ...evaluation.trainer_metrics import ROOT
from .tagging import network_training

_MANY: Final = 20_000  # texts
_FEW: Final = 2_000
_WIDEST: Final = {"tensor": 32, "matrix_vector": 32}  # their weights or states grow with powers of the width


def tree_training(minutes: float, rows: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes, see `network_training`."""
    return network_training("recursive", minutes, rows, ROOT, said)


def tree_model(rows: int, composition: str) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many texts; few are learnt by heart.

    Args:
        rows: Training texts.
        composition: How nodes are made of their children.
    """
    width = 64 if rows < _FEW else 256 if rows >= _MANY else 128
    dropout = 0.4 if rows < _FEW else 0.3
    return {
        "embedding_size": width,
        "hidden_size": min(width, _WIDEST.get(composition, width)),
        "embedding_dropout": dropout,
        "hidden_dropout": 0.1,
        "classifier_dropout": dropout,
    }

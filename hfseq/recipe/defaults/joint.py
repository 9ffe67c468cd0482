"""Defaults of models of intents and slots that follow the data and the minutes; what the settings say stays.

They are those of a tagger, which has the harder part of the work, with a vector of the whole text beside it; with a
CRF and, in a recurrent network, the characters of words, unless the settings say no.
"""

from collections.abc import Mapping
from typing import Any, Final

from .tagging import RECURRENT, network_training, tagging_sizes

_SLOT_WEIGHT: Final = 0.2
"""A text has one intent and many words: with 1, intents are learnt late."""


def joint_training(family: str, minutes: float, rows: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes, see `network_training`."""
    return network_training(family, minutes, rows, "frame_accuracy", said)


def joint_model(family: str, rows: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return sizes, parts and dropout of a model that learns from so many texts.

    Args:
        family: Its name.
        rows: Training texts.
        said: The options that the settings name.
    """
    options = {**tagging_sizes(rows, is_transformer=family == "transformer"), "pooling": "max", "crf": True}
    options["slot_weight"] = _SLOT_WEIGHT
    if family not in RECURRENT:
        return options
    options["bidirectional"] = True
    return options if said.get("characters") == "none" else {**options, "characters": "cnn", "case_features": True}

"""The Auto classes of tasks that transformers has none for.

    model = AutoModelForIntentAndSlots.from_pretrained("user/name")     # LSTMForIntentAndSlots, GRUFor..., ...
    model = AutoModelForStrokes.from_pretrained("user/name")            # StrokesForGeneration

They are filled by `registry.register`, as those of transformers are.
"""

from collections import OrderedDict
from typing import Any

from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES


class AutoModelForIntentAndSlots(_BaseAutoModelClass):
    """Loads the model of intents and slots of whatever family a checkpoint is."""

    _model_mapping: Any = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())


class AutoModelForStrokes(_BaseAutoModelClass):
    """Loads the model that draws of whatever family a checkpoint is."""

    _model_mapping: Any = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())

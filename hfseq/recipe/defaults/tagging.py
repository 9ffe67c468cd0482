"""Defaults of taggers that follow the data and the minutes; what the settings say stays.

A few thousand sentences are learnt by heart in ten epochs, so much is dropped; the clock or the validation ends the
training, and the best model on validation is kept. What a network does not learn of so few sentences, the features of
words know: a regression of them stands beside a recurrent one (`training/feature_regression.py`).
"""

from collections.abc import Mapping
from typing import Any, Final

from .stopping import kept_on_validation

LINEAR: Final = "crf"
RECURRENT: Final = ("rnn", "lstm", "gru", "custom")
_MOST_EPOCHS = 40
_BATCH = 32  # texts of an update
_PATIENCE = 8  # epochs
_FEWEST_UPDATES = 1_500
_FEW = 5_000  # texts
# A person who says one of these counts in epochs.
_COUNTED_IN_EPOCHS = ("num_train_epochs", "eval_strategy", "save_strategy", "max_steps")
_MANY = 50_000  # texts: a network needs no help, and a regression of so many takes long
_BUCKETS_A_TEXT = 256
_FEWEST_BUCKETS, _MOST_BUCKETS, _MOST_WEIGHTS = 1 << 14, 1 << 19, 1 << 23  # a weight takes four bytes


def network_training(family: str, minutes: float, rows: int, metric: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `training` section of a network that tags words.

    An epoch of few texts is a handful of updates, after which nothing is to be seen: these are counted instead.

    Args:
        family: Its name.
        minutes: By the clock.
        rows: Training texts.
        metric: The score that people quote first.
        said: The section as the settings have it.
    """
    options: dict[str, Any] = {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "total_train_batch_size": _BATCH,
        "train_sampling_strategy": "group_by_length",
        "learning_rate": 1e-3 if family == "transformer" else 3e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.02,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 256,
        **kept_on_validation(metric, "epoch", patience=_PATIENCE),
        "logging_steps": 50,
    }
    if said.keys().isdisjoint(_COUNTED_IN_EPOCHS):
        updates = max(_MOST_EPOCHS * rows // _BATCH, _FEWEST_UPDATES)
        every = updates // _MOST_EPOCHS
        options |= {"max_steps": updates, "eval_steps": every, "save_steps": every}
        options |= dict.fromkeys(("eval_strategy", "save_strategy"), "steps")
    return options


def tagging_sizes(rows: int, *, is_transformer: bool) -> dict[str, Any]:
    """Return sizes and dropout of a network that learns to tag from so many texts."""
    dropout = 0.5 if rows < _FEW else 0.4
    if is_transformer:
        return {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_dropout": 0.2}
    sizes = {"embedding_size": 128, "hidden_size": 128, "embedding_dropout": 0.2}
    return {**sizes, "hidden_dropout": dropout, "classifier_dropout": dropout}


def tagger_training(
    family: str, minutes: float, rows: int, metric: str, model: Mapping[str, Any], said: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the `training` section of a tagger of any family, see `network_training`.

    Args:
        family: Its name.
        minutes: By the clock.
        rows: Training texts.
        metric: The score that people quote first.
        model: The tagger's options, with those that were filled in.
        said: The section as the settings have it.
    """
    if family == LINEAR:
        return {"max_minutes": minutes, "wide_solver": "regression", "per_device_eval_batch_size": 256}
    solver = "regression" if model.get("feature_buckets") else "steps"
    return {**network_training(family, minutes, rows, metric, said), "wide_solver": solver}


def tagger_model(family: str, rows: int, labels: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return sizes and parts of a tagger of any family that learns so many labels from so many texts.

    Args:
        family: Its name.
        rows: Training texts.
        labels: How many tags there are.
        said: The options that the settings name.
    """
    if family == LINEAR:
        return {"feature_buckets": _buckets(rows, labels)}
    options = {**tagging_sizes(rows, is_transformer=family == "transformer"), "crf": True}
    if family not in RECURRENT:
        return options
    options["bidirectional"] = True
    if said.get("characters") == "none":
        return options
    options |= {"characters": "cnn", "case_features": True}
    return {**options, "feature_buckets": _buckets(rows, labels) if rows < _MANY else 0}


def _buckets(rows: int, labels: int) -> int:
    """Return more rows than so many texts have features, so that few share one, within limits."""
    most = min(_MOST_BUCKETS, _MOST_WEIGHTS // max(labels, 1))
    return min(max(1 << (_BUCKETS_A_TEXT * rows).bit_length(), _FEWEST_BUCKETS), 1 << (most.bit_length() - 1))

"""Defaults of models that write a text from a text; what the settings say stays.

The clock or validation ends the training, and the model with the best chrF on validation is kept. BLEU is 0 until four
words in a row are right, so that at first it tells no model from another; the loss, which smoothed labels and much
dropout change, is the worse judge of what is written. Each evaluation writes up to a thousand texts, so there are few
of them.

A recurrent model has several heads of attention and one matrix for all words: with them it finds out early which words
belong together (`docs/tasks/translation.md`).
"""

from collections.abc import Mapping
from typing import Any, Final

from .stopping import kept_on_validation

_MOST_EPOCHS: Final = 100
_UPDATES_BETWEEN: Final = 250  # two evaluations
_PATIENCE: Final = 8  # evaluations
_FEW: Final = 20_000  # pairs
_HEADS: Final = 4
# Minutes up to which an update has so many tokens, of source and target together: a short training needs many updates
# before it needs good ones.
_TOKENS: Final = ((10.0, 1_024), (30.0, 2_048), (float("inf"), 4_096))


def translation_training(minutes: float, *, is_transformer: bool) -> dict[str, Any]:
    """Return the `training` section of a model that may learn for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": _MOST_EPOCHS,
        "train_sampling_strategy": "group_by_length",
        "total_train_batch_size": 512,
        "total_train_batch_tokens": next(tokens for longest, tokens in _TOKENS if minutes <= longest),
        "label_smoothing_factor": 0.1,
        "learning_rate": 1e-3 if is_transformer else 3e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1 if is_transformer else 0.02,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 128,
        "eval_steps": _UPDATES_BETWEEN,
        "save_steps": _UPDATES_BETWEEN,
        **kept_on_validation("chrf", "steps", patience=_PATIENCE),
        "logging_steps": 50,
    }


def translation_sizes(pairs: int, said: Mapping[str, Any], *, is_transformer: bool) -> dict[str, Any]:
    """Return sizes and dropout of a model that learns from so many pairs, which fit those that somebody said."""
    hidden_size = said.get("hidden_size", 128 if pairs < _FEW else 256)
    sizes = {"hidden_size": hidden_size, "hidden_dropout": 0.3 if pairs < _FEW else 0.2}
    if is_transformer:
        heads = {"num_hidden_layers": 3, "num_attention_heads": _HEADS}
        return {**sizes, **heads, "position_embedding_type": "sinusoidal", "tie_word_embeddings": True}
    if "attention" not in said:
        sizes |= {"attention": "multi_head", "num_attention_heads": _HEADS}
    is_tied = said.get("embedding_size", hidden_size) == hidden_size
    return {**sizes, "embedding_size": hidden_size, "tie_word_embeddings": is_tied}


def vocabulary_size(pairs: int) -> int:
    """Return how many pieces of words there are."""
    return 4_000 if pairs < _FEW else 8_000

"""What a text classifier is trained with where nobody says it, from the number and the length of its rows.

Found on random cuts of SST-2, AG News and SNIPS (`benchmarks/defaults.py`). The number of updates is the great
lever: a few epochs of 2,000 rows are some hundred updates, too few for any network. So there are at least 1,500 of
them, and validation says when to stop.
"""

import math
from typing import Any, Final

from ...registry import FAMILIES
from ...settings import known_fields
from ...training.arguments import SequenceTrainingArguments
from ...training.words.bag_trainer import BagTrainingArguments
from .rows import RowCounts
from .stopping import kept_on_validation

_FEWEST_UPDATES, _MOST_UPDATES = 1_500, 20_000
_PASSES = 4  # over many rows; the fewest updates are more over few
_EVALUATIONS, _PATIENCE = 30, 10
_SHORTEST, _LONGEST, _STEP = 32, 256, 16  # tokens of a text; a recurrent network takes time for each
_TOKENS_A_WORD, _PIECES_A_WORD = 1.3, 2.2  # punctuation stands apart; few pieces, of STS-B
_MOST_REGRESSION_ROWS, _MOST_REGRESSION_LABELS = 200_000, 100  # more take minutes
_ALL_TOKENS: Final = 1_000_000

# What a person who says one of these has decided about: the others are then left alone.
_STOPPING = ("eval_strategy", "save_strategy", "load_best_model_at_end", "eval_steps", "save_steps")
_DROPOUT = {"embedding_dropout": 0.2, "hidden_dropout": 0.3, "classifier_dropout": 0.3}
_RECURRENT = {"embedding_size": 128, "hidden_size": 128, "bidirectional": True, "pooling": "mean_max"}
_NETWORKS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("gru", "lstm", "rnn", "custom"), _RECURRENT | _DROPOUT),
    "transformer": {
        **{"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "position_embedding_type": "rotary"},
        **{"pooling": "mean_max", "attention_dropout": 0.1},
        **_DROPOUT,
    },
}
_FEWEST_BUCKETS, _MOST_WEIGHTS = 1 << 14, 1 << 20  # of the wide part; a weight takes four bytes
_PAIRS = {"pairs": "siamese"}
# How alike two texts are is told by what they share: `guitar` and `guitars` share a piece, and no word. Few rows need
# small pieces: on STS-B, 1,000 were better on validation than 4,000. More rows were not tried.
_FEW_PIECES, _MANY_PIECES = 1_000, 8_000


def model_defaults(family: str, rows: RowCounts, said: dict[str, Any], *, has_pairs: bool = False) -> dict[str, Any]:
    """Return the options of a model that `said` does not say; of two texts each is read alone."""
    if family == "bag":
        options: dict[str, Any] = {"word_ngrams": 2, "weighting": "tfidf_l2"}
    else:
        options = _NETWORKS.get(family, _DROPOUT) | {"wide_ngrams": 2, "wide_buckets": _wide_buckets(rows)}
        options |= _PAIRS if has_pairs else {}
    known = known_fields(FAMILIES[family].config)
    return {name: value for name, value in options.items() if name in known and name not in said}


def _wide_buckets(rows: RowCounts) -> int:
    """Return twice as many rows as there are pairs of words, so that few share one, within limits."""
    pairs = int(2 * rows.num_rows * rows.median_words)
    most = _MOST_WEIGHTS // max(rows.num_labels, 2)
    return min(max(1 << pairs.bit_length(), _FEWEST_BUCKETS), 1 << (most.bit_length() - 1))


def max_length(family: str, rows: RowCounts, *, has_pairs: bool = False) -> int:
    """Return how many tokens of a text are read in training: all of nineteen texts in twenty, within limits."""
    if family == "bag":
        return _ALL_TOKENS
    tokens = math.ceil((_PIECES_A_WORD if has_pairs else _TOKENS_A_WORD) * rows.long_words / _STEP) * _STEP
    return min(max(tokens, _SHORTEST), _LONGEST)


def vocabulary_defaults(family: str, rows: RowCounts, *, has_pairs: bool = False) -> dict[str, Any]:
    """Return how many words get a row: a bag counts all, a network learns texts by heart by one seen once."""
    if family == "bag":
        return {"vocab_size": 200_000, "min_count": 1}
    is_large = rows.num_rows > 20_000
    if has_pairs:
        return {"kind": "wordpiece", "vocab_size": _MANY_PIECES if is_large else _FEW_PIECES}
    return {"vocab_size": 30_000 if is_large else 15_000, "min_count": 2}


def training_defaults(
    family: str, rows: RowCounts, metric: str, said: dict[str, Any], minutes: float | None
) -> dict[str, Any]:
    """Return the arguments that `said` does not say; `metric` is the score that people quote first."""
    options = _bag_training(rows, said) if family == "bag" else _network_training(rows, metric, said)
    cls = BagTrainingArguments if family == "bag" else SequenceTrainingArguments
    if family != "bag" and not _is_large(rows):
        options["wide_solver"] = "regression"
    if rows.has_rare_classes and options.get("solver") != "steps":  # steps of a bag know no weights
        options["class_weights"] = "balanced"
    if minutes is not None:
        options["max_minutes"] = minutes
    known = known_fields(cls)
    return {name: value for name, value in options.items() if name in known and name not in said}


def _bag_training(rows: RowCounts, said: dict[str, Any]) -> dict[str, Any]:
    takes_steps = _is_large(rows) or bool(
        {"learning_rate", "num_train_epochs", "word_dropout", "engine"} & said.keys()
    )
    return {"per_device_eval_batch_size": 256, "solver": "steps" if takes_steps else "regression"}


def _is_large(rows: RowCounts) -> bool:
    """Tell whether a regression would take many minutes."""
    return rows.num_rows > _MOST_REGRESSION_ROWS or rows.num_labels > _MOST_REGRESSION_LABELS


def _network_training(rows: RowCounts, metric: str, said: dict[str, Any]) -> dict[str, Any]:
    batch = 32 if rows.num_rows <= 20_000 else 64
    updates = min(max(_PASSES * rows.num_rows // batch, _FEWEST_UPDATES), _MOST_UPDATES)
    options: dict[str, Any] = {
        "learning_rate": 1e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,
        "max_grad_norm": 1.0,
        "per_device_eval_batch_size": 256,
        "train_sampling_strategy": "group_by_length",
        "logging_steps": 50,
    }
    if "num_train_epochs" not in said:
        options["max_steps"] = updates
    if not {"per_device_train_batch_size", "total_train_batch_tokens"} & said.keys():
        options["total_train_batch_size"] = batch
    if not said.keys() & set(_STOPPING):
        every = max(int(said.get("max_steps", updates)) // _EVALUATIONS, 1)
        options |= {
            **{"eval_steps": every, "save_steps": every},
            **kept_on_validation(metric, "steps", patience=_PATIENCE),
        }
    return options

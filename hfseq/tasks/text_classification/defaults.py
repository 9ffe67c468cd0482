"""What the settings do not say and the rows do, where `budget.minutes` is given."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ...data.text import TextTask, joined_texts
from ...evaluation.trainer_metrics import PROBLEMS
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.classification import (
    max_length,
    model_defaults,
    training_defaults,
    vocabulary_defaults,
)
from ...recipe.defaults.rows import RowCounts, count_rows
from ...recipe.texts import most_tokens
from ...settings import save_settings
from ...training.trainer import SequenceTrainer
from .settings import TextClassificationSettings, TokenizerSettings

RESOLVED_FILE = "resolved.yaml"


def follow_data(
    settings: TextClassificationSettings, task: TextTask, counted: RowCounts | None = None
) -> TextClassificationSettings:
    """Return the settings with all values filled in that nobody said; the same ones where there is no budget.

    Args:
        counted: What `row_counts` found in the task; None: it is counted here.
    """
    if not settings.budget.is_on:
        return settings
    family, rows = settings.model["type"], counted or row_counts(task)
    metric = main_metric(settings, task)
    model = settings.model | model_defaults(family, rows, settings.model, has_pairs=task.has_pairs)
    training = settings.training | training_defaults(family, rows, metric, settings.training, settings.budget.minutes)
    adds_up_words = bool(model.get("wide_ngrams")) and model.get("pairs") != "siamese"
    if not adds_up_words and "wide_solver" not in settings.training:
        training.pop("wide_solver", None)
    tokenizer = _tokenizer(settings, family, rows, most_tokens(model), has_pairs=task.has_pairs)
    return dataclasses.replace(settings, model=model, training=training, tokenizer=tokenizer)


def main_metric(settings: TextClassificationSettings, task: TextTask) -> str:
    """Return the score by which models are chosen."""
    said = settings.training.get("metric_for_best_model") or PROBLEMS[task.problem_type].scores[0]
    return str(said).removeprefix("eval_")


def save_resolved(settings: TextClassificationSettings, trainer: SequenceTrainer, folder: Path) -> None:
    """Write settings that repeat the run without a clock: what was filled in, and the steps that the time allowed."""
    training = {name: value for name, value in settings.training.items() if name != "max_minutes"}
    if trainer.time_limit is not None and trainer.time_limit.is_over:
        training = {**training, "max_steps": trainer.state.global_step}
    training["output_dir"] = str(folder)
    save_settings(dataclasses.replace(settings, training=training, budget=BudgetSettings()), folder / RESOLVED_FILE)


def row_counts(task: TextTask) -> RowCounts:
    """Count the training rows."""
    rows = task.dataset["train"]
    has_classes = task.problem_type == "single_label_classification"  # others have no weights of classes
    labels = np.asarray(rows["labels"][:]) if has_classes else None
    return count_rows(joined_texts(rows), labels, len(task.classes.names))


def _tokenizer(
    settings: TextClassificationSettings, family: str, rows: RowCounts, positions: int | None, *, has_pairs: bool
) -> TokenizerSettings:
    said = settings.tokenizer
    takes_pieces = has_pairs and settings.embeddings.from_pretrained is None  # which are of words
    filled: dict[str, Any] = {}
    if said.max_length is None:
        longest = max_length(family, rows, has_pairs=takes_pieces)
        filled["max_length"] = longest if positions is None else min(longest, positions)
    has_own = settings.transfer.from_pretrained is not None  # a language model's tokenizer is as it is
    if not has_own and said.kind == "word":
        usual: Any = TokenizerSettings()
        values = vocabulary_defaults(family, rows, has_pairs=takes_pieces)
        # A value that is the usual one counts as not said.
        filled |= {name: value for name, value in values.items() if getattr(said, name) == getattr(usual, name)}
    changed: TokenizerSettings = dataclasses.replace(said, **filled)
    return changed

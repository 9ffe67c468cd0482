"""`model.type: auto`: several models, one after the other within the minutes; validation says which is kept."""

import dataclasses
import gc
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from accelerate.utils import broadcast_object_list
from datasets import DatasetDict
from transformers.utils import logging

from ...data.text import TextTask
from ...evaluation.scores import SCORES
from ...recipe.budget import BudgetSettings
from ...training.trainer import SequenceTrainer
from .defaults import follow_data, main_metric, row_counts
from .facts import CandidateFacts, MixedFacts, TuningFacts
from .settings import AUTO, TextClassificationSettings

logger = logging.get_logger(__name__)

CANDIDATES: Final = ("bag", "gru", "transformer")
_ON_A_TIE: Final = ("gru", "transformer", "bag")
_FOLDER = "candidates"
# What a person says of the training of networks is no setting of a bag, which has its own update and no evaluations.
_OF_ALL = ("seed", "data_seed", "use_cpu", "report_to", "disable_tqdm", "num_processes", "log_level", "class_weights")


@dataclass
class Trained:
    """One trained model, and what the card says of the way to it."""

    settings: TextClassificationSettings  # with all that was filled in
    trainer: SequenceTrainer
    tokens: DatasetDict
    tuning: TuningFacts | None = None
    candidates: list[CandidateFacts] = dataclasses.field(default_factory=list)

    @property
    def mixed(self) -> MixedFacts | None:
        """How much the regression beside the network counts, where there is one."""
        found = self.trainer.mixed
        return None if found is None else MixedFacts(**found._asdict())

    @property
    def minutes(self) -> float:
        """The minutes of training, of all candidates where there were several."""
        others = [row.minutes for row in self.candidates if not row.is_kept]
        return self.trainer.training_seconds / 60 + sum(others)


Train = Callable[[TextClassificationSettings, TextTask, Path, str | None], Trained]


def train_best(
    train: Train, settings: TextClassificationSettings, task: TextTask, folder: Path, checkpoint: str | None
) -> Trained:
    """Train the model of the settings with `train`, or, where they say `auto`, the candidates, and keep one.

    What no clock has cut is the same again with the same seed.
    """
    if settings.model["type"] != AUTO:
        return train(follow_data(settings, task), task, folder, checkpoint)
    metric, best, rows = main_metric(settings, task), None, []
    counted = row_counts(task)  # once, as it takes seconds of large data
    sign = -1 if metric == "loss" or not SCORES[metric].greater_is_better else 1
    for one in _candidates(settings, folder):
        trained = train(follow_data(one, task, counted), task, folder / _FOLDER / one.model["type"], None)
        row = _measured(one.model["type"], trained, metric)
        rows.append(row)
        if best is None or is_kept_over(row, best[0], sign=sign, num_rows=task.dataset["validation"].num_rows):
            best = row, trained
        del trained  # the other model may go
        gc.collect()
    assert best is not None  # the first candidate is always trained
    row, kept = best
    kept.candidates = [dataclasses.replace(other, is_kept=other is row) for other in rows]
    if kept.trainer.is_world_process_zero():
        shutil.rmtree(folder / _FOLDER, ignore_errors=True)
    return kept


def is_kept_over(row: CandidateFacts, other: CandidateFacts, *, sign: int, num_rows: int) -> bool:
    """Tell whether a candidate is kept in the place of another: the better one, or on a tie the one of `_ON_A_TIE`.

    Accuracies of `num_rows` texts that are no more than a standard error apart are a tie: other texts may well turn
    them round. A GRU has a regression beside it: what it loses to the bag on so few texts is seldom more than chance.

    Args:
        sign: 1 where more is better, -1 where less is.
    """
    gain = sign * (row.score - other.score)
    share = max(row.score, other.score)
    error = math.sqrt(share * (1 - share) / num_rows) if row.metric == "accuracy" else 0.0
    if abs(gain) <= error:
        return _ON_A_TIE.index(row.name) < _ON_A_TIE.index(other.name)
    return gain > 0


def candidate_lines(candidates: list[CandidateFacts]) -> Iterator[str]:
    """Write the table of what was tried."""
    if not candidates:
        return
    yield f"tried, with the {candidates[0].metric} on validation:"
    for row in candidates:
        told = [f"{row.minutes:.1f} minutes", *(["the time was over"] if row.is_cut else [])]
        yield f"  {row.name:12} {row.score:.4f}  {', '.join(told)}{'  <- kept' if row.is_kept else ''}"


def _candidates(settings: TextClassificationSettings, folder: Path) -> Iterator[TextClassificationSettings]:
    """Give each candidate an equal part of the time that is left when its turn comes."""
    total, started = settings.budget.minutes or 0.0, perf_counter()
    for place, family in enumerate(CANDIDATES):
        left = _agreed(total - (perf_counter() - started) / 60)
        if left <= 0 and place:
            logger.warning("No time is left for %s: give more budget.minutes.", ", ".join(CANDIDATES[place:]))
            return
        training = {**settings.training, "output_dir": str(folder / _FOLDER / family)}
        if family == "bag":
            training = {name: value for name, value in training.items() if name in (*_OF_ALL, "output_dir")}
        budget = BudgetSettings(minutes=left / (len(CANDIDATES) - place))
        yield dataclasses.replace(settings, model={"type": family}, training=training, budget=budget)


def _agreed(minutes: float) -> float:
    """Return the minutes of the first process, whose clock counts for all."""
    held = [minutes]
    return float(broadcast_object_list(held)[0])


def _measured(name: str, trained: Trained, metric: str) -> CandidateFacts:
    trainer = trained.trainer
    found: Any = trainer.evaluate()
    limit = trainer.time_limit
    return CandidateFacts(
        name=name,
        metric=metric,
        score=float(found[f"eval_{metric}"]),
        minutes=trainer.training_seconds / 60,
        is_cut=limit is not None and limit.is_over,
    )

"""Autotune: the settings of a bag that do best on validation rows, found within a budget, as fastText's autotune does.

    the settings as given; some draws at random; then by turns a draw, and small changes of the best settings so far

The sequence follows from the seed and from the scores, and one thread trains each trial, which is deterministic: the
same seed and number of trials find the same settings. A budget of minutes tries as many of the same sequence as fit;
the record says how many, so that a search with so many `trials` repeats it.
"""

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from datasets import Dataset
from transformers import EvalPrediction, PrinterCallback

from ...evaluation.scores import SCORES
from ...evaluation.trainer_metrics import PROBLEMS, classification_metrics
from ...models.heads.classification import problem_type_of, sequence_loss
from ...models.words.bag import BagConfig, BagForSequenceClassification
from ...progress import progress_bar
from ...settings import check_known, option
from ..checkpoints import DivergedError
from ..unseen import hide_unseen
from .bag_texts import BagTexts
from .bag_trainer import BagTrainer, BagTrainingArguments, usual_epochs
from .compression import compress_bag

Options: TypeAlias = dict[str, Any]
MakeBag: TypeAlias = Callable[..., BagForSequenceClassification]

_FIRST_DRAWS = 5  # before the best so far is worth a closer look
_ATTEMPTS = 200  # to find settings that were not tried yet
_OF_TRAINING: Final = ("learning_rate", "num_train_epochs")
_CHARACTERS: Final = ("shortest_ngram", "longest_ngram")
_VALUES: dict[str, tuple[Any, ...]] = {
    "word_ngrams": (1, 2, 3, 4, 5),
    "ngram_buckets": (20_000, 50_000, 100_000, 200_000, 500_000),
    "hidden_size": (16, 32, 64, 128, 256),
    "learning_rate": (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0),
}
_EPOCHS = (0.25, 0.5, 1, 2, 4)  # times the usual number
_TRIAL: Options = {  # trains in silence, leaves nothing behind, and gives the same numbers each time
    **dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "no"),
    **dict.fromkeys(("load_best_model_at_end", "push_to_hub"), False),
    **dict.fromkeys(("metric_for_best_model", "early_stopping_patience"), None),
    **{"report_to": "none", "disable_tqdm": True, "use_cpu": True, "num_threads": 1},
}


@dataclass
class AutotuneSettings:
    """A search for the settings of a bag (`model.type: bag`) on the validation rows, with a budget."""

    minutes: float | None = option(None, "start no trial that would end later; null: no such limit")
    trials: int | None = option(None, "settings to try; null: no such limit. Both null: no search")
    metric: str | None = option(None, "what is to become best; null: accuracy, of a regression mse")

    def __post_init__(self) -> None:
        for name in ("minutes", "trials"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"autotune.{name}={value} must be more than 0; null sets no limit.")
        if self.metric is not None:
            known = dict.fromkeys(name for problem in PROBLEMS.values() for name in problem.scores)
            check_known(self.metric, known, "autotune.metric", kind="metric")
        if self.metric is not None and not self.is_on:
            raise ValueError(f"autotune.metric={self.metric!r} without a budget: give minutes or trials, too.")

    @property
    def is_on(self) -> bool:
        """Whether there is a budget."""
        return (self.minutes, self.trials) != (None, None)


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        options: Of the model and of the training, those that the search chooses.
        score: On the validation rows, after the compression if there is one; None: there is no such model.
        loss: Their mean loss, which decides between equal scores.
        failure: Why there is none: the training diverged, or no compression makes it small enough.
    """

    options: Options
    score: float | None = None
    loss: float | None = None
    failure: str | None = None


@dataclass
class Tuned:
    """The record of a search; the first trial is that of the settings as given."""

    metric: str
    seed: int
    target_mb: float | None
    trials: list[Trial] = field(default_factory=list)
    minutes: float = 0.0

    @property
    def winner(self) -> Trial:
        """The trial with the best score; of equal ones that of the smallest loss, then the first."""
        return max(self.trials, key=self._rank)

    def _rank(self, trial: Trial) -> tuple[float, float]:
        if trial.score is None or trial.loss is None:
            return -np.inf, 0.0
        return trial.score if SCORES[self.metric].greater_is_better else -trial.score, -trial.loss

    @property
    def model(self) -> Options:
        """What the winner chose for `BagConfig`."""
        return {name: value for name, value in self.winner.options.items() if name not in _OF_TRAINING}

    @property
    def training(self) -> Options:
        """What the winner chose for `BagTrainingArguments`."""
        return {name: value for name, value in self.winner.options.items() if name in _OF_TRAINING}

    def save(self, path: str | Path) -> None:
        """Write the record as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tuned":
        """Read a record that `save` wrote."""
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**{**read, "trials": [Trial(**trial) for trial in read["trials"]]})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} holds no record of a search ({error}): start the run anew.") from error


def autotune_bag(
    make_bag: MakeBag,
    train_dataset: Dataset,
    eval_dataset: Dataset,
    search: AutotuneSettings,
    *,
    model: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    target_mb: float | None = None,
) -> Tuned:
    """Search for the settings of a bag that do best on validation rows.

    What `model` and `training` say stays as it is; the search chooses the rest of the orders of n-grams, the number of
    their buckets, the width, the weighting, the learning rate and the epochs. The record has them as `model` and
    `training`, for `make_bag` and `BagTrainingArguments`. Its first trial is the settings as given, so the ones that
    win are never worse than these on the validation rows.

    Args:
        make_bag: Makes a new bag from options of `BagConfig`, such as `functools.partial(new_bag, tokenizer, texts)`.
        train_dataset: With the columns `input_ids` and `labels`.
        eval_dataset: Validation rows of the same columns; never those that the finished model is measured on.
        search: The budget, and what is to become best.
        model: Options of `BagConfig` that were chosen by hand.
        training: Options of `BagTrainingArguments` that were chosen by hand; `seed` is that of the search, too.
        target_mb: Judge each bag after `compress_bag` has made it as small as this.
    """
    model, training = dict(model or {}), dict(training or {})
    if not search.is_on:
        raise ValueError("autotune has no budget: give minutes or trials.")
    if len(eval_dataset) == 0:
        raise ValueError("autotune needs validation rows, and there are none.")
    proposals = Proposals(axes_of(model, training, len(train_dataset)), model, int(training.get("seed", 42)))
    began = monotonic()
    with TemporaryDirectory() as folder, _quick_collections():
        fixed = {**training, **_TRIAL, "output_dir": folder}
        bench = _Bench(make_bag, (train_dataset, eval_dataset), model, fixed, target_mb)
        tuned = Tuned(bench.metric(search.metric), proposals.seed, target_mb)
        is_quiet = bool(training.get("disable_tqdm"))
        with progress_bar("autotune", total=search.trials, unit="trial", disable=is_quiet) as bar:
            while _has_time(search, len(tuned.trials), monotonic() - began):
                options = proposals.next(tuned)
                if options is None:  # there are no others
                    break
                tuned.trials.append(bench.measured(options, tuned.metric))
                bar.update()
                bar.set_postfix({tuned.metric: tuned.winner.score})
    tuned.minutes = (monotonic() - began) / 60
    if tuned.winner.score is None:
        raise ValueError(f"autotune tried {len(tuned.trials)} settings in vain: {tuned.trials[0].failure}")
    return tuned


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Keep what lives already out of garbage collections: Trainer's, one a training, took longer than small trials."""
    if gc.get_freeze_count():  # the caller's own
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _has_time(search: AutotuneSettings, tried: int, seconds: float) -> bool:
    """Tell whether another trial, as long as the mean so far, ends within the budget; the first one is always run."""
    if tried == 0:
        return True
    in_time = search.minutes is None or seconds + seconds / tried <= 60 * search.minutes
    return in_time and (search.trials is None or tried < search.trials)


@dataclass(frozen=True)
class Axis:
    """One thing that the search chooses.

    Attributes:
        values: What may be chosen, options each.
        start: The place of what is taken without a search.
        is_ordered: Whether a small change leads to the next or the one before, rather than to any other.
    """

    values: Sequence[Options]
    start: int
    is_ordered: bool = True


def axes_of(model: Mapping[str, Any], training: Mapping[str, Any], num_texts: int) -> list[Axis]:
    """List what a search may choose beside the options that are given."""
    given = {**model, **training}
    axes = [
        _ordered(name, values, getattr(BagTrainingArguments if name in _OF_TRAINING else BagConfig, name))
        for name, values in _VALUES.items()
        if name not in given
    ]
    if not given.keys() & {*_CHARACTERS}:
        usual = {name: getattr(BagConfig, name) for name in _CHARACTERS}
        others = [dict(zip(_CHARACTERS, pair, strict=True)) for pair in ((3, 0), (2, 4), (3, 6))]
        axes.append(Axis([usual, *(other for other in others if other != usual)], start=0, is_ordered=False))
    if "weighting" not in given:
        axes.append(_ordered("weighting", ("count", "tfidf"), BagConfig.weighting))
    if "num_train_epochs" not in given and given.get("max_steps", -1) <= 0:
        epochs = usual_epochs(num_texts)
        axes.append(_ordered("num_train_epochs", [max(1, round(share * epochs)) for share in _EPOCHS], int(epochs)))
    if given.get("ngram_buckets") == 0:  # there is no room for n-grams
        axes = [axis for axis in axes if not axis.values[0].keys() & {"word_ngrams", *_CHARACTERS}]
    return axes


def _ordered(name: str, values: Sequence[Any], usual: Any) -> Axis:
    found = sorted({*values, usual})
    return Axis([{name: value} for value in found], start=found.index(usual))


class Proposals:
    """The sequence of settings to try."""

    def __init__(self, axes: Sequence[Axis], model: Mapping[str, Any], seed: int) -> None:
        self.axes, self.given, self.seed = axes, model, seed
        self._rng = np.random.default_rng(seed)
        self._tried: list[tuple[int, ...]] = []  # the places of each trial on the axes

    def next(self, tuned: Tuned) -> Options | None:
        """Propose settings that were not tried yet; None: there are no others."""
        known = [trial.options for trial in tuned.trials]
        for attempt in range(_ATTEMPTS):
            places = self._places(tuned, is_first=not known and attempt == 0)
            options = self._options(places)
            if options not in known:
                self._tried.append(places)
                return options
        return None

    def _places(self, tuned: Tuned, *, is_first: bool) -> tuple[int, ...]:
        if is_first:
            return tuple(axis.start for axis in self.axes)
        number = len(self._tried)
        if number <= _FIRST_DRAWS or number % 3 == 0:
            return tuple(int(self._rng.integers(len(axis.values))) for axis in self.axes)
        places = list(self._tried[tuned.trials.index(tuned.winner)])
        count = min(int(self._rng.integers(1, 3)), len(self.axes))  # one change or two
        for place in self._rng.choice(len(self.axes), count, replace=False):
            places[place] = self._moved(self.axes[place], places[place])
        return tuple(places)

    def _moved(self, axis: Axis, place: int) -> int:
        near = {place - 1, place + 1} if axis.is_ordered else set(range(len(axis.values))) - {place}
        return int(self._rng.choice(sorted(near & set(range(len(axis.values))) or {place})))

    def _options(self, places: Sequence[int]) -> Options:
        options: Options = {}
        for axis, place in zip(self.axes, places, strict=True):
            options |= axis.values[place]
        has_ngrams = self._setting(options, "word_ngrams") > 1 or self._setting(options, "longest_ngram") > 0
        if "ngram_buckets" in options and not has_ngrams:
            options["ngram_buckets"] = 0
        return options

    def _setting(self, options: Options, name: str) -> Any:
        return {**self.given, **options}.get(name, getattr(BagConfig, name))


class _Bench:
    """Trains and measures each trial alike."""

    def __init__(
        self,
        make_bag: MakeBag,
        rows: tuple[Dataset, Dataset],
        model: Options,
        training: Options,
        target_mb: float | None,
    ) -> None:
        self.make_bag, self.model, self.training, self.target_mb = make_bag, model, training, target_mb
        self.train_rows, self.eval_rows = rows
        config = make_bag(**{"hidden_size": 1, **model}).config
        self.problem_type = problem_type_of(config, torch.tensor(self.train_rows["labels"][:1]))

    def metric(self, name: str | None) -> str:
        """Return the name of the metric, of the problem's scores the first one if none is given."""
        scores = PROBLEMS[self.problem_type].scores
        check_known(name or scores[0], scores, f"autotune.metric of a {self.problem_type}", kind="metric")
        return name or scores[0]

    def measured(self, options: Options, metric: str) -> Trial:
        """Train a new bag with these options and measure it on the validation rows."""
        chosen = {name: value for name, value in options.items() if name in _OF_TRAINING}
        args = BagTrainingArguments(**{**self.training, **chosen})
        if args.world_size > 1:
            raise ValueError(
                f"autotune searches in one process, not in {args.world_size}: launch one, and give the settings that "
                "it finds to the several."
            )
        bag = self.make_bag(**{**self.model, **{name: options[name] for name in options.keys() - chosen.keys()}})
        trainer = BagTrainer(bag, args, train_dataset=self.train_rows)
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train()
        except DivergedError as error:
            return Trial(options, failure=str(error))
        if self.target_mb is not None:
            try:
                bag, _ = compress_bag(bag, self.train_rows, self.eval_rows, target_mb=self.target_mb, seed=args.seed)
            except ValueError as error:  # it is too large, whatever is left out
                return Trial(options, failure=str(error))
        with torch.no_grad():
            logits = bag.scores(BagTexts.of(self.eval_rows, bag.model).hidden(bag.model))
        labels = torch.tensor(self.eval_rows["labels"][:])
        seen = hide_unseen(labels, bag.num_labels, self.problem_type)
        scores = classification_metrics(self.problem_type)(EvalPrediction(logits.numpy(), labels.numpy()))
        return Trial(options, scores[metric], float(sequence_loss(logits, seen, self.problem_type)))

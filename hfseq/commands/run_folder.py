"""The folder of a run, opened again: its settings, its log, its model, and its data as the recipe loads them."""

import json
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from transformers import DataCollatorForTokenClassification
from transformers.trainer import TRAINER_STATE_NAME

from ..insight.doctor.evidence import Evidence
from ..insight.doctor.gathering import gather
from ..models.artifacts import CONFIG_NAME, UnsafeArtifactError, read_json
from ..recipe.runs import SETTINGS_FILE
from ..settings import SettingsError, read_settings
from ..tasks import TASKS, Task
from ..tasks.text_classification.defaults import RESOLVED_FILE
from ..tokenization.padding import IntentSlotsCollator, PaddingCollator
from ..training.checkpoints import checkpoints_in
from .models import load_pipeline

_UNREAD = (OSError, ValueError, ImportError, KeyError)  # data that are gone, have changed, or need a missing library
_TRIAL_STEPS = 200  # of `--try` at most: a first look, in minutes
_NO_CLOCK = 1e6  # minutes
_TASK_OF = {  # the end of the name of a class -> its task
    "RecursiveForSequenceClassification": "trees",
    "ForSequenceClassification": "text_classification",
    "ForTokenClassification": "tagging",
    "ForIntentAndSlots": "joint",
    "ForCausalLM": "causal_lm",
    "ForMaskedLM": "masked_lm",
    "CaptionerForConditionalGeneration": "captioning",
    "ForConditionalGeneration": "translation",
}


@dataclass(frozen=True)
class Run:
    """A run that recipes left: where it is, of which task, with which settings, and what was logged."""

    folder: Path
    task: Task
    file: Path  # of its settings
    settings: Any
    history: list[dict[str, Any]]

    @property
    def steps(self) -> int:
        """The last update that was logged."""
        return max((int(row.get("step", 0)) for row in self.history), default=0)

    @property
    def trial_steps(self) -> int:
        """How long a trial of it takes: as the run, as far as it is known, and no more than a short one."""
        return min(self.steps or self.settings.training.get("max_steps") or _TRIAL_STEPS, _TRIAL_STEPS)


class NoRunError(FileNotFoundError):
    """A folder, or a name, that is no run of a recipe."""


def open_folder(name: str) -> Run:
    """Open the folder of a run; whatever else it is, an error says."""
    folder = Path(name)
    if not folder.is_dir():
        cure = "The doctor reads a run: its settings, its log and its data. A model of the Hub brings none of these"
        raise NoRunError(f"There is no folder {name!r}. {cure}: give the folder that `hfseq train` wrote (--out).")
    file = next((folder / name for name in (RESOLVED_FILE, SETTINGS_FILE) if (folder / name).is_file()), None)
    if file is None:
        what = "is a model without its run" if (folder / CONFIG_NAME).is_file() else "is no run"
        cure = "give the folder that `hfseq train` wrote, or call hfseq.diagnose(trainer) in Python"
        raise NoRunError(f"{name} {what}: it holds no {SETTINGS_FILE}. To examine one, {cure}.")
    task = TASKS[_task_name(folder)]
    try:
        settings: Any = read_settings(task.settings, ["--config", str(file)])
    except SettingsError as error:
        raise SettingsError(f"The settings of the run cannot be read: {error}") from error
    return Run(folder, task, file, settings, _history(folder))


def _task_name(folder: Path) -> str:
    places = [folder, *reversed(checkpoints_in(folder))]
    configs = [place / CONFIG_NAME for place in places if (place / CONFIG_NAME).is_file()]
    if not configs:
        raise NoRunError(f"{folder} holds no model and no checkpoint: its training was stopped before it saved one.")
    saved = (read_json(configs[0]).get("architectures") or ["none"])[0]
    saved = "ForCausalLM" if "ForCausalLM" in saved else saved
    task = next((task for end, task in _TASK_OF.items() if saved.endswith(end)), None)
    if task is None:
        raise NoRunError(f"{folder} holds a {saved}: the doctor examines models that a Trainer trained, with a head.")
    return task


def _history(folder: Path) -> list[dict[str, Any]]:
    """Return the log: of the finished run, or of the newest checkpoint where that is further."""
    places = (*checkpoints_in(folder), folder)
    files = [file for place in places if (file := place / TRAINER_STATE_NAME).is_file()]
    states = [read_json(file) for file in files]
    for file, state in zip(files, states, strict=True):
        if not isinstance(state.get("log_history"), list):
            raise UnsafeArtifactError(f"{file} is no state of a trainer: it has no list log_history.")
    best = max(states, key=lambda state: int(state.get("global_step") or 0), default={})
    history: list[dict[str, Any]] = best.get("log_history", [])
    return history


def read_evidence(run: Run) -> Evidence:
    """Read what the checks need; data that cannot be read again leave their checks out."""
    pipe = load_pipeline(str(_model_folder(run.folder)))
    model, tokenizer, missing = pipe.model, cast(Any, pipe.tokenizer), {}
    read = _READERS.get(run.task.name)
    splits: Mapping[str, Any] = {}
    texts: Mapping[str, Sequence[Hashable]] = {}
    collate: Callable[..., Any] = PaddingCollator(tokenizer)
    try:
        if read is None:
            raise ValueError(f"the doctor does not read the data of {run.task.command}")
        splits, texts, collate = read(run.settings, tokenizer)
    except _UNREAD as error:
        reason = f"the data cannot be read again ({' '.join(str(error).split())[:200]})" if read else str(error)
        parts = ("train", "validation", "test", "train_answers", "validation_answers", "units", "gradients", "tensors")
        missing = dict.fromkeys((*parts, "padding_labels"), reason)
    unknown = None if tokenizer is None else tokenizer.unk_token_id
    return gather(
        model,
        splits,
        collate,
        texts=texts,
        unknown_id=unknown,
        training=dict(run.settings.training),
        settings={name: asdict(section) for name, section in _sections(run.settings)},
        history=run.history,
        missing=missing,
    )


def _sections(settings: Any) -> list[tuple[str, Any]]:
    names = ("data", "tokenizer", "embeddings", "transfer")
    return [(name, getattr(settings, name)) for name in names if hasattr(settings, name)]


def _model_folder(folder: Path) -> Path:
    return folder if (folder / CONFIG_NAME).is_file() else checkpoints_in(folder)[-1]


_Read = tuple[Mapping[str, Any], Mapping[str, Sequence[Hashable]], Callable[..., Any]]


def _classifier(settings: Any, tokenizer: Any) -> _Read:
    from ..data.text import joined_texts
    from ..tasks.text_classification.build import load, make_tokens

    task = load(settings.data)
    texts = {name: joined_texts(rows) for name, rows in task.dataset.items()}
    return make_tokens(task, tokenizer, settings.tokenizer), texts, PaddingCollator(tokenizer)


def _tagger(settings: Any, tokenizer: Any) -> _Read:
    from ..data.tagged import load_tagged
    from ..evaluation.trainer_metrics import TAGGING
    from ..tasks.tagging.build import make_tokens, problem_of

    task = load_tagged(settings.data)
    settings.follow(task.dataset["train"].num_rows, len(task.classes.names), TAGGING[problem_of(task)][0])
    tokens = make_tokens(task, tokenizer, settings.tokenizer)
    return tokens, _words(task.dataset), DataCollatorForTokenClassification(tokenizer)


def _words(dataset: Mapping[str, Any]) -> dict[str, list[Hashable]]:
    return {name: [tuple(words) for words in rows["tokens"][:]] for name, rows in dataset.items()}


def _joint(settings: Any, tokenizer: Any) -> _Read:
    from ..data.intents import load_intents
    from ..tasks.joint.build import make_tokens

    task = load_intents(settings.data)
    settings.follow(task.dataset["train"].num_rows)
    return make_tokens(task, tokenizer, settings.tokenizer), _words(task.dataset), IntentSlotsCollator(tokenizer)


def _language(settings: Any, tokenizer: Any) -> _Read:
    from ..data.documents import load_documents
    from ..recipe.language import make_text

    dataset = load_documents(settings.data)
    settings.follow(dataset)
    texts = {name: make_text(rows, tokenizer, settings.tokenizer) for name, rows in dataset.items()}
    return texts, {}, PaddingCollator(tokenizer)


_READERS: dict[str, Callable[[Any, Any], _Read]] = {
    "text_classification": _classifier,
    "tagging": _tagger,
    "joint": _joint,
    "causal_lm": _language,
}


def trainer_of(run: Run, steps: int) -> Callable[[Mapping[str, Any]], dict[str, float]]:
    """Return what trains the settings of a run, changed, for some steps in a folder of its own, and scores them."""
    from .train import recipe_main

    recipe = recipe_main(run.task.recipe)
    limits = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": steps, "save_steps": steps}
    limits |= {"max_steps": steps, "logging_steps": steps}
    outside: dict[str, Any] = {"hub.repo_id": None}  # nothing of a trial is published
    budget = getattr(run.settings, "budget", None)
    if run.settings.training.get("max_minutes") or getattr(budget, "minutes", None):
        outside["training.max_minutes"] = _NO_CLOCK  # without `budget.minutes` other settings would change too

    def train(changes: Mapping[str, Any]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            kept = {key: value for key, value in changes.items() if key.removeprefix("training.") not in limits}
            words = {**{f"training.{key}": value for key, value in limits.items()}, **kept}
            words |= {**outside, "training.output_dir": folder}
            recipe(["--config", str(run.file), *(f"--{key}={_yaml(value)}" for key, value in words.items())])
            return _scores(_history(Path(folder)))

    return train


def _scores(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    rows = [row for row in history if "eval_loss" in row]
    without = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    scores = {name.removeprefix("eval_"): value for name, value in rows[-1].items() if name.startswith("eval_")}
    return {name: float(value) for name, value in scores.items() if name not in without}


def _yaml(value: Any) -> str:
    return json.dumps(value)

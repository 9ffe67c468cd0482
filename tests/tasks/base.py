"""What the tests of every recipe share: its script and settings, and small runs of it in this process."""

import importlib
import io
import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass

import pytest
from safetensors.torch import load_file

from hfseq.cards.render import load_facts
from hfseq.settings import read_settings
from hfseq.tasks import TASKS, Task
from tests.launches import ROOT

QUIET = ("--training.use_cpu=true", "--training.disable_tqdm=true")
OF_TEXTS = (
    *QUIET,
    "--data.max_rows=96",
    "--model.hidden_size=8",
    "--model.embedding_size=8",
    "--model.embedding_dropout=0",  # masks are drawn by each process for itself
    "--model.hidden_dropout=0",
    "--model.classifier_dropout=0",
    "--training.num_train_epochs=4",  # of 3 updates
    "--training.learning_rate=0.03",
    "--training.lr_scheduler_type=constant",  # or a first run with fewer steps would follow another schedule
    "--training.eval_strategy=steps",
    "--training.save_strategy=steps",
    "--training.eval_steps=4",
    "--training.save_steps=4",
    "--training.save_total_limit=null",
    "--training.load_best_model_at_end=false",
    "--training.logging_steps=1",
)
OF_LANGUAGE = (
    *QUIET,
    "--data.max_characters=4000",
    "--model.hidden_size=8",
    "--model.hidden_dropout=0",
    "--training.total_train_batch_size=8",
    "--training.num_train_epochs=2",
    "--training.lr_scheduler_type=constant",
    "--training.logging_steps=1",
    "--training.save_total_limit=null",
)
ATTENDING = ("--model.num_hidden_layers=1", "--model.num_attention_heads=2", "--training.learning_rate=0.02")


@dataclass(frozen=True)
class Recipe:
    """A recipe, and options that make a run of its first configuration small.

    Attributes:
        task: The row of TASKS.
        small: Options of a small run.
        home: The folder of its script.
    """

    task: Task
    small: tuple[str, ...] = QUIET
    home: str = "recipes"

    @property
    def script(self):
        return self.task.recipe

    @property
    def path(self):
        return f"{self.home}/{self.script}.py"

    @property
    def configs(self):
        return sorted((ROOT / self.home / "configs" / self.script).glob("*.yaml"))

    @property
    def config(self):
        """The configuration of its small runs: one of embedded data, of an LSTM if there is one."""
        own = {"embedded", "seasons", "shapes"}  # what embedded data are called
        stems = [path.stem for path in self.configs if not own.isdisjoint(path.stem.split("_"))]
        return min(stems, key=lambda stem: "lstm" not in stem)

    @property
    def sections(self):
        """What `--help` tells of, the model with the type that the configuration has."""
        found = {name: value for name, value in vars(self.settings()).items() if not isinstance(value, bool)}
        types = {name: value.get("type") if isinstance(value, dict) else None for name, value in found.items()}
        return [f"{name} (type: {kind})" if kind else name for name, kind in types.items()]

    def file(self, config=None):
        """The path of a configuration from the repository's root."""
        return f"{self.home}/configs/{self.script}/{config or self.config}.yaml"

    def settings(self, *options, config=None):
        return read_settings(self.task.settings, ["--config", str(ROOT / self.file(config)), *options])

    def main(self, monkeypatch, *arguments):
        """Runs the recipe with these arguments in this process, where a launch would cost seconds."""
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [self.path, *arguments])
        importlib.import_module(f"{self.home}/{self.script}".replace("/", ".")).main()

    def run(self, monkeypatch, folder, *options, config=None, small=None):
        """A small run into a folder; its facts."""
        chosen = self.small if small is None else small
        self.main(monkeypatch, "--config", self.file(config), *chosen, f"--training.output_dir={folder}", *options)
        return load_facts(folder / "facts.json")


SMALL = {
    "captioning": (
        *QUIET,
        "--data.max_rows=64",
        "--vision.config={model_type: resnet, embedding_size: 4, hidden_sizes: [8], depths: [1], layer_type: basic}",
        "--model.num_regions=64",
        "--model.hidden_size=8",
        "--model.embedding_size=8",
        "--training.num_train_epochs=2",
        "--training.total_train_batch_size=16",
        "--training.learning_rate=0.01",
        "--training.lr_scheduler_type=constant",
        "--training.eval_strategy=steps",
        "--training.save_strategy=steps",
        "--training.eval_steps=4",
        "--training.save_steps=4",
        "--training.save_total_limit=null",
        "--training.load_best_model_at_end=false",
        "--training.logging_steps=1",
    ),
    "text_classification": OF_TEXTS,
    "tagging": OF_TEXTS,
    "joint": OF_TEXTS,
    "trees": OF_TEXTS,
    "causal_lm": (*OF_LANGUAGE, "--model.embedding_size=8", "--generation.max_new_tokens=8"),
    "masked_lm": (*OF_LANGUAGE, *ATTENDING),
    "translation": (
        *QUIET,
        "--data.max_rows=96",
        "--model.hidden_size=8",
        "--model.embedding_size=8",
        "--model.hidden_dropout=0",
        "--training.num_train_epochs=4",  # of 3 updates
        "--training.total_train_batch_size=32",
        "--training.learning_rate=0.03",
        "--training.lr_scheduler_type=constant",
        "--training.eval_strategy=steps",
        "--training.save_strategy=steps",
        "--training.eval_steps=4",
        "--training.save_steps=4",
        "--training.save_total_limit=null",
        "--training.load_best_model_at_end=false",
        "--training.logging_steps=1",
        "--generation.num_beams=2",
        "--generation.max_new_tokens=6",
    ),
    "strokes": (
        *QUIET,
        "--data.max_rows=48",
        "--model.hidden_size=8",
        "--model.num_mixtures=2",
        "--training.num_train_epochs=4",  # of 2 updates
        "--training.total_train_batch_size=24",
        "--training.learning_rate=0.03",
        "--training.lr_scheduler_type=constant",
        "--training.eval_strategy=steps",
        "--training.save_strategy=steps",
        "--training.eval_steps=4",
        "--training.save_steps=4",
        "--training.save_total_limit=null",
        "--training.load_best_model_at_end=false",
        "--training.logging_steps=1",
        "--generation.num_drawings=9",
        "--generation.max_new_steps=8",
    ),
    "series": (
        *QUIET,
        "--windows.context=24",
        "--windows.horizon=4",
        "--windows.test_stride=12",
        "--split.folds=2",
        "--model.hidden_size=8",
        "--model.embedding_size=8",
        "--training.max_steps=12",
        "--training.learning_rate=0.03",
        "--training.lr_scheduler_type=constant",
        "--training.eval_steps=4",
        "--training.save_steps=4",
        "--training.save_total_limit=null",
        "--training.load_best_model_at_end=false",
        "--training.logging_steps=1",
    ),
    "word_vectors": (
        "--model.hidden_size=16",
        "--training.num_train_epochs=4",
        "--training.disable_tqdm=true",
        "--training.save_total_limit=9",
    ),
}
"""What makes the runs of some tasks small; those of others are, as their configuration of embedded data is."""

WITHOUT_TOKENIZER = {"series": {"preprocessor_config.json"}, "strokes": set()}
"""Recipes of models that read numbers, and the files that stand in the place of a tokenizer's."""

RECIPES = {task.recipe: Recipe(task, SMALL.get(name, QUIET)) for name, task in TASKS.items()}


class Runs:
    """The small run of each recipe that the others are compared with, made when a test first asks for it."""

    def __init__(self, folder):
        self._folder, self._printed = folder, {}

    def plain(self, script):
        """The folder of the run, and what the recipe printed."""
        folder = self._folder / script / "plain"
        if script not in self._printed:
            with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(io.StringIO()) as printed:
                RECIPES[script].run(monkeypatch, folder)
            self._printed[script] = printed.getvalue()
        return folder, self._printed[script]


def facts(folder):
    return load_facts(folder / "facts.json")


def weights(folder):
    return load_file(folder / "model.safetensors")


def losses(folder):
    """The losses that the last checkpoint tells of."""
    checkpoint = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in state.get("log_history", []) if "loss" in entry]

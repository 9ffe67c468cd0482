"""`hfseq train`: words for the recipe of a task, run in this process or in several."""

import argparse
import dataclasses
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..settings import SettingsError, check_known
from ..tasks import TASKS, Task
from .sources import config_names, is_local, recipes_folder

_MINUTES = 5
_USUAL = {
    "text-classification": "auto",
    "token-classification": "lstm",
    "intent-slots": "lstm",
    "language-modeling": "lstm",
    "masked-language-modeling": "transformer",
    "series": "lstm",
    "translation": "seq2seq",
    "captioning": "captioner",
}
_CHOSEN = {
    "word-vectors": "architecture",
    "trees": "composition",
    "strokes": "cell",
}  # by --model, where it is not the type


def run(options: argparse.Namespace) -> int | None:
    """Train as the words say, and return the exit code of the launcher, where one was needed."""
    if options.processes > 1:
        return _launch(options.words, options.processes)
    task = next(task for task in TASKS.values() if task.command == options.task)
    recipe = recipe_main(task.recipe)
    before = sys.argv
    sys.argv = ["hfseq", *options.words]  # what the card shows
    try:
        recipe(["--help"] if options.settings else list(recipe_words(task, options)))
    finally:
        sys.argv = before
    return None


def recipe_main(name: str) -> Callable[[Sequence[str]], Any]:
    """Return the `main` of a recipe: of the package hfseq.recipes, or of the file in a source tree."""
    if importlib.util.find_spec("hfseq.recipes") is not None:
        return importlib.import_module(f"hfseq.recipes.{name}").main
    spec = importlib.util.spec_from_file_location(f"hfseq_recipe_{name}", recipes_folder() / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def recipe_words(task: Task, options: argparse.Namespace) -> Iterator[str]:
    """Compose the command line of a recipe: what is usual, what was said, and the overrides last."""
    sections = {item.name: item for item in dataclasses.fields(task.settings)}
    if options.config is not None:
        yield from ("--config", str(_config(task, options.config)))
    else:
        yield from _usual_words(task, options)
    if options.data is not None:
        yield f"--data.path={_quoted(options.data)}" if is_local(options.data) else f"--data.name={options.data}"
    if options.model is not None:
        yield f"--model.{_CHOSEN.get(task.command, 'type')}={options.model}"
    minutes = options.minutes if options.minutes or options.config else _MINUTES
    if minutes is not None and "budget" in sections:
        yield f"--budget.minutes={minutes}"
    if options.out is not None or options.config is None:
        yield f"--training.output_dir={_quoted(options.out or f'runs/{options.task}-{_stem(options.data)}')}"
    if options.resume:
        yield "--resume"
    yield from options.overrides


def _config(task: Task, given: str) -> Path:
    """Return a settings file: one that is there, or one of the recipe by its name."""
    if Path(given).is_file():
        return Path(given)
    if Path(given).suffix in (".yaml", ".yml"):
        raise SettingsError(f"--config {given}: there is no such file; `hfseq recipes list` names those of hfseq.")
    names = {key.partition("/")[2]: path for key, path in config_names().items() if key.startswith(f"{task.recipe}/")}
    name = given.removeprefix(f"{task.recipe}/")
    try:
        check_known(name, names, "--config", kind="settings file")
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return names[name]


def _usual_words(task: Task, options: argparse.Namespace) -> Iterator[str]:
    if options.model is None and task.command in _USUAL:
        yield f"--model.type={_USUAL[task.command]}"
    if task.command == "masked-language-modeling":
        yield from ("--training.mlm_probability=0.15", "--training.carry=none")
    if task.command == "trees":  # there is one type, and --model chooses how it composes
        yield "--model.type=recursive"
    if task.command == "strokes":  # of one type too, of which --model chooses the cell
        yield "--model.type=strokes"
    if task.command == "word-vectors":
        yield "--corpus.split=word"  # any text, not only one that is cut already


def _stem(data: str) -> str:
    name = Path(data.rstrip("/")).name.partition(".")[0]
    return re.sub(r"[^\w-]+", "-", name).strip("-_") or "data"


def _quoted(text: str) -> str:
    """Write a text so that YAML reads no number or list from it."""
    return "'" + text.replace("'", "''") + "'"


def _launch(words: Sequence[str], processes: int) -> int:
    """Start the same command once a process; each is told by accelerate which one it is."""
    import torch

    from ..training.arguments import SEVERAL_PROCESSES

    launcher = shlex.split(SEVERAL_PROCESSES.format(processes))[2:]
    own = list(_without_processes(words))
    cpu = [] if torch.cuda.is_available() else ["--training.use_cpu=true"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launcher, "--module", "hfseq", *own, *cpu]
    return subprocess.run(command, check=False).returncode


def _without_processes(words: Sequence[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if not skip and word != "--processes" and not word.startswith("--processes="):
            yield word
        skip = word == "--processes"

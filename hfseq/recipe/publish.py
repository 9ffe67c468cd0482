"""What every recipe does with a finished model: the facts that all cards have, the card, the Hub, the last lines."""

import json
import os
import re
import shlex
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from ..cards.facts import SAME_RUN, Comparison, Facts, SeedRun
from ..cards.measure import environment, model_size_mb
from ..cards.publishing import say_id
from ..cards.render import write_card
from ..cards.verdict import verdict_lines
from ..hub import FACTS_NAME, push
from ..registry import FAMILIES
from ..training.arguments import SEVERAL_PROCESSES
from .sections import CardSettings, HubSettings

_NOT_EVALUATED = (
    "word-vectors",
    "masked-language-model",
    "series-model",
    "strokes-model",
)  # kinds of facts that `hfseq evaluate` does not know
_NOT_PREDICTED = ("strokes-model",)  # kinds of facts of models that answer no texts
_FOLDERS_FROM_ROOT = re.compile(r"(?<![\w./:~-])(?:[A-Za-z]:[\\/]|/)(?:[^\\/=,:{}\s]+[\\/])*(?=[^\\/\s])")


def launch_command(argv: Sequence[str]) -> str:
    """Write the launch line, for as many processes, as a card shows it: without the folders of this machine.

    What lies in the working directory is named from there.
    """
    here = f"{Path.cwd()}{os.sep}"
    words = [_FOLDERS_FROM_ROOT.sub("", word.replace(here, "")) for word in argv]
    processes = os.environ.get("WORLD_SIZE", "1")
    if Path(argv[0]).stem == "hfseq" or Path(argv[0]).parts[-2:] == ("hfseq", "__main__.py"):
        several = [] if processes == "1" else ["--processes", processes]
        return shlex.join(["hfseq", *words[1:], *several])
    launcher = "python" if processes == "1" else SEVERAL_PROCESSES.format(processes)
    return f"{launcher} {shlex.join(words)}"


def run_facts(card: CardSettings, model: PreTrainedModel, folder: Path, run: SeedRun) -> dict[str, Any]:
    """Gather the facts that every card has: a person's words, the run, and the size of the model saved in a folder."""
    return {
        **card.facts(folder),
        "parameters": model.num_parameters(),
        "file_mb": model_size_mb(folder),
        "runs": [run],
        "environment": environment(),
        "command": launch_command(sys.argv),
    }


def network_facts(config: PreTrainedConfig) -> dict[str, Any]:
    """Gather what the facts of every architecture say of a network."""
    family = next(family for family in FAMILIES.values() if isinstance(config, family.config))
    width = getattr(config, "hidden_size", 0)  # a linear CRF has no vectors
    return {
        "family": family.name,
        "cell": config.cell if family.name == "custom" else family.title,
        "num_hidden_layers": getattr(config, "num_hidden_layers", 0),
        "hidden_size": width,
        "embedding_size": getattr(config, "embedding_size", width),
    }


def told_options(model: Mapping[str, Any], told: Container[str]) -> dict[str, str]:
    """Spell what the settings say of a network beside what is `told` by name; None says nothing."""
    return {name: str(value) for name, value in model.items() if name not in told and value is not None}


def rival(name: str, metrics: Mapping[str, float]) -> list[Comparison]:
    """Return the results of a simpler system, measured in the same run."""
    return [Comparison(name=name, metric=metric, value=value, source=SAME_RUN) for metric, value in metrics.items()]


def split_line(split: str, metrics: Mapping[str, float]) -> str:
    """Write the scores of a split in a line."""
    return f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def publish(facts: Facts, folder: Path, hub: HubSettings, lines: Iterable[str]) -> list[str]:
    """Write facts and card beside the saved model, push it if asked to, and return what to print: `lines` and more.

    What is behind a simple system is not pushed unless `hub.force`; the verdict on it comes last, where it is seen.
    """
    facts.save(folder / FACTS_NAME)
    write_card(folder, facts)
    if hub.repo_id is not None:
        with say_id(folder, hub.repo_id):
            result = push(folder, hub.repo_id, private=hub.private, with_code=hub.with_code, force=hub.force)
        lines = [f"pushed to {result.url}", *lines]
    size, minutes = f"{facts.file_mb:.2f} MB", f"{facts.runs[0].minutes:.1f} minutes of training"
    place = f"{size}, {minutes}; model and card in {folder}"
    return [*lines, place, next_line(facts, folder), *verdict_lines(facts)]


def next_line(facts: Facts, folder: Path) -> str:
    """Say what to do with the model; one of pairs needs both texts."""
    asked, columns = "TEXT", ""
    if getattr(facts, "pairs", None) is not None:  # only a classifier has it
        asked, columns = "--file PAIRS.jsonl", " --text-pair-column NAME"
    if facts.kind == "series-model":
        asked = _asked_of_series(facts)
    is_asked = facts.kind not in _NOT_PREDICTED and asked
    commands = [] if not is_asked else [f"hfseq predict {folder} {asked}"]
    if facts.kind not in _NOT_EVALUATED:
        commands.append(f"hfseq evaluate {folder} DATA{columns}")
    commands.append(f"hfseq push {folder} user/name")
    return "next: " + " | ".join(commands)


def _asked_of_series(facts: Any) -> str:
    """Write what a model of series is asked, with the names of its columns; of labels nothing, in Python alone."""
    if facts.predicts_labels:
        return ""
    data = facts.data
    series: Any = {name: ["NUMBERS"] for name in [*data.targets, *data.features, *data.known]}
    asked = {"series": series, "known": {name: ["NUMBERS"] for name in data.known}} if data.known else series
    return shlex.quote(json.dumps(asked, ensure_ascii=False).replace('"NUMBERS"', "NUMBERS"))

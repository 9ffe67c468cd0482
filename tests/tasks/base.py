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
from hfseq.tasks.causal_lm.settings import CausalLMSettings
from hfseq.tasks.masked_lm.settings import MaskedLMSettings
from hfseq.tasks.tagging.settings import TaggingSettings
from hfseq.tasks.text_classification.settings import TextClassificationSettings
from hfseq.tasks.word_vectors.settings import WordVectorsSettings
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
        script: The name of its file.
        settings_class: What its files are read into.
        config: The configuration that its small runs take.
        small: Options of a small run.
        sections: What `--help` tells of.
    """

    script: str
    settings_class: type
    config: str
    small: tuple[str, ...]
    sections: tuple[str, ...]

    @property
    def path(self):
        return f"recipes/{self.script}.py"

    @property
    def configs(self):
        return sorted((ROOT / "recipes/configs" / self.script).glob("*.yaml"))

    def file(self, config=None):
        """The path of a configuration from the repository's root."""
        return f"recipes/configs/{self.script}/{config or self.config}.yaml"

    def settings(self, *options, config=None):
        return read_settings(self.settings_class, ["--config", str(ROOT / self.file(config)), *options])

    def main(self, monkeypatch, *arguments):
        """Runs the recipe with these arguments in this process, where a launch would cost seconds."""
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [self.path, *arguments])
        importlib.import_module(f"recipes.{self.script}").main()

    def run(self, monkeypatch, folder, *options, config=None, small=None):
        """A small run into a folder; its facts."""
        chosen = self.small if small is None else small
        self.main(monkeypatch, "--config", self.file(config), *chosen, f"--training.output_dir={folder}", *options)
        return load_facts(folder / "facts.json")


RECIPES = {
    recipe.script: recipe
    for recipe in (
        Recipe(
            script="text_classification",
            settings_class=TextClassificationSettings,
            config="lstm_embedded",
            small=OF_TEXTS,
            sections=("data", "card", "tokenizer", "embeddings", "transfer", "model (type: lstm)", "training", "hub"),
        ),
        Recipe(
            script="token_classification",
            settings_class=TaggingSettings,
            config="lstm_embedded",
            small=OF_TEXTS,
            sections=("data", "card", "tokenizer", "embeddings", "model (type: lstm)", "training", "hub"),
        ),
        Recipe(
            script="language_modeling",
            settings_class=CausalLMSettings,
            config="lstm_embedded",
            small=(*OF_LANGUAGE, "--model.embedding_size=8", "--generation.max_new_tokens=8"),
            sections=("data", "card", "tokenizer", "model (type: gru)", "training", "evaluation", "generation", "hub"),
        ),
        Recipe(
            script="masked_language_modeling",
            settings_class=MaskedLMSettings,
            config="transformer_embedded",
            small=(*OF_LANGUAGE, *ATTENDING),
            sections=("data", "card", "tokenizer", "model (type: transformer)", "training", "hub"),
        ),
        Recipe(
            script="word2vec",
            settings_class=WordVectorsSettings,
            config="skipgram_embedded",
            small=(
                "--model.hidden_size=16",
                "--training.num_train_epochs=4",
                "--training.disable_tqdm=true",
                "--training.save_total_limit=9",
            ),
            sections=("data", "corpus", "model", "training", "evaluation", "save", "card", "hub"),
        ),
    )
}


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

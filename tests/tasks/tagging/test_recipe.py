"""The tagging recipe through its real command line and, for its options, in this process."""

import json
import shlex
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from transformers import pipeline

from hfseq.cards.render import check_card, render_card
from hfseq.settings import read_settings
from hfseq.tasks.tagging.build import TAGGERS, TaggingSettings
from hfseq.tasks.tagging.facts import TaggerFacts
from recipes import token_classification
from tests import launches
from tests.closeness import assert_same
from tests.data.test_tagged_data import CONLLU
from tests.launches import HANGS, ROOT, header_lines, launch

SCRIPT = "recipes/token_classification.py"
FOLDER = "recipes/configs/token_classification"
CONFIGS = sorted((ROOT / FOLDER).glob("*.yaml"))
CONFIG = f"{FOLDER}/lstm_embedded.yaml"
SMALL = [
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
    "--training.disable_tqdm=true",
]


def documented(start):
    """The launch line of the recipe's docstring that starts so, with our settings file in it."""
    return launches.documented(SCRIPT, CONFIG, start)


def finished(words, folder):
    """Launches a small run into a folder, which has to succeed."""
    process = launch(*words, *SMALL, f"--training.output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return process


def run_here(monkeypatch, folder, *options, config=CONFIG):
    """The recipe in this process, where a launch would cost seconds."""
    monkeypatch.chdir(ROOT)
    arguments = ["--config", config, *SMALL, "--training.use_cpu=true", f"--training.output_dir={folder}", *options]
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    token_classification.main()
    return facts(folder)


def facts(folder):
    return TaggerFacts.load(folder / "facts.json")


def weights(folder):
    return load_file(folder / "model.safetensors")


def losses(folder):
    state = json.loads((folder / "checkpoint-12" / "trainer_state.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def plain(runs):
    """The run that the others are compared with."""
    return runs / "plain", finished(documented("python"), runs / "plain")


def test_the_recipe_leaves_a_model_with_card_facts_and_settings(plain):
    folder, process = plain
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert files >= {"README.md", "facts.json", "settings.yaml"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert card == render_card(facts(folder))
    assert f"test: entity_f1 {facts(folder).runs[0].metrics['entity_f1']:.4f}" in process.stdout
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.8 * losses(folder)[0]
    used = read_settings(TaggingSettings, ["--config", str(ROOT / CONFIG), *SMALL, f"--training.output_dir={folder}"])
    assert read_settings(TaggingSettings, ["--config", str(folder / "settings.yaml")]) == used
    command = shlex.split(facts(folder).command)
    assert command == ["python", SCRIPT, "--config", CONFIG, *SMALL, "--training.output_dir=plain"]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("token-classification", model=str(folder), aggregation_strategy="simple")
    assert {"O", "B-city", "I-city"} <= set(pipe.model.config.id2label.values())
    for widget in facts(folder).widgets:
        answers = [(each["entity_group"], widget.text[each["start"] : each["end"]]) for each in pipe(widget.text)]
        assert answers == [(each.label, each.text) for each in widget.answers]


def test_two_processes_learn_the_same(plain, runs):
    folder, _ = plain
    launched = runs / "two"
    finished(documented("accelerate launch --multi"), launched)
    assert_same(losses(launched), losses(folder), 1e-4, scale=1)
    assert_same(facts(launched).runs[0].metrics, facts(folder).runs[0].metrics)
    expected, other = weights(folder), weights(launched)
    assert_same(other, expected, 1e-4)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(plain, runs, monkeypatch):
    uninterrupted, _ = plain
    folder = runs / "resumed"
    run_here(monkeypatch, folder, "--training.max_steps=4")
    early = weights(folder)
    run_here(monkeypatch, folder, "--resume")
    expected, resumed = weights(uninterrupted), weights(folder)
    assert all(resumed[name].equal(expected[name]) for name in expected)
    assert not all(early[name].equal(expected[name]) for name in expected)
    assert facts(folder).runs[0].metrics == facts(uninterrupted).runs[0].metrics


def test_a_treebank_is_tagged_by_its_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "en.conllu"
    path.write_text(CONLLU * 20, encoding="utf-8")
    made = run_here(
        monkeypatch,
        tmp_path / "run",
        *("--data.name=null", f"--data.path={{train: {path}, test: {path}}}", "--data.max_rows=null"),
        *("--training.metric_for_best_model=accuracy", "--training.save_strategy=no", "--training.learning_rate=0.1"),
        "--tokenizer.min_frequency=1",
    )
    assert (made.tagging, made.labels, made.words.splits["test"]) == ("tags", 4, 80)
    assert list(made.runs[0].metrics) == ["accuracy", "f1_macro"]
    assert made.runs[0].metrics["accuracy"] > 0.9
    assert made.words.tokens_per_word == 7 / 4  # Do; n, ', t; stop; 1, 000
    assert made.data.hub_id is None


def test_a_metric_of_entities_is_refused_for_parts_of_speech_before_training(tmp_path, monkeypatch):
    path = tmp_path / "en.conllu"
    path.write_text(CONLLU, encoding="utf-8")
    with pytest.raises(ValueError, match="metric_for_best_model='entity_f1' is not measured for tags"):
        run_here(
            monkeypatch, tmp_path / "run", "--data.name=null", f"--data.path={{train: {path}, validation: {path}}}"
        )
    assert not (tmp_path / "run").exists()


def test_texts_longer_than_the_learned_positions_are_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SMALL", ["--data.max_rows=96"])  # a transformer has no embedding_size
    options = ["--model.position_embedding_type=learned", "--model.max_position_embeddings=4"]
    for _ in range(2):  # the folder is as good as new after it
        with pytest.raises(ValueError, match="more than the 4 learned positions of the model: raise"):
            run_here(monkeypatch, tmp_path / "run", *options, config=f"{FOLDER}/transformer_embedded.yaml")


def test_help_lists_every_section():
    process = launch("python", SCRIPT, "--help")
    assert process.returncode == 0
    for title in ("data:", "card:", "tokenizer:", "embeddings:", "model (type: lstm):", "training:", "hub:"):
        assert f"\n{title} " in process.stdout
    assert "--resume" in process.stdout


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (line,) = [line for line in header_lines(path) if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", SCRIPT)
    assert arguments[:2] == ["--config", str(path.relative_to(ROOT))]
    settings = read_settings(TaggingSettings, arguments)
    assert settings.model["type"] == path.stem.split("_")[0]
    assert settings.model["type"] in TAGGERS
    assert settings.training["output_dir"].startswith(f"runs/{path.stem}")
    for line in header_lines(path):
        if "add: " in line:
            local = read_settings(TaggingSettings, [*arguments, *shlex.split(line.split("add: ")[1])])
            assert local.data.path != settings.data.path


def test_the_settings_files_are_there():
    assert {path.stem for path in CONFIGS} >= {"lstm_embedded", "lstm_snips_slots", "lstm_ud_ewt", "lstm_conll2003"}


@pytest.mark.data
def test_real_data_exported_as_files_are_trained_on(data_folder, tmp_path):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, "snips"], check=True, timeout=HANGS)
    process = launch(
        *("python", SCRIPT, "--config", f"{FOLDER}/lstm_snips_slots.yaml", f"--data.path={tmp_path / 'snips'}"),
        *("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16"),
        *("--training.max_steps=2", f"--training.output_dir={tmp_path / 'run'}"),
    )
    assert process.returncode == 0, process.stderr
    assert facts(tmp_path / "run").labels == 72
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"))

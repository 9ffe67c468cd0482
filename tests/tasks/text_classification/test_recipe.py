"""The text classification recipe through its real command line: what it leaves behind, and that launches agree."""

import json
import shlex
import subprocess
import sys

import pytest
from safetensors.torch import load_file
from transformers import pipeline

import hfseq
from hfseq.cards.render import check_card, render_card
from hfseq.settings import read_settings
from hfseq.tasks.causal_lm.settings import LanguageSettings
from hfseq.tasks.text_classification.build import ClassificationSettings
from hfseq.tasks.text_classification.facts import CardFacts
from tests import launches
from tests.closeness import assert_same
from tests.launches import HANGS, ROOT, header_lines, launch

SCRIPT = "recipes/text_classification.py"
CONFIGS = sorted((ROOT / "recipes/configs/text_classification").glob("*.yaml"))
CONFIG = "recipes/configs/text_classification/lstm_embedded.yaml"
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


def facts(folder):
    return CardFacts.load(folder / "facts.json")


def losses(folder, step=12):
    state = json.loads((folder / f"checkpoint-{step}" / "trainer_state.json").read_text(encoding="utf-8"))
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
    accuracy = facts(folder).runs[0].metrics["accuracy"]
    assert f"test: accuracy {accuracy:.4f}" in process.stdout
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.95 * losses(folder)[0]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("text-classification", model=str(folder))
    assert len(facts(folder).widgets) == 4
    for widget in facts(folder).widgets:
        answer = pipe(widget.text)[0]
        assert (answer["label"], round(answer["score"], 4)) == (widget.output[0].label, widget.output[0].score)


def test_the_saved_settings_read_back(plain):
    folder, _ = plain
    used = read_settings(
        ClassificationSettings, ["--config", str(ROOT / CONFIG), *SMALL, f"--training.output_dir={folder}"]
    )
    assert read_settings(ClassificationSettings, ["--config", str(folder / "settings.yaml")]) == used


def test_the_card_shows_the_command_without_the_folders_of_this_machine(plain):
    folder, _ = plain
    command = shlex.split(facts(folder).command)
    assert command == ["python", SCRIPT, "--config", CONFIG, *SMALL, "--training.output_dir=plain"]


@pytest.mark.parametrize(("start", "processes"), [("accelerate launch --num", 1), ("accelerate launch --multi", 2)])
def test_launches_by_accelerate_give_the_same_run(plain, runs, start, processes):
    folder, _ = plain
    words = documented(start)
    assert processes == 1 or "--training.num_processes=2" in words  # which stops any other number
    launched = runs / f"accelerate_{processes}"
    finished(words, launched)
    states = sorted(path.name for path in (launched / "checkpoint-12").glob("rng_state*"))
    assert states == (["rng_state.pth"] if processes == 1 else ["rng_state_0.pth", "rng_state_1.pth"])
    assert len(losses(folder)) == 12
    assert_same(losses(launched), losses(folder), 1e-4, scale=1)
    assert_same(facts(launched).runs[0].metrics, facts(folder).runs[0].metrics)
    expected, weights = (load_file(path / "model.safetensors") for path in (folder, launched))
    assert_same(weights, expected, 1e-4)


def test_a_launch_that_silently_became_one_process_is_stopped(runs):
    options = ["--training.use_cpu=true", "--training.num_processes=2", f"--training.output_dir={runs / 'silent'}"]
    process = launch("accelerate", "launch", "--cpu", "--num_processes=2", SCRIPT, "--config", CONFIG, *options)
    assert process.returncode != 0
    assert "num_processes=2 was asked for, 1 run. On CPU launch with: accelerate launch --multi_gpu" in process.stderr
    assert not (runs / "silent").exists()


@pytest.mark.slow
def test_a_launch_of_processes_that_do_not_know_of_one_another_is_stopped(runs):
    words = [word for word in documented("accelerate launch --multi") if "use_cpu" not in word]
    process = launch(*words, f"--training.output_dir={runs / 'strangers'}")
    assert process.returncode != 0
    assert "2 processes were launched, but they do not know of one another" in process.stderr
    assert not (runs / "strangers").exists()


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(plain, runs):
    uninterrupted, _ = plain
    folder = runs / "resumed"
    finished([*documented("python"), "--training.max_steps=4"], folder)
    early = load_file(folder / "model.safetensors")
    checkpoint = folder / "checkpoint-4" / "model.safetensors"
    written = checkpoint.stat().st_mtime_ns
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-4"]

    finished([*documented("python"), "--resume"], folder)
    assert checkpoint.stat().st_mtime_ns == written  # a run from the start would have written it anew
    expected, weights = (load_file(path / "model.safetensors") for path in (uninterrupted, folder))
    assert all(weights[name].equal(expected[name]) for name in expected)
    assert not all(weights[name].equal(early[name]) for name in early)
    assert losses(folder) == losses(uninterrupted)
    assert facts(folder).runs[0].metrics == facts(uninterrupted).runs[0].metrics


def test_a_finished_run_can_be_done_again_but_not_replaced_by_another(plain):
    folder, _ = plain
    weights, measured = (folder / "model.safetensors").read_bytes(), facts(folder).runs[0].metrics
    finished(documented("python"), folder)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert facts(folder).runs[0].metrics == measured
    other = launch(*documented("python"), *SMALL, f"--training.output_dir={folder}", "--training.seed=1")
    assert other.returncode != 0
    assert "holds a run with other settings (training.seed: 0 -> 1)" in other.stderr
    assert (folder / "model.safetensors").read_bytes() == weights


def test_resuming_needs_a_run(tmp_path):
    process = launch("python", SCRIPT, "--config", CONFIG, f"--training.output_dir={tmp_path / 'none'}", "--resume")
    assert process.returncode != 0
    assert "none' does not exist. Start without --resume" in process.stderr
    assert not (tmp_path / "none").exists()


def test_an_unknown_key_of_the_file_is_answered_with_the_nearest_one(tmp_path):
    text = (ROOT / CONFIG).read_text(encoding="utf-8")
    assert "learning_rate:" in text
    (tmp_path / "wrong.yaml").write_text(text.replace("learning_rate:", "learning_rat:"), encoding="utf-8")
    process = launch(
        "python", SCRIPT, "--config", str(tmp_path / "wrong.yaml"), f"--training.output_dir={tmp_path / 'run'}"
    )
    assert process.returncode != 0
    assert "unknown key 'learning_rat'; did you mean 'learning_rate'?" in process.stderr
    assert not (tmp_path / "run").exists()


def test_an_unknown_section_of_the_command_line_is_answered_with_the_nearest_one(tmp_path):
    process = launch(
        "python", SCRIPT, "--config", CONFIG, f"--training.output_dir={tmp_path / 'run'}", "--trainin.seed=1"
    )
    assert process.returncode != 0
    assert "unknown section 'trainin'; did you mean 'training'?" in process.stderr
    assert not (tmp_path / "run").exists()


def test_help_lists_every_section():
    process = launch("python", SCRIPT, "--help")
    assert process.returncode == 0
    for title in ("data:", "card:", "tokenizer:", "embeddings:", "model (type: lstm):", "training:", "hub:"):
        assert f"\n{title} " in process.stdout
    assert "--resume" in process.stdout


def test_there_is_a_settings_file_for_every_family():
    families = {name for name, family in hfseq.FAMILIES.items() if "text-classification" in family.heads}
    assert {path.stem.split("_")[0] for path in CONFIGS} == families


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    *before, line = [line for line in header_lines(path) if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", SCRIPT)
    assert arguments[:2] == ["--config", str(path.relative_to(ROOT))]
    settings = read_settings(ClassificationSettings, arguments)
    written = []  # by the recipes that come first: the language model to start from
    for earlier in before:
        assert earlier.startswith("python recipes/language_modeling.py --config ")
        written.append(read_settings(LanguageSettings, shlex.split(earlier)[2:]).training["output_dir"])
    assert written == [settings.transfer.from_pretrained][: settings.transfer.from_pretrained is not None]
    assert settings.training["output_dir"] == f"runs/{path.stem}"
    assert settings.model["type"] == path.stem.split("_")[0]
    for line in header_lines(path):
        if "add: " in line:
            with_local_copy = read_settings(ClassificationSettings, [*arguments, *shlex.split(line.split("add: ")[1])])
            assert with_local_copy.data.path == f"data/{path.stem.split('_', 1)[1].removesuffix('_transfer')}"


@pytest.mark.data
def test_real_data_exported_as_files_are_trained_on(data_folder, tmp_path):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, "snips"], check=True, timeout=HANGS)
    config = "recipes/configs/text_classification/gru_snips.yaml"
    (line,) = [line for line in header_lines(ROOT / config) if "add: " in line]
    local = shlex.split(line.split("add: ")[1].replace("data/snips", str(tmp_path / "snips")))
    process = launch(
        *("python", SCRIPT, "--config", config, *local),
        *("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16"),
        *("--training.max_steps=2", f"--training.output_dir={tmp_path / 'run'}"),
    )
    assert process.returncode == 0, process.stderr
    assert facts(tmp_path / "run").data.splits == {"train": 200, "validation": 200, "test": 200}
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    assert len(config["id2label"]) == 7
    assert "PlayMusic" in config["label2id"]
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"))

"""What the text classification recipe does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json
import shlex
import subprocess
import sys

import pytest
from transformers import pipeline

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card
from tests.launches import HANGS, ROOT, header_lines
from tests.tasks.base import QUIET, RECIPES, facts, losses

RECIPE = RECIPES["text_classification"]


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("text_classification")


def test_the_small_run_learns_and_prints_what_its_facts_say(plain):
    folder, printed = plain
    accuracy = facts(folder).runs[0].metrics["accuracy"]
    assert f"test: accuracy {accuracy:.4f}" in printed
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.95 * losses(folder)[0]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, printed = plain
    pipe = pipeline("text-classification", model=str(folder))
    assert len(facts(folder).widgets) == 4
    for widget in facts(folder).widgets:
        answer = pipe(widget.text)[0]
        assert (answer["label"], round(answer["score"], 4)) == (widget.output[0].label, widget.output[0].score)
        assert f"{widget.text!r:60} -> {answer['label']} ({answer['score']:.2f})\n" in printed


@pytest.mark.data
def test_real_data_exported_as_files_are_trained_on(data_folder, monkeypatch, tmp_path):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, "snips"], check=True, timeout=HANGS)
    (line,) = [line for line in header_lines(ROOT / RECIPE.file("gru_snips")) if "add: " in line]
    local = shlex.split(line.split("add: ")[1].replace("data/snips", str(tmp_path / "snips")))
    sizes = ("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16", "--training.max_steps=2")
    made = RECIPE.run(monkeypatch, tmp_path / "run", *local, config="gru_snips", small=(*QUIET, *sizes))
    assert made.data.splits == {"train": 200, "validation": 200, "test": 200}
    config = json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))
    assert len(config["id2label"]) == 7
    assert "PlayMusic" in config["label2id"]
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))


def test_a_bag_is_made_small_without_learning_again(monkeypatch, tmp_path, capsys):
    changes = ("--compression.row_codes=4", "--compression.norm_codes=false", "--compression.retrain=false")
    small = (*QUIET, "--data.max_rows=96", "--model.hidden_size=8", "--model.ngram_buckets=500")
    RECIPE.run(monkeypatch, tmp_path / "run", *changes, config="bag_embedded", small=small)
    made = facts(tmp_path / "run")
    assert made.compression.row_bytes == 4
    assert made.compression.mb < made.compression.mb_before
    assert f"test: accuracy {made.runs[0].metrics['accuracy']:.4f}" in capsys.readouterr().out

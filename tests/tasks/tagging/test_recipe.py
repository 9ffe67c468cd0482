"""What the tagging recipe does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import subprocess
import sys

import pytest
from transformers import AutoConfig, pipeline

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card
from tests.data.test_tagged_data import CONLLU
from tests.launches import HANGS
from tests.tasks.base import QUIET, RECIPES, facts, losses

RECIPE = RECIPES["token_classification"]


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("token_classification")


def test_the_small_run_learns_and_prints_what_its_facts_say(plain):
    folder, printed = plain
    assert f"test: entity_f1 {facts(folder).runs[0].metrics['entity_f1']:.4f}" in printed
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.8 * losses(folder)[0]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("token-classification", model=str(folder), aggregation_strategy="simple")
    assert {"O", "B-city", "I-city"} <= set(pipe.model.config.id2label.values())
    for widget in facts(folder).widgets:
        answers = [(each["entity_group"], widget.text[each["start"] : each["end"]]) for each in pipe(widget.text)]
        assert answers == [(each.label, each.text) for each in widget.answers]


def test_a_crf_is_trained_and_decodes_as_the_settings_say(tmp_path, monkeypatch):
    made = RECIPE.run(monkeypatch, tmp_path / "run", "--model.crf=true", "--model.decoding=marginal")
    config = AutoConfig.from_pretrained(tmp_path / "run")
    assert (config.crf, config.decoding) == (True, "marginal") == (True, made.decoding.chosen)
    assert made.decoding.named and made.decoding.metric == "entity_f1"
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "Its decoding is `marginal`, as the settings say" in card
    check_card(card, pictures_in(tmp_path / "run"))


def test_a_treebank_is_tagged_by_its_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "en.conllu"
    path.write_text(CONLLU * 20, encoding="utf-8")
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        *("--data.name=null", f"--data.path={{train: {path}, test: {path}}}", "--data.max_rows=null"),
        *("--training.metric_for_best_model=accuracy", "--training.save_strategy=no", "--training.learning_rate=0.1"),
        "--tokenizer.min_count=1",
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
        RECIPE.run(
            monkeypatch, tmp_path / "run", "--data.name=null", f"--data.path={{train: {path}, validation: {path}}}"
        )
    assert not (tmp_path / "run").exists()


def test_texts_longer_than_the_learned_positions_are_refused_before_training(tmp_path, monkeypatch):
    small = (*QUIET, "--data.max_rows=96")
    options = ["--model.position_embedding_type=learned", "--model.max_position_embeddings=4"]
    for _ in range(2):  # the folder is as good as new after it
        with pytest.raises(ValueError, match="more than the 4 learned positions of the model: raise"):
            RECIPE.run(monkeypatch, tmp_path / "run", *options, config="transformer_embedded", small=small)


@pytest.mark.data
def test_real_data_exported_as_files_are_trained_on(data_folder, monkeypatch, tmp_path):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, "snips"], check=True, timeout=HANGS)
    sizes = ("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16", "--training.max_steps=2")
    local = f"--data.path={tmp_path / 'snips'}"
    made = RECIPE.run(monkeypatch, tmp_path / "run", local, config="lstm_snips_slots", small=(*QUIET, *sizes))
    assert made.labels == 72
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))

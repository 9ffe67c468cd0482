"""What the recipe of intents and slots does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, pipeline

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.tasks.joint.facts import AnsweredRequest
from hfseq.tasks.joint.settings import IntentSlotsSettings, UnknownSettings
from tests.launches import HANGS
from tests.tasks.base import QUIET, RECIPES, facts, losses

RECIPE = RECIPES["intent_slots"]


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("intent_slots")


def test_the_small_run_learns_and_prints_what_its_facts_say(plain):
    folder, printed = plain
    for name, value in facts(folder).runs[0].metrics.items():
        assert f"{name} {value:.4f}" in printed
    assert facts(folder).data.splits == {"train": 96, "validation": 96, "test": 96}
    assert losses(folder)[-1] < 0.8 * losses(folder)[0]


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    pipe = pipeline("intent-slots", model=str(folder))
    for widget in facts(folder).widgets:
        found = pipe(widget.text)
        assert found["intent"] == widget.intent and found["score"] == pytest.approx(widget.score, abs=1e-4)
        assert [(each["name"], each["value"]) for each in found["slots"]] == [
            (each.name, each.value) for each in widget.slots
        ]


def test_the_stock_pipelines_give_the_answers_of_both_heads(plain):
    folder, _ = plain
    text = "Will it rain in Oslo tomorrow?"
    both = pipeline("intent-slots", model=str(folder))
    found = both(text, unknown_threshold=0)
    single = pipeline("text-classification", model=str(folder))(text)[0]
    assert (single["label"], single["score"]) == (found["intent"], pytest.approx(found["score"], abs=1e-6))
    tagger = pipeline("token-classification", model=str(folder), aggregation_strategy="first")
    told = [(each["entity_group"], each["start"], each["end"]) for each in tagger(text)]
    assert told == [(each["name"], each["start"], each["end"]) for each in found["slots"]]
    inputs = both.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        outputs = both.model(**inputs)
        assert torch.equal(tagger.model(**inputs).logits, outputs.slot_logits)


def test_temperature_and_threshold_are_in_the_config_and_in_the_facts(plain):
    folder, _ = plain
    config, found = AutoConfig.from_pretrained(folder), facts(folder).calibration
    assert config.temperature == found.temperature and config.unknown_threshold == found.threshold
    assert found.nll <= found.nll_before and found.keep == 0.99
    assert found.no_requests == 300 and 0 <= found.rejected <= 1
    assert [point.threshold for point in found.curve] == sorted({point.threshold for point in found.curve})
    assert found.threshold in [point.threshold for point in found.curve]
    assert "coverage.png" in pictures_in(folder)


def test_no_threshold_where_nobody_wants_one(tmp_path, monkeypatch):
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        *("--unknown.keep=null", "--training.max_steps=2", "--training.save_strategy=no"),
        "--training.eval_strategy=no",
    )
    assert made.calibration.threshold is None and made.calibration.rejected is None
    assert made.calibration.answered == 1.0
    card = (tmp_path / "run/README.md").read_text(encoding="utf-8")
    assert "There is no threshold: every text gets an intent." in card
    assert AutoConfig.from_pretrained(tmp_path / "run").unknown_threshold is None


def test_the_command_evaluates_and_predicts_with_both_heads(plain, capsys, monkeypatch):
    from hfseq.cli import main

    folder, _ = plain
    assert main(["predict", str(folder), "will it rain in Oslo?"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() == {"text", "intent", "score", "slots"}
    assert main(["info", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "intents:    24: ask_opinion, " in told and "slots:      " in told and "B-city" in told
    assert main(["evaluate", str(folder), "embedded"]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert list(scores) == ["frame_accuracy", "intent_accuracy", "slot_f1"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(
            ("--model.crf=true",),
            "A CRF chooses the tags of a text together. Its decoding is",
            marks=pytest.mark.slow,  # a tagger's is that of test_recipe.py of tagging
        ),
        (
            ("--model.characters=cnn", "--tokenizer.kind=word_or_characters"),
            "words, and the characters of rare ones",
        ),
    ],
)
def test_slots_may_be_chosen_together_and_words_read_by_their_characters(options, told, tmp_path, monkeypatch):
    made = RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        *(*options, "--training.max_steps=2", "--training.save_strategy=no", "--training.eval_strategy=no"),
        config="gru_embedded",
    )
    assert told in (tmp_path / "run/README.md").read_text(encoding="utf-8")
    both = pipeline("intent-slots", model=str(tmp_path / "run"))
    tagger = pipeline("token-classification", model=str(tmp_path / "run"))
    inputs = both.tokenizer("Will it rain in Xyzzy tomorrow?", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(tagger.model(**inputs).logits, both.model(**inputs).slot_logits)
    assert (made.decoding is None) is ("--model.crf=true" not in options)


def test_the_card_tells_of_unknown_intents(plain):
    made = facts(plain[0])
    assert made.calibration.threshold is not None
    asked = [AnsweredRequest(text="why do frogs sing?", intent=None, score=0.1, slots=[])]
    card = render_card(dataclasses.replace(made, widgets=asked))
    assert "# None (0.10)" in card
    assert f"probability below {made.calibration.threshold:.3f} is answered with no intent" in card
    assert "Of 300 texts that are no request (generated stories, riddles and sums)" in card
    row = f"| {made.calibration.threshold:.3g} | {100 * made.calibration.answered:.1f} |"
    assert row in card and "No requests answered (%)" in card
    without = dataclasses.replace(
        made.calibration,
        no_requests=0,
        rejected=None,
        curve=[dataclasses.replace(point, answered_no_request=None) for point in made.calibration.curve],
    )
    card = render_card(dataclasses.replace(made, calibration=without))
    assert "was not measured: the data have none" in card and "No requests answered" not in card


def test_losses_of_intents_alone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="training.class_weights='balanced' makes a loss of intents alone"):
        RECIPE.settings("--training.class_weights=balanced")
    with pytest.raises(ValueError, match="training.label_smoothing_factor=0.1 makes a loss of intents alone"):
        RECIPE.settings("--training.label_smoothing_factor=0.1")
    with pytest.raises(ValueError, match="unknown.keep=0 must be a share above 0"):
        UnknownSettings(keep=0)


def test_what_nobody_says_follows_the_rows():
    unsaid = ("--budget.minutes=1", "--tokenizer.kind=null")  # else the kind of the file would stay
    settings = RECIPE.settings(*unsaid, "--model.hidden_size=7", config="gru_embedded")
    settings.follow(100)
    assert isinstance(settings, IntentSlotsSettings)
    assert settings.model["hidden_size"] == 7 and settings.model["bidirectional"] is True
    assert settings.model["crf"] is True and settings.model["characters"] == "cnn"
    assert settings.tokenizer.kind == "word_or_characters" and not settings.tokenizer.label_all_tokens
    assert settings.training["max_minutes"] == 1 and settings.training["metric_for_best_model"] == "frame_accuracy"
    said = ("--model.characters=none", "--model.crf=false")
    plain = RECIPE.settings(*unsaid, *said, config="gru_embedded")
    plain.follow(100)
    assert plain.model["crf"] is False and plain.tokenizer.kind == "word"
    transformer = RECIPE.settings("--budget.minutes=1", config="transformer_embedded")
    transformer.follow(100)
    assert "characters" not in transformer.model and transformer.training["learning_rate"] == 2e-3  # as the file says


def test_a_decoding_needs_a_crf():
    with pytest.raises(ValueError, match="model.decoding='marginal' is how a CRF chooses slots: set model.crf=true"):
        RECIPE.settings("--model.decoding=marginal", config="gru_embedded")
    assert RECIPE.settings("--model.decoding=marginal", config="lstm_embedded").model["decoding"] == "marginal"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "slots"), [("snips", 39), ("atis", 83)])
def test_real_data_exported_as_files_are_trained_on(data_folder, monkeypatch, tmp_path, name, slots):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, name], check=True, timeout=HANGS)
    sizes = ("--data.max_rows=200", "--model.hidden_size=16", "--model.embedding_size=16", "--training.max_steps=2")
    local = f"--data.path={tmp_path / name}"
    made = RECIPE.run(monkeypatch, tmp_path / "run", local, config=f"lstm_{name}", small=(*QUIET, *sizes))
    assert made.slots == slots
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))

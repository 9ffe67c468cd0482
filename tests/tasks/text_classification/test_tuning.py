"""The section `autotune` of the text classification recipe: done once a run, recorded, and told by the card."""

import dataclasses
import shutil

import pytest

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, load_facts, render_card
from hfseq.tasks.text_classification import tuning
from hfseq.tasks.text_classification.build import load
from hfseq.tasks.text_classification.facts import TuningFacts
from hfseq.training.words.autotune import Tuned
from tests.launches import ROOT
from tests.tasks.base import QUIET, RECIPES, weights

RECIPE = RECIPES["text_classification"]
SMALL = (
    *QUIET,
    "--data.max_rows=96",
    "--model.hidden_size=8",
    "--model.ngram_buckets=500",
    "--training.num_threads=1",
    "--training.save_total_limit=null",
    "--training.load_best_model_at_end=false",
    "--training.num_train_epochs=4",
    "--autotune.trials=2",
)


@pytest.fixture(scope="module")
def tuned_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        RECIPE.run(monkeypatch, folder, config="bag_embedded", small=SMALL)
    return folder


def test_the_card_says_what_was_tried_and_what_won(tuned_run):
    facts, record = load_facts(tuned_run / "facts.json"), Tuned.load(tuned_run / "autotune.json")
    card = (tuned_run / "README.md").read_text(encoding="utf-8")
    pictures = pictures_in(tuned_run)
    check_card(card, pictures)
    assert card == render_card(facts, pictures)
    assert (facts.tuning.tried, facts.tuning.seed, facts.tuning.metric) == (2, 0, "accuracy")
    assert (facts.tuning.score, facts.tuning.given_score) == (record.winner.score, record.trials[0].score)
    assert facts.tuning.settings == record.winner.options
    (line,) = [line for line in card.splitlines() if line.startswith("- **Settings:** ")]
    best, given = (f"{100 * value:.1f}" for value in (facts.tuning.score, facts.tuning.given_score))
    assert f"Accuracy (%) {best}, with the settings as given {given}." in line
    assert "the best of 2 tried in" in line
    assert f"weighting {record.winner.options['weighting']}" in line
    assert "autotune.trials=2 tries the same again" in line
    # What the configuration names is not searched for.
    assert not {"hidden_size", "word_ngrams", "ngram_buckets", "num_train_epochs"} & facts.tuning.settings.keys()


def test_the_model_has_the_settings_that_won(tuned_run):
    record = Tuned.load(tuned_run / "autotune.json")
    config = RECIPE.task.facts.load(tuned_run / "facts.json").architecture.features
    assert ("inverse document frequencies" in config) == (record.model["weighting"] == "tfidf")
    assert ("character n-grams" in config) == (record.model["longest_ngram"] > 0)


def test_a_resumed_run_searches_no_more(tuned_run, monkeypatch, tmp_path):
    folder = shutil.copytree(tuned_run, tmp_path / "resumed")
    first, *later = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in (*later, folder / "model.safetensors", folder / "config.json"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setattr(tuning, "autotune_bag", lambda *args, **kwargs: pytest.fail("searched again"))
    facts = RECIPE.run(monkeypatch, folder, "--resume", config="bag_embedded", small=SMALL)
    expected = load_facts(tuned_run / "facts.json")
    assert later and facts.tuning == expected.tuning
    assert facts.runs[0].metrics == expected.runs[0].metrics
    assert all(found.equal(weights(tuned_run)[name]) for name, found in weights(folder).items())


def test_the_test_rows_are_not_looked_at(monkeypatch, tmp_path):
    given = []

    def search(make_bag, *rows, **options):
        given.extend(rows[:2])
        assert options["target_mb"] == 0.05  # judged as small as they are going to be
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "autotune_bag", search)
    with pytest.raises(KeyboardInterrupt):
        RECIPE.run(monkeypatch, tmp_path / "run", "--compression.target_mb=0.05", config="bag_embedded", small=SMALL)
    splits = load(RECIPE.settings(*SMALL, config="bag_embedded").data).dataset
    assert [rows["labels"][:] for rows in given] == [splits[name]["labels"][:] for name in ("train", "validation")]
    assert splits["validation"]["labels"][:] != splits["test"]["labels"][:]


def test_only_bags_are_tuned():
    with pytest.raises(ValueError, match=r"autotune \(minutes=None, trials=3\) searches .* not of model.type='lstm'"):
        RECIPE.settings("--autotune.trials=3", config="lstm_embedded")
    with pytest.raises(ValueError, match="compression makes bags small, not a model of model.type='lstm'"):
        RECIPE.settings("--compression.target_mb=1", config="lstm_embedded")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--transfer.from_pretrained=some/model", "body of a language model, which no bag has"),
        ("--embeddings.freeze=true", "vectors of a bag are all that learns. Leave it out"),
        ("--compression.norm_codes=true", "norm_codes=True, .* without a size: give target_mb, kept_rows or"),
        ("--compression.retrain=true", "retrain=True without a size: give target_mb, kept_rows or row_codes"),
    ],
)
def test_what_a_bag_would_not_read_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.settings(change, config="bag_embedded")


def test_settings_chosen_on_the_measured_rows_are_a_limit():
    facts = load_facts(ROOT / "tests/golden/card_classifier.json")
    told = TuningFacts(
        tried=9, minutes=1.25, seed=3, metric="f1_macro", score=0.5, given_score=None, target_mb=1.5,
        settings={"word_ngrams": 3},
    )  # fmt: skip
    there = dataclasses.replace(facts.data, evaluated_split="validation")
    on_test, on_validation = (
        render_card(dataclasses.replace(facts, tuning=told, data=data)) for data in (facts.data, there)
    )
    limit = "Its settings were chosen on the rows that it is measured on"
    assert (limit in on_test, limit in on_validation) == (False, True)
    line = "on the validation rows, compressed to 1.5 MB: Macro F1 (%) 50.0, with the settings as given no model."
    assert line in on_test

"""The comparison of sentence vectors: peers by hand, models by the cosine of `encode`, and the recipe."""

import json
import shlex
import sys

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

import hfseq
import hfseq.tasks
from hfseq.settings import read_settings
from hfseq.tasks.sentence_similarity.build import (
    Row,
    behind_lines,
    encoder_rows,
    peer_rows,
    reference_texts,
    save_similarity,
    similarity_table,
)
from hfseq.tasks.sentence_similarity.settings import CompareSettings, SentenceSimilaritySettings
from recipes import sentence_similarity
from tests.contract.configurations import make_case
from tests.launches import ROOT, header_lines

CONFIGS = sorted((ROOT / "recipes/configs/sentence_similarity").glob("*.yaml"))
CONFIG = str(ROOT / "recipes/configs/sentence_similarity/embedded.yaml")
REFERENCE = ["the film was good", "the plot was bad", "a very bad film", "not good and not bad"]
PAIRS = Dataset.from_dict(
    {
        "sentence1": ["the film was good", "A plot", "very bad", "zebra", "the bad film and the good film"],
        "sentence2": ["The film was very good!", "the film", "not very bad", "zebra", "not"],
        "score": [4.5, 1.0, 3.0, 5.0, 0.0],
    }
)


def settings(*options):
    return read_settings(SentenceSimilaritySettings, ["--config", CONFIG, *options])


def test_the_peers_are_what_their_names_say():
    overlap, tfidf = peer_rows(REFERENCE, PAIRS)
    assert (overlap.name, tfidf.name) == ("word overlap", "TF-IDF cosine") and overlap.is_peer and tfidf.is_peer
    shared = [4 / 5, 0 / 4, 2 / 3, 1, 0]
    assert overlap.spearman == pytest.approx(spearmanr(shared, PAIRS["score"]).statistic)
    table = TfidfVectorizer().fit(REFERENCE)
    cosines = np.diag(cosine_similarity(*(table.transform(PAIRS[name][:]) for name in ("sentence1", "sentence2"))))
    assert tfidf.spearman == pytest.approx(spearmanr(cosines, PAIRS["score"]).statistic)


def test_models_are_judged_by_the_cosines_of_their_vectors(tmp_path):
    words, network = make_case("word2vec-plain", tmp_path / "words"), make_case("lstm-plain", tmp_path / "network")
    encoders = {
        "mean": {"model": str(words.saved())},
        "SIF": {"model": str(words.folder), "weighting": "sif"},
        "last": {"model": str(network.saved()), "pooling": "last"},
    }
    rows = {row.name: row for row in encoder_rows(CompareSettings("runs", encoders), REFERENCE, PAIRS)}
    assert list(rows) == list(encoders) and not any(row.is_peer for row in rows.values())
    direction = hfseq.common_direction(words.folder, REFERENCE)
    for name, options in (("mean", {}), ("SIF", {"weighting": "sif", "direction": direction}), ("last", {})):
        options = options | ({"pooling": "last"} if name == "last" else {})
        one, other = (
            hfseq.encode(encoders[name]["model"], PAIRS[column][:], normalize=True, **options)
            for column in ("sentence1", "sentence2")
        )
        expected = spearmanr((one * other).sum(1), PAIRS["score"]).statistic
        assert rows[name].spearman == pytest.approx(expected), name


def test_a_model_that_cannot_be_loaded_is_named(tmp_path):
    encoders = {"mine": {"model": str(tmp_path)}}
    with pytest.raises(ValueError, match="compare.encoders: 'mine' has model='.*', which is not loaded"):
        [*encoder_rows(CompareSettings("runs", encoders), REFERENCE, PAIRS)]


def test_the_reference_has_each_sentence_once():
    pairs = Dataset.from_dict({"sentence1": ["a", "b"], "sentence2": ["b", "c"], "score": [0.0, 1.0]})
    assert reference_texts(pairs) == ["a", "b", "c"]


ROWS = [
    Row(name="word overlap", is_peer=True, spearman=0.565, ms_per_sentence=0.01),
    Row(name="TF-IDF cosine", is_peer=True, spearman=0.641, ms_per_sentence=0.02),
    Row(name="mine", is_peer=False, spearman=0.6, ms_per_sentence=0.3),
    Row(name="better", is_peer=False, spearman=0.7, ms_per_sentence=12),
]


def test_the_table_begins_with_the_best_and_says_who_is_behind(tmp_path):
    assert similarity_table(ROWS).splitlines() == [
        "| system | Spearman x 100 | ms a sentence |",
        "|---|---|---|",
        "| better | 70.0 | 12.000 |",
        "| TF-IDF cosine | 64.1 | 0.020 |",
        "| mine | 60.0 | 0.300 |",
        "| word overlap | 56.5 | 0.010 |",
    ]
    assert behind_lines(ROWS) == ["behind TF-IDF cosine, which needs no model: mine"]
    assert behind_lines([*ROWS[:2], ROWS[3]]) == []
    save_similarity(ROWS, tmp_path / "new", "python it", split="test")
    facts = json.loads((tmp_path / "new" / "similarity.json").read_text(encoding="utf-8"))
    assert (facts["command"], facts["split"]) == ("python it", "test")
    assert [Row(**row) for row in facts["rows"]] == ROWS
    assert (tmp_path / "new" / "similarity.md").read_text(encoding="utf-8") == similarity_table(ROWS) + "\n"


def test_the_recipe_measures_what_the_other_recipes_leave(small_runs, monkeypatch, tmp_path, capsys):
    words, classifier = small_runs.plain("word2vec")[0], small_runs.plain("text_classification")[0]
    encoders = {
        "skip-gram, SIF": {"model": str(words), "weighting": "sif"},
        "LSTM": {"model": str(classifier), "pooling": "max"},
    }
    options = [f"--compare.encoders={json.dumps(encoders)}", f"--compare.output_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["recipes/sentence_similarity.py", "--config", CONFIG, *options])
    sentence_similarity.main()
    facts = json.loads((tmp_path / "similarity.json").read_text(encoding="utf-8"))
    assert (facts["split"], facts["pairs"]) == ("test", 1000)
    assert [row["name"] for row in facts["rows"]] == ["word overlap", "TF-IDF cosine", *encoders]
    assert facts["rows"][2]["spearman"] > 0.1  # vectors of this very grammar tell something
    printed = capsys.readouterr().out
    assert (tmp_path / "similarity.md").read_text(encoding="utf-8") in printed
    assert printed.endswith(f"1000 pairs of the test split; table in {tmp_path}\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--compare.batch_size=0", "compare.batch_size=0 must be 1 or more"),
        ("'--compare.encoders={a: {modl: runs/x}}'", "unknown key 'modl'; did you mean 'model'"),
        ("'--compare.encoders={a: {pooling: mean}}'", "'a' names no model: give a folder or a Hub id"),
        ("'--compare.encoders={a: {model: runs/x, pooling: men}}'", "unknown pooling 'men'; did you mean 'mean'"),
        ("'--compare.encoders={a: {model: runs/x, weighting: idf}}'", "unknown weighting 'idf'"),
        ("'--compare.encoders=[a]'", "compare.encoders"),
        ("--data.name=null", "no data: give data.name"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        settings(*shlex.split(options))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_names_itself_and_the_runs_before_it(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    *before, line = [shlex.split(line) for line in header_lines(path) if line.startswith("python ")]
    assert line == ["python", "recipes/sentence_similarity.py", "--config", str(path.relative_to(ROOT))]
    made = read_settings(SentenceSimilaritySettings, line[2:])
    assert made.compare.output_dir == f"runs/similarity_{path.stem}"
    written = set()
    for _, script, *arguments in before:
        task = next(task for task in hfseq.tasks.TASKS.values() if script == f"recipes/{task.recipe}.py")
        written.add(read_settings(task.settings, arguments).training["output_dir"])
    assert {encoder["model"] for encoder in made.compare.encoders.values()} == written
    for line in header_lines(path):
        if "add: " in line:
            options = shlex.split(line.split("add: ")[1])
            local = read_settings(SentenceSimilaritySettings, ["--config", str(path), *options])
            assert local.data.path is not None

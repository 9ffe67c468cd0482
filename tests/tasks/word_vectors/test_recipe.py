"""What the word vectors recipe does beside what every recipe does (`tests/tasks/test_recipes.py`)."""

import json
import lzma
import shlex
import signal
import subprocess
import time

import pytest
import torch
from transformers import AutoModel, pipeline

from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card, render_card
from hfseq.commands.train import recipe_main
from tests import launches
from tests.launches import HANGS, ROOT, header_lines
from tests.tasks.base import RECIPES, facts, weights

RECIPE = RECIPES["word2vec"]
settings = RECIPE.settings


def states(folder):
    return list(folder.glob("checkpoint-*/trainer_state.json"))


@pytest.fixture
def plain(small_runs):
    return small_runs.plain("word2vec")


def test_the_small_run_prints_what_its_facts_say(plain):
    folder, printed = plain
    made = facts(folder)
    assert made.corpus.words > 80_000 and made.runs[0].words_per_second > 0
    for row in made.neighbours:
        assert f"{row.word:15} -> {row.nearest[0].word} {row.nearest[0].cosine:.2f}, " in printed
    assert f"words of 16 numbers, {made.runs[0].words_per_second:,.0f} words/s\n" in printed


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    model = AutoModel.from_pretrained(folder)
    for row in facts(folder).neighbours:
        found = model.vectors.most_similar(row.word, topn=5)
        assert [(word, round(cosine, 4)) for word, cosine in found] == [(o.word, o.cosine) for o in row.nearest]
    (answer,) = pipeline("feature-extraction", model=str(folder))("rain in oslo")
    assert torch.tensor(answer).numpy() == pytest.approx(model.vectors[["rain", "in", "oslo"]])


@pytest.mark.slow
def test_an_interrupted_run_keeps_its_vectors_and_can_be_resumed(tmp_path, monkeypatch):
    options = [*RECIPE.small, f"--training.output_dir={tmp_path}", "--training.num_train_epochs=1000000"]
    process = launches.start("python", RECIPE.path, "--config", RECIPE.file(), *options, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + HANGS
        while not states(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANGS)
    finally:
        process.kill()
    assert process.returncode == 1
    assert f"Interrupted: these vectors are in {tmp_path / 'interrupted'}; --resume goes on" in errors
    assert "rain" in AutoModel.from_pretrained(tmp_path / "interrupted").vectors
    assert not (tmp_path / "model.safetensors").exists()
    read = max(json.loads(path.read_text(encoding="utf-8"))["epoch"] for path in states(tmp_path))
    RECIPE.run(monkeypatch, tmp_path, "--resume", f"--training.num_train_epochs={read + 1}")
    assert facts(tmp_path).architecture.epochs == read + 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.hiden_size=8", "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("--model.vocab_size=8", "unknown key 'vocab_size'"),
        ("--trainin.seed=1", "unknown section 'trainin'; did you mean 'training'"),
        ("--training.output_dir=null", "training.output_dir is not given"),
        ("--training.num_train_epochs=0", "num_train_epochs=0 must be 1 or more"),
        ("--corpus.min_count=0", "corpus.min_count=0 must be 1 or more"),
        ("--corpus.phrases=3", "takes one of 0, 1, 2"),
        ("--data.name=null", "give data.name .* or data.path"),
        ("--data.streaming=true", "data.streaming=true is for datasets of the Hub, but 'embedded' is read"),
        ("--card.ask=['']", "card.ask holds empty texts alone"),
        ("--card.analogies=[king man + woman]", "holds 'king man . woman', but takes words with"),
        ("--card.comparisons=[{name: a, metric: men, value: 0.7, source: b}]", "unknown metric of this evaluation"),
        ("--evaluation.analogies=nowhere.txt", "evaluation.analogies='nowhere.txt' is no file"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(option, message):
    with pytest.raises(ValueError, match=message):
        settings(option)


def test_test_sets_that_cannot_be_read_are_refused_before_the_training(tmp_path):
    (tmp_path / "pairs.txt").write_text("king queen\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds no word pairs"):
        settings(f"--evaluation.pairs={{mine: {tmp_path / 'pairs.txt'}}}")


def test_words_asked_that_the_corpus_lacks_are_refused_before_the_training(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"card.ask=\['Oslo'\] are not among the \d+ words of the corpus"):
        RECIPE.run(monkeypatch, tmp_path, "--card.ask=[Oslo]")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_text_file_with_phrases_test_sets_and_ngrams(monkeypatch, tmp_path, capsys):
    text = "she moved to new york in may\nhe left new york in june\nking and queen\nman and woman\n" * 60
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    (tmp_path / "pairs.txt").write_text("king queen 9\nman woman 8\nmay june 7\nking in 1\n", encoding="utf-8")
    (tmp_path / "questions.txt").write_text(": gram1\nking queen man woman\n", encoding="utf-8")
    RECIPE.run(
        monkeypatch,
        tmp_path / "run",
        *(
            "--data.name=null",
            f"--data.path={tmp_path / 'text.txt'}",
            "--corpus.phrases=1",
            "--save.vectors_only=true",
        ),
        *(f"--evaluation.pairs={{men: {tmp_path / 'pairs.txt'}}}", "--corpus.phrase_threshold=1"),
        *(f"--evaluation.analogies={tmp_path / 'questions.txt'}", "--model.ngram_buckets=100"),
        *("--card.ask=[new_york]", "--card.analogies=[king - man + woman]"),
    )
    made = facts(tmp_path / "run")
    assert set(made.runs[0].metrics) == {"analogy_accuracy", "analogy_syntactic", "men"}
    assert (made.corpus.words, made.corpus.phrases, made.architecture.buckets) == (60 * 19, 1, 100)
    assert [row.word for row in made.neighbours] == ["new_york"]
    assert made.analogies[0].positive == ["king", "woman"]
    assert "frequent pairs of words are one word, joined by `_` in 1 pass." in render_card(made)
    assert "outputs.weight" not in weights(tmp_path / "run")
    assert not made.architecture.has_output
    assert "kingly" in AutoModel.from_pretrained(tmp_path / "run").vectors
    assert f"men {made.runs[0].metrics['men']:.4f} (4 questions, 0 skipped)\n" in capsys.readouterr().out


@pytest.mark.parametrize("path", RECIPE.configs, ids=lambda path: path.stem)
def test_settings_files_are_named_by_their_architecture(path):
    made = settings(config=path.stem)
    assert made.training["output_dir"] == f"runs/{path.stem}"
    assert made.card.model_id == f"hfseq/{path.stem.replace('_', '-')}"
    assert path.stem.startswith({"skip-gram": ("skipgram", "fasttext"), "cbow": "cbow"}[made.model["architecture"]])
    assert path.stem.startswith("fasttext") == bool(made.model.get("ngram_buckets"))


@pytest.mark.data
def test_a_slice_of_text8_and_the_published_test_sets(data_folder, monkeypatch, tmp_path):
    with lzma.open(data_folder / "text8" / "text8_prefix.xz", "rt", encoding="utf-8") as file:
        (tmp_path / "text8.txt").write_text(file.read(3_000_000), encoding="utf-8")
    (line,) = [line for line in header_lines(ROOT / RECIPE.file("skipgram_text8")) if "add: " in line]
    sets = shlex.split(line.split("add: ")[1].replace("data/word_eval", str(data_folder / "word_eval")))
    RECIPE.run(monkeypatch, tmp_path / "run", f"--data.path={tmp_path / 'text8.txt'}", *sets, config="skipgram_text8")
    made = facts(tmp_path / "run")
    assert set(made.runs[0].metrics) == set(made.evaluations)
    assert {"analogy_accuracy", "wordsim353", "simlex999", "men", "rare_words"} < set(made.evaluations)
    assert made.runs[0].metrics["wordsim353"] > 0.1
    assert json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))["hidden_size"] == 16
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"), pictures_in(tmp_path / "run"))


def test_with_minutes_the_corpus_decides_what_nobody_said(monkeypatch, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("king and queen\nman and woman\nin may or in june\n" * 50 + "once\n", "utf-8")
    words = [f"--data.path={tmp_path / 'text.txt'}", f"--training.output_dir={tmp_path / 'run'}"]
    recipe_main("word2vec")([*words, "--budget.minutes=0.02", "--training.seed=1", "--training.num_threads=1"])
    made = facts(tmp_path / "run")
    learnt = made.architecture
    assert (learnt.min_count, learnt.hidden_size, made.corpus.vocabulary) == (2, 50, 9)
    assert learnt.is_cut == (learnt.epochs < 40)
    recipe_main("word2vec")(
        [
            *words,
            "--budget.minutes=0.005",
            "--training.num_train_epochs=1000000",
            "--training.output_dir=" + str(tmp_path / "cut"),
        ]
    )
    cut = facts(tmp_path / "cut")
    assert cut.architecture.is_cut and ", until the minutes given were over" in render_card(cut)
    assert "the minutes were over after" in capsys.readouterr().out
    given = settings("--budget.minutes=1", "--corpus.min_count=3", "--model.hidden_size=7")
    given.follow(1000)
    assert (given.corpus.min_count, given.model["hidden_size"], given.training["max_minutes"]) == (3, 7, 1)

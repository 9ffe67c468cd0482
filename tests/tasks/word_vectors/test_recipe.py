"""The word vectors recipe through its real command line and, for its options, in this process."""

import json
import lzma
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, pipeline

import hfseq
from hfseq.cards.render import check_card, render_card
from hfseq.settings import read_settings
from hfseq.tasks.word_vectors.build import WordVectorSettings
from hfseq.tasks.word_vectors.facts import WordVectorFacts
from recipes import word2vec
from tests import launches
from tests.launches import HANGS, ROOT, header_lines, launch

SCRIPT = "recipes/word2vec.py"
CONFIGS = sorted((ROOT / "recipes/configs/word2vec").glob("*.yaml"))
CONFIG = "recipes/configs/word2vec/skipgram_embedded.yaml"
SMALL = ["--model.hidden_size=16", "--training.num_train_epochs=4", "--training.disable_tqdm=true"]
KEEP = "--training.save_total_limit=9"


def finished(words, folder, *options):
    """Launches a small run into a folder, which has to succeed."""
    process = launch(*words, *SMALL, *options, f"--training.output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return process


def run_here(monkeypatch, folder, *options, config=CONFIG):
    """The recipe in this process, where a launch would cost seconds."""
    monkeypatch.chdir(ROOT)
    arguments = ["--config", config, *SMALL, f"--training.output_dir={folder}", *options]
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    word2vec.main()


def settings(*options):
    return read_settings(WordVectorSettings, ["--config", str(ROOT / CONFIG), *options])


def facts(folder):
    return WordVectorFacts.load(folder / "facts.json")


def states(folder):
    return list(folder.glob("checkpoint-*/trainer_state.json"))


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def plain(runs):
    """The run that the others are compared with; it keeps the checkpoint of each epoch."""
    return runs / "plain", finished(launches.documented(SCRIPT, CONFIG, "python"), runs / "plain", KEEP)


def test_the_recipe_leaves_a_model_with_card_facts_and_settings(plain):
    folder, process = plain
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "README.md", "facts.json", "settings.yaml"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    check_card(card)
    assert card == render_card(facts(folder))
    assert facts(folder).corpus.words > 80_000 and facts(folder).runs[0].words_per_second > 0
    assert f"--training.output_dir={folder.name}\n" in card  # without the folders of this machine
    for row in facts(folder).neighbours:
        assert f"{row.word:15} -> {row.nearest[0].word} {row.nearest[0].cosine:.2f}, " in process.stdout
    assert "words/s" in process.stdout and "MB" in process.stdout
    arguments = [*SMALL, KEEP, f"--training.output_dir={folder}"]
    assert read_settings(WordVectorSettings, ["--config", str(folder / "settings.yaml")]) == settings(*arguments)


def test_the_saved_model_answers_as_its_card_says(plain):
    folder, _ = plain
    model = AutoModel.from_pretrained(folder)
    for row in facts(folder).neighbours:
        found = model.vectors.most_similar(row.word, topn=5)
        assert [(word, round(cosine, 4)) for word, cosine in found] == [(o.word, o.cosine) for o in row.nearest]
    (answer,) = pipeline("feature-extraction", model=str(folder))("rain in oslo")
    assert torch.tensor(answer).numpy() == pytest.approx(model.vectors[["rain", "in", "oslo"]])


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(plain, monkeypatch):
    folder, _ = plain
    again = folder.with_name("resumed")
    shutil.copytree(folder, again)
    steps = sorted(again.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    assert len(steps) == 4
    for path in (*steps[2:], again / "model.safetensors"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (again / "config.json").unlink()
    with pytest.raises(ValueError, match="not finished: go on with --resume"):
        run_here(monkeypatch, again, KEEP)
    run_here(monkeypatch, again, KEEP, "--resume")
    expected, found = weights(folder), weights(again)
    assert all(found[name].equal(expected[name]) for name in expected)
    with pytest.raises(ValueError, match=r"other settings \(model.window: 3 -> 2\)"):
        run_here(monkeypatch, again, KEEP, "--model.window=2")


def test_an_interrupted_run_keeps_its_vectors_and_can_be_resumed(tmp_path, monkeypatch):
    options = [*SMALL, f"--training.output_dir={tmp_path}", "--training.num_train_epochs=1000000"]
    process = launches.start("python", SCRIPT, "--config", CONFIG, *options, stderr=subprocess.PIPE)
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
    run_here(monkeypatch, tmp_path, "--resume", f"--training.num_train_epochs={read + 1}")
    assert facts(tmp_path).architecture.epochs == read + 1


def test_two_processes_make_one_model(plain, runs):
    words = launches.documented(SCRIPT, CONFIG, "accelerate launch --multi")
    assert "--training.num_processes=2" in words
    folder = runs / "two"
    finished(words, folder)
    assert facts(folder).corpus == facts(plain[0]).corpus
    assert shlex.split(facts(folder).command)[: len(words) - 3] == words[:-3]
    assert np.isfinite(AutoModel.from_pretrained(folder).vectors.vectors).all()


def test_a_launch_that_silently_became_one_process_is_stopped(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="num_processes=2 was asked for, 1 run. Launch with: accelerate launch --m"):
        run_here(monkeypatch, tmp_path / "silent", "--training.num_processes=2")
    assert not (tmp_path / "silent").exists()


def test_help_lists_every_section():
    process = launch("python", SCRIPT, "--help")
    assert process.returncode == 0
    for title in ("data:", "corpus:", "model:", "training:", "evaluation:", "save:", "card:", "hub:"):
        assert f"\n{title} " in process.stdout
    assert "--resume" in process.stdout


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
        ("--card.neighbours=[]", "card.neighbours is empty"),
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
    with pytest.raises(ValueError, match=r"card.neighbours=\['Oslo'\] are not among the \d+ words of the corpus"):
        run_here(monkeypatch, tmp_path, "--card.neighbours=[Oslo]")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_text_file_with_phrases_test_sets_and_ngrams(monkeypatch, tmp_path, capsys):
    text = "she moved to new york in may\nhe left new york in june\nking and queen\nman and woman\n" * 60
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    (tmp_path / "pairs.txt").write_text("king queen 9\nman woman 8\nmay june 7\nking in 1\n", encoding="utf-8")
    (tmp_path / "questions.txt").write_text(": gram1\nking queen man woman\n", encoding="utf-8")
    run_here(
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
        *("--card.neighbours=[new_york]", "--card.analogies=[king - man + woman]"),
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


def test_the_finished_run_is_pushed(hub, api, repo_id, monkeypatch, tmp_path, capsys):
    run_here(monkeypatch, tmp_path, f"--hub.repo_id={repo_id}")
    assert "pushed to http" in capsys.readouterr().out
    pulled = AutoModel.from_pretrained(hfseq.pull(repo_id))
    assert (pulled.vectors["rain"] == AutoModel.from_pretrained(tmp_path).vectors["rain"]).all()
    assert not {"settings.yaml", "facts.json"} & set(api.list_repo_files(repo_id))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_settings_file_parses_and_names_itself_in_its_launch_line(path, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    (line,) = [line for line in header_lines(path) if line.startswith("python ")]
    program, script, *arguments = shlex.split(line)
    assert (program, script) == ("python", SCRIPT)
    assert arguments == ["--config", str(path.relative_to(ROOT))]
    made = read_settings(WordVectorSettings, arguments)
    assert made.training["output_dir"] == f"runs/{path.stem}"
    assert made.card.model_id == f"hfseq/{path.stem.replace('_', '-')}"
    assert path.stem.startswith({"skip-gram": ("skipgram", "fasttext"), "cbow": "cbow"}[made.model["architecture"]])
    assert path.stem.startswith("fasttext") == bool(made.model.get("ngram_buckets"))
    assert sum(line.startswith("Expected: ") for line in header_lines(path)) == 1


@pytest.mark.data
def test_a_slice_of_text8_and_the_published_test_sets(data_folder, monkeypatch, tmp_path):
    with lzma.open(data_folder / "text8" / "text8_prefix.xz", "rt", encoding="utf-8") as file:
        (tmp_path / "text8.txt").write_text(file.read(3_000_000), encoding="utf-8")
    config = "recipes/configs/word2vec/skipgram_text8.yaml"
    (line,) = [line for line in header_lines(ROOT / config) if "add: " in line]
    sets = shlex.split(line.split("add: ")[1].replace("data/word_eval", str(data_folder / "word_eval")))
    run_here(monkeypatch, tmp_path / "run", f"--data.path={tmp_path / 'text8.txt'}", *sets, config=config)
    made = facts(tmp_path / "run")
    assert set(made.runs[0].metrics) == set(made.evaluations)
    assert {"analogy_accuracy", "wordsim353", "simlex999", "men", "rare_words"} < set(made.evaluations)
    assert made.runs[0].metrics["wordsim353"] > 0.1
    assert json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))["hidden_size"] == 16
    check_card((tmp_path / "run/README.md").read_text(encoding="utf-8"))

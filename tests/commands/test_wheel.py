"""The command as a stranger has it: installed from the wheel, with the source out of reach."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import snapshot_download

from tests.launches import HANGS
from tests.wheels import install

ROWS = [(f"{'good' if i % 2 else 'bad'} film {i % 9}", "pos" if i % 2 else "neg") for i in range(60)]
SMALL = ("--data.max_rows=200", "--minutes", "0.05")


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory):
    """Runs a command of the new environment, in an empty folder."""
    commands, folder = install(wheel, tmp_path_factory.mktemp("environment")), tmp_path_factory.mktemp("elsewhere")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words, name="hfseq", code=0):
        done = subprocess.run(
            [commands / name, *map(str, words)],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=10 * HANGS,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    run.folder = folder
    return run


def write_table(path, rows, sign):
    lines = [sign.join(row) for row in [("text", "label"), *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def csv(folder):
    return write_table(folder / "films.csv", ROWS, ",")


def tsv(folder):
    return write_table(folder / "films.tsv", ROWS, "\t")


def jsonl(folder):
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (folder / "films.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "films.jsonl"


def parquet(folder):
    texts, labels = zip(*ROWS, strict=True)
    Dataset.from_dict({"text": texts, "label": labels}).to_parquet(folder / "films.parquet")
    return folder / "films.parquet"


def splits(folder):
    (folder / "films").mkdir()
    write_table(folder / "films" / "train.csv", ROWS[:40], ",")
    write_table(folder / "films" / "test.csv", ROWS[40:], ",")
    return folder / "films"


def embedded(folder):
    return "embedded"


def told(answers):
    return [json.loads(line) for line in answers.splitlines()]


def test_a_csv_becomes_a_model_that_answers(command, tmp_path):
    here = command("-c", "from importlib.util import find_spec as find; print(find('hfseq').origin)", name="python")
    assert "/environment" in here and "site-packages" in here
    command("train", "text-classification", csv(tmp_path), "--model", "bag", "--out", tmp_path / "model", *SMALL)
    answers = told(command("predict", tmp_path / "model", "a good film", "a bad film"))
    assert [answer["label"] for answer in answers] == ["pos", "neg"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "model"),
    [(tsv, "bag"), (jsonl, "bag"), (parquet, "bag"), (splits, "gru"), (embedded, "gru"), (embedded, "bag")],
)
def test_every_kind_of_data_is_trained_on(command, tmp_path, data, model):
    source, out = data(tmp_path), tmp_path / "model"
    command("train", "text-classification", source, "--model", model, "--out", out, *SMALL)
    facts = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    assert facts["data"]["splits"]["train"] > 20 and (out / "README.md").is_file()
    for answer in told(command("predict", out, "a good film")):
        assert answer["label"] and answer["text"] == "a good film"


@pytest.mark.slow
def test_a_model_is_measured_and_published(command, tmp_path):
    source, out = splits(tmp_path), tmp_path / "model"
    command("train", "text-classification", source, "--model", "gru", "--out", out, *SMALL)
    measured = dict(line.split() for line in command("evaluate", out, source).splitlines())
    facts = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    assert float(measured["accuracy"]) == pytest.approx(facts["runs"][0]["metrics"]["accuracy"], abs=1e-4)
    repo_id = f"user/wheel-{os.getpid()}"
    command("push", out, repo_id, "--force")
    folder = snapshot_download(repo_id)
    for name in ("README.md", "model.safetensors", "confusion.png"):
        assert (out / name).read_bytes() == Path(folder, name).read_bytes()


@pytest.mark.slow
def test_recipes_are_listed_and_copied(command, tmp_path):
    names = command("recipes", "list").splitlines()
    assert "text_classification/gru_embedded" in names and len(names) > 20
    command("recipes", "copy", "text_classification/gru_embedded", tmp_path)
    command("recipes", "copy", "text_classification", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gru_embedded.yaml", "text_classification.py"}

"""Taggers with the defaults of `hfseq train` on few texts: never nothing, and not behind the simplest peers."""

import json
import subprocess
import sys

import pytest
from datasets import DatasetDict, load_dataset

from hfseq import cli, load_embedded
from tests.launches import HANGS

MODELS = ("crf", "lstm")
QUIET = ("--training.use_cpu=true", "--training.disable_tqdm=true")


def facts_in(folder):
    return json.loads((folder / "facts.json").read_text(encoding="utf-8"))


def trained(data, out, model, minutes, *words):
    """The score of a tagger with nothing but a clock, by its first metric."""
    chosen = ("--data.label_column=tags", "--model", model, "--minutes", str(minutes), "--out", str(out))
    assert cli.main(["train", "token-classification", str(data), *chosen, *QUIET, *words]) == 0
    made = facts_in(out)
    return made["runs"][0]["metrics"], {row["name"]: row["value"] for row in made["comparisons"]}


@pytest.mark.parametrize("model", MODELS)
def test_a_few_seconds_and_texts_find_something(model, tmp_path):
    rows = load_embedded()
    cut = DatasetDict({name: rows[name].shuffle(seed=3).select(range(80)) for name in ("train", "validation", "test")})
    data = tmp_path / "data"
    for name, part in cut.items():
        part.select_columns(["tokens", "tags"]).to_parquet(data / f"{name}.parquet")
    metrics, beside = trained(data, tmp_path / "out", model, 0.05)
    assert metrics["entity_f1"] > 0.5
    assert metrics["entity_f1"] > beside["Most frequent tag of each word"]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "metric"), [("conll2003", "entity_f1"), ("ud_english_ewt", "accuracy")])
def test_random_cuts_of_real_data_are_not_behind_simple_peers(name, metric, data_folder, tmp_path):
    subprocess.run([sys.executable, data_folder / "load.py", "--export", tmp_path, name], check=True, timeout=HANGS)
    files = {part: str(tmp_path / name / f"{part}.parquet") for part in ("train", "validation", "test")}
    whole, data = load_dataset("parquet", data_files=files), tmp_path / "cut"
    for part, rows in whole.items():
        rows.shuffle(seed=5).select(range(150)).to_parquet(data / f"{part}.parquet")
    for model in MODELS:
        metrics, beside = trained(data, tmp_path / model, model, 0.1)
        assert metrics[metric] > max(beside.values()) - 0.01, (model, metrics, beside)

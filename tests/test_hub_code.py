"""Checkpoints that are pushed with the code of their model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import pipeline

import hfseq
from hfseq.hub import pull, push
from tests.checkpoints import CARD, WORDS, contents, make_model, make_tokenizer, remote_files, write

WITHOUT_HFSEQ = """
import json, sys
import torch

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hfseq":
            raise ImportError("hfseq is not here")

sys.stdin.close()  # nobody is there to answer whether the code may run
sys.meta_path.insert(0, Blocked())
try:
    import hfseq
except ImportError as error:
    assert str(error) == "hfseq is not here"
else:
    raise AssertionError("hfseq is not blocked")
"""


def test_code_travels_and_runs_where_hfseq_is_not(hub, api, repo_id, checkpoint, run_python, tmp_path):
    models = {
        family.name: family.heads["text-classification"](
            family.config(vocab_size=len(WORDS), hidden_size=8, num_labels=2)
        ).eval()
        for family in hfseq.FAMILIES.values()
    }
    for name, model in models.items():
        files = push(model, f"{repo_id}-{name}", tokenizer=make_tokenizer(), card=CARD, with_code=True).files
        assert (
            {f"{name}.py", "base.py", "artifacts.py", "cells.py", "loop.py", "fused.py"}
            <= set(files)
            == remote_files(api, f"{repo_id}-{name}")
        )
    push(checkpoint, f"{repo_id}-plain")
    hub.log.clear()
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

answers = {{}}
for name, backbone in {[(name, hfseq.FAMILIES[name].backbone.__name__) for name in sorted(models)]!r}:
    options = dict(pretrained_model_name_or_path="{repo_id}-" + name, trust_remote_code=True)
    assert AutoConfig.from_pretrained(**options).model_type == "hfseq_" + name
    assert type(AutoModel.from_pretrained(**options)).__name__ == backbone
    model = AutoModelForSequenceClassification.from_pretrained(**options).eval()
    tokenizer = AutoTokenizer.from_pretrained(**options)
    with torch.no_grad():
        logits = model(**tokenizer("a good film", return_tensors="pt")).logits.tolist()
    pipe = pipeline("text-classification", model="{repo_id}-" + name, trust_remote_code=True)
    answers[name] = logits, pipe("a good film", top_k=None)
print(json.dumps(answers))
try:
    AutoConfig.from_pretrained("{repo_id}-plain", trust_remote_code=True)
except ValueError as error:
    assert "hfseq_lstm" in str(error)
else:
    raise AssertionError("a checkpoint without code has loaded")
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers.keys() == models.keys()
    for name, model in models.items():
        with torch.no_grad():
            logits = model(**make_tokenizer()("a good film", return_tensors="pt")).logits
        pipe = pipeline("text-classification", model=model, tokenizer=make_tokenizer())
        theirs, labels = answers[name]  # by torch's own loops there, by fused kernels here
        assert torch.allclose(torch.tensor(theirs), logits, atol=1e-6)
        for answer, expected in zip(labels, pipe("a good film", top_k=None), strict=True):
            assert answer == expected | {"score": pytest.approx(expected["score"], abs=1e-6)}


def test_the_map_to_the_code_is_complete_and_marks_no_live_class(hub, repo_id, checkpoint, tmp_path):
    model, before = make_model(), contents(checkpoint)
    push(model, repo_id, card=CARD, with_code=True)
    push(checkpoint, repo_id, with_code=True)
    config = json.loads((pull(repo_id) / "config.json").read_text(encoding="utf-8"))
    assert config.pop("auto_map") == {
        "AutoConfig": "lstm.LSTMConfig",
        "AutoModel": "lstm.LSTMModel",
        "AutoModelForSequenceClassification": "lstm.LSTMForSequenceClassification",
    }
    assert config == json.loads(before["config.json"])
    assert contents(checkpoint) == before
    model.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in (tmp_path / "plain/config.json").read_text(encoding="utf-8")


def test_a_map_to_code_that_stays_behind_is_refused(hub, repo_id, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    write("config.json", json.dumps(config | {"auto_map": {"AutoConfig": "lstm.LSTMConfig"}}))(checkpoint)
    with pytest.raises(ValueError, match="has an auto_map: push with_code=True"):
        push(checkpoint, repo_id)
    assert hub.log == []


def test_only_families_of_hfseq_have_code_to_send(hub, repo_id, checkpoint):
    write("config.json", '{"model_type": "bert"}')(checkpoint)
    with pytest.raises(ValueError, match="Only code of hfseq can travel.*got 'bert'"):
        push(checkpoint, repo_id, with_code=True)
    assert hub.log == []


@pytest.mark.parametrize(
    ("line", "message"),
    [("from ..data import text", "imports only siblings"), ("import hfseq.data", "needs hfseq itself")],
)
def test_code_that_would_not_run_elsewhere_is_refused(hub, repo_id, checkpoint, tmp_path, monkeypatch, line, message):
    models_folder = tmp_path / "models"
    shutil.copytree(Path(hfseq.__file__).parent / "models", models_folder)
    with (models_folder / "base.py").open("a", encoding="utf-8") as base:
        base.write(line + "\n")
    monkeypatch.setattr("hfseq.hub.inspect.getfile", lambda cls: str(models_folder / "lstm.py"))
    with pytest.raises(ValueError, match=message):
        push(checkpoint, repo_id, with_code=True)
    assert hub.log == []

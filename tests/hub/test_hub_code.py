"""Checkpoints that are pushed with the code of their model."""

import inspect
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import pipeline
from transformers.dynamic_module_utils import get_imports

import hfseq
from hfseq.hub import flatten, pull, push
from hfseq.tokenization import vocabulary_tokenizer
from tests.closeness import assert_same
from tests.hub.checkpoints import CARD, WORDS, contents, make_model, make_tokenizer, remote_files, write

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

PARTS = {
    "transformer": {"attention.py", "layers.py", "fused.py"},
    "bag": {"bag_config.py", "bag_ngrams.py", "bag_tables.py", "fused_words.py", "tables.py"},
    "window": {"token_order.py"},
    "recursive": {"compositions.py", "levels.py", "tree_graphs.py", "tree_shapes.py", "cells.py", "fused.py"},
}


def test_code_travels_and_runs_where_hfseq_is_not(hub, api, repo_id, checkpoint, run_python, tmp_path):
    models = {
        family.name: family.heads["text-classification"](
            family.config(vocab_size=len(WORDS), hidden_size=8, num_labels=2)
        ).eval()
        for family in hfseq.FAMILIES.values()
        if "text-classification" in family.heads
    }
    for name, model in models.items():
        files = push(model, f"{repo_id}-{name}", tokenizer=make_tokenizer(), card=CARD, with_code=True).files
        parts = PARTS.get(name, {"cells.py", "loop.py", "fused.py", "token_order.py"})
        assert (
            {f"{name}.py", "base.py", "artifacts.py", *parts} <= set(files) == remote_files(api, f"{repo_id}-{name}")
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
        assert_same(torch.tensor(theirs), logits)
        for answer, expected in zip(labels, pipe("a good film", top_k=None), strict=True):
            assert answer == expected | {"score": pytest.approx(expected["score"], abs=1e-6)}


@pytest.mark.slow
def test_both_readers_of_intents_and_slots_come_with_the_code(hub, api, repo_id, run_python, tmp_path):
    config = hfseq.LSTMConfig(
        vocab_size=len(WORDS), hidden_size=8, num_labels=2, slot_labels=["O", "B-film"], temperature=1.5
    )
    model = hfseq.LSTMForIntentAndSlots(config).eval()
    files = push(model, repo_id, tokenizer=make_tokenizer(), card=CARD, with_code=True).files
    assert {"lstm.py", "joint.py", "shared_checkpoint.py"} <= set(files) and "auto.py" not in files
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoTokenizer, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

tokenizer = AutoTokenizer.from_pretrained("{repo_id}", trust_remote_code=True)
inputs = tokenizer("a good film", return_tensors="pt")
joint = get_class_from_dynamic_module("lstm.LSTMForIntentAndSlots", "{repo_id}")
both = joint.from_pretrained("{repo_id}", trust_remote_code=True).eval()
with torch.no_grad():
    outputs = both(**inputs)
    for task, wanted in (("text-classification", outputs.logits), ("token-classification", outputs.slot_logits)):
        pipe = pipeline(task, model="{repo_id}", trust_remote_code=True)
        assert torch.equal(pipe.model(**inputs).logits, wanted), task
        pipe("a good film")
print(json.dumps([outputs.logits.tolist(), outputs.slot_logits.tolist()]))
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        outputs = model(**make_tokenizer()("a good film", return_tensors="pt"))
    theirs = json.loads(done.stdout.splitlines()[-1])
    for found, expected in zip(theirs, (outputs.logits, outputs.slot_logits), strict=True):
        assert_same(torch.tensor(found), expected)


@pytest.mark.slow
def test_code_of_a_model_of_numbers_travels_too(hub, api, repo_id, run_python, tmp_path):
    config = hfseq.GRUConfig(feature_size=2, hidden_size=8, prediction_length=3, distribution="mixture")
    model, values = hfseq.GRUForSeriesPrediction(config).eval(), [[[0.5, -1.0], [2.0, 0.0], [1.0, 1.0]]]
    files = push(model, repo_id, card=CARD, with_code=True).files
    assert {"gru.py", "values.py", "densities.py", "series.py"} <= set(files)
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoModelForTimeSeriesPrediction

model = AutoModelForTimeSeriesPrediction.from_pretrained("{repo_id}", trust_remote_code=True).eval()
print(json.dumps(model.forecast(torch.tensor({values}), steps=7).prediction.tolist()))
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    assert_same(
        json.loads(done.stdout.splitlines()[-1]), model.forecast(torch.tensor(values), steps=7).prediction.tolist()
    )


@pytest.mark.slow
def test_code_of_an_encoder_and_decoder_travels_too(hub, api, repo_id, run_python, tmp_path):
    ids = [[4, 3, 2], [2, 5, 0]]
    options = {"max_new_tokens": 5, "num_beams": 2, "do_sample": False}
    models = {
        "recurrent": hfseq.Seq2SeqForConditionalGeneration(
            hfseq.Seq2SeqConfig(vocab_size=len(WORDS), hidden_size=8, attention="additive", input_feeding=True)
        ),
        "transformer": hfseq.TransformerForConditionalGeneration(
            hfseq.TransformerSeq2SeqConfig(vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1)
        ),
    }
    for name, model in models.items():
        files = set(push(model, f"{repo_id}-{name}", tokenizer=make_tokenizer(), card=CARD, with_code=True).files)
        assert "conditional_generation.py" in files
        assert ({"decoder.py", "decoder_attention.py", "seq2seq_config.py"} <= files) == (name == "recurrent")
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoModelForSeq2SeqLM

written = {{}}
for name in {sorted(models)!r}:
    model = AutoModelForSeq2SeqLM.from_pretrained("{repo_id}-" + name, trust_remote_code=True)
    written[name] = model.generate(torch.tensor({ids!r}), **{options!r}).tolist()
print(json.dumps(written))
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout.splitlines()[-1])
    assert written == {
        name: model.eval().generate(torch.tensor(ids), **options).tolist() for name, model in models.items()
    }


@pytest.mark.slow
def test_code_of_word_vectors_travels_too(hub, api, repo_id, run_python, tmp_path):
    model = hfseq.Word2VecModel(hfseq.Word2VecConfig(vocab_size=6, hidden_size=4, ngram_buckets=20))
    model.set_vocabulary(vocabulary_tokenizer(["king", "queen", "man", "woman"]), np.array([0, 0, 4, 3, 2, 1]))
    files = set(push(model, repo_id, card=CARD, with_code=True).files)
    assert {"word2vec.py", "vectors.py", "tokenizer.json"} <= files == remote_files(api, repo_id)
    assert not {"lstm.py", "cells.py", "loop.py"} & files
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoModel, AutoTokenizer, pipeline

options = dict(pretrained_model_name_or_path="{repo_id}", trust_remote_code=True)
model = AutoModel.from_pretrained(**options)
with torch.no_grad():
    outputs = model(**AutoTokenizer.from_pretrained(**options)("queen king other", return_tensors="pt"))
pipe = pipeline("feature-extraction", model="{repo_id}", trust_remote_code=True)
vectors = model.vectors
answers = [outputs[0].tolist(), pipe("queen king other"), vectors.most_similar("king"), vectors["kings"].tolist()]
try:
    type(model).from_vectors(vectors)
except ImportError as error:
    answers.append(str(error))
print(json.dumps([type(model).__name__, model.words, *answers]))
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    name, words, hidden, features, neighbours, unseen, error = json.loads(done.stdout.splitlines()[-1])
    assert name == "Word2VecModel" and words == model.words
    assert_same(torch.tensor(hidden), model(torch.tensor([[3, 2, 1]])).last_hidden_state)
    assert features == hidden
    assert [tuple(pair) for pair in neighbours] == [
        (word, pytest.approx(score, abs=1e-6)) for word, score in model.vectors.most_similar("king")
    ]
    assert_same(unseen, model.vectors["kings"].tolist())
    assert error == "Word2VecModel.from_vectors needs the whole package: install hfseq"


def test_code_that_travels_needs_nothing_but_what_transformers_brings(tmp_path):
    brought = {"torch", "numpy", "transformers", "huggingface_hub", "safetensors", "fsspec", "typing_extensions"}
    brought |= sys.stdlib_module_names
    for family in hfseq.FAMILIES.values():
        for cls in (family.config, *family.heads.values()):
            flatten(Path(inspect.getfile(cls)), tmp_path, {})
    for file in tmp_path.glob("*.py"):
        assert set(get_imports(file)) <= brought, file


def test_the_map_to_the_code_is_complete_and_marks_no_live_class(hub, repo_id, checkpoint, tmp_path):
    model, before = make_model(), contents(checkpoint)
    push(model, repo_id, card=CARD, with_code=True)
    push(checkpoint, repo_id, with_code=True)
    config = json.loads((pull(repo_id) / "config.json").read_text(encoding="utf-8"))
    assert config.pop("auto_map") == {
        "AutoConfig": "lstm.LSTMConfig",
        "AutoModel": "lstm.LSTMModel",
        "AutoModelForCausalLM": "lstm.LSTMForCausalLM",
        "AutoModelForIntentAndSlots": "lstm.LSTMForIntentAndSlots",
        "AutoModelForSequenceClassification": "lstm.LSTMForSequenceClassification",
        "AutoModelForTimeSeriesPrediction": "lstm.LSTMForSeriesPrediction",
        "AutoModelForTokenClassification": "lstm.LSTMForTokenClassification",
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
    [
        ("from ..data import text", "data.py is no module of a model"),
        ("from .words import vectors", "words.py is no module of a model"),
        ("from .words.lstm import LSTMConfig", "two modules called lstm.py"),
        ("import hfseq.data", "needs hfseq itself"),
    ],
)
def test_code_that_would_not_run_elsewhere_is_refused(hub, repo_id, checkpoint, tmp_path, monkeypatch, line, message):
    models_folder = tmp_path / "models"
    shutil.copytree(Path(hfseq.__file__).parent / "models", models_folder)
    (models_folder / "words" / "lstm.py").write_text("", encoding="utf-8")
    with (models_folder / "base.py").open("a", encoding="utf-8") as base:
        base.write(line + "\n")
    monkeypatch.setattr("hfseq.hub.inspect.getfile", lambda cls: str(models_folder / "recurrent" / "lstm.py"))
    with pytest.raises(ValueError, match=message):
        push(checkpoint, repo_id, with_code=True)
    assert hub.log == []

"""The base of the package runs models; whatever needs more names the extra that brings it."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hfseq import extras
from tests.versions import tomllib

ROOT = Path(__file__).parents[1]
MODULES = sorted({module for modules in extras.EXTRAS.values() for module in modules})

BASE_ALONE = f"""
import sys

class Without:
    "A finder that does not find what the extras bring, nor what only they demand."

    def __init__(self, below):
        self.below = below

    def find_spec(self, name, path=None, target=None):
        gone = {[*MODULES, "llvmlite", "pandas"]!r}
        return None if name.partition(".")[0] in gone else self.below.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.below, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import torch
import hfseq
from transformers import pipeline
"""

TRAINING = """WordCorpus load_embedded Phrases SequenceTrainer SequenceTrainingArguments StreamTrainer TokenText
    BagTrainer train_bag compress_bag Word2VecTrainer train_word2vec export_sentence_transformers"""
ROOMS = "data training cards recipe tasks evaluation.scores evaluation.tags data.text training.trainer recipe.publish"


def test_pyproject_and_the_table_say_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra, modules in extras.EXTRAS.items():
        found = {Requirement(line).name for line in project["optional-dependencies"][extra]}
        assert found == {extras._PROJECTS.get(module, module) for module in modules}, extra
    base = {Requirement(line).name for line in project["dependencies"]}
    assert not base & set(MODULES)


def test_the_base_alone_runs_every_kind_of_model(run_python, tmp_path):
    result = run_python(
        BASE_ALONE
        + f"""
words = hfseq.train_tokenizer(["a b c d e", "b c"], kind="word")
speech = hfseq.train_tokenizer(["a b c d e", "b c"], kind="word_with_space", purpose="language-modeling")
size = len(words)

def saved(name, model, tokenizer):
    folder = {str(tmp_path)!r} + "/" + name
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder

hmm = hfseq.HMMConfig(vocab_size=size, pad_token_id=0)
counted = hfseq.NGramForCausalLM(hfseq.NGramConfig(vocab_size=len(speech), order=2))
counted.fit(speech(["a b c"])["input_ids"])
lstm = hfseq.LSTMForCausalLM(hfseq.LSTMConfig(hidden_size=8, vocab_size=len(speech)))
masked = hfseq.TransformerConfig(vocab_size=size, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
flat = hfseq.train_tokenizer(["a b"], kind="byte")
spelt = hfseq.BagConfig(vocab_size=len(flat), hidden_size=8, units="bytes")
bag = hfseq.BagConfig(vocab_size=size, hidden_size=8)
net = dict(hidden_size=8, vocab_size=max(size, len(speech)), pad_token_id=0)
for task, model, tokenizer, text in (
    ("text-classification", hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(**net)), words, "a b"),
    ("token-classification", hfseq.GRUForTokenClassification(hfseq.GRUConfig(**net)), words, "a b"),
    ("text-generation", hfseq.LSTMForCausalLM(hfseq.LSTMConfig(**net)), speech, "a b"),
    ("token-classification", hfseq.HMMForTokenClassification(hmm), words, "a"),
    ("text-classification", hfseq.BagForSequenceClassification(bag), words, "a"),
    ("text-classification", hfseq.BagForSequenceClassification(spelt), flat, "a"),
    ("text-generation", counted, speech, "a b"),
    ("text-generation", hfseq.MixtureForCausalLM.of(lstm, counted), speech, "a b"),
    ("fill-mask", hfseq.TransformerForMaskedLM(masked), words, "a <mask> c"),
):
    answer = pipeline(task, model=saved(type(model).__name__, model, tokenizer), device="cpu")(text)
    assert answer, task
hfseq.encode(hfseq.LSTMModel(hfseq.LSTMConfig(**net)), ["a b"], tokenizer=words)
vectors = hfseq.Word2VecModel(hfseq.Word2VecConfig(vocab_size=size, hidden_size=8))
vectors.set_vocabulary(words, torch.ones(size, dtype=torch.int64).numpy())
folder = saved("vectors", vectors, words)
assert len(hfseq.Word2VecModel.from_pretrained(folder).vectors["b"]) == 8
hfseq.encode(folder, ["a b"])
path = {str(tmp_path)!r} + "/vectors.txt"
open(path, "w", encoding="utf-8").write("2 2\\na 1 2\\nb 3 4\\n")
assert hfseq.KeyedVectors.load_word2vec_format(path)["b"][1] == 4
hfseq.push, hfseq.pull, hfseq.load_fasttext, hfseq.score, hfseq.GenerativeClassifier
brought = {MODULES!r}
print("loaded:", sorted(set(brought) & set(sys.modules)))
"""
    )
    assert result.returncode == 0, result.stderr
    assert "loaded: []" in result.stdout
    # Once a process, whatever runs slowly.
    assert result.stderr.count('pip install "hfseq[fast]"') == 1


def test_what_needs_more_names_the_extra(run_python):
    result = run_python(
        BASE_ALONE
        + f"""
from importlib import import_module

for ask in [*{TRAINING.split()!r}, *map("hfseq.{{}}".format, {ROOMS.split()!r}), "hfseq.plots", "plot_words"]:
    try:
        import_module(ask) if "." in ask else getattr(hfseq, ask)
    except ImportError as error:
        print(ask, "->", error)
    else:
        print(ask, "-> found")
"""
    )
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(" -> ") for line in result.stdout.splitlines())
    assert len(lines) == len(TRAINING.split()) + len(ROOMS.split()) + 2
    for asked, said in lines.items():
        extra = "plots" if "plot" in asked else "train"
        assert re.fullmatch(rf'This needs \w+: pip install "hfseq\[{extra}\]"', said), (asked, said)


def test_the_missing_module_is_named_as_its_project_is_called(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "sklearn" else name)
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install "hfseq\[train\]"'):
        extras.need("train")
    extras.need("train", "scipy")

"""Hidden Markov models as ordinary Hugging Face models: checkpoints, precision, Trainer and pipelines."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import Dataset, load_dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hfseq.models.counting.hmm import HMMConfig, HMMForCausalLM, HMMForTokenClassification
from tests.closeness import assert_same
from tests.launches import HANGS
from tests.models.counting.hmm_oracle import (
    make,
)
from tests.rounds import for_each

# An ordinary Hugging Face model


def test_either_model_loads_the_others_checkpoint_and_no_torn_one(tmp_path):
    model = make(HMMForCausalLM, double=False)
    model.save_pretrained(tmp_path)
    for auto, kind in (
        (AutoModelForCausalLM, HMMForCausalLM),
        (AutoModelForTokenClassification, HMMForTokenClassification),
    ):
        loaded = auto.from_pretrained(tmp_path)
        assert type(loaded) is kind and loaded.config.num_labels == 3
        assert all(torch.equal(p, dict(model.named_parameters())[name]) for name, p in loaded.named_parameters())
    with pytest.raises(ValueError, match="another shape"):
        AutoModelForTokenClassification.from_pretrained(tmp_path, num_states=4)
    grown = HMMForTokenClassification.from_pretrained(
        tmp_path, num_states=4, ignore_mismatched_sizes=True, strict=False
    )
    assert grown.config.num_labels == len(grown.config.id2label) == 4
    tensors = load_file(tmp_path / "model.safetensors")
    lost = tensors.pop("hmm.emission_logits")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for kind in (HMMForCausalLM, HMMForTokenClassification):
        with pytest.raises(ValueError, match=r"lacks hmm\.emission_logits"):
            kind.from_pretrained(tmp_path)
        filled = kind.from_pretrained(tmp_path, strict=False).hmm.emission_logits
        assert filled.shape == lost.shape and 0.5 < filled.std() < 3


def test_labels_and_states_are_one_number():
    named = HMMConfig(id2label={0: "A", 1: "B", 2: "C"}, label2id={"A": 0, "B": 1, "C": 2})
    assert (named.num_states, named.num_labels) == (3, 3)
    assert HMMConfig(num_labels=7).num_states == 7
    assert HMMConfig(num_states=4).num_labels == 4 and HMMConfig().num_states == 50
    assert HMMConfig.from_dict(named.to_dict()).id2label == {0: "A", 1: "B", 2: "C"}
    with pytest.raises(ValueError, match="3 labels do not fit num_states=4"):
        HMMConfig(num_states=4, num_labels=3)


@for_each(
    ("name", "value"),
    [
        ("num_states", 0), ("num_states", 10_001), ("num_states", 2.0), ("vocab_size", 0), ("decoding", "max"),
        ("emission_smoothing", -0.1), ("transition_smoothing", "1"), ("pad_token_id", 6), ("initializer_range", -1.0),
    ],
)  # fmt: skip
def test_wrong_config_values_are_refused(name, value):
    with pytest.raises(Exception, match=name):
        HMMConfig(**{"vocab_size": 6, name: value})


def test_what_others_call_states_is_explained():
    with pytest.raises(ValueError, match="Did you mean 'num_states'"):
        HMMConfig(hidden_size=5)


@pytest.mark.parametrize("kind", [HMMForCausalLM, HMMForTokenClassification])
def test_wrong_inputs_are_named(kind):
    model, ids = make(kind), torch.tensor([[3, 4, 5]])
    for wrong, message in (
        ({"input_ids": ids + 1}, "input id 6 is outside"),
        ({"input_ids": ids, "attention_mask": torch.ones(1, 4)}, r"shape \(1, 4\) does not fit 1 texts of 3 tokens"),
        ({}, "exactly one of input_ids"),
        ({"inputs_embeds": torch.ones(1, 3, 2)}, "emits tokens, not vectors"),
        ({"input_ids": ids, "labels": ids + 20}, r"label 2\d is outside"),
        ({"input_ids": ids, "labels": ids[:, 1:].float()}, "of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**wrong)
    assert model(torch.zeros(2, 0)).logits.shape == (2, 1, 6 if kind is HMMForCausalLM else 3)


def test_half_precision_computes_in_full():
    model = make(HMMForCausalLM, double=False)
    ids = torch.tensor([[3, 4, 5, 3]])
    halved = make(HMMForCausalLM, double=False).to(torch.bfloat16)(ids).logits
    assert halved.dtype == torch.float32
    assert_same(halved.exp().sum(-1), torch.ones(1, 4))
    assert_same(halved, model(ids).logits, 0.05, scale=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_leaves_probabilities_alone(dtype):
    """As Trainer's `fp16` runs it: a word that comes once in 100 million tokens is nothing in float16."""
    torch.manual_seed(0)
    model = HMMForCausalLM(HMMConfig(vocab_size=5_000, num_states=3, initializer_range=4.0))
    ids = torch.randint(1, 5_000, (2, 7))
    exact = model(ids, labels=ids)
    with torch.autocast("cpu", dtype):
        found = model(ids, labels=ids)
    assert exact.logits.min() < math.log(1e-8)
    assert_same({"logits": found.logits, "loss": found.loss}, {"logits": exact.logits, "loss": exact.loss})


def test_impossible_events_stay_finite():
    model = make(HMMForTokenClassification, double=False, emission_smoothing=0, transition_smoothing=0)
    model.fit_counts([[3, 4, 3, 4]], [[0, 1, 0, 1]])
    ids = torch.tensor([[3, 3, 5, 4]])
    out = model(ids, labels=torch.tensor([[0, 0, 2, 1]]))
    out.loss.backward()
    assert torch.isfinite(out.loss) and torch.isfinite(out.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_state_that_cannot_be_reached_leaves_finite_gradients():
    model = make(HMMForCausalLM, double=False)
    with torch.no_grad():
        model.hmm.transition_logits[:, 1] = -1e4  # softmax is 0 in single precision
    ids = torch.tensor([[3, 4, 5, 3]])
    loss = model(ids, labels=ids).loss
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters())


def _train(model, folder, rows, collator, **options):
    arguments = {"per_device_train_batch_size": 8, "max_steps": 30, "learning_rate": 0.1, "seed": 0, **options}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(folder), use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no", logging_steps=1,
            lr_scheduler_type="constant", train_sampling_strategy="sequential", **arguments,
        ),
        train_dataset=rows,
        data_collator=collator,
    )  # fmt: skip
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _tokenizer(words):
    """One token a word."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", *words])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


@pytest.mark.parametrize("kind", [HMMForCausalLM, HMMForTokenClassification])
def test_stock_trainer_lowers_the_loss_and_accumulates_exactly(kind, tmp_path):
    generator = np.random.default_rng(0)
    ids = [[3 + (i + j) % 3 for j in range(n)] for i, n in enumerate(generator.integers(2, 8, 24))]
    labels = ids if kind is HMMForCausalLM else [[w - 3 for w in row] for row in ids]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels})
    collator = DataCollatorForTokenClassification(_tokenizer(["a", "b", "c", "d"]))
    losses = _train(make(kind, double=False), tmp_path, rows, collator)
    assert losses[-1] < 0.5 * losses[0]
    split = make(kind, double=False), make(kind, double=False)
    options = {"optim": "sgd", "max_steps": 3}
    _train(split[0], tmp_path, rows, collator, **options)
    _train(split[1], tmp_path, rows, collator, **options, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert_same(*(model.parameters() for model in split))


def test_the_pipelines_tag_and_write(tmp_path):
    texts = ["the dog barks", "a dog sleeps", "the cat sleeps"]
    words = _tokenizer(sorted({word for text in texts for word in text.split()}))
    labels = {0: "DET", 1: "NOUN", 2: "VERB"}
    model = HMMForTokenClassification(HMMConfig(vocab_size=len(words), id2label=labels))
    model.fit_counts(words(texts)["input_ids"], [[0, 1, 2]] * 3)
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    found = pipeline("token-classification", model=str(tmp_path))("a cat barks")
    assert [(part["word"], part["entity"]) for part in found] == [("a", "DET"), ("cat", "NOUN"), ("barks", "VERB")]
    written = pipeline("text-generation", model=str(tmp_path))("the", max_new_tokens=2, do_sample=False)
    assert written[0]["generated_text"].replace(" ", "") in ("thedogsleeps", "thecatsleeps")


@pytest.mark.data
def test_it_tags_english_web_text(data_folder, tmp_path):
    command = [sys.executable, str(data_folder / "load.py"), "--export", str(tmp_path), "ud_english_ewt"]
    subprocess.run(command, check=True, timeout=HANGS)
    files = {split: str(tmp_path / "ud_english_ewt" / f"{split}.parquet") for split in ("train", "test")}
    data = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    counts = Counter(word for words in data["train"]["tokens"] for word in words)
    # Words met once become <unk>, so that counting learns what unknown words are.
    tokenizer = _tokenizer([word for word, count in counts.items() if count > 1])
    names = data["train"].features["tags"].feature.names
    model = HMMForTokenClassification(HMMConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(names))))
    ids = {split: tokenizer(data[split]["tokens"][:], is_split_into_words=True)["input_ids"] for split in data}
    model.fit_counts(ids["train"], data["train"]["tags"])
    right = total = 0
    for start in range(0, len(ids["test"]), 64):
        batch = tokenizer.pad({"input_ids": ids["test"][start : start + 64]}, return_tensors="pt")
        with torch.no_grad():
            found = model(**batch).logits.argmax(-1)
        for row, tags in zip(found.tolist(), data["test"]["tags"][start : start + 64], strict=True):
            right += sum(a == b for a, b in zip(row, tags, strict=False))
            total += len(tags)
    assert right / total > 0.888, right / total

"""Folders that are no whole checkpoint, or not one of ours: each is refused in words that name value and cure."""

import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, pipeline

import hfseq
from hfseq.models.artifacts import UnsafeArtifactError, check_tokenizer_ids
from tests.hub.checkpoints import (
    BAD_CONFIGS,
    BAD_WEIGHTS,
    assert_same_weights,
    configure,
    load,
    make_model,
    oversize_tokenizer,
    save_checkpoint,
    turn_into_pickle,
)


@pytest.fixture(autouse=True)
def no_pickle_is_read(monkeypatch):
    calls = []
    monkeypatch.setattr("torch.load", lambda *args, **kwargs: calls.append(args))
    yield
    assert calls == []


@pytest.mark.parametrize("bad", BAD_CONFIGS | BAD_WEIGHTS)
def test_our_classes_refuse_it(checkpoint, bad):
    plant, message = (BAD_CONFIGS | BAD_WEIGHTS)[bad]
    plant(checkpoint)
    with pytest.raises(UnsafeArtifactError, match=message) as caught:
        hfseq.LSTMForSequenceClassification.from_pretrained(checkpoint)
    assert str(checkpoint) in str(caught.value)


@pytest.mark.parametrize("bad", BAD_WEIGHTS)
def test_auto_classes_refuse_its_weights(checkpoint, bad):
    plant, message = BAD_WEIGHTS[bad]
    plant(checkpoint)
    with pytest.raises(UnsafeArtifactError, match=message):
        AutoModelForSequenceClassification.from_pretrained(checkpoint)


@pytest.mark.parametrize("bad", ["no weights", "pickle only", "truncated weights", "missing shard"])
def test_pipelines_pass_the_reason_on(checkpoint, bad):
    plant, message = BAD_WEIGHTS[bad]
    plant(checkpoint)
    with pytest.raises(ValueError, match=re.compile(f"Could not load model.*{message}", re.DOTALL)):
        pipeline("text-classification", model=str(checkpoint))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("no config", ValueError, "Should have a `model_type` key in its config.json"),
        ("config that is a list", ValueError, "Should have a `model_type` key in its config.json"),
        ("config that is no JSON", OSError, "config.json' is not a valid JSON file"),
        ("deep JSON", RecursionError, "JSON"),
    ],
)
def test_auto_classes_refuse_its_config_in_the_words_of_transformers(checkpoint, bad, error, message):
    BAD_CONFIGS[bad][0](checkpoint)
    for auto in (AutoConfig, AutoModelForSequenceClassification):
        with pytest.raises(error, match=message):
            auto.from_pretrained(checkpoint)


def test_a_family_that_is_not_known_here_is_named(checkpoint):
    configure(model_type="hfseq_newer")(checkpoint)
    with pytest.raises(ValueError, match="model type `hfseq_newer`.*does not recognize"):
        load(checkpoint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", "8"),
        ("hidden_size", 10**6),
        ("num_hidden_layers", 10**6),
        ("vocab_size", 10**12),
        ("embedding_size", -1),
    ],
)
def test_sizes_out_of_bounds_are_refused_before_memory_is_asked_for(checkpoint, monkeypatch, name, value):
    configure(**{name: value})(checkpoint)
    monkeypatch.setattr(hfseq.LSTMForSequenceClassification, "__init__", lambda *args: pytest.fail("a model is built"))
    for auto in (AutoConfig, AutoModelForSequenceClassification):
        with pytest.raises(StrictDataclassFieldValidationError, match=rf"'{name}'(.|\n)*{value}"):
            auto.from_pretrained(checkpoint)


@pytest.mark.parametrize("value", [0, 10**7])
def test_numbers_of_labels_out_of_bounds_are_refused(checkpoint, value):
    configure(id2label=None, label2id=None, num_labels=value)(checkpoint)
    for auto in (AutoConfig, AutoModelForSequenceClassification):
        with pytest.raises(ValueError, match=rf"num_labels must be in \[1, 100000\], got {value}"):
            auto.from_pretrained(checkpoint)


def test_a_tokenizer_of_another_model_is_named_when_its_ids_arrive(checkpoint):
    oversize_tokenizer(checkpoint)
    with pytest.raises(UnsafeArtifactError, match="is 6, but the model's vocab_size is 6.*another model"):
        check_tokenizer_ids(checkpoint)
    tokenizer, model = AutoTokenizer.from_pretrained(checkpoint), load(checkpoint)
    model(**tokenizer("good film", return_tensors="pt"))
    message = r"input id 6 is outside 0 to 5.*resize_token_embeddings\(len\(tokenizer\)\)"
    for ask in (
        lambda: model(**tokenizer("good extra", return_tensors="pt")),
        lambda: pipeline("text-classification", model=str(checkpoint))("good extra"),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    model.resize_token_embeddings(len(tokenizer))  # the cure
    assert model(**tokenizer("good extra", return_tensors="pt")).logits.shape == (1, 2)


def test_a_single_weight_file_is_taken_only_if_it_is_safetensors(checkpoint):
    model, config = load(checkpoint), AutoConfig.from_pretrained(checkpoint)
    cls = hfseq.LSTMForSequenceClassification
    assert_same_weights(cls.from_pretrained(checkpoint / "model.safetensors", config=config), model)
    turn_into_pickle(checkpoint)
    with pytest.raises(UnsafeArtifactError, match="pytorch_model.bin is not a .*safetensors file.*never read"):
        cls.from_pretrained(checkpoint / "pytorch_model.bin", config=config)


def test_variants_are_refused(checkpoint):
    make_model().save_pretrained(checkpoint, variant="fp16")
    with pytest.raises(ValueError, match="variant='fp16': weights are read from model.safetensors or"):
        load(checkpoint, variant="fp16")


def test_a_checkpoint_in_a_subfolder_is_checked_there(checkpoint):
    save_checkpoint(checkpoint / "sub")
    turn_into_pickle(checkpoint)
    load(checkpoint, subfolder="sub")
    turn_into_pickle(checkpoint / "sub")
    with pytest.raises(UnsafeArtifactError, match="sub holds pytorch_model.bin only"):
        load(checkpoint, subfolder="sub")


def test_the_cure_for_a_pickle_works(checkpoint, monkeypatch):
    model = load(checkpoint)
    turn_into_pickle(checkpoint)
    with pytest.raises(UnsafeArtifactError) as caught:
        load(checkpoint)
    cure = re.search(r"safetensors\.torch\.(save_file\(.*\))\.$", str(caught.value))
    monkeypatch.undo()
    monkeypatch.chdir(checkpoint)
    exec(cure[1], {"save_file": save_file, "torch": torch})
    pickled = torch.load("pytorch_model.bin", weights_only=True)
    (checkpoint / "pytorch_model.bin").unlink()
    assert load_file("model.safetensors").keys() == pickled.keys() == model.state_dict().keys()
    assert all(torch.equal(value, pickled[name]) for name, value in load(checkpoint).state_dict().items())


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["a-stranger/kernel", "flash_attention_2", {"": "a-stranger/kernel"}])
def test_a_config_may_not_choose_an_attention_that_comes_from_the_hub(checkpoint, name, value):
    whole = (checkpoint / "config.json").read_text(encoding="utf-8")
    configure(**{name: value})(checkpoint)
    for auto in (AutoConfig, AutoModelForSequenceClassification):
        with pytest.raises(ValueError, match=f"sets {name} to .*eager, sdpa, flex_attention only"):
            auto.from_pretrained(checkpoint)
    (checkpoint / "config.json").write_text(whole, encoding="utf-8")
    configure(**{name: "eager"})(checkpoint)
    assert load(checkpoint).config._attn_implementation == "eager"
    config = hfseq.LSTMConfig.from_dict({"vocab_size": 6}, attn_implementation="a-stranger/kernel")
    assert config._attn_implementation == "a-stranger/kernel"  # asked for by code


@pytest.mark.parametrize("value", ["int32", "save", "bool", "complex64"])
def test_a_config_may_not_choose_numbers_that_are_no_weights(checkpoint, value):
    for name in ("dtype", "torch_dtype"):
        configure(**{"dtype": None, name: value})(checkpoint)
        with pytest.raises(ValueError, match=f"dtype must be a type of floating-point numbers.*'{value}'"):
            load(checkpoint)


def test_a_small_file_cannot_ask_for_much_memory(checkpoint):
    """A config of 1 KB asked for 5 GB before its weights were seen not to fit, whole or in shards."""
    configure(vocab_size=10**7)(checkpoint)
    script = f"""
        import resource
        import hfseq
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            hfseq.LSTMForSequenceClassification.from_pretrained({str(checkpoint)!r})
        except ValueError as error:
            print(error)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    message, kilobytes = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert re.search(r"another shape.*embed_tokens.weight \(6, 128\) for \(10000000, 128\)", message)
    assert int(kilobytes) < 300_000


def test_shards_are_compared_before_they_are_read(checkpoint, monkeypatch):
    make_model().save_pretrained(checkpoint, max_shard_size="2KB")
    (checkpoint / "model.safetensors").unlink(missing_ok=True)
    assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
    expected = load(checkpoint)
    grown = load(checkpoint, num_labels=5, ignore_mismatched_sizes=True)
    assert grown.classifier.weight.shape[0] == 5 and torch.equal(
        grown.model.embed_tokens.weight, expected.model.embed_tokens.weight
    )
    monkeypatch.setattr(PreTrainedModel, "_load_pretrained_model", lambda *args: pytest.fail("the weights are read"))
    for options in ({}, {"strict": False}):
        with pytest.raises(ValueError, match=r"another shape.*classifier.weight \(2, 8\) for \(5, 8\)"):
            load(checkpoint, num_labels=5, **options)


def test_a_class_may_name_the_keys_that_it_can_do_without(checkpoint):
    class Own(hfseq.LSTMForSequenceClassification):
        _keys_to_ignore_on_load_missing = [r"^extra"]

        def __init__(self, config):
            super().__init__(config)
            self.extra = torch.nn.Linear(2, 2)
            self.post_init()

    Own.from_pretrained(checkpoint)
    Own._keys_to_ignore_on_load_missing = None
    with pytest.raises(ValueError, match=r"lacks extra\.bias, extra\.weight"):
        Own.from_pretrained(checkpoint)


def test_threads_that_load_at_once_leave_everything_as_it_was(checkpoint, monkeypatch):
    """transformers exchanges functions while it loads; left so, no later model would tie its weights."""
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    tied = hfseq.LSTMConfig(vocab_size=9, embedding_size=8, hidden_size=8, tie_word_embeddings=True)
    with monkeypatch.context() as context:  # which puts back what a failure would leave to the other tests
        context.setattr(PreTrainedModel, "tie_weights", PreTrainedModel.tie_weights)
        with ThreadPoolExecutor(8) as pool:
            for model in pool.map(lambda _: load(checkpoint), range(40)):
                assert model.config.num_labels == 2
        model = hfseq.LSTMForCausalLM(tied)
        assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "DISABLE_SAFETENSORS_CONVERSION" not in os.environ


def test_weights_under_other_names_are_compared_by_the_names_they_get(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    renamed = {name.replace("model.embed_tokens", "model.words"): tensor for name, tensor in tensors.items()}
    save_file(renamed, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks model.embed_tokens.weight and has unexpected model.words.weight"):
        load(checkpoint)
    loaded = load(checkpoint, key_mapping={"words": "embed_tokens"})
    assert torch.equal(loaded.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])

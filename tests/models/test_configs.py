"""Configs: what others call our fields, what transformers may write, and what config.json may not choose."""

import inspect
import json
from dataclasses import fields

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoConfig, PreTrainedModel

import hfseq
from hfseq.models import configs
from hfseq.registry import FAMILIES
from tests.rounds import for_each

ALL_FIELDS = {field.name for family in FAMILIES.values() for field in fields(family.config)} | {"num_labels"}


def test_each_foreign_name_stands_once_and_means_a_field_of_some_family():
    names = [name for _, names in configs._MEANINGS for name in names.split()]
    assert len(names) == len(set(names)) > 100
    assert {candidate for candidates, _ in configs._MEANINGS for candidate in candidates} <= ALL_FIELDS


@for_each(
    ("config", "names"),
    [
        (
            hfseq.LSTMConfig,
            "hidden_dim=hidden_size units=hidden_size nhid=hidden_size embed_dim=embedding_size n_embd=embedding_size "
            "emsize=embedding_size n_layers=num_hidden_layers nlayers=num_hidden_layers num_classes=num_labels "
            "dropout=hidden_dropout wdrop=weight_drop padding_idx=pad_token_id bidir=bidirectional ntoken=vocab_size",
        ),
        (
            hfseq.TransformerConfig,
            "n_embd=hidden_size d_model=hidden_size n_layer=num_hidden_layers n_head=num_attention_heads "
            "d_ff=intermediate_size n_positions=max_position_embeddings encoder_layers=num_hidden_layers "
            "activation=hidden_act resid_pdrop=hidden_dropout embd_pdrop=hidden_dropout attn_pdrop=attention_dropout",
        ),
        (hfseq.TransformerSeq2SeqConfig, "encoder_layers=num_encoder_layers decoder_layers=num_hidden_layers"),
        (hfseq.Seq2SeqConfig, "encoder_layers=num_encoder_layers hidden_dim=hidden_size rnn_type=cell"),
        (hfseq.RNNConfig, "activation=nonlinearity"),
        (hfseq.CustomConfig, "rnn_type=cell"),
        (hfseq.HMMConfig, "hidden_size=num_states n_components=num_states"),
        (hfseq.NGramConfig, "n=order alpha=add_k context_size=order"),
        (
            hfseq.Word2VecConfig,
            "vector_size=hidden_size embedding_size=hidden_size window_size=window sg=architecture",
        ),
    ],
)
def test_a_field_by_the_name_of_others_is_an_error_that_names_ours(config, names):
    for pair in names.split():
        name, meant = pair.split("=")
        with pytest.raises(ValueError, match=f"has no field '{name}'. Did you mean '{meant}'"):
            config(**{name: 1})


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(ValueError) as caught:
        hfseq.LSTMConfig(hidden_dim=512, n_layers=3, units=64, num_classes=5, embed_dim=100)
    assert all(f"'{name}'" in str(caught.value) for name in ("hidden_dim", "n_layers", "units", "num_classes"))


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("rnn_type", "the class says which network it is"),
        ("top_p", "it belongs into model.generation_config"),
        ("learning_rate", "it belongs into TrainingArguments"),
        ("no_such_thing", "It has .*vocab_size, embedding_size, hidden_size"),
    ],
)
def test_what_is_no_field_by_any_name_is_sent_to_its_place(name, cure):
    with pytest.raises(ValueError, match=f"LSTMConfig has no field '{name}'.*{cure}"):
        hfseq.LSTMConfig(**{name: 1})


@for_each("family", FAMILIES.values())
def test_no_option_of_a_loader_is_taken_for_a_field(family):
    options = set(inspect.signature(PreTrainedModel.from_pretrained).parameters)
    options |= {"dtype", "device_map", "max_memory", "low_cpu_mem_usage", "attn_implementation", "key_mapping"}
    options |= {"gguf_file", "trust_remote_code", "code_revision", "subfolder", "variant", "strict", "state_dict"}
    assert [name for name in family.config.unknown_names(options) if family.config.field_meant(name)] == []


def test_a_field_by_another_name_is_an_error_beside_a_file_too(tmp_path):
    hfseq.LSTMConfig(hidden_size=8).save_pretrained(tmp_path)
    for auto in (AutoConfig, hfseq.LSTMConfig):
        with pytest.raises(ValueError, match="no field 'hidden_dim'. Did you mean 'hidden_size'"):
            auto.from_pretrained(tmp_path, hidden_dim=3)
        assert auto.from_pretrained(tmp_path, hidden_size=3, low_cpu_mem_usage=True).hidden_size == 3
        with pytest.raises(
            StrictDataclassClassValidationError, match="eos_token_id=10000 is outside 0 to vocab_size - 1 = 9999"
        ):
            auto.from_pretrained(tmp_path, eos_token_id=10_000)


def test_what_other_tools_write_is_no_news(tmp_path, monkeypatch):
    monkeypatch.setattr(configs.logger, "warning", lambda line: pytest.fail(line))
    written = {
        "auto_map": {},
        "custom_pipelines": {},
        "torch_dtype": "float16",
        "use_cache": False,
        "_commit_hash": "a",
    }
    written |= {"tokenizer_class": "PreTrainedTokenizerFast", "transformers_version": "4.1.0", "is_decoder": False}
    for name, family in FAMILIES.items():
        needed = {"feature_size": 8} if name == "captioner" else {}
        assert str(family.config.from_dict(written | needed).dtype) == "torch.float16"
    path = tmp_path / "config.json"
    path.write_text(json.dumps(hfseq.LSTMConfig(hidden_size=9).to_dict() | written), encoding="utf-8")
    assert hfseq.LSTMConfig.from_json_file(path).hidden_size == 9


def test_a_file_of_json_may_hold_newer_keys(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(configs.logger, "warning", lines.append)
    (tmp_path / "config.json").write_text('{"hidden_size": 9, "highway": 1, "n_layers": 2}', encoding="utf-8")
    config = hfseq.LSTMConfig.from_json_file(tmp_path / "config.json")
    assert config.hidden_size == 9 and config.num_hidden_layers == 1 and config.highway == 1
    assert "'highway', 'n_layers' ('num_hidden_layers'?)" in lines[0] and "install that one" in lines[0]


def test_labels_that_cannot_be_are_refused_beside_num_labels_too():
    for labels, message in (
        ({0: "a", 7: "b"}, r"must number 2 labels from 0 to 1, got the ids \[0, 7\]"),
        ({0: "a", 1: "a"}, "the name 'a' to several labels"),
        ({}, r"id2label must be in \[1, 100000\], got 0"),
    ):
        for options in ({}, {"num_labels": 3}):
            with pytest.raises(ValueError, match=message):
                hfseq.LSTMConfig(id2label=labels, **options)
    config = hfseq.LSTMConfig(id2label={"0": "a", "1": "b"})
    assert config.id2label == {0: "a", 1: "b"}
    config.id2label = {0: "a", 2: "b"}
    with pytest.raises(StrictDataclassClassValidationError, match=r"got the ids \[0, 2\]"):
        config.validate()

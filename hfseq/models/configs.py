"""What every config shares: fields that are checked, and no keyword or key of a config.json lost in silence.

A keyword in code that is no field is an error, which names the field that was meant. A key of a config.json that is
none may come from a newer hfseq, or from another tool: it is named in a warning, and the model loads.

No `from __future__ import annotations` in this folder: it turns annotations into strings, which silently switches off
the type checks of `@strict`.
"""

import difflib
import os
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import torch
from huggingface_hub.dataclasses import strict, validated_field
from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import logging

from .artifacts import INDEX_NAME, WEIGHTS_NAME

logger = logging.get_logger(__name__)

MOST_LABELS = 100_000

# `Any`-typed on purpose: a dataclass field is declared as its default, `hidden_size: int = bounded(128, 1, 65_536)`.
Field = Any


def bounded(default: float | None, low: float, high: float) -> Field:
    """Make a config field whose value lies in [low, high]; None passes if the field's type allows it.

    Upper bounds are generous. They stop a hostile or mistyped config.json before any memory is asked for.
    """

    def check(value: Any) -> None:
        # To Python a bool is an int: hidden_size=True would be a width of 1.
        if isinstance(value, bool):
            raise TypeError(f"must be a number in [{low}, {high}], got {value!r}")
        if value is not None and not low <= value <= high:
            raise ValueError(f"must be in [{low}, {high}], got {value!r}")

    return validated_field(check, default=default)


def probability(default: float | None) -> Field:
    """Make a config field for the probability of dropping something; with 1, nothing would be left to train."""
    return bounded(default, 0.0, 0.95)


# What is no field of a family, but no mistake either.
_OF_TRANSFORMERS = frozenset(
    {
        # taken by PreTrainedConfig.__post_init__
        *("num_labels", "torch_dtype", "name_or_path", "output_attentions", "attn_implementation"),
        *("experts_implementation", "per_layer_config", "tie_last_hidden_states"),
        # written into a config.json by save_pretrained, push_to_hub and quantizers
        *("model_type", "auto_map", "custom_pipelines", "quantization_config", "transformers_weights"),
        *("fusion_config", "tokenizer_class", "processor_class"),
        # set on any model's config by Trainer, accelerate and EncoderDecoderModel
        *("use_cache", "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id"),
        *("tie_word_embeddings", "is_decoder", "add_cross_attention"),
    }
)

# Fields, the first that a family has counts; then what Keras, torch, GPT-2, BERT, fairseq, AWD-LSTM, gensim and
# others call them.
_MEANINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("hidden_size", "num_states"),
        "hidden_dim units nhid n_hid d_model dim model_dim dim_model num_units n_units hidden_units rnn_units hidden "
        "rnn_size lstm_size n_hidden num_hidden d_hidden state_size decoder_hidden_size encoder_hidden_size "
        "vector_size hidden_size n_components num_hidden_states",
    ),
    (
        ("embedding_size", "hidden_size"),
        "embedding_dim embed_dim emb_dim emsize emb_size embed_size n_embd n_embed ninp input_size word_dim d_emb "
        "embedding_size encoder_embed_dim decoder_embed_dim embedding_dimension dim_embedding",
    ),
    (
        ("num_hidden_layers",),
        "num_layers n_layers n_layer nlayers num_layer layers depth num_blocks n_blocks rnn_layers num_rnn_layers "
        "decoder_layers num_decoder_layers n_decoder_layers",
    ),
    (("num_encoder_layers", "num_hidden_layers"), "encoder_layers n_encoder_layers"),
    (
        ("num_attention_heads",),
        "nhead nheads n_head n_heads num_heads heads attention_heads encoder_attention_heads decoder_attention_heads",
    ),
    (
        ("intermediate_size",),
        "dim_feedforward d_ff ff_dim d_inner n_inner ffn_dim mlp_dim feedforward_dim ffn_hidden_size ffn_embed_dim "
        "encoder_ffn_dim decoder_ffn_dim encoder_ffn_embed_dim decoder_ffn_embed_dim",
    ),
    (("hidden_act", "nonlinearity"), "activation activation_function activation_fn act_fn act hidden_activation"),
    (
        ("hidden_dropout",),
        "dropout dropout_rate dropout_p dropout_prob hidden_dropout_prob resid_pdrop residual_dropout dropouth "
        "drop_rate",
    ),
    (("embedding_dropout",), "dropoute embed_dropout emb_dropout word_dropout"),
    (("input_dropout", "hidden_dropout"), "dropouti embd_pdrop spatial_dropout"),
    (("weight_drop",), "wdrop weight_dropout recurrent_dropout"),
    (("attention_dropout",), "attn_pdrop attn_dropout attention_probs_dropout_prob attention_dropout_prob"),
    (("activation_dropout",), "relu_dropout ffn_dropout ff_dropout"),
    (("classifier_dropout",), "summary_first_dropout seq_classif_dropout cls_dropout head_dropout"),
    (
        ("num_labels",),
        "num_classes n_classes nclasses num_class n_class nb_classes n_labels nlabels num_tags n_tags num_outputs "
        "output_dim out_features",
    ),
    (("id2label",), "label_names labels classes class_names"),
    (
        ("vocab_size",),
        "num_embeddings n_vocab ntoken ntokens num_tokens n_tokens vocabulary_size num_words max_features",
    ),
    (("bidirectional",), "bidir is_bidirectional birnn brnn bi_directional num_directions"),
    (
        ("max_position_embeddings",),
        "n_positions n_ctx block_size max_len max_seq_len max_seq_length seq_len seq_length context_length "
        "max_source_positions max_target_positions",
    ),
    (("window", "order"), "context_size window_size n ngram_order ws"),
    (("word_ngrams",), "wordNgrams word_ngram word_n_grams ngram_range"),
    (("smoothing",), "method"),
    (("architecture",), "sg"),
    (("loss", "hierarchical_softmax"), "hs loss"),
    (("negatives",), "negative neg"),
    (("noise_power",), "ns_exponent"),
    (("ngram_buckets",), "bucket buckets num_buckets"),
    (("shortest_ngram",), "min_n minn"),
    (("longest_ngram",), "max_n maxn"),
    (("weighting",), "tfidf use_idf idf"),
    (("label_prefix",), "label"),
    (("position_embedding_type",), "pos_type positional_encoding pos_encoding position_embeddings use_rope"),
    (("norm_eps",), "layer_norm_eps layer_norm_epsilon rms_norm_eps layernorm_epsilon ln_eps"),
    (("norm_position",), "norm_first pre_norm prenorm normalize_before encoder_normalize_before pre_ln"),
    (("norm", "layer_norm"), "norm_type normalization use_layer_norm layernorm layer_norm"),
    (("bias",), "use_bias add_bias"),
    (("tie_word_embeddings",), "tied tie_weights tie_embeddings weight_tying share_decoder_input_output_embed"),
    (("adaptive_softmax_cutoffs",), "cutoffs adaptive_softmax_cutoff"),
    (("initializer_range",), "init_std init_range initrange initializer_std"),
    (("activation_regularization", "add_k"), "alpha ar k"),
    (("temporal_activation_regularization",), "beta tar"),
    (("pooling",), "pool pooling_mode pooling_type summary_type classifier_pooling"),
    (("freeze_embeddings",), "freeze trainable freeze_embed"),
    (("forget_bias",), "unit_forget_bias forget_gate_bias"),
    (("peephole",), "peepholes use_peepholes"),
    (("coupled",), "cifg coupled_gates"),
    (("reset",), "reset_after"),
    (("residual",), "skip skip_connections residual_connections"),
    (("cell",), "rnn_type cell_type"),
    (("pad_token_id",), "padding_idx pad_idx pad_id pad_index"),
    (("bos_token_id",), "bos_id bos_idx sos_token_id sos_id"),
    (("eos_token_id",), "eos_id eos_idx"),
)
_FIELDS_MEANT = {name: candidates for candidates, names in _MEANINGS for name in names.split()}

# What has its place outside a model's config.
_ELSEWHERE = dict.fromkeys(
    ("rnn_type", "cell_type"), "the class says which network it is (RNNConfig, LSTMConfig, GRUConfig, ...)"
)
_ELSEWHERE |= dict.fromkeys(("batch_first", "return_sequences", "return_state"), "every model reads (texts, tokens)")
_ELSEWHERE |= dict.fromkeys(
    ("learning_rate", "lr", "batch_size", "epochs", "num_train_epochs"), "it belongs into TrainingArguments"
)
_OF_GENERATION = frozenset(vars(GenerationConfig()))
_ELSEWHERE |= dict.fromkeys(_OF_GENERATION, "it belongs into model.generation_config")

# A config.json may choose among these. What else transformers knows is fetched from the Hub, and is code.
_SAFE_ATTENTION = ("eager", "sdpa", "flex_attention")


@strict
class SequenceConfig(PreTrainedConfig):
    """Base of all configs: a keyword that is no field is an error, and so are sizes, ids and labels that cannot be."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Refuse a keyword that is no field.

        transformers keeps any unknown keyword as an attribute (it needs that for its own extras), which turns
        `hiden_size=256` into a model of the default width.
        """
        _check_extras(kwargs)
        # Before transformers makes other labels of num_labels.
        _check_labels(self.id2label)
        _check_dtype(self.dtype if kwargs.get("torch_dtype") is None else kwargs["torch_dtype"])
        unknown = self.unknown_names(kwargs)
        if unknown:
            raise ValueError(" ".join(self._explain(name) for name in unknown))
        super().__post_init__(**kwargs)

    @classmethod
    def unknown_names(cls, names: Iterable[str]) -> list[str]:
        """Return those of the names that are no field, nor anything that transformers writes or passes."""
        known = {field.name for field in fields(cls)} | set(cls.attribute_map) | _OF_TRANSFORMERS
        # transformers passes _commit_hash and others on; nobody writes such a name by mistake.
        return [name for name in names if name not in known and not name.startswith("_")]

    @classmethod
    def field_meant(cls, name: str) -> str | None:
        """Return the field that is probably meant by `name`, which is no field; None if that cannot be told."""
        own = [field.name for field in fields(cls)]
        for candidate in _FIELDS_MEANT.get(name, ()):
            if candidate in own or candidate == "num_labels":
                return candidate
        close = difflib.get_close_matches(name, own, n=1, cutoff=0.85)
        return close[0] if close else None

    @classmethod
    def _explain(cls, name: str) -> str:
        """Say that there is no such field, and what there is."""
        meant = cls.field_meant(name)
        if meant is not None:
            cure = f"Did you mean {meant!r}?"
        elif name in _ELSEWHERE:
            cure = f"Leave it out: {_ELSEWHERE[name]}."
        else:
            inherited = [field.name for field in fields(PreTrainedConfig)]
            cure = f"It has {', '.join(field.name for field in fields(cls) if field.name not in inherited)}."
        return f"{cls.__name__} has no field {name!r}. {cure}"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read a config.json; keep keys that a newer hfseq or another tool wrote, with a warning.

        Raises:
            ValueError: If the file asks for code from the Hub, or a keyword means a field by another name.
        """
        check_attention(config_dict)
        unread = {name: config_dict[name] for name in cls.unknown_names(config_dict)}
        for name in cls.unknown_names(kwargs):
            # Options of loaders come through here too: only what probably means a field is known to be a mistake.
            if name not in unread and cls.field_meant(name) is not None:
                raise ValueError(cls._explain(name))
        if unread:
            logger.warning(_unread_message(cls, unread))
        read = {name: value for name, value in config_dict.items() if name not in unread}
        loaded = super().from_dict(read, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        for name, value in unread.items():
            # Never in the place of a method, and nothing that a config may not be saved with.
            if not hasattr(cls, name) and name not in _OF_GENERATION:
                setattr(config, name, value)
        # What was passed beside the file was set field by field, without the checks of combinations.
        config.validate()
        return loaded

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike) -> Any:
        """Read a file as `from_dict` does; transformers would treat its keys as keywords written in code."""
        return cls.from_dict(cls._dict_from_json_file(json_file))

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Any:
        """Return this config: no other is in it.

        transformers would return a copy in which `decoder_vocab_size`, set or not, has taken the place of
        `vocab_size`.
        """
        return self

    def validate_token_ids(self) -> None:
        """Check that special tokens are in the vocabulary: padding needs its row, and a text must be able to end.

        Where a decoder has a vocabulary of its own, they are in that one, but for what the encoder reads.
        """
        for name in (field.name for field in fields(self) if field.name.endswith("_token_id")):
            token, size_field = getattr(self, name), self.size_field_of(name)
            size = getattr(self, size_field)
            if token is not None and not 0 <= token < size:
                raise ValueError(f"{name}={token} is outside 0 to {size_field} - 1 = {size - 1}")

    def size_field_of(self, token: str) -> str:
        """Return the field that says how many ids there are where the special token `token` is used."""
        return "vocab_size"

    def validate_labels(self) -> None:
        """Check that the labels are numbered from 0 without gaps, each with a name of its own."""
        _check_labels(self.id2label)

    def validate_problem_type(self) -> None:
        """Check what transformers declares but does not check."""
        allowed = ("regression", "single_label_classification", "multi_label_classification", None)
        if self.problem_type not in allowed:
            raise ValueError(f"problem_type must be one of {allowed}, got {self.problem_type!r}")


def _unread_message(cls: type[SequenceConfig], names: Iterable[str]) -> str:
    hints = [f"{name!r}{f' ({meant!r}?)' if (meant := cls.field_meant(name)) else ''}" for name in sorted(names)]
    return (
        f"config.json has keys that {cls.__name__} does not know, and that change nothing here: {', '.join(hints)}. "
        "If a newer hfseq wrote them, this one may compute something else: install that one. Options of "
        "generate(), which are not saved again, belong in generation_config.json."
    )


def _check_extras(kwargs: dict[str, Any]) -> None:
    """Refuse what is no field of ours, but steers transformers when it stands in config.json."""
    if kwargs.get("num_labels") is not None:
        _check_number_of_labels(kwargs["num_labels"], "num_labels")
    if kwargs.get("transformers_weights") is not None:
        raise ValueError(
            f"transformers_weights names {kwargs['transformers_weights']!r}, but weights are read from {WEIGHTS_NAME} "
            f"or {INDEX_NAME} only: delete that entry of config.json."
        )


def _check_labels(id2label: dict[Any, str] | None) -> None:
    if id2label is None:
        return
    _check_number_of_labels(len(id2label), "id2label")
    # In JSON all keys are strings.
    ids = sorted(int(label) for label in id2label)
    if ids != list(range(len(ids))):
        raise ValueError(f"id2label must number {len(ids)} labels from 0 to {len(ids) - 1}, got the ids {ids[:10]}")
    names, twice = set[str](), None
    for name in id2label.values():
        twice = name if name in names else twice
        names.add(name)
    if twice is not None:
        raise ValueError(f"id2label gives the name {twice!r} to several labels: each needs one of its own")


def _check_number_of_labels(number: int, where: str) -> None:
    # Each label gets a name, so a mistyped number would fill the memory.
    if not 1 <= number <= MOST_LABELS:
        raise ValueError(f"{where} must be in [1, {MOST_LABELS}], got {number!r}")


def _check_dtype(dtype: Any) -> None:
    """Refuse what is no type of weights, before transformers looks it up among all that torch has."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ValueError(f"dtype must be a type of floating-point numbers, such as 'float32', got {dtype!r}")


def check_attention(config_dict: dict[str, Any]) -> None:
    """Refuse a config.json that chooses an attention which transformers would fetch from the Hub and run."""
    for name in ("attn_implementation", "_attn_implementation"):
        asked = config_dict.get(name)
        for value in asked.values() if isinstance(asked, dict) else (asked,):
            if value is not None and value not in _SAFE_ATTENTION:
                raise ValueError(
                    f"config.json sets {name} to {value!r}: it may name {', '.join(_SAFE_ATTENTION)} only. Delete "
                    "that entry; who trusts a kernel passes attn_implementation to from_pretrained."
                )

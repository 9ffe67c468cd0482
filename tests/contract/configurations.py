"""Which models the contract suite examines: every row of the registry, in each configuration that reads other code."""

from collections.abc import Callable
from pathlib import Path

from hfseq import FAMILIES
from tests.contract import families
from tests.contract.cases import Case, spellings
from tests.contract.promises import CHECKS

CONFIGURATIONS = {
    "plain": {},
    "two-layers": {"num_hidden_layers": 2, "pooling": "mean_max", "dropout_kind": "locked", "embedding_dropout": 0.1},
    "wide": {"wide_ngrams": 3, "wide_buckets": 50},
    "two-layers-both-directions": {"num_hidden_layers": 2, "bidirectional": True, "pooling": "attention"},
}
SWITCHES = {  # of one family each: other parameters than the plain cell has, or another way through the kernels
    "rnn-residual-forget": {"residual": "forget", "bidirectional": True},
    "lstm-peephole-coupled": {"peephole": True, "coupled": True},
    "lstm-blocks": {"block_size": 5, "bidirectional": True},
    "lstm-layer-norm": {"layer_norm": True},
    "gru-reset-before": {"reset": "before", "num_hidden_layers": 2},
}
PAIRS = {"pairs": "siamese", "eos_token_id": 3}
_WIDE = {"wide_ngrams": 2, "wide_buckets": 50}
SWITCHES |= {"gru-pairs": {**PAIRS, **_WIDE, "bidirectional": True}, "lstm-pairs-alone": PAIRS}
TAGGERS = {"plain": {}, "both-directions": {"num_hidden_layers": 2, "bidirectional": True}}
INTENTS = {
    "plain": {},
    "both-directions": {**TAGGERS["both-directions"], "pooling": "attention", "intent_weight": 2.0},
    "wide": {"wide_ngrams": 2, "wide_buckets": 50},
    "crf": {"crf": True, "bidirectional": True, "slot_labels": ["one", "two", "three"]},  # any may follow any
}
_CHARACTERS = {
    **{"character_embedding_size": 4, "character_hidden_size": 6, **spellings().sizes()},
    **{"bos_token_id": 2, "eos_token_id": 3},  # as the spellings have it
}
CHARACTERS = {
    "cnn": {
        "characters": "cnn",
        "bidirectional": True,
        "num_hidden_layers": 2,
        "embedding_dropout": 0.1,
        **_CHARACTERS,
    },
    "lstm": {"characters": "lstm", "crf": True, **_CHARACTERS},
    "features": {"characters": "cnn", "feature_buckets": 50, "crf": True, **_CHARACTERS},
}
_BIO = {"id2label": {0: "O", 1: "B-x", 2: "I-x"}, "label2id": {"O": 0, "B-x": 1, "I-x": 2}}
CRF_TAGGERS = {  # each decoding, with any row of labels allowed or only those of entities
    "rnn-tagger-crf": {"crf": True},
    "lstm-tagger-crf-entities": {"crf": True, **_BIO, "bidirectional": True},
    "gru-tagger-crf-marginal": {"crf": True, **_BIO, "decoding": "marginal", "bidirectional": True},
    "custom-tagger-crf-marginal": {"crf": True, "decoding": "marginal"},
    "transformer-tagger-crf-entities": {"crf": True, **_BIO},
    "window-tagger-crf-entities": {"crf": True, **_BIO, "decoding": "marginal"},
}
LANGUAGE_MODELS = {
    "plain": {},
    "tied": {
        **{"num_hidden_layers": 2, "hidden_size": 7, "last_hidden_size": 6, "tie_word_embeddings": True},
        **{"dropout_kind": "locked", "embedding_dropout": 0.1, "weight_drop": 0.2, "output_dropout": 0.2},
        **{"activation_regularization": 2.0, "temporal_activation_regularization": 1.0},
    },
    "adaptive": {"adaptive_softmax_cutoffs": [6]},
}
WORD_VECTORS = {
    "plain": {},
    "cbow": {"architecture": "cbow"},
    "ngrams": {"ngram_buckets": 7},
    "hierarchical": {"loss": "hierarchical-softmax"},
    "softmax": {"loss": "softmax"},
    "vectors-only": {"with_outputs": False, "ngram_buckets": 7},
}
BAGS = {
    "plain": {},
    "words-alone": {"word_ngrams": 1, "ngram_buckets": 0, "bias": False, "weighting": "count"},
    "characters-tfidf": {"shortest_ngram": 2, "longest_ngram": 3, "word_ngrams": 3, "weighting": "tfidf"},
    "by-length": {"word_ngrams": 3, "weighting": "tfidf_l2"},
    "hierarchical": {"hierarchical_softmax": True, "weighting": "count"},
    "kept": {"num_kept_buckets": 20},
    "quantized": {"num_kept_buckets": 20, "row_codes": 3, "norm_codes": True, "weighting": "tfidf"},
}
TREES = {  # each composition, and each shape that joins words
    "tree-lstm": {},
    "child-sum": {"composition": "child_sum", "tree": "left"},
    "tree-gru": {"composition": "tree_gru", "tree": "balanced"},
    "matrix": {"composition": "matrix", "embedding_dropout": 0.1},
    "matrix-vector": {"composition": "matrix_vector", "tree": "balanced"},
    "tensor": {"composition": "tensor"},
}
_STILL = {"hidden_dropout": 0.0, "attention_dropout": 0.0}  # of the network in a mixture, whose options are its own
ROWS = [(name, task) for name, family in FAMILIES.items() for task in family.heads]
RECURRENT = ("rnn", "lstm", "gru", "custom")
CASES = {
    f"{name}-{label}": (name, "text-classification", options)
    for name in RECURRENT
    for label, options in CONFIGURATIONS.items()
}
for name in RECURRENT:
    CASES |= {f"{name}-tagger-{label}": (name, "token-classification", options) for label, options in TAGGERS.items()}
    CASES |= {f"{name}-intents-{label}": (name, "intent-slots", options) for label, options in INTENTS.items()}
    CASES |= {f"{name}-language-{label}": (name, "text-generation", opts) for label, opts in LANGUAGE_MODELS.items()}
CASES |= {
    f"lstm-tagger-characters-{label}": ("lstm", "token-classification", options)
    for label, options in CHARACTERS.items()
}
CASES["lstm-intents-features"] = ("lstm", "intent-slots", {**CHARACTERS["features"], "crf": False})
CASES["gru-characters"] = ("gru", "text-classification", {**CHARACTERS["cnn"], "pooling": "mean_max"})
TRANSFORMERS = {
    "plain": {},
    "post-relu-learned": {
        **{
            "norm_position": "post",
            "hidden_act": "relu",
            "position_embedding_type": "learned",
            "pooling": "attention",
        },
        **{"tie_word_embeddings": False, "embedding_dropout": 0.1},
    },
    "rotary-swiglu-rms": {
        **{"position_embedding_type": "rotary", "hidden_act": "swiglu", "norm": "rms_norm", "bias": False},
        "pooling": "mean_max",
    },
}
for task in (
    task for task in FAMILIES["transformer"].heads if task != "series-forecasting"
):  # it reads numbers, below
    CASES |= {f"transformer-{task}-{label}": ("transformer", task, options) for label, options in TRANSFORMERS.items()}
CASES |= {
    "transformer-text-classification-causal": (
        "transformer",
        "text-classification",
        {"bidirectional": False, "pooling": "last"},
    ),
    "transformer-text-classification-pairs": ("transformer", "text-classification", {**PAIRS, "pooling": "attention"}),
    "window-text-classification-pairs": ("window", "text-classification", {**PAIRS, **_WIDE}),
    "transformer-seq2seq": ("transformer_seq2seq", "text2text-generation", {"num_encoder_layers": 1}),
    "transformer-seq2seq-post-rotary": (
        "transformer_seq2seq",
        "text2text-generation",
        {"norm_position": "post", "position_embedding_type": "rotary", "tie_word_embeddings": False},
    ),
    "transformer-seq2seq-two-vocabularies": (
        "transformer_seq2seq",
        "text2text-generation",
        {"decoder_vocab_size": 14, "encoder_pad_token_id": 13},
    ),
}
SEQ2SEQ = {
    "naive": {"feedback": False, "attention": "none", "cell": "gru", "num_encoder_layers": 2},
    "attention": {"num_hidden_layers": 2, "embedding_dropout": 0.1, "scheduled_sampling": 0.3},
    "coverage": {"attention": "additive", "coverage": True, "input_feeding": True, "cell": "lstm_peephole"},
    "heads-tied": {
        **{"attention": "multi_head", "num_attention_heads": 2, "bidirectional_encoder": False, "cell": "rnn"},
        **{"embedding_size": 8, "tie_word_embeddings": True, "decoder_vocab_size": 14},
    },
}
CASES |= {
    f"seq2seq-{label}": ("seq2seq", "text2text-generation", {"hidden_size": 8, **options})
    for label, options in SEQ2SEQ.items()
}
CAPTIONERS = {
    "features": {
        "attention": "additive",
        "coverage": True,
        "input_feeding": True,
        "num_hidden_layers": 2,
        "num_regions": 9,
    },
    "no-attention": {"attention": "none", "cell": "gru", "embedding_size": 8, "tie_word_embeddings": True},
}
CASES |= {
    f"captioner-{label}": ("captioner", "image-captioning", {"hidden_size": 8, **options})
    for label, options in CAPTIONERS.items()
}
WINDOWS = {
    "plain": {},
    "deep-lopsided": {
        **{"num_hidden_layers": 2, "left": 3, "right": 0, "hidden_act": "relu"},
        **{"pooling": "attention", "embedding_dropout": 0.1},
    },
}
for task in FAMILIES["window"].heads:
    CASES |= {f"window-{task}-{label}": ("window", task, options) for label, options in WINDOWS.items()}
CASES |= {
    "crf-tagger-viterbi": ("crf", "token-classification", {}),
    "crf-tagger-marginal": ("crf", "token-classification", {"decoding": "marginal"}),
    "hmm-tagger-viterbi": ("hmm", "token-classification", {}),
    "hmm-tagger-posterior": ("hmm", "token-classification", {"decoding": "posterior"}),
    "hmm-language": ("hmm", "text-generation", {}),
    "ngram-kneser-ney": ("ngram", "text-generation", {}),
    "mixture-lstm": ("mixture", "text-generation", {}),
    "mixture-transformer": (
        "mixture",
        "text-generation",
        {"network": {"model_type": "hfseq_transformer", "hidden_size": 8, "num_hidden_layers": 2, **_STILL}},
    ),
    "ngram-add-k": ("ngram", "text-generation", {"order": 2, "smoothing": "add-k"}),
}
CASES |= {label: (label.split("-")[0], "text-classification", options) for label, options in SWITCHES.items()}
CASES |= {label: (label.split("-")[0], "token-classification", options) for label, options in CRF_TAGGERS.items()}
CASES |= {f"word2vec-{label}": ("word2vec", "feature-extraction", options) for label, options in WORD_VECTORS.items()}
CASES |= {f"bag-{label}": ("bag", "text-classification", options) for label, options in BAGS.items()}
CASES |= {f"recursive-{label}": ("recursive", "text-classification", options) for label, options in TREES.items()}

_NUMBERS = {"feature_size": 3}
CASES |= {  # models of numbers: a label or labels of a series, a label of a step, and what comes next
    "lstm-numbers": ("lstm", "text-classification", {**_NUMBERS, "bidirectional": True, "pooling": "mean_max"}),
    "transformer-numbers": ("transformer", "text-classification", _NUMBERS),
    "gru-tagger-numbers": ("gru", "token-classification", {**_NUMBERS, "num_hidden_layers": 2, "crf": True}),
    "transformer-tagger-numbers": ("transformer", "token-classification", _NUMBERS),
    "rnn-series-point": ("rnn", "series-forecasting", {}),
    "lstm-series-mixture": ("lstm", "series-forecasting", {"distribution": "mixture", "num_mixtures": 2}),
    "gru-series-quantiles": ("gru", "series-forecasting", {"distribution": "quantile", "num_hidden_layers": 2}),
    "custom-series-point": ("custom", "series-forecasting", {"dropout_kind": "locked"}),
    "transformer-series-gaussian": ("transformer", "series-forecasting", {"distribution": "gaussian"}),
}

CASES |= {
    "strokes-mixture": ("strokes", "strokes-generation", {}),
    "strokes-mean": ("strokes", "strokes-generation", {"loss": "mse", "num_hidden_layers": 2, "cell": "gru"}),
}

OWN_LOSS = ("word2vec-hierarchical", "word2vec-softmax", "bag-hierarchical")
"""Configurations whose loss is computed by code that no other one of their head runs: heavy checks meet them too."""


HEADS = list(dict.fromkeys((name, task) for name, task, _ in CASES.values()))
"""Each family with each of its heads; word vectors are a family without one."""


def representative(family: str, task: str) -> str:
    """The configuration of a family and head that the heavy checks examine: the next family has the next one."""
    labels = [label for label, row in CASES.items() if row[:2] == (family, task)]
    return labels[[name for name, head in HEADS if head == task].index(family) % len(labels)]


def one_of(family: str) -> str:
    """The configuration that every push examines on the newest transformers: one that generates, if any does."""
    tasks = [task for name, task in HEADS if name == family]
    return representative(family, next((task for task in tasks if task.endswith("-generation")), tasks[0]))


REPRESENTATIVES = {representative(*row) for row in HEADS}
ONE_A_FAMILY = {one_of(family) for family in FAMILIES}


def make_case(label: str, folder: Path) -> Case:
    """The case of a configuration, with an empty folder."""
    name, task, options = CASES[label]
    return families.make_case(FAMILIES[name], task, folder, options)


def promises(label: str) -> list[Callable[[Case], None]]:
    """The checks that mean something for a configuration."""
    traits = make_case(label, Path()).traits
    traits |= set() if traits & {"numbers", "images", "strokes"} else {"ids"}
    return [check for check, trait in CHECKS.items() if trait is None or trait in traits]

"""A small recurrent model and its tokenizer as JSON: what the page's JavaScript reads."""

import base64
import json
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...models.heads.causal_lm import CausalLMMixin
from ...models.heads.classification import SequenceClassificationMixin
from ...models.recurrent.backbone import RecurrentLayer, RecurrentModel, RecurrentPreTrainedModel
from ...models.recurrent.cells import Cell, gru_cell
from ...models.recurrent.loop import RecurrentLoop
from ...tokenization.kinds import whole_token_kind

LARGEST = 1_000_000
"""Weights of the largest model that a page shows: it takes 2.7 MB, and a browser still answers while one types."""

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu"}
_KINDS = ("char", "word", "whitespace")
_FORMS = {"NFC": "nfc", "NFD": "nfd", "NFKC": "nfkc", "Lowercase": "lowercase", "Replace": "no_accents"}
_ANSWERS = {None: "softmax", "single_label_classification": "softmax", "multi_label_classification": "sigmoid"}


def exported(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str = "", example: str = ""
) -> dict[str, Any]:
    """Return the model as JSON can hold it; a ValueError says why one cannot be shown.

    Args:
        model: A recurrent classifier or language model.
        tokenizer: Its tokenizer.
        name: What the page calls it.
        example: The text that the page begins with.
    """
    _check_model(model)
    config: Any = model.config
    backbone = cast(RecurrentModel, model.base_model)
    is_language = isinstance(model, CausalLMMixin)
    read = exported_tokenizer(tokenizer, is_language=is_language)
    if len(read["vocabulary"]) > config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(read['vocabulary'])} tokens and the model {config.vocab_size}: it is not its own."
        )
    head: Any = model.lm_head if is_language else model.classifier
    found = {
        "name": name or type(model).__name__,
        "task": "language" if is_language else "classification",
        "example": example,
        "tokenizer": read,
        "embeddings": _matrix(backbone.embed_tokens.weight),
        "layers": [
            [_loop(loop) for loop in (layer.forward_loop, layer.backward_loop) if loop is not None]
            for layer in cast(list[RecurrentLayer], backbone.layers)
        ],
        "head": {"weight": _matrix(head.weight), "bias": _vector(head.bias)},
    }
    if is_language:
        return found | {"pooling": "last", "answers": "softmax", "temperature": 1.0, "labels": None}
    found |= {"pooling": config.pooling, "answers": _ANSWERS[config.problem_type]}
    if config.pooling == "attention":
        pooling: Any = model.pooling
        found["query"] = {"weight": _matrix(pooling.query.weight), "bias": _vector(pooling.query.bias)}
        found["score"] = _matrix(pooling.score.weight)
    labels = [config.id2label[number] for number in range(config.num_labels)]
    return found | {"temperature": config.temperature or 1.0, "labels": labels}


def exported_tokenizer(tokenizer: PreTrainedTokenizerBase, *, is_language: bool) -> dict[str, Any]:
    """Return how texts become ids; a language model's text has no end, so that it can go on."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = {} if backend is None else json.loads(backend.to_str())
    kind = whole_token_kind(parts)
    if kind not in _KINDS:
        raise ValueError(
            f"The page cuts texts as tokenizers of the kinds {', '.join(_KINDS)} do, and this one is of another: "
            "train the model with one of them (in a recipe tokenizer.kind)."
        )
    form = parts["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = form["normalizers"] if form["type"] == "Sequence" else [form]
    if unknown := [step["type"] for step in steps if step["type"] not in _FORMS]:
        raise ValueError(f"The page does not know how the normalizer {unknown[0]} writes texts.")
    vocabulary = [str(token) for token in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    special = tokenizer.added_tokens_decoder
    known = next((token for number, token in enumerate(vocabulary) if number not in special), "")
    mask = tokenizer(known, return_special_tokens_mask=True, truncation=False)
    ids, added = mask["input_ids"], mask["special_tokens_mask"]
    start = added.index(0) if 0 in added else len(added)
    end = len(added) - added[::-1].index(0) if 0 in added else len(added)
    return {
        "kind": kind,
        "form": [_FORMS[step["type"]] for step in steps],
        "vocabulary": vocabulary,
        "unknown": tokenizer.unk_token_id,
        "special": [[token.content, token.lstrip, token.rstrip] for token in special.values()],
        "prefix": ids[:start],
        "suffix": [] if is_language else ids[end:],
    }


def _check_model(model: PreTrainedModel) -> None:
    """Refuse what the page does not compute."""
    name, config = type(model).__name__, model.config
    if not isinstance(model, RecurrentPreTrainedModel):
        raise ValueError(f"The page shows LSTM, GRU and RNN, not {name}: for a transformer see plots.attention.")
    is_language = isinstance(model, CausalLMMixin)
    if not is_language and not isinstance(model, SequenceClassificationMixin):
        raise ValueError(f"The page shows classifiers of texts and language models, and {name} is neither.")
    _cell_name(config.make_cell())
    faults = {
        "adaptive_softmax_cutoffs": is_language and config.adaptive_softmax_cutoffs is not None,
        "feature_size": config.feature_size is not None,
        "characters": config.characters != "none",
        "wide_ngrams": not is_language and config.wide_ngrams > 0,
        "pairs": not is_language and config.pairs != "joined",
        "problem_type": not is_language and config.problem_type not in _ANSWERS,
    }
    if fault := next((name for name, is_there in faults.items() if is_there), None):
        usual = type(config)().to_dict().get(fault)
        kind = "language model" if is_language else "classifier"
        raise ValueError(
            f"The page does not show a {kind} with {fault}={getattr(config, fault)!r}: train one with "
            f"{fault}={usual!r} (in a recipe model.{fault})."
        )
    if (size := model.num_parameters()) > LARGEST:
        raise ValueError(
            f"{name} has {size:,} weights, and a page shows at most {LARGEST:,}: train one with a smaller vocabulary "
            f"(vocab_size={config.vocab_size}), embedding_size or hidden_size."
        )


def _cell_name(cell: Cell) -> str:
    """Return what the page calls a cell."""
    if cell is gru_cell("before"):
        return "gru_before"
    if cell.torch_mode not in _CELLS:
        raise ValueError(
            "The page knows the equations of the plain LSTM, the GRU of both forms, and the RNN with tanh or relu; "
            f"this cell has the gates {cell.gates} and is another one."
        )
    return _CELLS[cell.torch_mode]


def _loop(loop: RecurrentLoop) -> dict[str, Any]:
    """Return one direction of a layer, named as in the equations."""
    weights = loop.weights()
    return {
        "cell": _cell_name(loop.cell),
        "backward": loop.backward,
        "W": _matrix(weights.weight_ih),
        "U": _matrix(weights.weight_hh),
        "b": _vector(weights.bias),
        "b_n": None if weights.bias_hh is None else _vector(weights.bias_hh),
    }


def _matrix(tensor: torch.Tensor) -> dict[str, Any]:
    return {"rows": tensor.shape[0], "columns": tensor.shape[1], "halves": _halves(tensor)}


def _vector(tensor: torch.Tensor | None) -> dict[str, Any]:
    assert tensor is not None  # of all cells that have a name here
    return {"rows": 1, "columns": len(tensor), "halves": _halves(tensor)}


def _halves(tensor: torch.Tensor) -> str:
    """Return float16 in base64: a weight takes 2.7 characters."""
    values = tensor.detach().float().cpu().numpy()
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    if not np.isfinite(halves).all():
        raise ValueError(f"A weight is {np.abs(values).max():g}, and float16, as a page holds it, ends at 65,504.")
    return base64.b64encode(halves.tobytes()).decode("ascii")

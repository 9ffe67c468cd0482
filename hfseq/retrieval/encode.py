"""One vector for a text, from any model that reads texts.

    network, transformer   the hidden states of the text's tokens, pooled: mean, max, last, or a classifier's attention
    bag                    what the model says: its tokens are averaged already
    recursive network      the state of the root of its tree
    word2vec               the vectors of the text's words, pooled: mean or max; words without a vector are left out

SIF (Arora et al. 2017) improves the mean of word vectors in two steps. Frequent words count less: a word of
probability p(w), by the model's counts, has the weight a / (a + p(w)) with a = 0.001. Then the direction that all
texts have in common is taken out: v - u (u . v), where u is the first right singular vector of the matrix of the
texts' vectors.

Shapes: N texts, D width of a vector, B batch, T time.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    Pipeline,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..evaluation.language import evaluating, text_list
from ..models.base import load_with_weights_checked
from ..models.heads.pooling import SequencePooling
from ..models.words.similarity import divide_rows
from ..models.words.word2vec import Word2VecModel
from ..progress import progress_bar
from ..registry import AUTO_CLASSES, FAMILIES
from ..settings import check_known
from ..tokenization.files import load_tokenizer
from ..tokenization.limits import reading_options
from ..tokenization.padding import PaddingCollator
from .word_means import WordMeans, check_direction, first_direction

Source: TypeAlias = PreTrainedModel | Pipeline | str | os.PathLike[str]
PoolingKind: TypeAlias = Literal["mean", "max", "last", "attention"]
Weighting: TypeAlias = Literal["none", "sif"]
POOLINGS = ("mean", "max", "last", "attention")
WEIGHTINGS = ("none", "sif")


def encode(
    model: Source,
    texts: str | Iterable[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    pooling: PoolingKind = "mean",
    weighting: Weighting = "none",
    direction: np.ndarray | None = None,
    batch_size: int = 64,
    normalize: bool = False,
) -> np.ndarray:
    """Turn texts into vectors, float32: (N, D), or (D,) for one string.

    Texts are read sorted by their length; neither that, nor padding, nor the size of a batch changes a vector. A text
    without a token, and one without a word that has a vector, becomes zeros. The tokenizer adds its special tokens,
    which are pooled with the others, and cuts texts that are longer than its `model_max_length`.

    Args:
        model: A model, a pipeline, or a folder or Hub id. Of a model with a head the backbone is used, of an
            encoder-decoder the encoder. It runs in evaluation mode without gradients and gets its mode back.
        texts: One text, or several: a list, a generator, a column of a dataset.
        tokenizer: The model's tokenizer; needed beside a model that does not bring its own.
        pooling: "mean" and "max" over the tokens; "last", what each direction says when it has read the whole text;
            "attention", as a classifier learnt it (`config.pooling` is "attention").
        weighting: "sif" is for the mean of word2vec's vectors, see the top of this module.
        direction: (D,), what SIF takes out, from `common_direction`. Without it that of *these* texts is taken, so
            that a vector depends on the texts beside it: texts that are compared must be encoded with one direction.
        batch_size: Texts that a network reads at once.
        normalize: Scale the vectors to length 1; zeros stay zeros.
    """
    check_known(pooling, POOLINGS, "pooling", kind="pooling")
    check_known(weighting, WEIGHTINGS, "weighting", kind="weighting")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} has no room for a text: use 1 or more.")
    strings = text_list(texts)
    loaded, tokenizer = with_tokenizer(model, tokenizer)
    _check_weighting(loaded, pooling, weighting, direction)
    with evaluating(loaded):
        if isinstance(loaded, Word2VecModel):
            words = WordMeans(loaded, tokenizer)
            vectors = words.pooled(strings, pooling, weighting)
        else:
            vectors = _Reader(loaded, tokenizer, pooling, batch_size).vectors(strings)
    if weighting == "sif":
        axis = first_direction(vectors) if direction is None else check_direction(direction, vectors.shape[1])
        vectors = vectors - np.outer(vectors @ axis, axis)
    _check_finite(vectors, strings)
    if normalize:
        vectors = divide_rows(vectors, np.linalg.norm(vectors, axis=1))
    return vectors[0] if isinstance(texts, str) else vectors


def common_direction(
    model: Source, texts: Iterable[str], *, tokenizer: PreTrainedTokenizerBase | None = None
) -> np.ndarray:
    """Return the direction (D,), of length 1, that the SIF-weighted vectors of these texts have in common.

    `encode(..., weighting="sif", direction=...)` takes it out of the texts of an index and of every later question.

    Args:
        model: As for `encode`: word2vec.
        texts: Many, of the kind that will be compared.
        tokenizer: As for `encode`.
    """
    loaded, tokenizer = with_tokenizer(model, tokenizer)
    _check_weighting(loaded, "mean", "sif", None)
    return first_direction(WordMeans(cast(Word2VecModel, loaded), tokenizer).pooled(text_list(texts), "mean", "sif"))


def with_tokenizer(
    model: Source, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a model and its tokenizer, loaded where a folder or a Hub id is given."""
    if isinstance(model, Pipeline):
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        model = model.model
    elif isinstance(model, str | os.PathLike):
        # Checked first: word vectors load the tokenizer beside them.
        tokenizer = load_tokenizer(model) if tokenizer is None else tokenizer
        model = load_with_weights_checked(_auto_class(model), model)
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"model is a {type(model).__name__}: give a model, a pipeline, a folder or a Hub id.")
    tokenizer = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
    if tokenizer is None:
        raise ValueError(f"This {type(model).__name__} comes without its tokenizer: pass tokenizer=.")
    return model, tokenizer


def backbone_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model without its head, the encoder of an encoder-decoder."""
    backbone = cast(PreTrainedModel, model.base_model)
    if getattr(backbone.config, "is_encoder_decoder", False):
        backbone = cast(PreTrainedModel, backbone.get_encoder())
    return backbone


@dataclass(frozen=True)
class _Reader:
    """Reads texts with a model that has hidden states."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: PoolingKind
    batch_size: int

    def vectors(self, texts: list[str]) -> np.ndarray:
        """Return (N, D) in the order of the texts."""
        ids = self.tokenizer(texts, verbose=False, **reading_options(self.tokenizer))["input_ids"]
        rows = [
            # A text without a token becomes one token that counts for nothing, for a batch has a column at least.
            {"input_ids": row or [self.tokenizer.pad_token_id], "attention_mask": int(bool(row))}
            for row in ids
        ]
        order = sorted(range(len(rows)), key=lambda number: -len(ids[number]))
        backbone, pool, collate = backbone_of(self.model), self._pool(), PaddingCollator(self.tokenizer)
        parts = []
        with progress_bar("Encoding", total=len(order), unit="text") as bar:
            for start in range(0, len(order), self.batch_size):
                batch = collate([rows[number] for number in order[start : start + self.batch_size]])
                inputs = {name: tensor.to(backbone.device) for name, tensor in batch.items()}
                parts.append(self._read(backbone, pool, inputs).float().cpu().numpy())
                bar.update(len(parts[-1]))
        found = np.concatenate(parts)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def _read(self, backbone: Any, pool: SequencePooling, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = backbone(**inputs, return_dict=True)
        # A model of ours that gives one vector a text gives its answer; BERT's `pooler_output` is another matter.
        pooled = outputs.get("pooler_output") if _family(backbone) else None
        if pooled is not None:
            if self.pooling != "mean":
                cure = "It makes one vector of a text already: take pooling='mean', which leaves it as it is."
                raise ValueError(f"pooling={self.pooling!r}: {type(backbone).__name__} has no states to pool. {cure}")
            return pooled
        states = outputs.last_hidden_state
        if pool.kind != "attention":
            states = states.float()  # sums of half precision would lose digits
        return pool(states, inputs["attention_mask"])[0]

    def _pool(self) -> SequencePooling:
        config, name = self.model.config, type(self.model).__name__
        family = _family(self.model)
        if family is not None and FAMILIES[family].backbone is None:
            cure = "take a recurrent network, a transformer, a bag or word vectors"
            raise ValueError(f"{name} counts and has no hidden states to make a vector of: {cure}.")
        if self.pooling == "attention":
            learnt = getattr(self.model, "pooling", None)
            if not isinstance(learnt, SequencePooling) or learnt.kind != "attention":
                held = f"pools by {learnt.kind!r}" if isinstance(learnt, SequencePooling) else "has not learnt one"
                cure = "Take another pooling, or train a classifier with model.pooling=attention."
                raise ValueError(f"pooling='attention' is learnt by a classifier, and this {name} {held}. {cure}")
            return learnt
        backward = getattr(config, "has_backward_half", False)
        return SequencePooling(kind=self.pooling, hidden_size=1, has_backward_half=backward)


def _family(model: PreTrainedModel) -> str | None:
    """Name the row of the registry that the model is of."""
    rows = FAMILIES.items()
    return next((name for name, row in rows if row.config.model_type == model.config.model_type), None)


def _auto_class(source: str | os.PathLike[str]) -> Any:
    """Choose the Auto class that loads the whole of a checkpoint of ours: attention pooling is part of its head."""
    try:
        names = AutoConfig.from_pretrained(source, trust_remote_code=False).architectures or ()
    except (OSError, ValueError):
        return AutoModel  # whose loading tells what is wrong
    heads = [(task, head) for row in FAMILIES.values() for task, head in row.heads.items()]
    return next((AUTO_CLASSES[task] for task, head in heads if head.__name__ in names), AutoModel)


def _check_weighting(model: PreTrainedModel, pooling: str, weighting: str, direction: np.ndarray | None) -> None:
    if weighting == "none":
        if direction is not None:
            raise ValueError("direction is what SIF takes out: add weighting='sif', or leave it out.")
        return
    if not isinstance(model, Word2VecModel):
        cure = "it weights the words of a Word2VecModel by their counts. Leave weighting out"
        raise ValueError(f"weighting={weighting!r} does not fit a {type(model).__name__}: {cure}.")
    if pooling != "mean":
        raise ValueError(f"weighting={weighting!r} weights a mean, not pooling={pooling!r}: take pooling='mean'.")


def _check_finite(vectors: np.ndarray, texts: list[str]) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        fault = f"The vector of {texts[wrong[0]]!r:.60} ({len(wrong)} of {len(texts)}) holds NaN or infinite numbers"
        raise ValueError(f"{fault}: the model's weights are damaged, or its type is too narrow for them.")

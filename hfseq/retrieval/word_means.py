"""The vectors of a text's words, pooled: what `encode` does with a word2vec model.

Shapes: N texts, D width, V words of the vocabulary, W words of all texts that have a vector.
"""

from typing import Any, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..models.words.word2vec import SPECIAL_TOKENS, Word2VecModel

_SMOOTHING = 1e-3  # `a` of the paper, which finds 1e-3 to 1e-4 good everywhere
_TEXTS = 4096  # pooled at once


class WordMeans:
    """Pools word vectors; words that the model has no vector for are left out."""

    def __init__(self, model: Word2VecModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        size = model.config.vocab_size
        if len(tokenizer) != size:
            fault = f"The tokenizer has {len(tokenizer)} tokens, the model {size} (config.vocab_size)"
            raise ValueError(f"{fault}: take the model's own.")

    def pooled(self, texts: list[str], pooling: str, weighting: str) -> np.ndarray:
        """Return (N, D) float32; zeros for a text without a word that has a vector."""
        if pooling not in ("mean", "max"):
            raise ValueError(f"pooling={pooling!r}: word vectors know no order. Take 'mean' or 'max'.")
        weights = _sif_weights(self.model) if weighting == "sif" else None
        parts = [self._pool(texts[at : at + _TEXTS], pooling, weights) for at in range(0, len(texts), _TEXTS)]
        return np.concatenate(parts)

    def _pool(self, texts: list[str], pooling: str, weights: np.ndarray | None) -> np.ndarray:
        vectors, ids, lengths = self._looked_up(texts)
        if weights is not None:
            vectors = vectors * weights[ids][:, None]
        filled = np.flatnonzero(lengths)
        pooled = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
        if len(filled):
            # Texts without a word have no place among the starts: reduceat would give them their neighbour's word.
            starts = (np.cumsum(lengths) - lengths)[filled]
            if pooling == "max":
                pooled[filled] = np.maximum.reduceat(vectors, starts)
            else:
                # Divided by the number of words, also where they are weighted: so the paper has it.
                pooled[filled] = np.add.reduceat(vectors, starts, dtype=np.float64) / lengths[filled, None]
        return pooled

    def _looked_up(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the vectors (W, D) of all words that have one, their ids (W,), and how many each text has (N,)."""
        rows = self.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        ids = np.array([token for row in rows for token in row], dtype=np.int64)
        owner = np.repeat(np.arange(len(texts)), [len(row) for row in rows])
        table = self.model.vectors
        known = ids >= len(SPECIAL_TOKENS)
        vectors = np.zeros((len(ids), table.vector_size), dtype=np.float32)
        vectors[known] = table.vectors[ids[known] - len(SPECIAL_TOKENS)]
        if table.subwords is not None:
            self._add_unseen(texts, owner, known, vectors)
        return vectors[known], ids[known], np.bincount(owner[known], minlength=len(texts))

    def _add_unseen(self, texts: list[str], owner: np.ndarray, known: np.ndarray, vectors: np.ndarray) -> None:
        """Fill in, in place, the vectors of words that only the n-grams know."""
        table = self.model.vectors
        missing = np.flatnonzero(~known)
        if len(missing) == 0:
            return
        spans = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        flat = [span for row in spans["offset_mapping"] for span in row]
        normalizer = cast(Any, self.tokenizer).backend_tokenizer.normalizer
        for place in missing.tolist():
            start, end = flat[place]
            word = texts[owner[place]][start:end]
            word = word if normalizer is None else normalizer.normalize_str(word)
            if word in table:
                vectors[place], known[place] = table[word], True


def first_direction(vectors: np.ndarray) -> np.ndarray:
    """Return the first right singular vector (D,) of a matrix (N, D): the uncentred direction of most of it."""
    filled = int(vectors.any(axis=1).sum())
    if filled < 2:
        fault = f"SIF takes out what many texts have in common, and {filled} of {len(vectors)} texts has a vector"
        raise ValueError(f"{fault}: pass direction=hfseq.common_direction(model, many_texts).")
    wide = vectors.astype(np.float64)
    _, axes = np.linalg.eigh(wide.T @ wide)  # (D, D), however many texts there are
    axis = axes[:, -1]
    # An axis has no sign: this one makes it the same everywhere.
    return (axis * np.copysign(1, axis[np.abs(axis).argmax()])).astype(np.float32)


def check_direction(direction: np.ndarray, width: int) -> np.ndarray:
    """Return a direction that was given, of length 1."""
    axis = np.asarray(direction, dtype=np.float32)
    length = float(np.linalg.norm(axis))
    if axis.shape != (width,) or not 0 < length < np.inf:
        given = f"one of shape {axis.shape} and length {length:g}"
        raise ValueError(f"direction must be what common_direction gives, ({width},), got {given}.")
    return axis / length


def _sif_weights(model: Word2VecModel) -> np.ndarray:
    """Return a / (a + p(w)) for each id (V,); a word that was never counted has the weight 1."""
    counts = model.counts.cpu().numpy().astype(np.float64)
    words = counts[len(SPECIAL_TOKENS) :]
    # Vectors from a file have such counts: all 1, or N, N - 1 ... 1.
    if len(words) > 1 and ((words == words[0]).all() or (words == np.arange(len(words), 0, -1)).all()):
        fault = "This model's counts only tell the order of its words, so SIF cannot weight them"
        raise ValueError(f"{fault}: set_vocabulary(tokenizer, counts) gives it counts, or train it with hfseq.")
    return _SMOOTHING / (_SMOOTHING + counts / counts.sum())

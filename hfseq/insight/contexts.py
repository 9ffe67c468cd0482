r"""One word in several sentences: does its vector depend on the words around it?

A static model (bag of words, word2vec) has one vector a word, so the cosine between any two sentences is exactly 1. A
recurrent model or a transformer reads the sentence, and gives `bank` another vector near a river than near money:

>>> from hfseq import LSTMConfig, LSTMModel, train_tokenizer, train_word2vec
>>> sentences = ["the bank lends money", "the river has a bank", "the bank lends money to the river bank"]
>>> word2vec = train_word2vec(sentences, min_count=1, num_threads=1, disable_tqdm=True)
>>> print(compare_contexts(word2vec, "bank", sentences))
'bank' in 3 sentences, cosines between its vectors (1 = the same vector)
          1       2       3
1         1       1       1  the [bank] lends money
2         1       1       1  the river has a [bank]
3         1       1       1  the [bank] lends money to the river bank

>>> tokenizer = train_tokenizer(sentences, min_frequency=1)
>>> lstm = LSTMModel(LSTMConfig(vocab_size=len(tokenizer)))
>>> cosines = compare_contexts(lstm, "bank", sentences, tokenizer=tokenizer).cosines
>>> bool(cosines[0, 1] < 1)
True

A model that reads from left to right cannot know what follows the word. Where the words before it are the same, so is
its vector; a bidirectional model tells those sentences apart as well:

>>> bool(cosines[0, 2] == 1)
True
>>> both = LSTMModel(LSTMConfig(vocab_size=len(tokenizer), bidirectional=True))
>>> bool(compare_contexts(both, "bank", sentences, tokenizer=tokenizer).cosines[0, 2] < 1)
True
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..evaluation.language import evaluating
from ..retrieval.encode import backbone_of, with_tokenizer

_SHOWN_AROUND = 30  # characters of a sentence that `ContextComparison` prints on each side of the word
# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces: there a word need not stand alone.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, eq=False)
class ContextComparison:
    """What `compare_contexts` found; printing it shows the table."""

    word: str
    sentences: tuple[str, ...]
    vectors: np.ndarray  # (n, D) float32, the word's vector in each sentence
    cosines: np.ndarray  # (n, n) float64, exactly 1 where two vectors are the same to the bit

    def __str__(self) -> str:
        numbers = range(1, len(self.sentences) + 1)
        lines = [
            f"{self.word!r} in {len(numbers)} sentences, cosines between its vectors (1 = the same vector)",
            "   " + "".join(f"{number:8}" for number in numbers),
        ]
        for number, row, sentence in zip(numbers, self.cosines, self.sentences, strict=True):
            values = "".join("       1" if cosine == 1 else f"{cosine:8.4f}" for cosine in row)
            lines.append(f"{number:<3}{values}  {_excerpt(sentence, *_find(self.word, sentence))}")
        return "\n".join(lines)


def compare_contexts(
    model: PreTrainedModel | str | os.PathLike[str],
    word: str,
    sentences: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> ContextComparison:
    """Compare the vectors that a model gives one word in several sentences.

    The vector is the mean of `last_hidden_state` over the tokens of the word's first occurrence.

    Args:
        model: A model, or a folder or Hub id to load it from. Of a model with a head the backbone is used, of an
            encoder-decoder the encoder. It runs in evaluation mode without gradients and gets its mode back.
        word: The word, or several ("New York"). Capitals do not matter; it must stand as a whole word, except in
            scripts written without spaces.
        tokenizer: The model's (fast) tokenizer; needed beside a model that does not bring its own.
    """
    if not word.strip():
        raise ValueError(f"word must be a word, got {word!r}.")
    if isinstance(sentences, str):
        raise TypeError(f"sentences must be a list of strings, got the string {sentences!r}: put it into a list.")
    if len(sentences) < 2:
        raise ValueError(f"A comparison needs two or more sentences, got {len(sentences)}.")
    model, tokenizer = _loaded(model, tokenizer)
    with evaluating(model):
        vectors = np.stack([_vector(model, tokenizer, word, sentence) for sentence in sentences])
    return ContextComparison(word, tuple(sentences), vectors, _cosines(vectors, word, sentences))


def _loaded(
    model: PreTrainedModel | str | os.PathLike[str], tokenizer: PreTrainedTokenizerBase | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = with_tokenizer(model, tokenizer)
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} does not say which characters a token is: pass a fast one.")
    return backbone_of(model), tokenizer


def _vector(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, word: str, sentence: str) -> np.ndarray:
    """Return (D,) float32; one sentence a call, so that no padding can change it."""
    encoded = tokenizer(sentence, return_offsets_mapping=True, return_tensors="pt")
    start, end = _find(word, sentence)
    first, last = encoded["offset_mapping"][0].T
    tokens = (first < last) & (first < end) & (last > start)  # those that share a character with the word
    if set(encoded["input_ids"][0, tokens].tolist()) <= {tokenizer.unk_token_id}:
        found = sentence[start:end]
        raise ValueError(f"The tokenizer does not know {found!r} in the sentence {sentence!r}: take a word it knows.")
    inputs = {name: encoded[name].to(model.device) for name in ("input_ids", "attention_mask") if name in encoded}
    hidden_states = model(**inputs).last_hidden_state[0, tokens]
    return hidden_states.double().mean(0).float().cpu().numpy()


def _find(word: str, sentence: str) -> tuple[int, int]:
    for match in re.finditer(re.escape(word), sentence, re.IGNORECASE):
        start, end = match.span()
        if not _joined(sentence[:start], match[0]) and not _joined(match[0], sentence[end:]):
            return start, end
    raise ValueError(f"{sentence!r} does not contain {word!r} as a whole word: leave it out, or give another form.")


def _joined(left: str, right: str) -> bool:
    """Tell whether the last character of `left` and the first of `right` are within one word."""
    pair = left[-1:] + right[:1]
    # Marks count: a vowel sign of Hindi or a combining accent belongs to the letter before it.
    letters = [char for char in pair if unicodedata.category(char)[0] in "LNM" or char == "_"]
    return len(letters) == 2 and not _UNSPACED.search(pair)


def _cosines(vectors: np.ndarray, word: str, sentences: Sequence[str]) -> np.ndarray:
    # A product of floats may miss 1 by a rounding, so equal vectors are compared as such.
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    for length, sentence in zip(lengths[:, 0], sentences, strict=True):
        if not 0 < length < np.inf:
            raise ValueError(
                f"The vector of {word!r} in the sentence {sentence!r} has length {length:g}, so no cosine: the model "
                "was not trained on this word, or it holds NaN or infinite weights."
            )
    cosines = np.clip((exact / lengths) @ (exact / lengths).T, -1, 1)
    same = np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1)
    cosines[same[:, None] == same[None, :]] = 1
    return cosines


def _excerpt(sentence: str, start: int, end: int) -> str:
    """Put the word in brackets, and cut a long sentence around it."""
    first, last = max(0, start - _SHOWN_AROUND), min(len(sentence), end + _SHOWN_AROUND)
    before = ("..." if first else "") + sentence[first:start]
    after = sentence[end:last] + ("..." if last < len(sentence) else "")
    return " ".join(f"{before}[{sentence[start:end]}]{after}".split())

"""The rungs below the networks: what needs no gradient of torch, each fitted in seconds and saved without code.

    majority        the commonest label of the training texts, whatever the text says
    TF-IDF          softmax(W x + b), x the weighed counts of words and word pairs, of length 1
    word vectors    softmax(W x + b), x the mean of the vectors of a text's words

They are saved as numbers in safetensors and words in JSON, never as pickles.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import PreTrainedTokenizerFast

from ...data.vectors import EmbeddingInit

WEIGHTS_FILE = "weights.safetensors"


class SimpleClassifier(Protocol):
    """A rung that learns from texts and the numbers of their labels."""

    def fit(self, texts: list[str], labels: np.ndarray) -> None:
        """Learn."""

    def predict(self, texts: list[str]) -> np.ndarray:
        """Return the number of a label for each text."""

    def save(self, folder: Path) -> None:
        """Write all that `predict` needs."""


class Majority:
    """The commonest label."""

    label = 0

    def fit(self, texts: list[str], labels: np.ndarray) -> None:
        """Count the labels; of equally common ones the first wins."""
        self.label = int(np.bincount(labels).argmax())

    def predict(self, texts: list[str]) -> np.ndarray:
        """Return that label for each text."""
        return np.full(len(texts), self.label)

    def save(self, folder: Path) -> None:
        """Write the label."""
        (folder / "label.json").write_text(json.dumps(self.label), encoding="utf-8")


class TfIdfRegression:
    """Logistic regression on TF-IDF of words and word pairs, the peer that most people would try first."""

    def __init__(self) -> None:
        # A word of one letter, and a mark such as "!", are words as well.
        self.features = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), sublinear_tf=True)
        # Weaker than the default regularisation of 1, with which rare words hardly count.
        self.regression = LogisticRegression(C=10, max_iter=1000)

    def fit(self, texts: list[str], labels: np.ndarray) -> None:
        """Find the words, and weigh them."""
        self.regression.fit(self.features.fit_transform(texts), labels)

    def predict(self, texts: list[str]) -> np.ndarray:
        """Return the likeliest label for each text."""
        return np.asarray(self.regression.predict(self.features.transform(texts)))

    def save(self, folder: Path) -> None:
        """Write the words, their weights, and those of the labels."""
        words = {word: int(index) for word, index in self.features.vocabulary_.items()}
        (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        _save(folder, self.regression, idf=self.features.idf_)


class AveragedVectors:
    """Logistic regression on the mean of the vectors of a text's tokens; of a text without one, on zeros.

    Args:
        tokenizer: Cuts the texts.
        vectors: A row for each of its tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vectors: EmbeddingInit) -> None:
        self.tokenizer, self.vectors = tokenizer, vectors
        self.regression = LogisticRegression(C=10, max_iter=1000)

    def mean_vectors(self, texts: list[str]) -> np.ndarray:
        """Return (texts, width) means over the tokens that have a vector."""
        matrix, known = self.vectors.matrix, self.vectors.known
        means = np.zeros((len(texts), matrix.shape[1]), dtype=np.float32)
        for row, ids in enumerate(self.tokenizer(texts, add_special_tokens=False)["input_ids"]):
            found = [index for index in ids if known[index]]
            if found:
                means[row] = matrix[found].mean(0)
        return means

    def fit(self, texts: list[str], labels: np.ndarray) -> None:
        """Weigh the directions in which the means lie."""
        self.regression.fit(self.mean_vectors(texts), labels)

    def predict(self, texts: list[str]) -> np.ndarray:
        """Return the likeliest label for each text."""
        return np.asarray(self.regression.predict(self.mean_vectors(texts)))

    def save(self, folder: Path) -> None:
        """Write the tokenizer, the vectors, and the weights of the labels."""
        self.tokenizer.save_pretrained(folder)
        _save(folder, self.regression, vectors=self.vectors.matrix, known=self.vectors.known)


def _save(folder: Path, regression: LogisticRegression, **tensors: np.ndarray) -> None:
    tensors |= {"weight": regression.coef_, "bias": regression.intercept_, "classes": regression.classes_}
    numbers = {
        name: np.ascontiguousarray(values, dtype=np.float32) if values.dtype.kind == "f" else values
        for name, values in tensors.items()
    }
    save_file(numbers, folder / WEIGHTS_FILE)


def token_lists(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[list[str]]:
    """Cut texts as the tokenizer does, for word vectors of its tokens; unknown ones are left out."""
    names, unknown = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))), tokenizer.unk_token_id
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[names[index] for index in ids if index != unknown] for ids in rows]

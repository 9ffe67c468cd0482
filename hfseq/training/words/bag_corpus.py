"""Texts and labels as the engines of bags read them: numbers of words, and what each word stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from tokenizers.normalizers import Lowercase

from ...data.sources import column_values
from ...data.text import text_bytes
from ...models.base import IGNORED, check_input_ids
from ...models.heads.classification import check_classes
from ...models.ragged import place_owners
from ...models.words.bag import BYTES, BagForSequenceClassification, BagModel
from ...models.words.fused_words import split_texts, word_rows

_CHUNK = 4_096  # texts whose features are listed at once


@dataclass(frozen=True)
class BagCorpus:
    """Texts as sequences of words.

    Attributes:
        ids: The ids of all texts end to end; `id_starts` (texts + 1,) tells where each begins.
        numbers: int32, the words of all texts end to end; `text_starts` (texts + 1,) tells where each begins.
        word_starts: int64, (words + 1,): where the rows of each word begin in the next.
        word_rows: int32: its own row, and those of its character n-grams.
        hashes: int32, (words,), of which the rows of word n-grams follow.
    """

    ids: np.ndarray
    id_starts: np.ndarray
    numbers: np.ndarray
    text_starts: np.ndarray
    word_starts: np.ndarray
    word_rows: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, bag: BagModel) -> "BagCorpus":
        """Read the column `input_ids`, or for a bag of bytes the column `text`, for a bag that has its vocabulary."""
        ids, starts = ids_for(bag, dataset)
        if bag.config.units == "tokens":
            return cls(ids, starts, ids.astype(np.int32), starts, *bag.word_table())
        texts = ids if ids.dtype == np.uint8 else np.where(ids < BYTES, ids, ord(" ")).astype(np.uint8)
        options = bag.text_options
        numbers, text_starts, *words = split_texts(texts, starts, options.ends_texts, options.label_prefix)
        return cls(texts, starts, numbers, text_starts, *word_rows(words[0], words[1], bag.text_tables, options))

    def __len__(self) -> int:
        return len(self.text_starts) - 1

    @property
    def num_words(self) -> int:
        """Words of all texts."""
        return len(self.numbers)

    def most_features(self, word_ngrams: int) -> int:
        """Return an upper bound of the features of any text."""
        rows = np.concatenate([[0], np.cumsum(np.diff(self.word_starts)[self.numbers])])[self.text_starts]
        return int((np.diff(rows) + (word_ngrams - 1) * np.diff(self.text_starts)).max(initial=0))

    def features(self, bag: BagModel, texts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """List what occurs in some texts: the rows, and where those of each text begin, see `BagModel.features`."""
        starts, lengths = self.id_starts[texts], self.id_starts[texts + 1] - self.id_starts[texts]
        return bag.features(self.ids[_places(starts, lengths)[0]].astype(np.int64), lengths)

    def thinned(self, texts: np.ndarray, share: float, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Leave a random share of some texts' words out, as `numbers` and `text_starts`; other texts are empty."""
        texts = np.sort(texts)
        places, owners = _places(self.text_starts[texts], np.diff(self.text_starts)[texts])
        kept = np.random.default_rng(seed).random(len(places)) >= share
        counts = np.bincount(texts[owners[kept]], minlength=len(self))
        return self.numbers[places[kept]], np.concatenate([[0], np.cumsum(counts)])

    def feature_tables(self, bag: BagModel, kernels: Any) -> Any:
        """Return what lists the features of a text in machine code."""
        config = bag.config
        return kernels.FeatureTables(
            word_starts=self.word_starts,
            word_rows=self.word_rows,
            hashes=self.hashes,
            bucket_rows=bag.bucket_rows(),
            row_weights=np.zeros(0, np.float32) if bag.row_weights is None else bag.row_weights.numpy(force=True),
            words=config.words_with_rows,
            buckets=max(config.ngram_buckets, 1),
            word_ngrams=config.word_ngrams,
        )

    def frequencies(self, bag: BagModel, *, once_a_text: bool) -> np.ndarray:
        """Count how often each row occurs in all texts, or in how many texts it does."""
        kernels = bag_kernels()
        if kernels is not None:
            sizes = bag.config.hidden_size, self.most_features(bag.config.word_ngrams)
            tables = self.feature_tables(bag, kernels)
            return kernels.frequencies(
                self.numbers, self.text_starts, tables, *sizes, rows=bag.config.num_rows, once_a_text=once_a_text
            )
        size = bag.config.num_rows
        found = np.zeros(size, dtype=np.int64)
        for begin in range(0, len(self), _CHUNK):
            rows, starts = self.features(bag, np.arange(begin, min(begin + _CHUNK, len(self))))
            if once_a_text:
                rows = torch.unique(place_owners(starts, len(rows)) * size + rows) % size
            found += np.bincount(rows.numpy(force=True), minlength=size)
        return found


def _places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of all items of some runs, one run after another, and which run each belongs to."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return (starts - (np.cumsum(lengths) - lengths))[owners] + np.arange(lengths.sum()), owners


@cache
def bag_kernels() -> Any | None:
    """Import the machine code for bags; None without numba."""
    try:
        from ...kernels.words import bag_engine
    except (ImportError, OSError):  # OSError: LLVM's library does not load
        return None
    return bag_engine


def ids_for(bag: BagModel, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts as the bag reads them, end to end: ids or bytes; and where each begins."""
    config = bag.config
    if config.units == "bytes" and "input_ids" not in dataset.column_names:
        return text_bytes(dataset, Lowercase() if config.lowercase else None)
    ids, starts = token_ids(dataset)
    if ids.dtype != np.uint8 or config.units == "tokens":
        ids = ids.astype(np.int64)
        check_input_ids(torch.from_numpy(ids)[None], config.vocab_size)
    return ids, starts


def token_ids(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the column `input_ids` end to end, and where each row of it begins."""
    column = column_values(dataset, "input_ids")
    lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
    ids = pc.list_flatten(column).to_numpy()
    return ids, np.concatenate([[0], np.cumsum(lengths)])


def fit_row_weights(bag: BagModel, corpus: BagCorpus) -> None:
    """Weigh features by their inverse document frequency, log((1 + texts) / (1 + texts with it)).

    A feature that no text has weighs nothing, for nothing was learnt of it. In a bag that was trained before, only
    features that weigh nothing yet get a weight: the others keep what they learnt with. scikit-learn adds 1 to the
    logarithm: with few texts that was up to 3 points worse on AG News (500 texts).
    """
    held = bag.get_buffer("row_weights")
    is_new = bool((held == 1).all())
    frequencies = corpus.frequencies(bag, once_a_text=True)
    weights = np.log((1 + len(corpus)) / (1 + frequencies))
    weights[frequencies == 0] = 0
    fitted = torch.from_numpy(weights).to(held)
    held.copy_(fitted if is_new else torch.where(held > 0, held, fitted))


@dataclass(frozen=True)
class BagTargets:
    """The labels of texts.

    Attributes:
        starts: int64, (texts + 1,): where the labels of each text begin in the next.
        labels: int32.
        values: float32, (texts, labels): the numbers of a regression, else (0, 0).
        column: What `sequence_loss` takes.
    """

    starts: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    column: torch.Tensor

    @classmethod
    def of(cls, dataset: Dataset, model: BagForSequenceClassification, problem_type: str) -> "BagTargets":
        """Read the column `labels` as the problem takes it."""
        column = torch.tensor(dataset["labels"][:])
        if problem_type == "multi_label_classification" and not bool(((column == 0) | (column == 1)).all()):
            wrong = column[(column != 0) & (column != 1)][0].item()
            raise ValueError(
                f"{problem_type} takes labels of 0 and 1, got {wrong:g}; transformers.Trainer takes parts."
            )
        if problem_type != "single_label_classification" and column.numel() != len(column) * model.num_labels:
            raise ValueError(
                f"{problem_type} needs {model.num_labels} numbers a text (config.num_labels), the column 'labels' is "
                f"of shape {tuple(column.shape)}."
            )
        nothing = np.zeros((0, 0), dtype=np.float32)
        size = len(column)
        if problem_type == "regression":
            values = column.float().view(size, -1).numpy()
            return cls(np.zeros(size + 1, np.int64), np.zeros(0, np.int32), values, column)
        if problem_type == "multi_label_classification":
            texts, labels = (column > 0.5).nonzero(as_tuple=True)
            starts = np.concatenate([[0], np.cumsum(np.bincount(texts.numpy(), minlength=size))])
            return cls(starts.astype(np.int64), labels.numpy().astype(np.int32), nothing, column)
        check_classes(column, torch.empty(size, model.num_labels))
        has_label = column != IGNORED
        starts = np.concatenate([[0], np.cumsum(has_label.numpy())]).astype(np.int64)
        return cls(starts, column[has_label].numpy().astype(np.int32), nothing, column)

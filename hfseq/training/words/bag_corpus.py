"""Texts and labels as the engines of bags read them: numbers of words, and what each word stands for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ...extras import kernels
from ...models.base import IGNORED
from ...models.heads.classification import check_classes
from ...models.ragged import place_owners
from ...models.words.bag import BYTES, BagForSequenceClassification, BagModel
from ...models.words.fused_words import split_texts, word_rows
from .bag_texts import BagTexts, run_places


@dataclass(frozen=True)
class BagCorpus:
    """Texts as sequences of words.

    Attributes:
        texts: Their ids or bytes.
        numbers: int32, the words of all texts end to end; `text_starts` (texts + 1,) tells where each begins.
        word_starts: int64, (words + 1,): where the rows of each word begin in the next.
        word_rows: int32: its own row, and those of its character n-grams.
        hashes: int32, (words,), of which the rows of word n-grams follow.
    """

    texts: BagTexts
    numbers: np.ndarray
    text_starts: np.ndarray
    word_starts: np.ndarray
    word_rows: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, bag: BagModel) -> "BagCorpus":
        """Read the column `input_ids`, or for a bag of bytes the column `text`, for a bag that has its vocabulary."""
        texts = BagTexts.of(dataset, bag)
        if bag.config.units == "tokens":
            return cls(texts, texts.ids.astype(np.int32), texts.starts, *bag.word_table())
        if texts.ids.dtype != np.uint8:
            texts = BagTexts(np.where(texts.ids < BYTES, texts.ids, ord(" ")).astype(np.uint8), texts.starts)
        options = bag.text_options
        numbers, starts, *words = split_texts(texts.ids, texts.starts, options.ends_texts, options.label_prefix)
        return cls(texts, numbers, starts, *word_rows(words[0], words[1], bag.text_tables, options))

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
        return self.texts.chosen(texts).features(bag)

    def thinned(self, texts: np.ndarray, share: float, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Leave a random share of some texts' words out, as `numbers` and `text_starts`; other texts are empty."""
        texts = np.sort(texts)
        places, owners = run_places(self.text_starts[texts], np.diff(self.text_starts)[texts])
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
            by_length=config.weighting == "tfidf_l2",
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
        for rows, starts in self.texts.chunks(bag):
            if once_a_text:
                rows = torch.unique(place_owners(starts, len(rows)) * size + rows) % size
            found += np.bincount(rows.numpy(force=True), minlength=size)
        return found


@cache
def bag_kernels() -> Any | None:
    """Import the machine code for bags; None without numba."""
    return kernels("words.bag_engine", "Bags of words train many times slower")


def fit_row_weights(bag: BagModel, corpus: BagCorpus) -> None:
    """Weigh features by their inverse document frequency, log((1 + texts) / (1 + texts with it)).

    A feature that no text has weighs nothing, for nothing was learnt of it. In a bag that was trained before, only
    features that weigh nothing yet get a weight: the others keep what they learnt with. scikit-learn adds 1 to the
    logarithm: with few texts that was up to 3 points worse on AG News (500 texts). The weighting "tfidf_l2" does it
    as scikit-learn, since it is for regressions that are to be as good as scikit-learn's.
    """
    set_row_weights(bag, corpus.frequencies(bag, once_a_text=True), len(corpus))


def set_row_weights(bag: BagModel, frequencies: np.ndarray, texts: int) -> None:
    """Do that from the number of texts that have each row, (R,), among so many texts."""
    held = bag.get_buffer("row_weights")
    is_new = bool((held == 1).all())
    weights = np.log((1 + texts) / (1 + frequencies)) + (bag.config.weighting == "tfidf_l2")
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

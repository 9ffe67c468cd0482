"""Texts as a bag reads them: ids or bytes, end to end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from tokenizers.normalizers import Lowercase

from ...data.sources import column_values
from ...data.text import text_bytes
from ...models.inputs import check_input_ids
from ...models.words.bag import BagModel
from ...progress import progress_bar

_CHUNK = 4_096  # texts whose features are listed at once


@dataclass(frozen=True)
class BagTexts:
    """Texts as ids end to end, (ids,), and where each begins, (texts + 1,)."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, bag: BagModel) -> "BagTexts":
        """Read the column `input_ids`, or for a bag of bytes without one the column `text`."""
        config = bag.config
        if config.units == "bytes" and "input_ids" not in dataset.column_names:
            return cls(*text_bytes(dataset, Lowercase() if config.lowercase else None))
        column = column_values(dataset, "input_ids")
        lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
        ids = pc.list_flatten(column).to_numpy()
        if ids.dtype != np.uint8 or config.units == "tokens":
            ids = ids.astype(np.int64)
            check_input_ids(torch.from_numpy(ids)[None], config.vocab_size)
        return cls(ids, np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def chosen(self, texts: np.ndarray) -> "BagTexts":
        """Return some of the texts, in their order."""
        lengths = np.diff(self.starts)[texts]
        places, _ = run_places(self.starts[texts], lengths)
        return BagTexts(self.ids[places], np.concatenate([[0], np.cumsum(lengths)]))

    def features(self, bag: BagModel) -> tuple[torch.Tensor, torch.Tensor]:
        """List what occurs in all texts at once: the rows, and where those of each text begin."""
        return bag.features(self.ids.astype(np.int64), np.diff(self.starts))

    def chunks(self, bag: BagModel) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """List what occurs in the texts, some of them at once, see `features`."""
        begins = range(0, len(self), _CHUNK)
        for begin in progress_bar("Listing features", begins, unit="chunk"):
            yield self.chosen(np.arange(begin, min(begin + _CHUNK, len(self)))).features(bag)

    @torch.no_grad()
    def hidden(self, bag: BagModel) -> torch.Tensor:
        """Return the vectors of the texts, (texts, D)."""
        return torch.cat([bag.mean(rows, starts) for rows, starts in self.chunks(bag)])


def run_places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of all items of some runs, one run after another, and which run each belongs to."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return (starts - (np.cumsum(lengths) - lengths))[owners] + np.arange(lengths.sum()), owners

"""Rows of ids as padded batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..models.base import IGNORED

# What rows of trees are padded with, where they have an entry for each node; other rows may have lists of labels too.
_OF_NODES = {"parents": 0, "labels": IGNORED}


class PaddingCollator:
    """Make the padded batch of `DataCollatorWithPadding`, which walks over every id in Python and is slow."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.pad_token_id is None:
            raise ValueError("This tokenizer has no pad_token: rows of different lengths cannot make a batch.")
        self.pad_token_id, self.padding_side = tokenizer.pad_token_id, tokenizer.padding_side

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad `input_ids` and `attention_mask` (B, T), and stack what else the rows have; `label` is `labels`.

        Rows of trees have `parents` too, and `labels` that are one a node: both are padded.
        """
        lengths = [len(row["input_ids"]) for row in rows]
        longest = max(lengths)
        input_ids = np.full((len(rows), longest), self.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            own = slice(length) if self.padding_side == "right" else slice(longest - length, None)
            input_ids[index, own] = row["input_ids"]
            attention_mask[index, own] = row.get("attention_mask", 1)
        batch = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        fillers = _OF_NODES if "parents" in rows[0] else {}
        for name in rows[0].keys() - batch.keys():
            values = [row[name] for row in rows]
            if name in fillers and hasattr(values[0], "__len__"):
                batch[name] = self._padded(name, values, lengths, fillers[name])
            else:
                batch["labels" if name in ("label", "label_ids") else name] = torch.tensor(values)
        return batch

    def _padded(self, name: str, values: Sequence[Any], lengths: Sequence[int], filler: int) -> torch.Tensor:
        """Pad a column with an entry for each token."""
        longest = max(lengths)
        padded = np.full((len(values), longest), filler, dtype=np.int64)
        for index, (row, length) in enumerate(zip(values, lengths, strict=True)):
            if len(row) != length:
                raise ValueError(f"{name} has {len(row)} entries for {length} tokens: each token needs one.")
            padded[index, slice(length) if self.padding_side == "right" else slice(longest - length, None)] = row
        return torch.from_numpy(padded)


class IntentSlotsCollator(PaddingCollator):
    """Make padded batches for a model of intents and slots: `slot_labels` get -100 where `input_ids` are padded.

    The rows have `input_ids`, and where there are any, `labels`, an intent each, and `slot_labels`, a list each.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad and stack."""
        if "slot_labels" not in rows[0]:
            return super().__call__(rows)
        batch = super().__call__([{key: value for key, value in row.items() if key != "slot_labels"} for row in rows])
        lengths = [len(row["input_ids"]) for row in rows]
        return {
            **batch,
            "slot_labels": self._padded("slot_labels", [row["slot_labels"] for row in rows], lengths, IGNORED),
        }

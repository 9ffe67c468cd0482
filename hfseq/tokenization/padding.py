"""Rows of ids as padded batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..models.base import IGNORED


class PaddingCollator:
    """Make the padded batch of `DataCollatorWithPadding`, which walks over every id in Python and is slow."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.pad_token_id is None:
            raise ValueError("This tokenizer has no pad_token: rows of different lengths cannot make a batch.")
        self.pad_token_id, self.padding_side = tokenizer.pad_token_id, tokenizer.padding_side

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad `input_ids` and `attention_mask` (B, T), and stack what else the rows have; `label` is `labels`."""
        lengths = [len(row["input_ids"]) for row in rows]
        longest = max(lengths)
        input_ids = np.full((len(rows), longest), self.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            own = slice(length) if self.padding_side == "right" else slice(longest - length, None)
            input_ids[index, own] = row["input_ids"]
            attention_mask[index, own] = row.get("attention_mask", 1)
        batch = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
        for name in rows[0].keys() - batch.keys():
            batch["labels" if name in ("label", "label_ids") else name] = torch.tensor([row[name] for row in rows])
        return batch


class IntentSlotsCollator(PaddingCollator):
    """Make padded batches for a model of intents and slots: `slot_labels` get -100 where `input_ids` are padded.

    The rows have `input_ids`, and where there are any, `labels`, an intent each, and `slot_labels`, a list each.
    """

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad and stack."""
        if "slot_labels" not in rows[0]:
            return super().__call__(rows)
        batch = super().__call__([{key: value for key, value in row.items() if key != "slot_labels"} for row in rows])
        slots = torch.full_like(batch["input_ids"], IGNORED)
        for index, row in enumerate(rows):
            own, length = row["slot_labels"], len(row["input_ids"])
            if len(own) != length:
                raise ValueError(f"slot_labels has {len(own)} entries for {length} tokens: each token needs one.")
            place = slice(length) if self.padding_side == "right" else slice(slots.shape[1] - length, None)
            slots[index, place] = torch.as_tensor(own)
        return {**batch, "slot_labels": slots}

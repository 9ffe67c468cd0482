"""Rows of ids as padded batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase


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

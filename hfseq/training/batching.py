"""Which rows make one update, and who gets them.

An update's rows are drawn first and dealt out to processes and accumulation steps afterwards. So neither changes what
is learned: 1 process x 32 rows, 2 x 16 and 4 accumulation steps x 8 take the same 32 rows to the same update.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

STRATEGIES = ("random", "sequential", "group_by_length")

# A last update with fewer rows than this (and than a whole update) joins the one before it: it would be a noisy step,
# with too few rows to deal out. The limit does not depend on the number of processes (up to 8 shares), so that this
# number changes nothing. Under a token budget the last update has few rows because they are long, and stays as it is;
# it takes rows from the one before it only where there is not a row for each share.
SMALLEST_UPDATE = 8


def row_lengths(dataset: Dataset, length_column: str = "length") -> np.ndarray:
    """Count the tokens of each row, (rows,); the column of lengths tells them where there is one."""
    if length_column in dataset.column_names:
        return np.asarray(dataset[length_column][:])  # [:] reads the column at once, not row by row
    return np.fromiter((len(ids) for ids in dataset["input_ids"][:]), dtype=np.int64, count=len(dataset))


def check_dealt(count: int, what: str, num_processes: int, accumulation_steps: int, cure: str | None = None) -> None:
    """Raise a ValueError unless each process and accumulation step gets one of so many rows or streams."""
    shares = num_processes * accumulation_steps
    if count < shares:
        raise ValueError(
            f"{count} {what} cannot be dealt to {num_processes} processes x {accumulation_steps} accumulation steps. "
            f"{cure or f'Raise total_train_batch_size to {shares} or more.'}"
        )


class PaddingCollator:
    """Rows of `input_ids` and a label -> one padded batch, the one that `DataCollatorWithPadding` makes.

    That one walks over every id in Python, which slows a small model down.
    """

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


class UpdateSampler(Sampler[list[int]]):
    """A `batch_sampler` for DataLoader: this process's batches, `accumulation_steps` of them an update.

    The number of updates is the same in every epoch, as schedules need it.

    Args:
        rows_per_update: At most so many rows an update, over all processes and accumulation steps; the last one may
            have a few more, see `SMALLEST_UPDATE`.
        tokens_per_update: At most so many tokens an update, counted with padding to its longest row; needs
            "group_by_length". Rows that are too long alone still get an update of their own, and every share of an
            update its row: where the budget has no room for that many, the number of shares changes the updates.
        strategy: "random" shuffles; "sequential" keeps the order; "group_by_length" puts rows of about the same length
            together (equal lengths in a new order each epoch) and shuffles the updates.
        seed: Seed of the shuffling, together with the epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        *,
        rows_per_update: int,
        tokens_per_update: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        accumulation_steps: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.shares = num_processes * accumulation_steps
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy {strategy!r} is not one of {STRATEGIES}.")
        if tokens_per_update is not None and strategy != "group_by_length":
            raise ValueError(
                f"tokens_per_update={tokens_per_update} needs strategy 'group_by_length', got {strategy!r}: among "
                "rows of all lengths most of the budget would be padding."
            )
        cure = "Use fewer of either, or more data."
        check_dealt(len(self.lengths), "rows", num_processes, accumulation_steps, cure)
        check_dealt(rows_per_update, "rows an update", num_processes, accumulation_steps)
        self.rows_per_update, self.tokens_per_update = rows_per_update, tokens_per_update
        noisy = min(SMALLEST_UPDATE, rows_per_update) if tokens_per_update is None else 1
        self.smallest_update = max(noisy, self.shares)
        self.strategy, self.seed, self.epoch = strategy, seed, 0
        self.process_index, self.num_processes = process_index, num_processes

    def set_epoch(self, epoch: int) -> None:
        """Shuffle differently from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts(np.sort(self.lengths))) * self.shares // self.num_processes

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.updates():
            shares = np.array_split(rows, self.shares)
            for share in shares[self.process_index :: self.num_processes]:
                yield share.tolist()

    def updates(self) -> list[np.ndarray]:
        """Return the rows of each update of this epoch, before they are dealt out."""
        random = np.random.default_rng((self.seed, self.epoch))
        rows = np.arange(len(self.lengths))
        if self.strategy != "sequential":
            rows = random.permutation(rows)
        if self.strategy == "group_by_length":
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
        updates = [rows[start:end] for start, end in self._cuts(self.lengths[rows])]
        if self.strategy == "group_by_length":
            updates = [updates[i] for i in random.permutation(len(updates))]
        return updates

    def _cuts(self, lengths: np.ndarray) -> list[tuple[int, int]]:
        """Find where to cut rows of these lengths (in this order) into updates.

        With a token budget the lengths are sorted, so that the cuts are the same in every epoch.
        """
        starts, longest = [0], 0
        for row, length in enumerate(lengths.tolist()):
            rows = row - starts[-1]
            longest = max(longest, length)
            budget = self.tokens_per_update
            over_budget = budget is not None and rows >= self.shares and (rows + 1) * longest > budget
            if rows == self.rows_per_update or over_budget:
                starts.append(row)
                longest = length
        if len(starts) > 1 and len(lengths) - starts[-1] < self.smallest_update:
            starts.pop()
            if self.tokens_per_update is not None and len(lengths) - starts[-1] >= 2 * self.shares:
                starts.append(len(lengths) - self.shares)  # joined, all would be padded to the longest rows
        return list(zip(starts, [*starts[1:], len(lengths)], strict=True))

"""Which rows make one update, and who gets them.

An update's rows are drawn first and dealt out to processes and accumulation steps afterwards. So neither changes what
is learned: 1 process x 32 rows, 2 x 16 and 4 accumulation steps x 8 take the same 32 rows to the same update.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from torch.utils.data import Sampler

from ..data.sources import column_values

STRATEGIES = ("random", "sequential", "group_by_length")

# A last update with fewer rows than this (and than a whole update) joins the one before it: it would be a noisy step,
# with too few rows to deal out. The limit is the same for any number of shares up to 8, which so changes nothing.
# Under a token budget the last update is short because its rows are long: it stays, if each share gets a row.
SMALLEST_UPDATE = 8


def row_lengths(dataset: Dataset, length_column: str = "length") -> np.ndarray:
    """Count the tokens, or steps, of each row, (rows,), or read the column of lengths where there is one."""
    if length_column in dataset.column_names:
        return np.asarray(dataset[length_column][:])  # [:] reads the column at once, not row by row
    column = "input_values" if "input_values" in dataset.column_names else "input_ids"
    return pc.list_value_length(column_values(dataset, column)).to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Shares:
    """The shares of an update, one for each process and accumulation step, and which of them are this process's."""

    num_processes: int = 1
    process_index: int = 0
    accumulation_steps: int = 1

    def __len__(self) -> int:
        return self.num_processes * self.accumulation_steps

    @property
    def own(self) -> slice:
        """The places of this process's shares, in the order of the accumulation steps."""
        return slice(self.process_index, None, self.num_processes)

    def check(self, count: int, what: str, cure: str | None = None) -> None:
        """Raise a ValueError unless each share gets one of so many rows or streams."""
        if count < len(self):
            raise ValueError(
                f"{count} {what} cannot be dealt to {self.num_processes} processes x {self.accumulation_steps} "
                f"accumulation steps. {cure or f'Raise total_train_batch_size to {len(self)} or more.'}"
            )


class UpdateSampler(Sampler[list[int]]):
    """A `batch_sampler` for DataLoader: this process's batches, `accumulation_steps` of them an update.

    The number of updates is the same in every epoch, as schedules need it.

    Args:
        lengths: (rows,) tokens of each row; (rows, 2) where a row is a source and a target, which are padded apart.
        rows_per_update: At most so many rows over all shares; the last update may have more, see `SMALLEST_UPDATE`.
        tokens_per_update: At most so many tokens, counted with padding to the longest row; needs "group_by_length".
            Every share of an update still gets a row: where the budget has no room for that many, the number of
            shares changes the updates.
        strategy: "random" shuffles; "sequential" keeps the order; "group_by_length" puts rows of about the same length
            together (equal lengths in a new order each epoch) and shuffles the updates.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        *,
        rows_per_update: int,
        tokens_per_update: int | None = None,
        strategy: str = "random",
        seed: int = 0,
        shares: Shares | None = None,
    ) -> None:
        counts = np.asarray(lengths)
        self.lengths, self.shares = counts if counts.ndim > 1 else counts[:, None], shares or Shares()
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy {strategy!r} is not one of {STRATEGIES}.")
        if tokens_per_update is not None and strategy != "group_by_length":
            raise ValueError(
                f"tokens_per_update={tokens_per_update} needs strategy 'group_by_length', got {strategy!r}: among "
                "rows of all lengths most of the budget would be padding."
            )
        self.shares.check(len(self.lengths), "rows", "Use fewer of either, or more data.")
        self.shares.check(rows_per_update, "rows an update")
        self.rows_per_update, self.tokens_per_update = rows_per_update, tokens_per_update
        noisy = min(SMALLEST_UPDATE, rows_per_update) if tokens_per_update is None else 1
        self.smallest_update = max(noisy, len(self.shares))
        self.strategy, self.seed, self.epoch = strategy, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle as this epoch does from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts(self.lengths[_sorted(self.lengths)])) * self.shares.accumulation_steps

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.updates():
            for share in np.array_split(rows, len(self.shares))[self.shares.own]:
                yield share.tolist()

    def updates(self) -> list[np.ndarray]:
        """Return the rows of each update of this epoch, before they are dealt out."""
        random = np.random.default_rng((self.seed, self.epoch))
        rows = np.arange(len(self.lengths))
        if self.strategy != "sequential":
            rows = random.permutation(rows)
        if self.strategy == "group_by_length":
            rows = rows[_sorted(self.lengths[rows])]
        updates = [rows[start:end] for start, end in self._cuts(self.lengths[rows])]
        if self.strategy == "group_by_length":
            updates = [updates[i] for i in random.permutation(len(updates))]
        return updates

    def _cuts(self, lengths: np.ndarray) -> list[tuple[int, int]]:
        starts = self._starts(lengths)
        if len(starts) > 1 and len(lengths) - starts[-1] < self.smallest_update:
            starts.pop()
            if self.tokens_per_update is not None and len(lengths) - starts[-1] >= 2 * len(self.shares):
                starts.append(len(lengths) - len(self.shares))  # joined, all would be padded to the longest rows
        return list(zip(starts, [*starts[1:], len(lengths)], strict=True))

    def _starts(self, lengths: np.ndarray) -> list[int]:
        budget = self.tokens_per_update
        if budget is None:
            return [0, *range(self.rows_per_update, len(lengths), self.rows_per_update)]
        # With a token budget the lengths are sorted, so that the cuts are the same in every epoch.
        starts, longest = [0], [0] * lengths.shape[1]
        for row, own in enumerate(lengths.tolist()):
            rows = row - starts[-1]
            longest = list(map(max, longest, own))
            if rows == self.rows_per_update or (rows >= len(self.shares) and (rows + 1) * sum(longest) > budget):
                starts.append(row)
                longest = own
        return starts


def _sorted(lengths: np.ndarray) -> np.ndarray:
    """Return the order of rows by length; of pairs by the target's, and by the source's where those are equal."""
    return np.lexsort(lengths.T)

"""Training on windows of series, from an empty state or with the state carried from window to window.

    carry_state=False    windows in any order, each from an empty state
    carry_state=True     h_{k+1} = f(window_k, stop(h_k)): a series is read from its first training row to its last one

With `carry_state` the series are streams, as documents are in `StreamTrainer`: the state goes on where a window ends,
the gradient ends there. Where there are fewer series than `total_train_batch_size`, long ones are cut into pieces,
each of which begins from an empty state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..data.series_windows import Windows, following
from ..models.base import IGNORED
from ..settings import option
from ..tokenization.series_batches import mark_missing
from .arguments import SequenceTrainingArguments, refuse
from .batching import UpdateSampler
from .streams.states import CarriedStates
from .streams.trainer import carries_state
from .streams.windows import DocumentCutter, WindowDataset, WindowSampler, even_cuts
from .streams.windows import Windows as StreamWindows
from .trainer import SequenceTrainer

_FIXED: dict[str, tuple[Any, str]] = {
    "label_smoothing_factor": (0.0, "a model of series has a loss of its own"),
    "wide_solver": ("steps", "a model of series has no wide part"),
    "class_weights": (None, "series are no texts with a label each"),
    "total_train_batch_tokens": (None, "windows have one length, set total_train_batch_size"),
}


@dataclass
class SeriesTrainingArguments(SequenceTrainingArguments):
    """`SequenceTrainingArguments` for windows of series; `total_train_batch_size` is the number of windows."""

    carry_state: bool = option(
        False, "Recurrent models: go on from the state in which the window before has left the series."
    )
    fixed = SequenceTrainingArguments.fixed | _FIXED

    def __post_init__(self) -> None:
        """Check what was added, and refuse by name what means nothing for series."""
        refuse(
            (
                self.train_sampling_strategy == "group_by_length",
                "train_sampling_strategy='group_by_length': windows have one length. Leave it out.",
            ),
            (
                self.carry_state and self.gradient_checkpointing,
                "gradient_checkpointing runs each layer twice, and the second run would meet the state that the first "
                "left: leave it out, or carry_state.",
            ),
        )
        super().__post_init__()


@dataclass(frozen=True)
class SeriesArrays:
    """What a model reads and learns at each step of each series."""

    inputs: Sequence[np.ndarray]  # (T, F) scaled
    answers: Sequence[np.ndarray]  # (T, O) scaled targets, nan where unknown; or (T) classes
    horizon: int  # rows that are predicted after each one; 0: the class of the row itself

    def learnt(self, series: int, rows: slice) -> np.ndarray:
        """Return what is learnt at each of these rows: (rows, H, O) numbers, or (rows) classes."""
        if self.horizon == 0:
            return self.answers[series][rows]
        return mark_missing(following(self.answers[series], self.horizon)[rows])


class SeriesWindows(TorchDataset):
    """Windows as rows: `input_values` (T, F), a view, and `labels`, at each step or at the last one alone."""

    def __init__(self, windows: Windows, arrays: SeriesArrays, *, every_step: bool) -> None:
        self.windows, self.arrays, self.every_step = windows, arrays, every_step

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return a window."""
        series, last = int(self.windows.owner[index]), int(self.windows.last[index])
        rows = slice(last - self.windows.context + 1, last + 1)
        labels = self.arrays.learnt(series, rows)
        if not self.every_step:
            labels = labels.copy()
            labels[:-1] = IGNORED
        return {"input_values": self.arrays.inputs[series][rows], "labels": labels}


class SeriesWholes(TorchDataset):
    """Series from their beginning to the last window, with `labels` where a window ends: what a carried state reads.

    Attributes:
        asked: Of each row, the steps at which its windows end.
        order: Where the answer to each window stands among those of all rows.
    """

    def __init__(self, windows: Windows, arrays: SeriesArrays) -> None:
        self.arrays, self.horizon = arrays, arrays.horizon
        self.series = np.unique(windows.owner)
        self.asked = [windows.last[windows.owner == series] for series in self.series]
        places = np.argsort(windows.owner, kind="stable")
        self.order = np.argsort(places, kind="stable")

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return a series."""
        series, asked = int(self.series[index]), self.asked[index]
        rows = slice(0, int(asked.max()) + 1)
        labels = self.arrays.learnt(series, rows)
        hidden = np.full_like(labels, IGNORED)
        hidden[asked] = labels[asked]
        return {"input_values": self.arrays.inputs[series][rows], "labels": hidden}


def pad_windows(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Make a batch; rows of other lengths than the longest are padded behind their end."""
    lengths = np.array([len(row["input_values"]) for row in rows])
    longest = int(lengths.max())
    batch = {}
    for name, filler in (("input_values", 0), ("labels", IGNORED)):
        parts = [row[name] for row in rows]
        padded = np.full((len(rows), longest, *parts[0].shape[1:]), filler, parts[0].dtype)
        for place, part in enumerate(parts):
            padded[place, : len(part)] = part
        batch[name] = torch.from_numpy(padded)
    if (lengths < longest).any():
        batch["attention_mask"] = torch.from_numpy(np.arange(longest) < lengths[:, None]).long()
    return batch


class SeriesStreams(WindowDataset):
    """The training rows of all series, cut into pieces that `DocumentCutter` deals to streams.

    Args:
        rows: Those of each series that may be learnt from, whose answers are known in training.
        arrays: All series.
        streams: How many pieces there must be at least.
    """

    def __init__(self, rows: Sequence[slice], arrays: SeriesArrays, streams: int) -> None:
        self.arrays, self.pad_token_id = arrays, 0
        lengths = [max(own.stop - own.start, 0) for own in rows]
        longest = max(-(-sum(lengths) // max(streams, 1)), 1)
        pieces = [
            (series, own.start + begin, own.start + end)
            for series, own in enumerate(rows)
            for begin, end in _pieces(own.stop - own.start, longest)
        ]
        if len(pieces) < streams:
            raise ValueError(
                f"{sum(lengths)} training rows cannot make {streams} streams: lower total_train_batch_size."
            )
        self.series, self.first, end = (np.array(column) for column in zip(*pieces, strict=True))
        read = end - self.first
        # A document's last token is a target alone; every row of a piece is read.
        self.lengths = read + 1
        self.starts = np.cumsum(read) - read

    def __len__(self) -> int:
        return int((self.lengths - 1).sum())

    def __getitem__(self, index: int) -> int:
        """Return the row at a place: what a sample is."""
        return index

    def _tokens(self, windows: StreamWindows, real: torch.Tensor) -> dict[str, Any]:
        width = self.arrays.inputs[0].shape[1]
        inputs = np.zeros((*real.shape, width), np.float32)
        shape = self.arrays.learnt(int(self.series[0]), slice(int(self.first[0]), int(self.first[0]) + 1)).shape[1:]
        kind = np.int64 if self.arrays.horizon == 0 else np.float32
        labels = np.full((*real.shape, *shape), IGNORED, kind)
        for row, (start, length) in enumerate(zip(windows.starts.tolist(), windows.lengths.tolist(), strict=True)):
            piece = int(np.searchsorted(self.starts, start, side="right")) - 1
            first = int(self.first[piece]) + start - int(self.starts[piece])
            own, series = slice(first, first + length), int(self.series[piece])
            inputs[row, :length] = self.arrays.inputs[series][own]
            labels[row, :length] = self.arrays.learnt(series, own)
        return {"input_values": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}


def _pieces(rows: int, longest: int) -> list[tuple[int, int]]:
    if rows < 1:
        return []
    cuts = even_cuts(rows, longest).tolist()
    return list(zip(cuts[:-1], cuts[1:], strict=True))


class SeriesTrainer(SequenceTrainer):
    """`SequenceTrainer` for `SeriesWindows`; with `carry_state` the training rows are `SeriesStreams`.

    Args:
        model: A model of series, whose forward pass takes `input_values`.
        window: Rows between two cuts of the gradient, with `carry_state`.
        **kwargs: Those of `Trainer`.
    """

    args: SeriesTrainingArguments
    arguments_class: ClassVar[type[SequenceTrainingArguments]] = SeriesTrainingArguments

    def __init__(self, model: Any = None, args: Any = None, *, window: int = 0, **kwargs: Any) -> None:
        super().__init__(model, args, data_collator=pad_windows, **kwargs)
        self.window = window
        if self.args.carry_state and not carries_state(cast(nn.Module, self.model)):
            raise ValueError(
                f"carry_state=True needs a model whose state goes on from window to window, and "
                f"{type(self.model).__name__} has none: set carry_state=False, or take a recurrent model."
            )
        self.states = CarriedStates(cast(Any, self.model), self._shares())

    def get_train_dataloader(self) -> DataLoader:
        """Load this process's windows, an update after the other."""
        dataset: Any = self.train_dataset
        rows = cast(int, self.args.total_train_batch_size)
        if self.args.carry_state:
            self._shares().check(rows, "streams")
            shuffle = self.args.train_sampling_strategy != "sequential"
            cutter = DocumentCutter(dataset, rows, self.window, shuffle=shuffle, seed=self._data_seed)
            return self._dealt_loader(dataset, WindowSampler(cutter, self._shares()), _as_it_is)
        lengths = np.full(len(dataset), dataset.windows.context)
        options: dict[str, Any] = {"strategy": self.args.train_sampling_strategy, "seed": self._data_seed}
        return self._dealt_loader(
            dataset, UpdateSampler(lengths, rows_per_update=rows, shares=self._shares(), **options)
        )

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss, in training with `carry_state` from the state that the last update left."""
        if "slot" not in inputs:
            return super().compute_loss(model, inputs, *args, **kwargs)
        restart, slot = inputs.pop("restart"), inputs.pop("slot")
        loss = super().compute_loss(model, {**inputs, "cache": self.states.begin(slot, restart)}, *args, **kwargs)
        self.states.cut(slot)
        return loss

    def _forget_explosion(self) -> None:
        """Begin all streams anew: their states may be no numbers either."""
        self.states.forget()

    def _facts(self) -> dict[str, str]:
        # What decides where in the series an update is.
        names = ("carry_state", "total_train_batch_size", "train_sampling_strategy")
        facts = {name: getattr(self.args, name) for name in names}
        facts |= {"window": self.window, "data_seed": self._data_seed, "rows": len(cast(Any, self.train_dataset))}
        return {name: str(value) for name, value in facts.items()}

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.carry_state:
            self.states.save(Path(output_dir), self._facts())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.args.carry_state:
            self.states.load(Path(checkpoint), self._facts())


def _as_it_is(windows: dict[str, Any]) -> dict[str, Any]:
    return windows  # a batch of `SeriesStreams` already

"""One long text, cut into windows: truncated back-propagation through time (Williams and Peng 1990).

A text of N tokens holds N - 1 predictions: the token at place t is the input for the target at t + 1. In an epoch
every token is a target exactly once, but for the first of the text (with `carry="document"`: of each document).

    carry = stream     B streams lie side by side, and the state runs through each from window to window

        text        a b c d e f g h i j k l m                        N = 13, B = 2 streams, windows of 3
        stream 1    a b c | d e f        targets  b c d | e f g
        stream 2    g h i | j k l        targets  h i j | k l m      g is a target of stream 1, an input of stream 2

    carry = document   the same with whole documents: a window ends where its document ends, the next one starts afresh
    carry = none       chunks of about `window` tokens in any order, each from an empty state; their cuts move from
                       epoch to epoch, so that no token always stands first

Windows have at most `window` tokens, and equal lengths up to one token: a short remainder at the end would be a step
of full size from a handful of tokens. What cannot be equal is padding. As in `UpdateSampler`, rows are dealt out to
processes and accumulation steps after an update is drawn.

Shapes: B rows (streams, chunks), T tokens of the longest window of an update, U updates an epoch.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from ...models.base import IGNORED
from ..batching import Shares, UpdateSampler

Carry: TypeAlias = Literal["stream", "document", "none"]

SHORT_WINDOWS: Final = 0.05  # the share of the windows that is drawn around half of `window` (Merity et al. 2017)
DEVIATION: Final = 5  # the standard deviation of a varied window, and the least that is drawn


class TokenText:
    """Token ids of one long text, and the places where its documents begin.

    Args:
        ids: (N,) token ids, in memory or mapped from a file (`numpy.load(..., mmap_mode="r")`); never copied.
        starts: (documents,) increasing, from 0; the whole text is one document without them.
    """

    def __init__(self, ids: np.ndarray, starts: Sequence[int] | np.ndarray | None = None) -> None:
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"ids must be one row of integers, got {ids.dtype} of shape {ids.shape}: see from_documents."
            )
        if not len(ids):
            raise ValueError("a text needs at least one token, got none.")
        self.ids = ids
        self.starts = np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64)
        ordered = len(self.starts) and self.starts[0] == 0 and (np.diff(self.starts) > 0).all()
        if not ordered or self.starts[-1] >= len(ids):
            got = f"{len(self.starts)} from {self.starts[:1]} to {self.starts[-1:]}"
            raise ValueError(f"starts must increase from 0 to a place below {len(ids)}, the text's tokens; got {got}.")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"TokenText({len(self):,} tokens, {len(self.starts):,} documents)"

    @property
    def lengths(self) -> np.ndarray:
        """The tokens of each document, (documents,)."""
        return np.diff(self.starts, append=len(self.ids))

    @classmethod
    def from_documents(cls, documents: Dataset | Iterable[Sequence[int]]) -> "TokenText":
        """Write documents one after the other as they are; those without a token are left out.

        They are rows of token ids, or a dataset with a column `input_ids`, which is read at once.
        """
        if isinstance(documents, Dataset):
            if "input_ids" not in documents.column_names:
                raise ValueError(
                    f"a text needs the column input_ids, got {documents.column_names}: tokenize it first."
                )
            if not documents.num_rows:  # whose column may have no type yet
                raise ValueError("there is no token in these documents.")
            column = documents.select_columns("input_ids").with_format("arrow")[:]["input_ids"]
            found, counted = pc.list_flatten(column), pc.list_value_length(column)
            if found.null_count or counted.null_count:
                raise ValueError("a row of the column input_ids, or an id in it, is missing (None).")
            ids, lengths = found.cast("int32").to_numpy().copy(), counted.to_numpy().astype(np.int64)
        else:
            rows = [np.zeros(0, np.int32), *(np.asarray(row, np.int32) for row in documents)]
            ids, lengths = np.concatenate(rows), np.fromiter(map(len, rows), np.int64)
        lengths = lengths[lengths > 0]
        if not len(lengths):
            raise ValueError("there is no token in these documents.")
        return cls(ids, np.cumsum(lengths) - lengths)

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, bos: bool, eos: bool
    ) -> "TokenText":
        """Make a document of each string, with `bos_token` and `eos_token` around it if asked for.

        A text of lines, as PTB and WikiText are read, is `bos=False, eos=True`.
        """
        if isinstance(texts, str | Dataset):
            cure = "wrap it in a list" if isinstance(texts, str) else "pass its column of texts"
            raise TypeError(f"texts is one {type(texts).__name__}, not a sequence of strings; {cure}.")
        before, after = _special(tokenizer, "bos_token", bos), _special(tokenizer, "eos_token", eos)
        texts, rows = iter(texts), []
        while batch := list(islice(texts, 1000)):
            encoded = tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
            rows += [np.asarray([*before, *ids, *after], np.int32) for ids in encoded]
        return cls.from_documents(rows)


def _special(tokenizer: PreTrainedTokenizerBase, name: str, wanted: bool) -> list[int]:
    if not wanted:
        return []
    index = getattr(tokenizer, f"{name}_id")
    if index is None:
        raise ValueError(f"this tokenizer has no {name}: leave it out, or set one.")
    return [index]


class Windows(NamedTuple):
    """The windows of one update, or of one share of it."""

    starts: np.ndarray  # (B,) place of each row's first input in the text
    lengths: np.ndarray  # (B,) inputs of each row; 0: this row waits
    restart: np.ndarray  # (B,) rows whose state begins anew
    width: int  # T, of the whole update
    slot: int = 0  # the accumulation step that the share is for
    epoch: int = 0  # in each, what a window draws, such as the tokens that it hides, is drawn anew


def even_cuts(length: int, window: int) -> np.ndarray:
    """Cut so many tokens into as few windows of at most `window` as possible; returns (windows + 1,) places."""
    windows = -(-length // window)
    return np.arange(windows + 1) * length // windows


def varied_cuts(length: int, window: int, random: np.random.Generator) -> np.ndarray:
    """Cut into windows of random lengths (Merity et al. 2017), stretched to cover the text."""
    windows = min(max(round(length / (window * (1 - SHORT_WINDOWS / 2))), 1), length)
    mean = np.where(random.random(windows) < SHORT_WINDOWS, window / 2, window)
    drawn = np.maximum(random.normal(mean, DEVIATION).astype(np.int64), DEVIATION)
    ends = np.arange(1, windows + 1) + np.cumsum(drawn) * (length - windows) // drawn.sum()  # one token each at least
    return np.concatenate([[0], ends])


class StreamCutter:
    """`carry="stream"`: B streams of equal length side by side, all cut at the same places, see `varied_cuts`."""

    def __init__(self, text: TokenText, streams: int, window: int, *, vary: bool = False, seed: int = 0) -> None:
        targets = len(text) - 1
        if targets < streams:
            cure = "Use a smaller total_train_batch_size, or more text."
            raise ValueError(f"{len(text)} tokens cannot make {streams} streams with a prediction each. {cure}")
        bounds = np.arange(streams + 1) * targets // streams
        self.starts, self.ends = bounds[:-1], bounds[1:]
        self.longest = int((self.ends - self.starts).max())
        self.window, self.vary, self.seed = window, vary, seed

    def _cuts(self, epoch: int) -> np.ndarray:
        if self.vary:
            return varied_cuts(self.longest, self.window, np.random.default_rng((self.seed, epoch)))
        return even_cuts(self.longest, self.window)

    def __len__(self) -> int:
        return len(self._cuts(0)) - 1

    def updates(self, epoch: int) -> Iterator[Windows]:
        """Move all streams on by the same window; those that are one token shorter have padding in the last one."""
        for start, end in pairwise(self._cuts(epoch).tolist()):
            starts = self.starts + start
            lengths = np.minimum(end - start, self.ends - starts)
            yield Windows(starts, lengths, np.full(len(starts), start == 0), end - start)


class DocumentCutter:
    """`carry="document"`: each stream reads whole documents, one after the other.

    Each stream has its own documents, about equally many windows of them; with `shuffle` their order changes from
    epoch to epoch. A stream with fewer windows waits now and then, lest the last updates hold a few rows only.
    """

    def __init__(self, text: TokenText, streams: int, window: int, *, shuffle: bool = True, seed: int = 0) -> None:
        self.document_starts = text.starts
        self.targets = text.lengths - 1
        self.windows = -(-self.targets // window)  # (documents,)
        documents = np.flatnonzero(self.windows)
        if len(documents) < streams:
            cure = "Use a smaller total_train_batch_size, or carry='stream'."
            raise ValueError(f"{len(documents)} documents of two tokens or more cannot make {streams} streams. {cure}")
        self.shuffle, self.seed = shuffle, seed
        self.documents = self._deal(documents, streams)  # of each stream
        self.loads = [int(self.windows[own].sum()) for own in self.documents]

    def _deal(self, documents: np.ndarray, streams: int) -> list[np.ndarray]:
        # The longest first, each to the stream that has least so far; then in the order of the text.
        queue = [(0, stream) for stream in range(streams)]
        owner = np.empty(len(documents), np.int64)
        for place in np.argsort(-self.windows[documents], kind="stable").tolist():
            load, stream = queue[0]
            owner[place] = stream
            heapq.heapreplace(queue, (load + int(self.windows[documents[place]]), stream))
        return [documents[owner == stream] for stream in range(streams)]

    def __len__(self) -> int:
        return max(self.loads)

    def updates(self, epoch: int) -> Iterator[Windows]:
        """Yield each stream's windows in their order; a row that waits has none."""
        random = np.random.default_rng((self.seed, epoch))
        shape = len(self), len(self.documents)  # (U, B)
        starts, lengths, restart = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
        for stream, (documents, load) in enumerate(zip(self.documents, self.loads, strict=True)):
            turns = np.sort(random.permutation(len(self))[:load])
            own = random.permutation(documents) if self.shuffle else documents
            starts[turns, stream], lengths[turns, stream], restart[turns, stream] = self._windows(own)
        for update in range(len(self)):
            yield Windows(starts[update], lengths[update], restart[update], int(lengths[update].max()))

    def _windows(self, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Their starts, lengths, and which begin a document: `even_cuts` for all documents at once.
        windows = self.windows[documents]
        index = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)  # within the document
        documents, windows = np.repeat(documents, windows), np.repeat(windows, windows)
        start, end = (place * self.targets[documents] // windows for place in (index, index + 1))
        return self.document_starts[documents] + start, end - start, index == 0


class ChunkCutter:
    """`carry="none"`: chunks of at most `window` tokens, by `UpdateSampler`; `reads_last`: see `OrderedCutter`."""

    def __init__(
        self, text: TokenText, window: int, *, seed: int = 0, reads_last: bool = False, **options: Any
    ) -> None:
        self.targets, self.window, self.seed = _num_read(text, reads_last), window, seed
        self.count = -(-self.targets // window)
        self.moves = self.targets >= 2 * self.count  # else a moved cut would leave a chunk without a token
        self.sampler = UpdateSampler(np.full(self.count + self.moves, window), seed=seed, **options)

    def _cuts(self, epoch: int) -> np.ndarray:
        if not self.moves:
            return even_cuts(self.targets, self.window)
        shift = np.random.default_rng((self.seed, epoch)).integers(self.count, self.targets - self.count + 1)
        cuts = (np.arange(self.count) * self.targets + shift) // self.count
        return np.concatenate([[0], cuts, [self.targets]])

    def __len__(self) -> int:
        return len(self.sampler.updates())

    def updates(self, epoch: int) -> Iterator[Windows]:
        """Yield chunks in the order of the sampler's strategy."""
        cuts = self._cuts(epoch)
        self.sampler.set_epoch(epoch)
        for rows in self.sampler.updates():
            lengths = cuts[rows + 1] - cuts[rows]
            yield Windows(cuts[rows], lengths, np.ones(len(rows), bool), int(lengths.max()))


class OrderedCutter:
    """Windows of the whole text one after the other, each from an empty state: to evaluate what has none.

    They are cut alike for any number of `rows` read at once. With `reads_last` the last token of the text is read too,
    which predicts nothing, but may itself be hidden.
    """

    def __init__(self, text: TokenText, rows: int, window: int, *, reads_last: bool = False) -> None:
        self.cuts, self.rows = even_cuts(_num_read(text, reads_last), window), rows

    def __len__(self) -> int:
        return -(-(len(self.cuts) - 1) // self.rows)

    def updates(self, epoch: int) -> Iterator[Windows]:
        """Yield the windows, the same ones in every epoch."""
        lengths = np.diff(self.cuts)
        for first in range(0, len(lengths), self.rows):
            own = slice(first, first + self.rows)
            restart = np.ones(len(lengths[own]), bool)
            yield Windows(self.cuts[:-1][own], lengths[own], restart, int(lengths[own].max()))


def _num_read(text: TokenText, reads_last: bool) -> int:
    targets = len(text) - (not reads_last)
    if targets < 1:
        raise ValueError("a text of one token predicts nothing.")
    return targets


Cutter: TypeAlias = StreamCutter | DocumentCutter | ChunkCutter | OrderedCutter


class WindowSampler(Sampler[Windows]):
    """A `batch_sampler` for DataLoader: this process's windows, `accumulation_steps` shares of each update."""

    def __init__(self, cutter: Cutter, shares: Shares) -> None:
        self.cutter, self.shares, self.epoch = cutter, shares, 0

    def set_epoch(self, epoch: int) -> None:
        """Cut and order as this epoch does from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.cutter) * self.shares.accumulation_steps

    def __iter__(self) -> Iterator[Windows]:
        for windows in self.cutter.updates(self.epoch):
            rows = np.array_split(np.arange(len(windows.starts)), len(self.shares))
            for slot, own in enumerate(rows[self.shares.own]):
                columns = windows.starts[own], windows.lengths[own], windows.restart[own]
                yield Windows(*columns, width=windows.width, slot=slot, epoch=self.epoch)


class WindowDataset(TorchDataset):
    """Windows -> batches; as long as the text, so that Trainer's samples are tokens."""

    def __init__(self, text: TokenText, pad_token_id: int = 0) -> None:
        self.text, self.pad_token_id = text, pad_token_id

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, index: int) -> int:
        """Return the token at a place: what a sample is."""
        return int(self.text.ids[index])

    def __getitems__(self, windows: Windows) -> dict[str, Any]:
        """Build the whole batch: what `_tokens` gives, `attention_mask` if there is padding, `restart` and `slot`."""
        real = torch.from_numpy(np.arange(windows.width) < windows.lengths[:, None])
        batch = self._tokens(windows, real)
        if not real.all():
            batch["attention_mask"] = real.long()
        return {**batch, "restart": torch.from_numpy(windows.restart), "slot": windows.slot}

    def _tokens(self, windows: Windows, real: torch.Tensor) -> dict[str, Any]:
        places = np.minimum(windows.starts[:, None] + np.arange(windows.width + 1), len(self.text) - 1)
        tokens = torch.from_numpy(self.text.ids[places].astype(np.int64))  # (B, T + 1)
        # Contiguous, which `masked_fill` is: the losses of transformers' own models ask for it.
        labels = tokens[:, 1:].masked_fill(~real, IGNORED)
        input_ids = tokens[:, :-1].masked_fill(~real, self.pad_token_id)
        return {"input_ids": input_ids, "shift_labels": labels, "labels": labels}  # Trainer asks for `labels`

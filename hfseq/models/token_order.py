"""Where the real tokens of a batch stand, and how a batch of ragged texts is read without its padding.

**Padding never changes an answer.** Real tokens are brought to the front, read, and put back where they were: left
padding, right padding, holes and empty rows are all the same.

    text   a b . c .        front   a b c . .        backward   c b a . .

Shapes: B batch, T time, I input, H hidden, n real tokens.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import torch


class Packing:
    """A ragged batch step by step: rows sorted by length, each step holding the rows that are still alive.

    rows  a b c        steps  a1 b1 c1 | a2 b2 | a3        sizes  3 2 1        n = 6

    Args:
        lengths: (B) real tokens of each row, longest first.

    Attributes:
        sizes: For each step, how many rows are alive; they are the first ones.
        first: How many rows have a token at all.
        offsets: For each step, where it begins among the n tokens.
        before: For each step, where the states it starts from begin, in a trace that has `first` initial states first.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        longest, batch = (lengths[0] if lengths else 0), len(lengths)
        self.sizes, alive = [], batch
        for step in range(longest):
            while lengths[alive - 1] <= step:
                alive -= 1
            self.sizes.append(alive)
        self.lengths = lengths
        self.first = self.sizes[0] if self.sizes else 0
        self.offsets = list(accumulate(self.sizes, initial=0))[:-1]
        self.before = [0, *(self.first + offset for offset in self.offsets)][:longest]
        # Batches of one length need no look-up of places.
        self.even = longest > 0 and lengths[-1] == longest

    def previous(self, trace: torch.Tensor) -> torch.Tensor:
        """Return the (n, H) states before each step, from a trace (first + n, H) that has the initial ones first."""
        if self.even:
            return trace[: len(trace) - self.first]
        return trace.index_select(0, self._previous.to(trace.device))

    @cached_property
    def _previous(self) -> torch.Tensor:
        steps = zip(self.before, self.sizes, strict=True)
        return torch.tensor(
            [place for start, size in steps for place in range(start, start + size)], dtype=torch.long, device="cpu"
        )

    def reached(self, trace: torch.Tensor, initial: torch.Tensor) -> torch.Tensor:
        """Return the states (states, B, H) after each row's last token; of a row without one, the initial ones."""
        if self.even:
            return trace[:, len(trace[0]) - self.first :].clone()
        states = initial.clone()
        states[:, : self.first] = trace.index_select(1, self._last.to(trace.device))
        return states

    @cached_property
    def _last(self) -> torch.Tensor:
        places = [self.first + self.offsets[length - 1] + row for row, length in enumerate(self.lengths[: self.first])]
        return torch.tensor(places, dtype=torch.long, device="cpu")


class TokenOrder:
    """Where each direction finds the real tokens of a batch; made once a batch, for all its layers.

    Args:
        batch: B.
        steps: T.
        attention_mask: (B, T); None: every token is real.
        step_of: (B, T) which step each token belongs to, where several are read as one; their other tokens are
            masked. None: each token is a step.
    """

    def __init__(
        self, batch: int, steps: int, attention_mask: torch.Tensor | None, *, step_of: torch.Tensor | None = None
    ) -> None:
        self.batch, self.steps = batch, steps
        self._mask, self._step_of = attention_mask, step_of

    @cached_property
    def real(self) -> torch.Tensor | None:
        """(B, T) where the real tokens are; None: everywhere."""
        return None if self._mask is None else self._mask.bool()

    @cached_property
    def one_step(self) -> bool:
        """Whether this is one real token a row: a step of generation."""
        return self.steps == 1 and (self._mask is None or bool(self._mask.all()))

    @cached_property
    def lengths(self) -> torch.Tensor:
        """(B) real tokens."""
        assert self.real is not None
        return self.real.sum(1)

    @cached_property
    def _rows(self) -> torch.Tensor:
        """(B) rows, longest first."""
        return torch.argsort(self.lengths, descending=True, stable=True)

    @cached_property
    def packing(self) -> Packing:
        """The batch step by step."""
        if self.real is None:
            return Packing([self.steps] * self.batch)
        return Packing(self.lengths[self._rows].tolist())

    @cached_property
    def forward(self) -> torch.Tensor:
        """(B, T): row b meets position forward[b, k] at step k; the padding comes last."""
        assert self.real is not None
        real = self.real.long()
        # Counted, not sorted: ONNX has no stable sort.
        padded = self.lengths[:, None] + (1 - real).cumsum(1) - 1
        rank = torch.where(self.real, real.cumsum(1) - 1, padded)
        step = torch.arange(self.steps, device=rank.device).expand_as(rank)
        return torch.empty_like(rank).scatter(1, rank, step)

    @cached_property
    def backward(self) -> torch.Tensor:
        """(B, T): the same real tokens reversed, then the padding."""
        step = torch.arange(self.steps, device=self.forward.device).expand_as(self.forward)
        lengths = self.lengths[:, None]
        return self.forward.gather(1, torch.where(step < lengths, lengths - 1 - step, step))

    @cached_property
    def _forward_places(self) -> torch.Tensor:
        return self._packed_places(self.forward)

    @cached_property
    def _backward_places(self) -> torch.Tensor:
        return self._packed_places(self.backward)

    def _packed_places(self, order: torch.Tensor) -> torch.Tensor:
        """Return the (n) places b T + t of the real tokens, step by step in this order."""
        rows = self._rows
        alive = torch.arange(self.steps, device=rows.device)[:, None] < self.lengths[rows]  # (T, B)
        return (rows * self.steps + order[rows].t())[alive]

    def pack(self, values: torch.Tensor, backward: bool) -> torch.Tensor:
        """Map (B, T, I) to (n, I), step by step in the direction's reading order."""
        if self.real is None:
            values = values.flip(1) if backward else values
            return values.transpose(0, 1).reshape(-1, values.shape[-1])
        return values.reshape(-1, values.shape[-1]).index_select(
            0, self._backward_places if backward else self._forward_places
        )

    def unpack(self, packed: torch.Tensor, backward: bool) -> torch.Tensor:
        """Map (n, H) to (B, T, H), zero where there is padding."""
        if self.real is None:
            values = packed.view(self.steps, self.batch, -1).transpose(0, 1)
            return values.flip(1) if backward else values
        places = self._backward_places if backward else self._forward_places
        values = packed.new_zeros(self.batch * self.steps, packed.shape[-1])
        return values.index_copy(0, places, packed).view(self.batch, self.steps, -1)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Give the tokens of a step what was found for it, (B, T, H)."""
        if self._step_of is None:
            return values
        # Whole rows are copied, which is several times faster than `gather`.
        first = torch.arange(self.batch, device=values.device)[:, None] * self.steps
        return values.flatten(0, 1).index_select(0, (first + self._step_of).flatten()).view(values.shape)

    def sort(self, states: torch.Tensor) -> torch.Tensor:
        """Return (states, B, H) with the rows in packed order."""
        return states if self.real is None else states.index_select(1, self._rows)

    def unsort(self, states: torch.Tensor) -> torch.Tensor:
        """Undo `sort`."""
        return states if self.real is None else torch.empty_like(states).index_copy(1, self._rows, states)

    def to_front(self, values: torch.Tensor, backward: bool = False) -> torch.Tensor:
        """Return (B, T, I) with the real tokens of each row first, in the direction's reading order."""
        if self.real is None:
            return values.flip(1) if backward else values
        index = (self.backward if backward else self.forward)[..., None]  # (B, T, 1)
        return values.gather(1, index.expand_as(values))

    def put_back(self, values: torch.Tensor, backward: bool = False) -> torch.Tensor:
        """Undo `to_front`; (B, T, H) is zero where there is padding."""
        if self.real is None:
            return values.flip(1) if backward else values
        index = (self.backward if backward else self.forward)[..., None]
        return torch.empty_like(values).scatter(1, index.expand_as(values), values) * self.real[..., None]

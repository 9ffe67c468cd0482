"""Whole numbers in ascending order, in little more bytes than any code needs (Elias 1974, Fano 1971).

A number's lowest bits are written as they are. Its higher bits are told by how many steps up there are before it: for
each number a 1, and a 0 for each step. With n numbers below u that is about 2 + log2(u / n) bits a number. A bag's
lists of 50,000 kept buckets of 200,000 are then 25 kB, where int32 would take 200.

How many bytes that is follows from n and u alone, so a config tells the shape of the tensor.
"""

import numpy as np
import torch
from torch import nn
from transformers import initialization as init


def low_bits(count: int, limit: int) -> int:
    """Return how many bits of each number are written as they are."""
    return max(limit // max(count, 1), 1).bit_length() - 1


def packed_size(count: int, limit: int) -> int:
    """Return the bytes of `count` numbers from 0 to `limit` - 1."""
    low = low_bits(count, limit)
    steps = count + (max(limit - 1, 0) >> low) if count else 0
    return -(-count * low // 8) + -(-steps // 8)


def pack(numbers: np.ndarray, limit: int) -> np.ndarray:
    """Write ascending numbers, which may repeat, in uint8."""
    numbers = np.asarray(numbers, dtype=np.int64)
    count = len(numbers)
    if count and (numbers[0] < 0 or numbers[-1] >= limit or (np.diff(numbers) < 0).any()):
        raise ValueError(f"The numbers must ascend from 0 to {limit - 1} at most.")
    low = low_bits(count, limit)
    steps = np.zeros(count + (max(limit - 1, 0) >> low) if count else 0, dtype=np.uint8)
    steps[(numbers >> low) + np.arange(count)] = 1
    rest = (numbers[:, None] >> np.arange(low)) & 1
    return np.concatenate([np.packbits(rest.astype(np.uint8)), np.packbits(steps)])


def unpack(packed: np.ndarray, count: int, limit: int) -> np.ndarray:
    """Read back what `pack` wrote: int64, (count,)."""
    low = low_bits(count, limit)
    split = -(-count * low // 8)
    rest = np.unpackbits(packed[:split], count=count * low).reshape(count, low)
    ones = np.flatnonzero(np.unpackbits(packed[split:]))
    if len(ones) != count:
        raise ValueError(f"{len(ones)} numbers are packed where {count} should be.")
    return ((ones - np.arange(count)) << low) + rest @ (1 << np.arange(low, dtype=np.int64))


class AscendingNumbers(nn.Module):
    """A list of ascending numbers that is saved in few bytes.

    Args:
        count: How many there are.
        limit: What all are below.
        step: Before `fill` they are 0, `step`, 2 `step` ...

    Attributes:
        bits: uint8, the numbers as `pack` writes them.
    """

    bits: torch.Tensor

    def __init__(self, count: int, limit: int, *, step: int = 0) -> None:
        super().__init__()
        self.count, self.limit, self.step = count, limit, step
        self.register_buffer("bits", torch.zeros(packed_size(count, limit), dtype=torch.uint8))
        self._read: tuple[torch.Tensor, int, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_read": None}  # a copy reads its own

    @torch.no_grad()
    def start(self) -> None:
        """Give a list that a checkpoint lacks its first numbers."""
        init.copy_(self.bits, torch.from_numpy(pack(np.arange(self.count) * self.step, self.limit)))

    @torch.no_grad()
    def fill(self, numbers: np.ndarray | torch.Tensor) -> None:
        """Take other numbers, as many as before."""
        numbers = np.asarray(numbers.cpu() if isinstance(numbers, torch.Tensor) else numbers)
        if numbers.shape != (self.count,):
            raise ValueError(f"{self.count} numbers are needed, got shape {numbers.shape}.")
        self.bits.copy_(torch.from_numpy(pack(numbers, self.limit)))

    def numbers(self) -> np.ndarray:
        """Return them, int64; they are unpacked once, so nobody may write to them."""
        # torch counts each change in place. The bits themselves are held: another tensor may get the same address.
        version = 0 if self.bits.is_inference() else self.bits._version
        if self._read is None or self._read[0] is not self.bits or self._read[1] != version:
            numbers = unpack(self.bits.numpy(force=True), self.count, self.limit)
            numbers.flags.writeable = False
            self._read = self.bits, version, numbers
        return self._read[2]

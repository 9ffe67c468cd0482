"""Several processes that train apart, and make one model of theirs from time to time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# A row that a process met this often between two averages counts half as sum, half as mean.
_SETTLED_AFTER = 1000.0


class ParameterAveraging:
    """Make one model of those that several processes have trained apart.

    A rare row moves by the sum of the processes' movements, as if they had moved it one after another; a frequent row,
    which each process had settled by itself, by their mean: the sum would overshoot.

    Args:
        matrices: Returns the matrices as they are, whose memory is written to.
        occurrences: How often the whole corpus touches each row, for each matrix.
        num_processes: How many there are.
    """

    def __init__(
        self, matrices: Callable[[], Sequence[Tensor]], occurrences: Sequence[Tensor], num_processes: int
    ) -> None:
        self.matrices, self.occurrences, self.count = matrices, occurrences, num_processes
        for matrix in matrices():  # models made apart may differ
            shared = matrix.contiguous()
            torch.distributed.broadcast(shared, src=0)
            matrix.copy_(shared)
        self.before = [matrix.clone() for matrix in matrices()]

    def average(self, part: float) -> None:
        """Average, when all processes together have read this part of the corpus since the last time."""
        for matrix, before, occurrences in zip(self.matrices(), self.before, self.occurrences, strict=True):
            moved = (matrix - before).contiguous()
            torch.distributed.all_reduce(moved)
            met = occurrences * (part / self.count)  # by each process since the last time
            settled = met / (met + _SETTLED_AFTER)
            share = (1 - settled) + settled / self.count
            before += moved * share.to(moved).view(-1, *[1] * (moved.dim() - 1))
            matrix.copy_(before)

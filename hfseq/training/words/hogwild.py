"""What the engines of threads share: rows that loops move in place, and threads that stop together."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def taken_rows(kernels: Any, weight: Tensor) -> np.ndarray:
    """Copy rows for the loops, padded; the model's parameter then views the copy, so that there are not two."""
    count, width = weight.shape
    rows: np.ndarray = kernels.aligned(count, kernels.padded(width))
    rows[:, :width] = weight.detach().float().cpu().numpy()
    weight.data = torch.from_numpy(rows)[:, :width]
    return rows


def run_threads(
    work: Callable[[int], None], count: int, halt: np.ndarray, watch: Callable[[], None] | None = None
) -> None:
    """Let `work(thread)` run in so many threads, and raise the first error of any of them.

    Args:
        work: Runs without the interpreter's lock, and looks at `halt`.
        count: How many threads there are.
        halt: (1,): set to 1 when the others shall stop too, after an error or Ctrl-C.
        watch: Called several times a second while they run.
    """
    errors: list[BaseException] = []

    def guarded(thread: int) -> None:
        try:
            work(thread)
        except BaseException as error:  # raised again below, in the caller's thread
            errors.append(error)
            halt[0] = 1

    workers = [threading.Thread(target=guarded, args=(thread,), daemon=True) for thread in range(count)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(None if watch is None else 0.1)
                if watch is not None:
                    watch()
    finally:  # also after Ctrl-C, which comes while this thread waits: the others finish what they are at
        halt[0] = 1
        for worker in workers:
            if worker.is_alive():
                worker.join()
    if errors:
        raise errors[0]

"""How every benchmark measures: rivals take turns, work is counted in CPU seconds, the claim is a ratio.

Turns, because a machine's speed drifts; CPU seconds of one thread, because a shared machine's wall clock measures the
neighbours; the median of the ratios of each round, because both rivals of a round met the same weather.
"""

import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def take_turns(rivals: dict[str, Callable[[], Any]], rounds: int = 15) -> dict[str, list[float]]:
    """Return the CPU seconds of each rival in each round; each round begins with the next rival.

    In a fixed order one of them would always come behind the same other, at the clock speed that this one left.

    Args:
        rivals: Name -> one unit of work; each is run once before the clock starts.
        rounds: Turns of each.
    """
    torch.set_num_threads(1)
    for work in rivals.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(cpu_seconds(rivals[name]))
    return taken


def median_ratio(theirs: list[float], ours: list[float]) -> float:
    """Return how many times less time than the peer ours took, in the median of the rounds."""
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def ratios(rivals: dict[str, Callable[[], Any]], peer: str, rounds: int = 15) -> dict[str, float]:
    """Return how many times faster than the peer each rival is (its own ratio is 1).

    Args:
        rivals: Name -> what is timed, see `take_turns`.
        peer: The rival that the others are measured against.
        rounds: How many turns each rival has.
    """
    taken = take_turns(rivals, rounds)
    return {name: median_ratio(taken[peer], times) for name, times in taken.items()}


class Turns:
    """The clock of one rival of `train_in_turns`, which trains whole but rests while the others take theirs.

    Args:
        connection: To the process that says whose turn it is.
        count: Turns that the training is cut into.
    """

    def __init__(self, connection: Connection, count: int) -> None:
        self.connection, self.count, self.started = connection, count, 0.0

    def begin(self) -> None:
        """Wait for the first turn: all is prepared and warm."""
        self._wait(None)

    def after(self, step: int, steps: int) -> None:
        """Rest where a turn ends; the training calls this after each of its `steps`, the first being 1."""
        if steps < self.count:
            raise ValueError(f"{steps} steps cannot be cut into {self.count} turns: train on more rows.")
        if step < steps and step * self.count // steps > (step - 1) * self.count // steps:
            self._rest()

    def end(self) -> None:
        """End the last turn; what follows is not timed."""
        self._rest()

    def _rest(self) -> None:
        self._wait(time.process_time() - self.started)

    def _wait(self, message: float | None) -> None:
        self.connection.send(message)
        self.connection.recv()
        self.started = time.process_time()


def train_in_turns(rivals: dict[str, Callable[[Turns], Any]], turns: int) -> dict[str, tuple[list[float], Any]]:
    """Train each rival in a process of its own, one at a time, and give the CPU seconds of its turns and its outcome.

    Args:
        rivals: Name -> a training that can be pickled: calls `begin`, `after` each step and `end`, and returns its
            outcome.
        turns: That each training is cut into; at most as many as it has steps.
    """
    processes = multiprocessing.get_context("spawn")  # a fork would share what another rival imported and warmed up
    lines: dict[str, Connection] = {}
    for name, train in rivals.items():
        lines[name], far_end = processes.Pipe()
        processes.Process(target=_train, args=(train, far_end, turns), daemon=True).start()
        far_end.close()  # so that a rival that fails ends the run
        lines[name].recv()
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(turns):
        for name, line in lines.items():
            taken[name].append(_next(line))
    return {name: (taken[name], _next(line)) for name, line in lines.items()}


def _train(train: Callable[[Turns], Any], connection: Connection, turns: int) -> None:
    """Run a rival's training; the body of its process."""
    torch.set_num_threads(1)
    connection.send(train(Turns(connection, turns)))


def _next(line: Connection) -> Any:
    """Give a rival its turn, and wait for what it has to say afterwards."""
    line.send(None)
    return line.recv()


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print claim, goal and ratio of each row."""
    for row in rows:
        print(f"{row['claim']:72} goal {row['goal']:4.2f}  ratio {row['ratio']:5.2f}")


PER_CPU_SECOND = "speed ratio per CPU second, one thread, median of interleaved rounds"


def write_result(
    name: str, *, command: str, peer: str, rows: list[dict[str, Any]], unit: str = PER_CPU_SECOND, **more: Any
) -> None:
    """Print the rows and keep them in results/NAME.json, from which the table of docs/benchmarks.md is made.

    Args:
        command: The one that gives these numbers.
        peer: What the ratios compare with.
        rows: {"claim", "goal", "ratio"} and what else was measured, one a measurement.
        unit: Unit of the ratios.
        **more: What else the file says.
    """
    packages = ("torch", "transformers", "hfseq")
    result = {
        "command": command,
        "peer": peer,
        "unit": unit,
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        **more,
        "rows": rows,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print_rows(rows)

"""How every benchmark measures: rivals take turns, work is counted in CPU seconds, the claim is a ratio.

Turns, because a machine's speed drifts; CPU seconds of one thread, because a shared machine's wall clock measures the
neighbours; the median of the ratios of each round, because both rivals of a round met the same weather.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratios(rivals: dict[str, Callable[[], Any]], peer: str, rounds: int = 15) -> dict[str, float]:
    """How many times faster than the peer each rival is (its own ratio is 1).

    Args:
        rivals: Name -> one unit of work; each is run once before the clock starts.
        peer: The rival that the others are measured against.
        rounds: Turns of each.
    """
    torch.set_num_threads(1)
    for work in rivals.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, work in rivals.items():
            taken[name].append(cpu_seconds(work))
    return {
        name: statistics.median(theirs / ours for theirs, ours in zip(taken[peer], times, strict=True))
        for name, times in taken.items()
    }


def write_result(name: str, *, command: str, peer: str, rows: list[dict[str, Any]]) -> None:
    """Print the rows and keep them in results/NAME.json, from which README's table is made.

    Args:
        name: Of the benchmark.
        command: That gives these numbers.
        peer: What the ratios compare with.
        rows: {"claim", "goal", "ratio"}, one a measurement.
    """
    packages = ("torch", "transformers", "hfseq")
    result = {
        "command": command,
        "peer": peer,
        "unit": "speed ratio per CPU second, one thread, median of interleaved rounds",
        "versions": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "rows": rows,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['claim']:72} goal {row['goal']:4.2f}  ratio {row['ratio']:5.2f}")

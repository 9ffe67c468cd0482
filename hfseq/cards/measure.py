"""What is measured for a card: examples, answers, speed, size, and the machine."""

import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from transformers import Pipeline

from ..version import __version__
from .facts import EnvironmentFacts, Example, Examples, SpeedFacts, Widget, WidgetLabel

_WIDGET_LABELS = 5
_WARM_UP_CALLS, _TIMED_CALLS, _TIMED_PASSES = 5, 50, 3


def _spaced(rows: Sequence[Example], limit: int) -> list[Example]:
    """Take `limit` rows at equal distances, so that nobody picked them and the order of the data does not matter."""
    count = min(limit, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]


def collect_examples(
    texts: Sequence[str],
    labels: Sequence[str],
    predictions: Sequence[str],
    scores: Sequence[float],
    limit: int = 5,
    *,
    right: Sequence[bool] | None = None,
) -> Examples:
    """Take examples of right and wrong classifications at equal distances through the rows.

    Args:
        texts: Of the evaluated split.
        labels: Expected names, one per text; join several labels of a text into one string.
        predictions: Predicted names, written in the same way.
        scores: Confidence of each prediction.
        limit: How many of each kind.
        right: Whether each prediction is right; None: it is where the names are the same.
    """
    rows = [
        Example(text=text, expected=label, predicted=prediction, score=float(score))
        for text, label, prediction, score in zip(texts, labels, predictions, scores, strict=True)
    ]
    if right is None:
        right = [row.predicted == row.expected for row in rows]
    judged = list(zip(rows, right, strict=True))
    return Examples(
        right=_spaced([row for row, is_right in judged if is_right], limit),
        wrong=_spaced([row for row, is_right in judged if not is_right], limit),
    )


def collect_regression_examples(
    texts: Sequence[str], labels: Sequence[float], predictions: Sequence[float], limit: int = 5
) -> Examples:
    """Take the examples of smallest and of greatest absolute error, `limit` of each."""
    rows = [
        Example(text=text, expected=f"{label:.2f}", predicted=f"{value:.2f}", score=abs(float(value) - float(label)))
        for text, label, value in zip(texts, labels, predictions, strict=True)
    ]
    rows.sort(key=lambda row: row.score)
    half = min(limit, len(rows) // 2)
    return Examples(right=rows[:half], wrong=rows[len(rows) - half :][::-1])


def widget_entries(pipe: Pipeline, texts: Sequence[str]) -> list[Widget]:
    """Ask a text-classification pipeline sentences of our own, and keep the best labels of each answer, best first."""
    answers = [pipe(text, top_k=_WIDGET_LABELS) for text in texts]
    return [
        Widget(text=text, output=[WidgetLabel(label=each["label"], score=round(each["score"], 4)) for each in answer])
        for text, answer in zip(texts, answers, strict=True)
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(pipe: Pipeline, inputs: str | list[str], batch_size: int) -> float:
    start = time.perf_counter()
    pipe(inputs, batch_size=batch_size)
    return time.perf_counter() - start


def measure_speed(pipe: Pipeline, texts: Sequence[str], batch_size: int = 32) -> SpeedFacts:
    """Time a pipeline on one CPU thread: the median call with one text, and the median pass in batches.

    A few hundred typical texts make the batches full.
    """
    if pipe.device.type != "cpu":
        raise ValueError(f"the card tells the speed of one CPU core, but the pipeline is on {pipe.device}; move it.")
    if not texts:
        raise ValueError("measure_speed needs texts to time; it got none.")
    rows = list(texts)
    turns = [rows[index % len(rows)] for index in range(_WARM_UP_CALLS + _TIMED_CALLS)]
    with one_thread():
        calls = [_seconds(pipe, text, 1) for text in turns][_WARM_UP_CALLS:]
        passes = [_seconds(pipe, rows, batch_size) for _ in range(_TIMED_PASSES)]
    return SpeedFacts(
        ms_per_text=1000 * statistics.median(calls),
        texts_per_second=len(rows) / statistics.median(passes),
        batch_size=batch_size,
    )


def model_size_mb(folder: str | Path) -> float:
    """Return the size of a saved model's safetensors files in MB (10^6 bytes)."""
    files = list(Path(folder).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} holds no *.safetensors file; save the model there first.")
    return sum(file.stat().st_size for file in files) / 1e6


def _cpu_name() -> str:
    """Return the processor's name; `platform.processor()` is empty or a bare "x86_64" on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def environment() -> EnvironmentFacts:
    """Read the versions and the hardware of this process; neither paths nor the host's name."""
    return EnvironmentFacts(
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        hfseq=__version__,
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )

"""What is measured for a card: examples, answers, speed, size, and the machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import torch
import transformers
from transformers import Pipeline

from ..evaluation.batches import batch_size_for
from ..tokenization.limits import reading_options
from ..version import __version__
from .facts import EnvironmentFacts, Example, Examples, SpeedFacts, Widget, WidgetLabel

T = TypeVar("T")

Asked: TypeAlias = str | dict[str, str]
"""What a pipeline is asked: a text, or two under the names `text` and `text_pair`."""

_WIDGET_LABELS = 5
_WARM_UP_CALLS, _TIMED_CALLS, _TIMED_PASSES = 5, 50, 3


def _spaced(rows: Sequence[Example], limit: int) -> list[Example]:
    # Nobody picked them, and the order of the data does not matter.
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
    """Take `limit` examples of right and as many of wrong classifications at equal distances through the rows.

    Join several labels of a text into one string. `right` tells which predictions are; None: those that name the same.
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


def widget_entries(pipe: Pipeline, texts: Sequence[str], name: str = "label") -> list[Widget]:
    """Ask a pipeline texts of our own, and keep the best of each answer, best first; `name` is its key."""
    widgets = []
    for text in texts:
        answers = [(each[name], round(each["score"], 4)) for each in pipe(text, top_k=_WIDGET_LABELS)]
        widgets.append(Widget(text=text, output=[WidgetLabel(label=label, score=score) for label, score in answers]))
    return widgets


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cpu_timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return the answer of a call and its seconds of CPU, in which others on a busy machine do not count.

    On one thread these are the seconds by the clock of an idle machine.
    """
    start = time.process_time()
    answer = work()
    return answer, time.process_time() - start


def median_ms(answer: Callable[[Any], Any], texts: Sequence[Any]) -> float:
    """Time a function of one text on one thread: the median call in milliseconds of CPU, after a few to warm up."""
    if not texts:
        raise ValueError("speed is measured with texts; it got none.")
    seconds = []
    with one_thread():
        for index in range(_WARM_UP_CALLS + _TIMED_CALLS):
            seconds.append(cpu_timed(partial(answer, texts[index % len(texts)]))[1])
    return 1000 * statistics.median(seconds[_WARM_UP_CALLS:])


def measure_speed(pipe: Pipeline, texts: Sequence[Any], batch_size: int = 32) -> SpeedFacts:
    """Time a pipeline on one CPU thread: the median call with one text, and the median pass in batches.

    A few hundred typical texts (`Asked`) make the batches full; very long ones make them smaller. Pictures, which a
    pipeline may be asked in their place, are all of one size.
    """
    if pipe.device.type != "cpu":
        raise ValueError(f"the card tells the speed of one CPU core, but the pipeline is on {pipe.device}; move it.")
    rows = list(texts)
    ms_per_text = median_ms(lambda text: pipe(text, batch_size=1), rows)
    if isinstance(rows[0], str | dict):
        batch_size = batch_size_for(
            cast(Any, pipe.tokenizer), rows, batch_size, **reading_options(cast(Any, pipe.tokenizer))
        )
    with one_thread():
        passes = [cpu_timed(partial(pipe, rows, batch_size=batch_size))[1] for _ in range(_TIMED_PASSES)]
    return SpeedFacts(
        in_cpu_time=True,
        ms_per_text=ms_per_text,
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
    cpuinfo = Path("/proc/cpuinfo")  # on Linux `platform.processor()` is empty or a bare "x86_64"
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _busy_load() -> float | None:
    """Return how many processes wanted a core in the last minute, if they were more than there are cores."""
    if not hasattr(os, "getloadavg"):
        return None
    load = os.getloadavg()[0]
    return round(load, 1) if load > (os.cpu_count() or 1) else None


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
        load=_busy_load(),
    )

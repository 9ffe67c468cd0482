"""Progress bars of long steps: one function, so that all look alike and obey the same switches.

    for batch in progress_bar("Counting words", batches, total=len(batches)): ...
    with progress_bar("Scoring", total=tokens, unit="token") as bar: bar.update(count)

A step that ends within a second shows nothing. Bars are off where transformers' or datasets' switch or TQDM_DISABLE
says so, and in all processes but the first; `disable_tqdm` of training arguments goes through `silence_progress`.

Imported is only what a function needs: the command reads `BARS_AFTER` before there is tqdm.
"""

import os
import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm

BARS_AFTER = 1.0  # seconds
_MANY = 10_000  # are counted in thousands


def progress_bar(
    doing: str,
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    unit: str = "step",
    initial: int = 0,
    disable: bool = False,
) -> "tqdm":
    """Return a bar that yields `items` and counts them; without items, `update` counts.

    Args:
        doing: What stands in front of the bar.
        total: How many there are; by default the length of `items`, if they have one.
        unit: What is counted, in the singular.
        initial: How many were done before.
        disable: Show nothing, whatever the switches say.
    """
    from tqdm.auto import tqdm

    if total is None and isinstance(items, Sized):
        total = len(items)
    return tqdm(
        items,
        desc=doing,
        total=total,
        unit=f" {unit}",
        unit_scale=total is None or total >= _MANY,
        initial=initial,
        disable=disable or not progress_is_shown(),
        delay=BARS_AFTER,
        leave=None,  # only the outermost bar stays when it is full
    )


def progress_is_shown() -> bool:
    """Tell whether bars are shown in this process."""
    from transformers.utils import logging

    # Who switched the bars of datasets off has imported the library.
    datasets = sys.modules.get("datasets")
    is_off = datasets is not None and datasets.are_progress_bars_disabled() or bool(os.environ.get("TQDM_DISABLE"))
    return logging.is_progress_bar_enabled() and not is_off and _rank() == 0


def silence_progress() -> None:
    """Switch all bars of this process off: ours, transformers', those of the Hub and of datasets."""
    import datasets
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _rank() -> int:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", "0"))  # launchers say it before the processes have met

"""Predict with a file of fastText: ours beside fastText's own, interleaved, in CPU seconds of one thread.

python benchmarks/fasttext_files.py lid.176.ftz texts.txt        one text a line; needs the extra `oracle`
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfseq import load_fasttext

ROUNDS = 5


def measure_predictions(path: str, texts: list[str]) -> dict[str, float]:
    """Return microseconds a text, the least of some rounds: each text by itself, and all as one list."""
    import fasttext

    theirs: Any = fasttext.load_model(path)
    ours: Any = load_fasttext(path)[0]
    lines = [" ".join(text.split("\n")) for text in texts]
    work: dict[str, Callable[[], Any]] = {
        "ours, single": lambda: [ours.predict(line) for line in lines],
        "fastText, single": lambda: [theirs.predict(line) for line in lines],
        "ours, list": lambda: ours.predict(lines),
        "fastText, list": lambda: theirs.predict(lines),
    }
    found = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS + 1):  # the first compiles
        for name, run in work.items():
            start = time.process_time()
            run()
            found[name] = min(found[name], (time.process_time() - start) / len(lines) * 1e6)
    return found


if __name__ == "__main__":
    for name, microseconds in measure_predictions(
        sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
    ).items():
        print(f"{name:20} {microseconds:8.2f} us a text")

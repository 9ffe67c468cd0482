"""JSON is looked through before a parser is asked: some crash over deep nesting, and some let broken texts through."""

from pathlib import Path

import numpy as np

from ..models.packed_files import reading

DEEPEST = 100  # lists and objects inside each other


def check_json(path: Path) -> None:
    """Refuse a file of JSON or JSON Lines that is not UTF-8, or nests lists and objects deeper than any table does."""
    depth = 0
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line.decode("utf-8")
            bare = _without_strings(line)
            opened, closed = (bare.count(pair[:1]) + bare.count(pair[1:]) for pair in (b"[{", b"]}"))
            if depth + opened > DEEPEST and depth + _peak(bare) > DEEPEST:
                fault = f"lists and objects are nested deeper than {DEEPEST}"
                raise ValueError(f"{path}, line {number}: {fault}; is it a table? Remove such rows.")
            depth = max(depth + opened - closed, 0)


def _without_strings(line: bytes) -> bytes:
    """Keep what stands outside of quotes; also what follows a quote that is never closed."""
    parts = line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return b"".join([*parts[::2], *(parts[-1:] if len(parts) % 2 == 0 else [])])


def _peak(bare: bytes) -> int:
    """Return how deep it goes from where it begins."""
    marks = np.frombuffer(bare.translate(None, bytes(set(range(256)) - set(b"[]{}"))), dtype=np.uint8)
    return int(np.where(np.isin(marks, list(b"[{")), 1, -1).cumsum().max(initial=0))

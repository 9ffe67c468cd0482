"""JSON is looked through before a parser is asked: some crash over deep nesting, and some let broken texts through."""

from pathlib import Path

import numpy as np

from ..models.packed_files import reading

DEEPEST = 100  # lists and objects inside each other

_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_json(path: Path) -> None:
    """Refuse a file of JSON or JSON Lines that is not UTF-8, or nests lists and objects deeper than any table does."""
    depth = 0
    with reading(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line.decode("utf-8")
            bare = _without_strings(line)
            opened, closed = (bare.count(pair[:1]) + bare.count(pair[1:]) for pair in (b"[{", b"]}"))
            if depth + opened > DEEPEST and depth + _peak(bare) > DEEPEST:
                raise ValueError(
                    f"{path}, line {number}: lists and objects are nested deeper than {DEEPEST}; is it a table? "
                    "Remove such rows."
                )
            depth = max(depth + opened - closed, 0)


def _without_strings(line: bytes) -> bytes:
    """Keep what stands outside of quotes; also what follows a quote that is never closed."""
    parts = line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return b"".join([*parts[::2], *(parts[-1:] if len(parts) % 2 == 0 else [])])


def _peak(bare: bytes) -> int:
    """Return how deep it goes from where it begins."""
    marks = np.frombuffer(bare.translate(None, _OTHERS), dtype=np.uint8)
    steps = np.where((marks == ord("[")) | (marks == ord("{")), 1, -1)
    return int(steps.cumsum().max(initial=0))

"""Files that may be packed, as the end of their name tells."""

import bz2
import gzip
import lzma
from pathlib import Path
from typing import IO, Any

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def open_packed(path: str | Path, mode: str, encoding: str | None = None) -> IO[Any]:
    """Open a plain file, or a packed one (.gz, .xz, .bz2) as if it were plain.

    Args:
        path: the file.
        mode: as the built-in `open` takes it; with "b" or "t".
        encoding: of a text.
    """
    suffix = Path(path).suffix
    if suffix == ".zip":
        raise ValueError(
            f"{path} is a zip archive; unpack it and give the file inside, which may be .gz, .xz or .bz2."
        )
    return _OPENERS.get(suffix, open)(path, mode, encoding=encoding)

"""Reading files: packed ones as if they were plain, within bounds, and with one kind of error for each fault.

A packed file may hold far more than it seems to: 8 MB of .gz unpack to 8 GB. So a file is unpacked while it is read,
and reading stops where it has unpacked to more than `UNPACKED` bytes plus `RATIO` bytes for each byte read; texts and
vectors pack to a third, the most monotonous ones to a tenth. A plain file may be of any size.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PACKED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".lzma": lzma.open, ".bz2": bz2.open}
# Bytes that any packed file may unpack to, however small it is.
UNPACKED = 1 << 24
RATIO = 100
# In bytes, or in characters of a text. A vector of 65,536 numbers fits; a binary file without line ends does not.
LONGEST_LINE = 1 << 24

_BLOCK = 1 << 20
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive; unpack it and give the file inside",
    b"\x1f\x8b": "packed by gzip; let its name end in .gz, or unpack it",
    b"\xfd7zXZ\x00": "packed by xz; let its name end in .xz, or unpack it",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it",
    **{b"BZh%d1AY&SY" % level: "packed by bzip2; let its name end in .bz2, or unpack it" for level in range(1, 10)},
}


class TornFileError(ValueError, EOFError):
    """A file ends before it should. Both kinds, because gensim's users expect `EOFError`."""


def open_packed(path: str | Path, mode: str) -> IO[bytes]:
    """Open a plain file, or a packed one (.gz, .xz, .bz2) as if it were plain.

    Args:
        path: The file.
        mode: "rb", "wb" or "ab".
    """
    suffix = Path(path).suffix
    if suffix == ".zip":
        raise ValueError(
            f"{path} is a zip archive; unpack it and give the file inside, which may be .gz, .xz or .bz2."
        )
    if mode != "rb":
        return PACKED.get(suffix, open)(path, mode)
    if suffix in PACKED and Path(path).is_file():
        return io.BufferedReader(_Unpacked(path), buffer_size=1 << 16)
    return _open_plain(path)


@contextmanager
def open_text(
    path: str | Path, encoding: str = "utf-8", errors: str = "strict", newline: str | None = None
) -> Iterator[IO[str]]:
    """Open a text, packed or plain, with the arguments of the built-in `open` and the errors of `reading`."""
    with (
        reading(path, encoding),
        open_packed(path, "rb") as file,
        io.TextIOWrapper(file, encoding, errors, newline) as text,
    ):
        yield text


def numbered_lines(file: IO[str], path: str | Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text with their numbers, from 1 on, and refuse one that is too long."""
    number = 1
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(too_long(path, number))
        yield number, line
        number += 1


def too_long(path: str | Path, number: int) -> str:
    """Return the message about a line that is too long."""
    return f"{path}, line {number} is longer than {LONGEST_LINE} bytes; is it another kind of file? Break its lines."


def check_plain(path: str | Path) -> None:
    """Refuse a folder, and a file that is packed although its name does not say so."""
    _open_plain(path).close()


def _open_plain(path: str | Path) -> io.BufferedReader:
    """Open what `check_plain` takes and read nothing of it yet: a pipe gives its bytes only once."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the file inside.")
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    start = file.peek(10)
    for signature, what in _SIGNATURES.items():
        if start.startswith(signature):
            file.close()
            raise ValueError(f"{path} is {what}.")
    return file


@contextmanager
def reading(path: str | Path, encoding: str = "utf-8") -> Iterator[None]:
    """Turn what the libraries raise about a broken file into an error with its path, the place and what to do."""
    try:
        yield
    except TornFileError:
        raise
    except UnicodeDecodeError as error:
        raise ValueError(not_in_encoding(path, encoding) or f"{path}: {error}") from error
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and (error.errno is not None or isinstance(error, IsADirectoryError)):
            # An error of the disk, not of the content: Python's message says what to do.
            raise
        raise TornFileError(
            f"{path} is torn or not what its name says: {error}. Download or pack it again."
        ) from error


def not_in_encoding(path: str | Path, encoding: str = "utf-8") -> str | None:
    """Say where a file is not in its encoding, by reading it once more; None where it is, and of a pipe."""
    if not Path(path).is_file():
        return None
    name, line, offset = codecs.lookup(encoding).name.upper(), 1, 0
    decoder = codecs.getincrementaldecoder(encoding)()
    with open_packed(path, "rb") as file:
        while True:
            block = file.read(_BLOCK)
            held = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += (held + block)[: error.start].count(b"\n")
                place = f"line {line}, byte {offset - len(held) + error.start}: {error.object[error.start]:#04x}"
                return f"{path} is not {name} ({place}): convert it first."
            if not block:
                return None
            line, offset = line + block.count(b"\n"), offset + len(block)


class _Unpacked(io.RawIOBase):
    """The content of a packed file, until it is too much for its size."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path, self._packed = path, open(path, "rb")  # noqa: SIM115 - closed with this
        self._file = PACKED[Path(path).suffix](self._packed, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        unpacked, packed = self._file.tell(), self._packed.tell()
        if unpacked > UNPACKED + RATIO * packed:
            raise ValueError(
                f"{self._path} unpacks to more than {RATIO} times its size: {unpacked} bytes from the first {packed}. "
                "Such files are made to fill memory and disk; if this one is meant, unpack it and give the plain file."
            )
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            self._packed.close()
        super().close()

"""A source of text as a file of word ids, every word with an id of its own, before a vocabulary is chosen.

A source is a text file (plain, .gz, .bz2, .xz), a dataset with a column of texts or of lists of words (also a streamed
or memory-mapped one), or an iterable of texts or of lists of words. It is read once. What is kept in memory is the
vocabulary; the ids go to a temporary file, four bytes a word.
"""

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from datasets import Dataset, IterableDataset
from typing_extensions import TypedDict

from ..models.packed_files import open_text
from ..progress import progress_bar
from ..tokenization import Split, word_splitter
from ..tokenization.texts import rows_of_column
from .sources import is_table

Source: TypeAlias = str | Path | Dataset | IterableDataset | Iterable[str] | Iterable[list[str]]

END = "\x00"  # in a list of words: a sentence ends
ID = np.dtype(np.int32)
IDS = 1 << 20  # ids that are in memory at once
_CHARACTERS, _BATCH = 1 << 20, 1 << 16  # characters read, words batched at once
_PIECES = 8  # of so many characters that are read on to find the end of a word
_LONGEST_WORD = 1 << 16  # characters
# What the splitter "word" finds in ASCII text, at thirty times its speed.
_ASCII_WORDS = re.compile(r"\w+|[^\w\s\x00-\x1f\x7f]", re.ASCII)


class ReadingOptions(TypedDict, total=False):
    """How a source becomes words."""

    split: Split  # at "whitespace" alone (the default), or into "word"s and symbols
    lowercase: bool
    text_column: str  # of a dataset, "text" by default
    cache_dir: str | Path | None  # where the file of ids lies while in use; by default the system's temporary folder


@dataclass(frozen=True)
class RawCorpus:
    """A corpus as it was read: every word has an id, in the order of first sight."""

    path: Path  # of int32 ids; id 0 ends a sentence
    words: list[str]  # id -> word; the first is `END`
    counts: np.ndarray  # int64, how often each id occurs
    folder: tempfile.TemporaryDirectory  # removes the file when nothing refers to it any more
    split: Split
    lowercase: bool

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the ids in pieces, each but the last ending with a sentence if there is one that ends."""
        start, length = 0, self.path.stat().st_size // ID.itemsize
        with progress_bar("Counting words", total=length, unit="word") as bar:
            while start < length:
                block = np.fromfile(self.path, dtype=ID, count=IDS, offset=start * ID.itemsize)
                ends = np.flatnonzero(block == 0)
                if start + IDS < length and len(ends):
                    block = block[: ends[-1] + 1]
                yield block
                start += len(block)
                bar.update(len(block))

    def rewrite(self, pieces: Iterable[np.ndarray]) -> None:
        """Put other ids in the place of all; none of these pieces of `blocks` is longer, so reading stays ahead."""
        with self.path.open("r+b") as file:
            for piece in pieces:
                piece.astype(ID, copy=False).tofile(file)
            file.truncate()


def read_raw(
    source: Source,
    *,
    split: Split = "whitespace",
    lowercase: bool = False,
    text_column: str = "text",
    cache_dir: str | Path | None = None,
) -> RawCorpus:
    """Give the words of a source numbers as they come, and write these to a file; see `ReadingOptions`."""
    if cache_dir is not None:
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(prefix="hfseq_words_", dir=cache_dir, ignore_cleanup_errors=True)
    path = Path(folder.name) / "ids.bin"
    index: defaultdict[str, int] = defaultdict(count().__next__)
    counts = np.zeros(1, dtype=np.int64)
    assert index[END] == 0
    bar = progress_bar("Reading words", unit="word")
    with path.open("wb") as file, _room_on_disk(folder), bar:
        for words in _word_lists(source, _Splitter(split, lowercase), text_column):
            ids = np.fromiter(map(index.__getitem__, words), dtype=ID, count=len(words))
            found = np.bincount(ids, minlength=len(counts))
            _check_words(islice(reversed(index), len(found) - len(counts)), source)
            found[: len(counts)] += counts
            counts = found
            ids.tofile(file)
            bar.update(len(words))
    if len(index) < 2:
        name = str(source) if isinstance(source, str | Path) else "The source"
        raise ValueError(f"{name} holds no words: it is empty, or an iterator that is already used up.")
    return RawCorpus(path, list(index), counts, folder, split, lowercase)


def _check_words(words: Iterable[str], source: Source) -> None:
    for word in words:
        if len(word) > _LONGEST_WORD:
            where = f"{source}: " if isinstance(source, str | Path) else ""
            fault = f"a word has {len(word)} characters, more than {_LONGEST_WORD}, and begins {word[:40]!r}"
            cure = "split='word' cuts at symbols too; where nothing parts the words, cut them first"
            raise ValueError(f"{where}{fault}. Is it a text? {cure}.")


@contextmanager
def _room_on_disk(folder: tempfile.TemporaryDirectory) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(folder.name).free / 1e9
        if free >= 0.1:
            raise
        raise OSError(f"{folder.name} has {free:.2f} GB left; ids take 4 bytes a word: set cache_dir.") from error


class _Splitter:
    """Cuts texts into words; each line ends with `END`."""

    def __init__(self, split: Split, lowercase: bool) -> None:
        if split not in ("whitespace", "word"):
            raise ValueError(f"split={split!r} is not one of 'whitespace', 'word'")
        self.by_word, self.lowercase = split == "word", lowercase
        self.slow = word_splitter("word")

    def __call__(self, text: str) -> list[str]:
        if self.lowercase:
            text = text.lower()
        if not self.by_word:
            return text.replace("\n", f" {END} ").split()
        words: list[str] = []
        for line in text.split("\n"):
            slow = [] if line.isascii() else self.slow.pre_tokenize_str(line)
            words += _ASCII_WORDS.findall(line) if line.isascii() else [word for word, _ in slow]
            words.append(END)
        return words[:-1]


def _word_lists(source: Source, splitter: _Splitter, text_column: str) -> Iterator[list[str]]:
    if isinstance(source, str | Path):
        yield from _from_file(Path(source), splitter)
        return
    if isinstance(source, Mapping):
        held = ", ".join(map(repr, source))
        raise TypeError(f"The source is a {type(source).__name__} of {held}: pass one of these.")
    if not isinstance(source, Iterable):
        raise TypeError(f"The source is {source!r}: give a text file, a dataset, or texts or lists of words.")
    rows = rows_of_column(source, text_column) if isinstance(source, Dataset | IterableDataset) else source
    batch: list[str] = []
    for number, row in enumerate(rows):
        words = splitter(row) if isinstance(row, str) else _checked_words(row, number, splitter.lowercase)
        batch += [*words, END]
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch


def _checked_words(row: Any, place: int, lowercase: bool) -> list[str]:
    if isinstance(row, list | tuple) and all(isinstance(word, str) for word in row):
        return [word.lower() if lowercase else word for word in row]
    raise TypeError(f"row {place} is {str(row)[:60]!r} ({type(row).__name__}): each must be a text or a list of words")


def _from_file(path: Path, splitter: _Splitter) -> Iterator[list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no text file {str(path)!r}; a text itself belongs into a list.")
    if is_table(path):
        raise ValueError(f"{path} is a table, not a text: read it with datasets.load_dataset, and give text_column.")
    with open_text(path) as file:
        for text in _whole_words(file):
            yield splitter(text)
        yield [END]


def _whole_words(file: IO[str]) -> Iterator[str]:
    """Cut a text into pieces that end where a word ends, or, where none does for long, anywhere."""
    begun: list[str] = []  # pieces in which no word ends
    while piece := file.read(_CHARACTERS):
        cut = max(piece.rfind(" "), piece.rfind("\n"), piece.rfind("\t")) + 1
        if cut == 0 and len(begun) < _PIECES:
            begun.append(piece)
            continue
        cut = cut or len(piece)
        yield "".join([*begun, piece[:cut]])
        begun = [piece[cut:]]
    yield "".join(begun)

"""Corpora for word vectors: any text becomes a vocabulary and one file of word ids, in constant memory.

A source is a text file (plain, .gz, .bz2, .xz), a dataset with a column of texts or of lists of words (also a streamed
or memory-mapped one), or an iterable of texts or of lists of words. It is read once. What is kept in memory is the
vocabulary; the ids go to a temporary file, four bytes a word, that the training reads memory-mapped.

A line is a sentence: no window reaches over its end.
"""

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerFast

from ..models.packed_files import PACKED, open_text
from ..models.words.word2vec import SPECIAL_TOKENS
from ..tokenization import Split, vocabulary_tokenizer, word_splitter
from .text import FORMATS

if TYPE_CHECKING:
    from .phrases import Phrases

Source: TypeAlias = str | Path | Dataset | IterableDataset | Iterable[str] | Iterable[list[str]]

END = "\x00"  # in a list of words: a sentence ends
END_ID = -1  # in the file of ids
_GONE = -2
_ID = np.dtype(np.int32)
_CHARACTERS, _BATCH, _IDS = 1 << 20, 1 << 16, 1 << 20  # characters read, words batched, ids mapped at once
_PIECES = 8  # of so many characters that are read on to find the end of a word
_LONGEST_WORD = 1 << 16  # characters
# What the splitter "word" finds in ASCII text, at thirty times its speed.
_ASCII_WORDS = re.compile(r"\w+|[^\w\s\x00-\x1f\x7f]", re.ASCII)


@dataclass(frozen=True)
class RawCorpus:
    """A corpus as it was read: every word has an id, in the order of first sight.

    Attributes:
        path: File of int32 ids; id 0 ends a sentence.
        words: Id -> word; the first is `END`.
        counts: int64, how often each id occurs.
        folder: Holds the file, and removes it when nothing refers to this any more.
    """

    path: Path
    words: list[str]
    counts: np.ndarray
    folder: tempfile.TemporaryDirectory

    def blocks(self) -> Iterator[np.ndarray]:
        """The ids in pieces, each but the last ending with a sentence if there is one that ends."""
        start, length = 0, self.path.stat().st_size // _ID.itemsize
        while start < length:
            block = np.fromfile(self.path, dtype=_ID, count=_IDS, offset=start * _ID.itemsize)
            ends = np.flatnonzero(block == 0)
            if start + _IDS < length and len(ends):
                block = block[: ends[-1] + 1]
            yield block
            start += len(block)

    def rewrite(self, pieces: Iterable[np.ndarray]) -> None:
        """Put other ids in the place of all; those made of a block are not more, so there is never need of both.

        Args:
            pieces: Made of `blocks`, one after another: what is read is always ahead of what is written.
        """
        with self.path.open("r+b") as file:
            for piece in pieces:
                piece.astype(_ID, copy=False).tofile(file)
            file.truncate()


@dataclass(frozen=True)
class WordCorpus:
    """A vocabulary and a corpus of its words, for `Word2VecTrainer`.

    Attributes:
        words: Most frequent first; of equally frequent ones the first seen.
        counts: int64, (words,).
        ids: int32, memory-mapped: words as 2 + their place in `words`, as the tokenizer numbers them; -1 ends a
            sentence. Rarer words are left out.
        raw_words: How many words were read.
        raw_types: How many distinct ones.
        split: How texts were cut into words.
        lowercase: Whether they were lower-cased.
    """

    words: list[str]
    counts: np.ndarray
    ids: np.ndarray
    raw_words: int
    raw_types: int
    split: Split
    lowercase: bool
    folder: tempfile.TemporaryDirectory = field(repr=False)

    @classmethod
    def read(
        cls,
        source: Source,
        *,
        split: Split = "whitespace",
        lowercase: bool = False,
        min_count: int = 5,
        max_words: int | None = None,
        phrases: "Phrases | None" = None,
        text_column: str = "text",
        cache_dir: str | Path | None = None,
    ) -> "WordCorpus":
        """Read a source once.

        Args:
            source: See the top of this module.
            split: Where texts are cut: at "whitespace" alone, or into "word"s and symbols.
            lowercase: Whether to lower-case them.
            min_count: Rarer words are left out.
            max_words: Keep the most frequent so many.
            phrases: Pairs of words that become one, see `Phrases`.
            text_column: Column of a dataset.
            cache_dir: Where the file of ids lies while the corpus is in use; the system's temporary folder by default.

        Raises:
            ValueError: If nothing can be learnt from the source, or an option is out of range.
            TypeError: If the source holds something other than texts or lists of words.
        """
        if min_count < 1 or (max_words is not None and max_words < 1):
            raise ValueError(f"min_count={min_count} and max_words={max_words} must be 1 or more")
        if phrases is not None and not hasattr(phrases, "merge"):
            raise TypeError(f"phrases={phrases!r}: give what Phrases.learn returns")
        raw = read_raw(source, split=split, lowercase=lowercase, text_column=text_column, cache_dir=cache_dir)
        raw_words, raw_types = int(raw.counts[1:].sum()), len(raw.words) - 1
        if phrases is not None:
            raw = phrases.merge(raw)
        kept = _kept(raw, min_count, max_words)
        ranks = np.full(len(raw.words), _GONE, dtype=np.int32)
        ranks[kept] = np.arange(len(kept)) + len(SPECIAL_TOKENS)
        ranks[0] = END_ID
        raw.rewrite(ids[ids != _GONE] for ids in (ranks[block] for block in raw.blocks()))
        _check_neighbours(_mapped(raw.path))
        words = [raw.words[index] for index in kept]
        return cls(words, raw.counts[kept], _mapped(raw.path), raw_words, raw_types, split, lowercase, raw.folder)

    @property
    def vocab_size(self) -> int:
        """The words and the special tokens: what a `Word2VecConfig` of this corpus needs."""
        return len(self.words) + len(SPECIAL_TOKENS)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer whose ids are this corpus's."""
        return vocabulary_tokenizer(self.words, split=self.split, lowercase=self.lowercase)

    def __len__(self) -> int:
        """Ids in the file, ends of sentences among them."""
        return len(self.ids)


def _check_neighbours(ids: np.ndarray) -> None:
    """Word vectors are learnt from neighbours: some sentence must have two words."""
    for start in range(0, len(ids), _IDS):
        block = ids[start : start + _IDS + 1]
        if ((block[:-1] != END_ID) & (block[1:] != END_ID)).any():
            return
    raise ValueError(
        "No sentence has two words that are kept, so there is nothing to learn from. Is each word a text of its own? "
        "Give texts, or lists of words; or lower min_count."
    )


def _kept(raw: RawCorpus, min_count: int, max_words: int | None) -> np.ndarray:
    """The raw ids of the vocabulary, most frequent first."""
    counts = raw.counts.copy()
    counts[0] = 0
    for index, word in enumerate(raw.words):
        if word in SPECIAL_TOKENS:  # corpora mark what they lack: that is no word
            counts[index] = 0
    order = np.argsort(-counts, kind="stable")
    kept = order[counts[order] >= min_count][:max_words]
    if len(kept) < 2:
        found = f"{len(raw.words) - 1} distinct words, the most frequent {int(counts.max())} times"
        raise ValueError(
            f"min_count={min_count} leaves {len(kept)} words of a corpus of {found}: two or more are needed. Lower "
            "min_count, or check that the source holds texts cut into words."
        )
    return kept


def read_raw(
    source: Source,
    *,
    split: Split,
    lowercase: bool,
    text_column: str,
    cache_dir: str | Path | None,
) -> RawCorpus:
    """Number the words of a source as they come, and write the numbers to a file."""
    if cache_dir is not None:
        Path(cache_dir).mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(prefix="hfseq_words_", dir=cache_dir, ignore_cleanup_errors=True)
    path = Path(folder.name) / "ids.bin"
    index: defaultdict[str, int] = defaultdict(count().__next__)
    counts = np.zeros(1, dtype=np.int64)
    assert index[END] == 0
    with path.open("wb") as file, _room_on_disk(folder):
        for words in _word_lists(source, _Splitter(split, lowercase), text_column):
            ids = np.fromiter(map(index.__getitem__, words), dtype=np.int32, count=len(words))
            found = np.bincount(ids, minlength=len(counts))
            _check_words(islice(reversed(index), len(found) - len(counts)), source)
            found[: len(counts)] += counts
            counts = found
            ids.tofile(file)
    if len(index) < 2:
        name = str(source) if isinstance(source, str | Path) else "The source"
        raise ValueError(f"{name} holds no words: it is empty, or an iterator that is already used up.")
    return RawCorpus(path, list(index), counts, folder)


def _check_words(words: Iterable[str], source: Source) -> None:
    """Refuse what is no word by its length: each is kept in memory."""
    for word in words:
        if len(word) > _LONGEST_WORD:
            where = f"{source}: " if isinstance(source, str | Path) else ""
            raise ValueError(
                f"{where}a word has {len(word)} characters, more than {_LONGEST_WORD}, and begins {word[:40]!r}. "
                "Is it a text? split='word' cuts at symbols too; where nothing parts the words, cut them first."
            )


@contextmanager
def _room_on_disk(folder: tempfile.TemporaryDirectory) -> Iterator[None]:
    """Say where the room is lacking, for the temporary folder is often a small one."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(folder.name).free / 1e9
        if free < 0.1:
            raise OSError(
                f"{folder.name} has {free:.2f} GB left; ids take 4 bytes a word. Name a folder with more room in "
                "cache_dir."
            ) from error
        raise


def _mapped(path: Path) -> np.ndarray:
    return np.memmap(path, dtype=_ID, mode="r")


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
            words += _ASCII_WORDS.findall(line) if line.isascii() else self._slow(line)
            words.append(END)
        return words[:-1]

    def _slow(self, line: str) -> list[str]:
        return [word for word, _ in self.slow.pre_tokenize_str(line)]

    def of_list(self, words: list[str]) -> list[str]:
        return [word.lower() for word in words] if self.lowercase else words


def _word_lists(source: Source, splitter: _Splitter, text_column: str) -> Iterator[list[str]]:
    if isinstance(source, str | Path):
        yield from _from_file(Path(source), splitter)
        return
    batch: list[str] = []
    for number, row in enumerate(_rows(source, text_column)):
        if isinstance(row, str):
            batch += splitter(row)
        else:
            batch += splitter.of_list(_checked_words(row, number))
        batch.append(END)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch


def _rows(source: Any, text_column: str) -> Iterable[Any]:
    if isinstance(source, Mapping):
        raise TypeError(
            f"The source is a {type(source).__name__} of {', '.join(map(repr, source))}: pass one of these."
        )
    if not isinstance(source, Iterable):
        raise TypeError(f"The source is {source!r}: give a text file, a dataset, or texts or lists of words.")
    if not isinstance(source, Dataset | IterableDataset):
        return source
    if source.column_names is not None and text_column not in source.column_names:
        raise ValueError(f"text_column={text_column!r} is not among the columns {source.column_names}")
    return (row[text_column] for row in source.select_columns(text_column))


def _checked_words(row: Any, number: int) -> list[str]:
    if isinstance(row, list | tuple) and all(isinstance(word, str) for word in row):
        return list(row)
    raise TypeError(
        f"row {number} is {str(row)[:60]!r} ({type(row).__name__}): each must be a text or a list of words (strings)"
    )


def _from_file(path: Path, splitter: _Splitter) -> Iterator[list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no text file {str(path)!r}; a text itself belongs into a list.")
    packed = Path(path.stem).suffix if path.suffix in PACKED else ""
    if {path.suffix, packed} & set(FORMATS):
        raise ValueError(
            f"{path} is a table, not a text: read it with datasets.load_dataset, and name its column in text_column."
        )
    with open_text(path) as file:
        for text in _whole_words(file):
            yield splitter(text)
        yield [END]


def _whole_words(file: IO[str]) -> Iterator[str]:
    """The text in pieces that end where a word ends, or, where none does for long, anywhere."""
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

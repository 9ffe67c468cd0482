"""Word vectors from and to files: word2vec (text and binary), GloVe, fastText's `.vec`, and what gensim saves."""

import codecs
import logging
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np

from ..extras import need
from ..models.packed_files import LONGEST_LINE, TornFileError, open_packed, reading, too_long
from ..progress import progress_bar

logger = logging.getLogger(__name__)

Format = Literal["auto", "text", "binary", "gensim"]

_BLOCK = 1 << 22  # bytes that are read, or numbers that are written, at a time
_SAMPLE = 1 << 16  # bytes that tell text from binary; no word is longer
_FLOAT = np.dtype("<f4")
_SPACES = re.compile(r"[ \t\n\r\v\f]")  # wider ones, such as U+00A0, are letters to these formats
_STRANGERS = {
    b"\x80[\x02-\x05]": "is a pickle. If gensim saved it and you trust its writer, read it with format='gensim'",
    b"\xba\x16\x4f\x2f": "is a model of fastText; give its .vec file",
}


@dataclass(frozen=True, eq=False)
class WordVectors:
    """What a file of word vectors holds; each word once, in the order of the file."""

    words: list[str]
    matrix: np.ndarray  # float32, (words, dimension); finite numbers only
    counts: np.ndarray | None  # int64, (words,): how often each was seen in training, where a file of gensim tells
    repeated: int  # vectors that were passed over because their word had one already


def read_word_vectors(
    path: str | Path,
    *,
    format: Format = "auto",
    limit: int | None = None,
    vocabulary: Container[str] | None = None,
    encoding: str = "utf-8",
    unicode_errors: str = "strict",
    header: bool | None = None,
) -> WordVectors:
    """Read word vectors: all of a file or none of it, for a file that contradicts itself is an error.

    Args:
        path: Text and binary files may be compressed (.gz, .xz, .bz2).
        format: "text" (word2vec, GloVe, fastText's .vec), "binary" (word2vec), or "auto", which tells these two apart.
            "gensim" reads what `KeyedVectors.save` or `Word2Vec.save` wrote; this needs gensim, and it needs trust:
            such a file is a pickle, and reading a pickle runs the code of its writer.
        limit: Read only so many vectors, from the beginning of the file.
        vocabulary: The words to keep; all by default.
        encoding: How the words are written; UTF-16 and others in which a space has two bytes cannot be read.
        unicode_errors: What to do with a word in another encoding: "strict" refuses, "ignore" leaves bytes out,
            "replace" puts U+FFFD.
        header: Whether the first line of a text file is `vectors dimension`; found out by default. GloVe has none.

    Returns:
        The words and vectors. A repeated word keeps its first vector, and a vector without a word is left out; a
        warning counts both.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of word vectors {str(path)!r}.")
    _check_arguments(format, limit, encoding, unicode_errors)
    with reading(path):
        if format == "auto":
            format = _detect(path)
        unit = {"text": "line", "binary": "word", "gensim": "word"}[format]
        collector = _Collector(path, unit, vocabulary, encoding, unicode_errors)
        if format == "gensim":
            return _read_gensim(collector, limit)
        with open_packed(path, "rb") as file, collector.bar:
            if format == "text":
                try:
                    _read_text(file, collector, limit, header)
                except ValueError as error:
                    if _detect(path) == "text":
                        raise
                    hint = "It looks binary: read it with format='binary', or binary=True in load_word2vec_format."
                    raise type(error)(f"{error} {hint}") from error.__cause__
            elif header is False:
                raise ValueError(f"{path}: a binary file always has a header; leave header=False out.")
            else:
                _read_binary(file, collector, limit)
        found = collector.vectors()
    if not found.words and vocabulary is None:
        raise ValueError(f"{path} has no vector with a word: each line begins with one. Is it another kind of file?")
    return found


def write_word_vectors(
    path: str | Path,
    words: Sequence[str],
    matrix: np.ndarray,
    *,
    binary: bool = False,
    header: bool = True,
    prefix: str = "",
    append: bool = False,
    total: int | None = None,
) -> None:
    """Write word vectors in a format of word2vec, so that reading them gives the same float32 numbers to the bit.

    Args:
        path: Packed if it ends in .gz, .xz or .bz2.
        words: Without white space: in these formats a space ends the word.
        matrix: (words, dimension); written as float32.
        header: Begin with the line `vectors dimension`. GloVe's text format is the one without.
        append: Add to the end of the file. Only the first piece of a file has a header, which needs `total`.
        total: The number of vectors that the header promises, if more are to be appended.
    """
    rows, names = checked_rows(words, matrix), _names(words, prefix)
    promised = len(names) if total is None else total
    if header and promised < max(len(names), 1):
        raise ValueError(f"The header of {path} would promise {promised} vectors; there are {len(names)}.")
    if header and append and Path(path).is_file() and Path(path).stat().st_size > 0:
        raise ValueError(f"{path} has its beginning already; append to it with header=False.")
    step = max(1, _BLOCK // max(rows.shape[1], 1))
    with open_packed(path, "ab" if append else "wb") as file:
        if header:
            file.write(f"{promised} {rows.shape[1]}\n".encode())
        for start in range(0, len(names), step):
            block = rows[start : start + step]
            bodies = [row.tobytes() for row in block] if binary else _as_text(block)
            file.write(b"".join(name + body for name, body in zip(names[start : start + step], bodies, strict=True)))


class _Collector:
    """Gathers the words to keep and their rows, and counts what is passed over."""

    def __init__(self, path: str | Path, unit: str, vocabulary: Container[str] | None, *codec: str) -> None:
        self.path, self.unit, self.vocabulary = path, unit, vocabulary
        self.encoding, self.errors = codec
        self.words: dict[str, None] = {}
        self.repeated = self.unnamed = self.dimension = 0
        self.numbers = bytearray()  # grows in place: a list of blocks would need the memory twice at the end
        self.bar = progress_bar("Reading vectors", unit="vector")

    def where(self, number: int) -> str:
        return f"{self.path}, {self.unit} {number}"

    def takes(self, raw: bytes | str, number: int) -> bool:
        """Keep the word if its vector is to be kept, and tell."""
        try:
            word = raw if isinstance(raw, str) else raw.decode(self.encoding, self.errors)
        except UnicodeDecodeError as error:
            fault = f"not {codecs.lookup(self.encoding).name.upper()} ({error.reason}): {raw[:60]!r}"
            cure = "Give the encoding of the file, or unicode_errors='replace' or 'ignore'."
            raise ValueError(f"{self.where(number)}: the word is {fault}. {cure}") from error
        if word == "":
            self.unnamed += 1
        elif self.vocabulary is None or word in self.vocabulary:
            if word not in self.words:
                self.words[word] = None
                return True
            self.repeated += 1
        return False

    def add(self, rows: np.ndarray, places: Sequence[int]) -> None:
        """Append float32 rows, which stand at these places of the file; all numbers must be finite."""
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if wrong.size:
            raise ValueError(f"{self.where(places[wrong[0]])}: a number is NaN or infinite; remove or repair it.")
        self.dimension = rows.shape[1]
        self.numbers += rows.astype(_FLOAT, copy=False).tobytes()

    def vectors(self, counts: np.ndarray | None = None) -> WordVectors:
        if self.repeated:
            logger.warning("%s holds %d repeated words; the first vector of each is kept.", self.path, self.repeated)
        if self.unnamed:
            logger.warning("%s holds %d vectors without a word; they are passed over.", self.path, self.unnamed)
        matrix = np.frombuffer(self.numbers, dtype=_FLOAT).reshape(len(self.words), self.dimension)
        return WordVectors(list(self.words), matrix, counts, self.repeated)


def _check_arguments(format: str, limit: int | None, encoding: str, unicode_errors: str) -> None:
    if format not in get_args(Format):
        raise ValueError(f"format is {format!r}; it can be 'auto', 'text', 'binary' or 'gensim'.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it is a number of vectors, 1 or more.")
    try:
        spaced = " ".encode(encoding)
        codecs.lookup_error(unicode_errors)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r}, unicode_errors={unicode_errors!r}: {error}.") from error
    if spaced != b" ":
        raise ValueError(f"encoding is {encoding!r}, in which a space is {spaced!r}; convert the file to UTF-8.")


def _detect(path: str | Path) -> Literal["text", "binary"]:
    """Tell text from binary, by what follows the header: binary ones always have one."""
    with open_packed(path, "rb") as file:
        first = file.readline(_SAMPLE)
        sample = file.read(_SAMPLE)
    for pattern, what in _STRANGERS.items():
        if re.match(pattern, first):
            raise ValueError(f"{path} {what}.")
    sizes = _sizes(first)
    if sizes is None:
        return "text"
    second = sample.partition(b"\n")[0].replace(b"\t", b" ").rstrip(b" \r").split(b" ")
    if len(second) > sizes[1] and _parse(second[-sizes[1] :], 1) is not None:
        return "text"
    # Words hardly ever hold such bytes; of real numbers every fifth does.
    return "binary" if re.search(rb"[\x00-\x08\x0e-\x1f]", sample) else "text"


def _sizes(line: bytes) -> tuple[int, int] | None:
    """Read what a header promises, if the line is one: vectors and dimension."""
    fields = _clean(line.removeprefix(codecs.BOM_UTF8)).split(b" ")
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 20 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _read_text(file: IO[bytes], collector: _Collector, limit: int | None, header: bool | None) -> None:
    promise = _promise(file, collector.path, header)
    line, dimension = (2, promise[1]) if promise else (1, 0)
    collector.bar.total = limit if promise is None else promise[0]
    done = 0
    # Lines of bytes, because text mode would also break them at the separators that some words consist of.
    for lines in _blocks_of_lines(file, collector.path, line):
        if limit is not None:
            del lines[limit - done :]
        dimension = dimension or _clean(lines[0]).count(b" ")
        _add_lines([_clean(content) for content in lines], line + done, dimension, collector)
        done += len(lines)
        collector.bar.update(len(lines))
        if done == limit:
            break
    if done == 0:
        raise ValueError(f"{collector.path} holds no vectors; each line is a word and its numbers, parted by spaces.")
    if promise and (done > promise[0] or (done < promise[0] and done != limit)):
        raise TornFileError(f"{collector.path}: line 1 promises {promise[0]} vectors but {done} follow; is it torn?")


def _blocks_of_lines(file: IO[bytes], path: str | Path, first: int) -> Iterator[list[bytes]]:
    rest = b""
    while block := file.read(_BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise ValueError(too_long(path, first + len(lines)))
        first += len(lines)
        if lines:
            yield lines
    if rest:
        yield [rest]


def _promise(file: IO[bytes], path: str | Path, header: bool | None) -> tuple[int, int] | None:
    """Read what the header promises, vectors and dimension; without one, the file stays at its beginning."""
    first = b"" if header is False else file.readline(_SAMPLE)
    sizes = _sizes(first)
    if sizes is None:
        if header:
            raise ValueError(f"{path}, line 1: expected the numbers of vectors and dimensions, found {first[:60]!r}.")
        file.seek(0)
    elif sizes[1] == 0:
        raise ValueError(f"{path}, line 1: a vector of 0 numbers is none.")
    return sizes


def _clean(line: bytes) -> bytes:
    return line.replace(b"\t", b" ").rstrip(b" \r\n")


def _add_lines(lines: list[bytes], first: int, dimension: int, collector: _Collector) -> None:
    numbers, places = [], []
    for place, line in enumerate(lines, start=first):
        word, _, rest = line.partition(b" ")
        if line.count(b" ") != dimension or not dimension:
            word, rest = _split(line, dimension, collector.where(place))
        if collector.takes(word, place):
            numbers.append(rest)
            places.append(place)
    if not numbers:
        return
    rows = _parse(numbers, dimension)
    if rows is None:  # one by one, to say which number is none
        rows = np.stack([_row(text, dimension, collector.where(at)) for text, at in zip(numbers, places, strict=True)])
    collector.add(rows, places)


def _split(line: bytes, dimension: int, where: str) -> tuple[bytes, bytes]:
    """Part word and numbers. GloVe's larger files hold words with spaces: only a number too many is a mistake."""
    fields = line.split(b" ")
    too_many = len(fields) > dimension + 1 and _parse([fields[-dimension - 1]], 1) is not None
    if dimension == 0 or len(fields) <= dimension or too_many:
        raise ValueError(f"{where}: expected a word and {dimension or 'its'} numbers, found {len(fields)} fields.")
    return b" ".join(fields[:-dimension]), b" ".join(fields[-dimension:])


def _parse(texts: list[bytes], dimension: int) -> np.ndarray | None:
    """Read all numbers of many lines at once; None if something is wrong with one of them."""
    text = b" ".join(texts)
    # numpy takes any white space between two numbers, so that one missing here could make up for one too many there.
    if any(space in text for space in (b"  ", b"\r", b"\v", b"\f")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how older numpy says that it stopped early
            numbers = np.fromstring(text, dtype=np.float32, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return numbers.reshape(-1, dimension) if numbers.size == len(texts) * dimension else None


def _row(text: bytes, dimension: int, where: str) -> np.ndarray:
    row = _parse([text], dimension)
    if row is None:
        wrong = next((field for field in text.split(b" ") if _parse([field], 1) is None), text)
        raise ValueError(f"{where}: expected {dimension} numbers; could not convert {wrong!r} to one.")
    return row[0]


def _read_binary(file: IO[bytes], collector: _Collector, limit: int | None) -> None:
    promise = _promise(file, collector.path, header=True)
    assert promise is not None
    count, dimension = promise
    if count == 0:
        raise ValueError(f"{collector.path} holds no vectors; its header says so.")
    if dimension * _FLOAT.itemsize > LONGEST_LINE:
        fault = f"a vector of {dimension} numbers has more than {LONGEST_LINE} bytes"
        raise ValueError(f"{collector.path}, line 1: {fault}.")
    data, offset, done = b"", file.tell(), 0  # offset: of the data, in the file
    wanted = collector.bar.total = count if limit is None else min(count, limit)
    while done < wanted:
        more = file.read(_BLOCK)
        data += more
        taken, end = _add_records(data, done, wanted, dimension, collector)
        if not more and done + taken < wanted:
            where = f"word {done + taken + 1} of {count}, which begins at byte {offset + end}"
            raise TornFileError(f"{collector.path} ends inside {where}; is it torn, or {dimension} not its dimension?")
        data, offset, done = data[end:], offset + end, done + taken
        collector.bar.update(taken)
    if wanted == count and (data + file.read(_BLOCK)).strip(b"\n"):
        raise ValueError(f"{collector.path}: the header promises {count} vectors but more follows at byte {offset}.")


def _add_records(data: bytes, done: int, wanted: int, dimension: int, collector: _Collector) -> tuple[int, int]:
    """Add the whole records of a block (word, space, numbers, a newline or not); return their number and bytes."""
    width, end, place = dimension * _FLOAT.itemsize, 0, done
    numbers, places = [], []
    while place < wanted:
        space = data.find(b" ", end)
        if space < 0 and len(data) - end > _SAMPLE:
            raise ValueError(f"{collector.where(place + 1)}: no space ends the word; is {dimension} the dimension?")
        after = space + 1 + width
        if space < 0 or after > len(data):
            break
        place += 1
        if collector.takes(data[end:space].lstrip(b"\n"), place):
            numbers.append(data[space + 1 : after])
            places.append(place)
        end = after
    if numbers:
        collector.add(np.frombuffer(b"".join(numbers), dtype=_FLOAT).reshape(-1, dimension), places)
    return place - done, end


def _read_gensim(collector: _Collector, limit: int | None) -> WordVectors:
    try:
        from gensim.models import KeyedVectors
    except ImportError as error:
        raise ImportError(f"{collector.path} can be read by gensim only: pip install gensim") from error
    try:
        saved = KeyedVectors.load(str(collector.path))
    except pickle.UnpicklingError as error:
        raise TornFileError(f"{collector.path} is torn or not what its name says: {error}.") from error
    except AttributeError as error:  # gensim asks any object for the methods of its own
        raise ValueError(f"{collector.path} was not saved by gensim: {error}.") from error
    saved = getattr(saved, "wv", saved)
    words = getattr(saved, "index_to_key", None)
    if words is None or not all(isinstance(word, str) for word in words) or len(words) != len(saved.vectors):
        raise ValueError(f"{collector.path} holds a {type(saved).__name__}, not a vector for each of many words.")
    kept = [place for place, word in enumerate(words[:limit]) if collector.takes(word, place)]
    with np.errstate(over="ignore"):
        collector.add(saved.vectors[kept].astype(np.float32), [place + 1 for place in kept])
    counts = saved.expandos.get("count")
    return collector.vectors(None if counts is None else np.asarray(counts)[kept].astype(np.int64))


def checked_rows(words: Sequence[str], matrix: np.ndarray) -> np.ndarray:
    """Return the matrix as float32, after checks: a row for each word, each word once, finite numbers."""
    if matrix.ndim != 2 or len(matrix) != len(words) or matrix.shape[1] == 0:
        raise ValueError(f"{len(words)} words need a matrix of as many rows; this one is {matrix.shape}.")
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ValueError(f"The word {twice!r} is there twice; keep one of its vectors.")
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused as such
        rows = np.ascontiguousarray(matrix, dtype=_FLOAT)
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if wrong.size:
        raise ValueError(f"The vector of {words[wrong[0]]!r} has a number that is NaN or infinite in float32.")
    return rows


def _names(words: Sequence[str], prefix: str) -> list[bytes]:
    names = [prefix + word for word in words]
    for name in names:
        if not name or _SPACES.search(name):
            raise ValueError(f"The word {name!r} cannot be written: white space ends a word; put '_' for it.")
    return [f"{name} ".encode() for name in names]


def _as_text(rows: np.ndarray) -> list[bytes]:
    """Write each float32 as its shortest text, a line for each row."""
    need("train", "pyarrow")  # here, for reading needs none
    import pyarrow
    import pyarrow.compute

    numbers = pyarrow.compute.cast(pyarrow.array(rows.ravel()), pyarrow.string())
    ends = pyarrow.array(np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32))
    lines = pyarrow.compute.binary_join(pyarrow.ListArray.from_arrays(ends, numbers), " ").to_pylist()
    # The one float32 whose shortest text becomes its neighbour for readers that go by way of float64, as all do.
    return [line.replace("7.038531e-26", "7.0385307e-26").encode() + b"\n" for line in lines]

"""Pretrained word vectors in the text formats of word2vec (a first line `rows dimension`), GloVe and fastText."""

import gzip
import logging
import lzma
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import numpy as np
from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass
class EmbeddingSettings:
    """Where the word embeddings of the model start from."""

    from_pretrained: str | None = field(
        default=None,
        metadata={"help": "text file of word vectors (also .gz, .xz); null: random ones"},
    )
    freeze: bool = field(default=False, metadata={"help": "keep the embeddings as they are during training"})


@dataclass(frozen=True)
class EmbeddingInit:
    """Rows for the embedding table of a model.

    Attributes:
        matrix: float32, (vocabulary, dimension); zeros where no vector is known.
        known: bool, (vocabulary,); the rows that a vector was found for.
        coverage: share of the vocabulary that a vector was found for.
    """

    matrix: np.ndarray
    known: np.ndarray
    coverage: float


def read_vectors(path: str | Path, vocabulary: Container[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Read word vectors line by line, plain or compressed (.gz, .xz).

    Args:
        path: the file.
        vocabulary: the words to keep; the others are passed over. All by default.

    Returns:
        The words, and a float32 matrix with one row for each: (words, dimension).
    """
    words: dict[str, np.ndarray] = {}
    repeated = unnamed = 0
    for word, numbers, where in _rows(path):
        unnamed += word == ""
        if word == "" or (vocabulary is not None and word not in vocabulary):
            continue
        if word in words:
            repeated += 1
            continue
        words[word] = _vector(numbers, where)
    if repeated:
        logger.warning("%s holds %d repeated words; the first vector of each is kept.", path, repeated)
    if unnamed:
        logger.warning("%s holds %d vectors without a word; they are passed over.", path, unnamed)
    if not words:
        return [], np.zeros((0, 0), dtype=np.float32)
    return list(words), np.stack(list(words.values()))


def embedding_matrix(tokenizer: PreTrainedTokenizerBase, path: str | Path) -> EmbeddingInit:
    """Give each token of a tokenizer its pretrained vector: the exact word's, else the lower-cased one's.

    The padding token stays unknown, whatever the file says of it: its row belongs to the model.
    """
    ids = {token: index for token, index in tokenizer.get_vocab().items() if index != tokenizer.pad_token_id}
    words, vectors = read_vectors(path, vocabulary={*ids, *(token.lower() for token in ids)})
    rows = {word: row for row, word in enumerate(words)}
    found = {index: rows.get(token, rows.get(token.lower())) for token, index in ids.items()}
    pairs = [(index, row) for index, row in found.items() if row is not None]
    if not pairs:
        raise ValueError(
            f"{path} has a vector for none of the {len(ids)} tokens, such as {list(ids)[:5]}; "
            "word vectors need a tokenizer of whole words, in the language of the vectors."
        )
    matrix = np.zeros((len(tokenizer), vectors.shape[1]), dtype=np.float32)
    known = np.zeros(len(tokenizer), dtype=np.bool_)
    targets, sources = np.array(pairs).T
    matrix[targets], known[targets] = vectors[sources], True
    return EmbeddingInit(matrix, known, float(known.mean()))


def _rows(path: str | Path) -> Iterator[tuple[str, list[bytes], str]]:
    """Word, numbers (not parsed yet) and place of each line."""
    header: tuple[int, int] | None = None
    dimension = rows = 0
    for line, content in _lines(path):
        where = f"{path}, line {line}"
        fields = content.split(b" ")
        if line == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            header = int(fields[0]), int(fields[1])
            continue
        dimension = dimension or (header[1] if header else len(fields) - 1)
        yield _word(fields, dimension, where), fields[-dimension:], where
        rows += 1
    if rows == 0:
        raise ValueError(f"{path} holds no vectors; each line is a word and its numbers, separated by spaces.")
    if header is not None and header[0] != rows:
        raise ValueError(f"{path}: the first line promises {header[0]} vectors but {rows} follow; is it torn?")


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of word vectors {str(path)!r}.")
    # Bytes, because text mode would also break lines at the separators that some words of such files consist of.
    with _reading(path), fsspec.open(str(path), "rb", compression="infer") as file:
        for line, content in enumerate(file, start=1):
            yield line, content.replace(b"\t", b" ").rstrip(b" \r\n")


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path} is torn or not what its name says: {error}.") from error


def _word(fields: list[bytes], dimension: int, where: str) -> str:
    """The word of a line. GloVe's larger files hold words with spaces: only a number too many is a mistake."""
    too_many = len(fields) > dimension + 1 and _is_number(fields[-dimension - 1])
    if dimension == 0 or len(fields) <= dimension or too_many:
        raise ValueError(f"{where}: expected a word and {dimension or 'its'} numbers, found {len(fields)} fields.")
    try:
        return b" ".join(fields[:-dimension]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: the word is not UTF-8 ({error.reason}); convert the file, or a binary one to the text format."
        ) from error


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _vector(numbers: list[bytes], where: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused as such
            vector = np.array([float(number) for number in numbers], dtype=np.float32)
    except ValueError as error:
        raise ValueError(f"{where}: expected {len(numbers)} numbers; {error}.") from error
    if not np.isfinite(vector).all():
        raise ValueError(f"{where}: a number is NaN or infinite; remove or repair the line.")
    return vector

"""Word vectors from files and to files, and from gensim and to gensim."""

import logging
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..packed_files import numbered_lines, open_text
from .vector_table import VectorTable

logger = logging.getLogger(__name__)

Table = TypeVar("Table", bound="StoredVectors")


class StoredVectors(VectorTable):
    """A table of vectors that can be read and written; names and argument order are gensim's."""

    @classmethod
    def from_file(cls: type[Table], path: str | Path, **options: Any) -> Table:
        """Read a file of any format that `hfseq.formats.vector_files.read_word_vectors` knows.

        Args:
            **options: those of `read_word_vectors`, such as `limit` and `vocabulary`.
        """
        found = _read(path, **options)
        return cls.from_vectors(found.words, found.matrix, found.counts)

    @classmethod
    def load_word2vec_format(
        cls: type[Table],
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
    ) -> Table:
        """Read the format of word2vec.

        Args:
            fvocab: a file of lines `word count`. Without it `count` only tells the order of the words.
            binary: read the binary format instead of the text one.
            unicode_errors: what to do about words that are not in this encoding: "strict", "ignore" or "replace".
            limit: read so many vectors from the first on.
            no_header: the file begins with the first vector, as GloVe's do; text only.
        """
        if no_header and binary:
            raise NotImplementedError("a binary file without a header cannot be read: nothing tells its dimension.")
        found = _read(
            fname,
            format="binary" if binary else "text",
            limit=limit or None,
            encoding=encoding,
            unicode_errors=unicode_errors,
            header=not no_header,
        )
        # Without counts gensim numbers the words backwards: files begin with the most frequent word.
        order = np.arange(len(found.words), 0, -1)
        counts = order if fvocab is None else _counts(found.words, fvocab, unicode_errors)
        return cls.from_vectors(found.words, found.matrix.astype(datatype, copy=False), counts)

    def save_word2vec_format(
        self,
        fname: str | Path,
        fvocab: str | Path | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write the format of word2vec.

        Args:
            fvocab: also write a file of lines `word count`.
            binary: write the binary format instead of the text one.
            total_vec: how many vectors the header promises, if more are to be appended.
            write_header: begin with a line `vectors dimension`.
            prefix: put before each word.
            append: add to the end of the file.
            sort_attr: write the words with the highest number of this name first.
        """
        if fvocab is not None and sort_attr not in self.expandos:
            raise ValueError(f"{fvocab} cannot be written: the words have no {sort_attr!r}; give it by set_vecattr.")
        # Rows set aside for later keys are no vectors yet.
        rows = np.array([row for row, key in enumerate(self.index_to_key) if key is not None], dtype=np.int64)
        if sort_attr in self.expandos:
            # Stable, so that words of one count keep their order.
            rows = rows[np.argsort(-self.expandos[sort_attr][rows], kind="stable")]
        words = [str(self.index_to_key[row]) for row in rows]
        if fvocab is not None:
            with open(fvocab, "a" if append else "w", encoding="utf-8") as file:
                file.writelines(
                    f"{prefix}{word} {self.expandos[sort_attr][row]}\n" for word, row in zip(words, rows, strict=True)
                )
        try:
            # Imported here: code exported with a model has no reader or writer of files, and needs none.
            from hfseq.formats.vector_files import write_word_vectors
        except ImportError as error:
            raise ImportError("writing word vectors needs the whole package: install hfseq") from error
        write_word_vectors(
            fname,
            words,
            self.vectors[rows],
            binary=binary,
            header=write_header,
            prefix=prefix,
            append=append,
            total=total_vec,
        )

    def intersect_word2vec_format(
        self,
        fname: str | Path,
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Take the vectors of a file for the words that are in the table; other words stay as they are.

        Args:
            fname: a file in word2vec's format.
            lockf: for gensim's argument order alone; it does nothing, for `Word2VecTrainer` trains all words.
            binary: read the binary format instead of the text one.
            unicode_errors: what to do about words that are not in this encoding.
        """
        found = _read(
            fname,
            format="binary" if binary else "text",
            vocabulary=self.key_to_index,
            encoding=encoding,
            unicode_errors=unicode_errors,
            header=True,
        )
        # Checked before anything is written: a table must not be half replaced.
        if found.words and found.matrix.shape[1] != self.vector_size:
            raise ValueError(f"{fname} holds vectors of {found.matrix.shape[1]} numbers, not of {self.vector_size}.")
        logger.info("%s has vectors for %d of %d words", fname, len(found.words), len(self))
        if not found.words:
            return
        rows = [self.key_to_index[word] for word in found.words]
        self.vectors[rows] = found.matrix
        self.norms = None

    @classmethod
    def from_gensim(cls: type[Table], vectors: Any) -> Table:
        """Copy gensim's KeyedVectors. For those of a fastText set `subwords` to their `get_vector` afterwards."""
        # A copy: neither table must change when the other one is trained or scaled.
        table = cls.from_vectors(vectors.index_to_key, vectors.vectors.copy())
        table.expandos = {name: values.copy() for name, values in vectors.expandos.items()}
        return table

    def to_gensim(self) -> Any:
        """Copy the table into gensim's KeyedVectors, without `subwords`."""
        try:
            from gensim.models import KeyedVectors
        except ImportError as error:
            raise ImportError("to_gensim needs gensim: pip install gensim") from error
        other = KeyedVectors(self.vector_size, dtype=self.vectors.dtype)
        other.index_to_key, other.key_to_index = list(self.index_to_key), dict(self.key_to_index)
        other.vectors, other.next_index = self.vectors.copy(), self.next_index
        other.expandos = {name: values.copy() for name, values in self.expandos.items()}
        return other


def _read(path: str | Path, **options: Any) -> Any:
    try:
        from hfseq.formats.vector_files import read_word_vectors
    except ImportError as error:
        raise ImportError("reading word vectors needs the whole package: install hfseq") from error
    try:
        return read_word_vectors(path, **options)
    except ValueError as error:
        # gensim's users expect this type of error; it must carry our explanation all the same.
        if isinstance(error.__cause__, UnicodeDecodeError):
            cause = error.__cause__
            raise UnicodeDecodeError(
                cause.encoding, cause.object, cause.start, cause.end, f"{cause.reason}; {error}"
            ) from error
        raise


def _counts(words: list[str], path: str | Path, unicode_errors: str) -> np.ndarray:
    counts: dict[str, int] = {}
    with open_text(path, errors=unicode_errors, newline="\n") as file:
        for number, line in numbered_lines(file, path):
            try:
                word, count = line.split()
                counts[word] = int(count)
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number}: a line is a word and its count, got {line.strip()[:200]!r}."
                ) from error
    missing = [word for word in words if word not in counts]
    if missing:
        logger.warning("%s has no count for %d words, such as %r; they get 0", path, len(missing), missing[0])
    return np.array([counts.get(word, 0) for word in words], dtype=np.int64)

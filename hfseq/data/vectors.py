"""Pretrained word vectors as the beginning of a model's embeddings."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerBase

from ..formats.vector_files import Format, read_word_vectors
from ..settings import option
from ..tokenization.files import check_tokenizer

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILE_SUFFIXES = {".bin", ".bz2", ".gz", ".kv", ".model", ".txt", ".vec", ".xz"}


@dataclass
class EmbeddingSettings:
    """Where the word embeddings of the model start from."""

    from_pretrained: str | None = option(
        None,
        "word vectors: a file of word2vec (text or binary), GloVe or fastText (.vec), also .gz, .xz, .bz2; or the "
        "folder or the Hub id of a saved Word2VecModel; null: random ones",
    )
    format: Format = option(
        "auto", "format of that file; gensim: a pickle of gensim, which runs the code of its writer"
    )
    freeze: bool = option(False, "keep the embeddings as they are during training")


@dataclass(frozen=True)
class EmbeddingInit:
    """Rows for the embedding table of a model."""

    matrix: np.ndarray  # float32, (vocabulary, dimension); zeros where no vector is known
    known: np.ndarray  # bool, (vocabulary,): which have a vector
    coverage: float  # the share of these
    lowered: np.ndarray  # bool, (vocabulary,): which of them have that of their lower-cased spelling


def embedding_matrix(tokenizer: PreTrainedTokenizerBase, source: str | Path, format: Format = "auto") -> EmbeddingInit:
    """Give each token of a tokenizer its pretrained vector: the exact word's, else the lower-cased one's.

    The padding token stays unknown: its row belongs to the model. The source is a file for `read_word_vectors`, or the
    folder or the Hub id of a saved `Word2VecModel`.
    """
    ids = {token: index for token, index in tokenizer.get_vocab().items() if index != tokenizer.pad_token_id}
    words, vectors = _known_vectors(source, format, {*ids, *(token.lower() for token in ids)})
    rows = {word: row for row, word in enumerate(words)}
    found = {index: rows.get(token, rows.get(token.lower())) for token, index in ids.items()}
    pairs = [(index, row) for index, row in found.items() if row is not None]
    if not pairs:
        found_none = f"{source} has a vector for none of the {len(ids)} tokens, such as {list(ids)[:5]}"
        raise ValueError(f"{found_none}; they need a tokenizer of whole words, in the language of the vectors.")
    matrix = np.zeros((len(tokenizer), vectors.shape[1]), dtype=np.float32)
    known, lowered = np.zeros((2, len(tokenizer)), dtype=np.bool_)
    targets, sources = np.array(pairs).T
    matrix[targets], known[targets] = vectors[sources], True
    lowered[[index for token, index in ids.items() if known[index] and token not in rows]] = True
    return EmbeddingInit(matrix, known, float(known.mean()), lowered)


def _known_vectors(source: str | Path, format: Format, vocabulary: set[str]) -> tuple[list[str], np.ndarray]:
    is_hub_id = _HUB_ID.fullmatch(str(source)) is not None and Path(source).suffix not in _FILE_SUFFIXES
    if Path(source).is_dir() or (is_hub_id and not Path(source).is_file()):
        return _model_vectors(str(source), vocabulary)
    found = read_word_vectors(source, format=format, vocabulary=vocabulary)
    return found.words, found.matrix


def _model_vectors(source: str, vocabulary: set[str]) -> tuple[list[str], np.ndarray]:
    try:
        kind = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
    except (OSError, ValueError) as error:
        kinds = "a file of word vectors nor the folder or Hub id of a saved Word2VecModel"
        raise FileNotFoundError(f"{source!r} is neither {kinds}: {error}") from error
    if kind != "hfseq_word2vec":
        raise ValueError(f"{source} is a model of type {kind!r}; word vectors come from an 'hfseq_word2vec'.")
    revision = check_tokenizer(source)  # the model loads its own, unchecked
    table = AutoModel.from_pretrained(source, revision=revision, trust_remote_code=False).vectors
    rows = [row for row, word in enumerate(table.index_to_key) if word in vocabulary]
    return [table.index_to_key[row] for row in rows], np.asarray(table.vectors, dtype=np.float32)[rows]

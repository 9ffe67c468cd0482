"""Laying pretrained word vectors over a tokenizer, from files and from saved models."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import hfseq
from hfseq.data import vectors
from hfseq.data.vectors import embedding_matrix
from hfseq.formats.vector_files import write_word_vectors
from hfseq.models.words.vectors import KeyedVectors

GLOVE = "the 1 2 3\ncat -0.5 1e-3 .25\n"
MATRIX = np.array([[1, 2, 3], [-0.5, 1e-3, 0.25]], dtype=np.float32)


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes to a file of that name."""

    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def tokenizer():
    words = ["<pad>", "<unk>", "the", "Cat", "dog"]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")


def test_tokens_get_their_vector_or_the_one_of_their_lower_case(write, tokenizer):
    init = embedding_matrix(tokenizer, write(GLOVE + "<pad> 9 9 9\n"))
    assert init.matrix.shape == (5, 3)
    assert init.matrix.dtype == np.float32
    assert init.known.tolist() == [False, False, True, True, False]
    np.testing.assert_array_equal(init.matrix[[2, 3]], MATRIX)
    assert not init.matrix[~init.known].any()
    assert init.coverage == pytest.approx(2 / 5)


def test_the_exact_word_comes_before_its_lower_case(write, tokenizer):
    init = embedding_matrix(tokenizer, write("cat 1 1\nCat 2 2\n"))
    assert init.matrix[3].tolist() == [2, 2]


def test_vectors_of_other_words_are_refused(write, tokenizer):
    with pytest.raises(ValueError, match="vector for none of the 4 tokens, such as .*a tokenizer of whole words"):
        embedding_matrix(tokenizer, write("chat 1 2\nchien 3 4\n"))


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_come_from_every_format(tmp_path, tokenizer, binary):
    write_word_vectors(tmp_path / "vectors.bin", ["the", "cat"], MATRIX, binary=binary)
    init = embedding_matrix(tokenizer, tmp_path / "vectors.bin")
    np.testing.assert_array_equal(init.matrix[[2, 3]], MATRIX)


def test_what_gensim_saved_is_read_when_its_format_is_named(tmp_path, tokenizer):
    models = pytest.importorskip("gensim.models")
    vectors = models.KeyedVectors(3)
    vectors.add_vectors(["the", "cat"], MATRIX)
    vectors.save(str(tmp_path / "vectors.kv"))
    with pytest.raises(ValueError, match="read it with format='gensim'"):
        embedding_matrix(tokenizer, tmp_path / "vectors.kv")
    init = embedding_matrix(tokenizer, tmp_path / "vectors.kv", format="gensim")
    np.testing.assert_array_equal(init.matrix[[2, 3]], MATRIX)


@pytest.mark.parametrize("source", ["nowhere.txt", "vectors/nowhere.vec", "nowhere", "a/b/c"])
def test_a_missing_file_is_named_without_asking_the_hub(hub, tokenizer, source):
    with pytest.raises(FileNotFoundError, match=f"no file of word vectors '{source}'"):
        embedding_matrix(tokenizer, source)
    assert hub.log == []


@pytest.mark.parametrize("source", ["user/nowhere", None], ids=["hub", "folder"])
def test_what_is_no_model_is_answered_with_all_that_it_could_be(tmp_path, hub, tokenizer, source):
    with pytest.raises(FileNotFoundError, match="neither a file of word vectors nor the folder or Hub id of a saved"):
        embedding_matrix(tokenizer, source or tmp_path)


def test_a_model_of_another_type_is_refused(tmp_path, tokenizer):
    hfseq.LSTMModel(hfseq.LSTMConfig(vocab_size=5)).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match="is a model of type 'hfseq_lstm'; word vectors come from an 'hfseq_word2vec'"
    ):
        embedding_matrix(tokenizer, tmp_path)


@pytest.fixture
def word2vec():
    """A model that holds the vectors of the files above."""
    vectors = KeyedVectors(3)
    vectors.add_vectors(["the", "cat", "<pad>"], np.concatenate([MATRIX, MATRIX[:1]]))
    return hfseq.Word2VecModel.from_vectors(vectors)


@pytest.mark.parametrize("kind", [str, Path])
def test_vectors_come_from_the_folder_of_a_model(tmp_path, tokenizer, word2vec, kind):
    word2vec.save_pretrained(tmp_path)
    init = embedding_matrix(tokenizer, kind(tmp_path))
    assert init.known.tolist() == [False, False, True, True, False]
    assert init.matrix.dtype == np.float32
    np.testing.assert_array_equal(init.matrix[[2, 3]], MATRIX)
    assert init.coverage == pytest.approx(2 / 5)


def test_vectors_come_from_a_model_on_the_hub(hub, tokenizer, word2vec):
    word2vec.push_to_hub("user/vectors-for-embeddings")
    init = embedding_matrix(tokenizer, "user/vectors-for-embeddings")
    np.testing.assert_array_equal(init.matrix[[2, 3]], MATRIX)


def test_the_model_that_is_loaded_is_of_the_commit_whose_tokenizer_was_checked(hub, tokenizer, word2vec, monkeypatch):
    source, check = "user/vectors-that-change", vectors.check_tokenizer
    word2vec.push_to_hub(source)

    def push_after(source):
        revision = check(source)
        other = KeyedVectors(3)
        other.add_vectors(["dog"], MATRIX[:1])
        hfseq.Word2VecModel.from_vectors(other).push_to_hub(source)
        return revision

    monkeypatch.setattr(vectors, "check_tokenizer", push_after)
    np.testing.assert_array_equal(embedding_matrix(tokenizer, source).matrix[[2, 3]], MATRIX)

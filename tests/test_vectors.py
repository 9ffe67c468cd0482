"""Reading pretrained word vectors, and laying them over a tokenizer."""

import gzip
import lzma

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfseq.data.vectors import embedding_matrix, read_vectors

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


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        "2 3\n" + GLOVE,
        GLOVE.rstrip("\n"),
        GLOVE.replace("\n", " \n"),
        GLOVE.replace("\n", "\r\n"),
        GLOVE.replace(" ", "\t"),
    ],
    ids=["glove", "word2vec", "no last newline", "spaces at the end", "windows", "tabs"],
)
def test_each_text_format_gives_the_same_vectors(write, content):
    words, matrix = read_vectors(write(content))
    assert words == ["the", "cat"]
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, MATRIX)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files_are_read_and_torn_ones_refused(write, suffix, compress):
    packed = compress(GLOVE.encode())
    words, matrix = read_vectors(write(packed, f"v.txt{suffix}"))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    for broken in (packed[:-12], b"the 1 2 3\n"):
        with pytest.raises(ValueError, match=f"v.txt{suffix} is torn or not what its name says"):
            read_vectors(write(broken, f"v.txt{suffix}"))


def test_words_may_hold_spaces_and_odd_separators(write):
    words, matrix = read_vectors(write(". . 1 2\na@b c 3 4\nx\u2028y\u00a0z 5 6\n".replace(". . 1", "the 0 0\n. . 1")))
    assert words == ["the", ". .", "a@b c", "x\u2028y\u00a0z"]
    assert matrix.shape == (4, 2)


def test_only_the_words_of_the_vocabulary_are_kept(write):
    words, matrix = read_vectors(write(GLOVE), vocabulary={"cat", "dog"})
    assert words == ["cat"]
    np.testing.assert_array_equal(matrix, MATRIX[1:])
    assert read_vectors(write(GLOVE), vocabulary=set())[0] == []


def test_a_repeated_word_keeps_its_first_vector_and_is_counted(write, caplog):
    words, matrix = read_vectors(write(GLOVE + "the 7 7 7\nthe 8 8 8\n"))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    assert "holds 2 repeated words" in caplog.text


def test_a_vector_without_a_word_is_passed_over_and_counted(write, caplog):
    words, matrix = read_vectors(write("3 3\n 7 7 7\n" + GLOVE))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    assert "holds 1 vectors without a word" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GLOVE + "dog 1 2\n", "line 3: expected a word and 3 numbers, found 3 fields"),
        (GLOVE + "dog 1 2 3 4\n", "line 3: expected a word and 3 numbers, found 5 fields"),
        (GLOVE + "\n", "line 3: expected a word and 3 numbers, found 1 fields"),
        ("2 4\n" + GLOVE, "line 2: expected a word and 4 numbers, found 4 fields"),
        (GLOVE + "dog 1 x 3\n", "line 3: expected 3 numbers; could not convert"),
        (GLOVE + "dog 1 nan 3\n", "line 3: a number is NaN or infinite; remove or repair the line"),
        (GLOVE + "dog 1 inf 3\n", "line 3: a number is NaN or infinite"),
        (GLOVE + "dog 1 1e39 3\n", "line 3: a number is NaN or infinite"),
        ("3 3\n" + GLOVE, "the first line promises 3 vectors but 2 follow"),
        (GLOVE.encode() + b"caf\xe9 1 2 3\n", "line 3: the word is not UTF-8"),
        ("", "holds no vectors; each line is a word and its numbers"),
        ("2 3\n", "holds no vectors"),
        ("word\n", "line 1: expected a word and its numbers"),
    ],
)
def test_a_wrong_file_is_answered_with_its_line(write, content, message):
    with pytest.raises(ValueError) as error:
        read_vectors(write(content))
    assert message in str(error.value)
    assert "vectors.txt" in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="no file of word vectors 'nowhere.txt'"):
        read_vectors("nowhere.txt")


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


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("glove.840B.300d.first600", (596, 300)),  # and one that lost its word
        ("googlenews_word2vec_1000x300", (1000, 300)),
        ("retrofitting_sample_1000x48", (1000, 48)),
    ],
)
def test_published_vectors_are_read_whole(data_folder, name, shape):
    words, matrix = read_vectors(data_folder / "word_vectors" / f"{name}.txt.xz")
    assert matrix.shape == shape
    assert len(set(words)) == shape[0]
    assert np.isfinite(matrix).all()

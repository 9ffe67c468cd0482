"""Word vectors from and to files: every format, against gensim, and what is said of files that are wrong."""

import bz2
import gzip
import lzma
import struct
import sys

import numpy as np
import pytest

from hfseq.formats import vector_files
from hfseq.formats.vector_files import read_word_vectors, write_word_vectors
from hfseq.models import packed_files
from tests.rounds import for_each

GLOVE = "the 1 2 3\ncat -0.5 1e-3 .25\n"
MATRIX = np.array([[1, 2, 3], [-0.5, 1e-3, 0.25]], dtype=np.float32)
BINARY = b"2 3\n" + b"".join(
    word + struct.pack("<3f", *row) for word, row in zip((b"the ", b"cat "), MATRIX, strict=True)
)
WORDS = ["the", "naïve", "\u3000", "x\u00a0y\u2028z", "5", "e.g.", "\ufeffbom", "日本"]


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes to a file of that name."""

    def write(content, name="vectors.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def odd_numbers():
    """Float32 of every size, with the ones that are hard to print: (8, 500)."""
    bits = np.random.default_rng(3).integers(0, 2**32, size=4000, dtype=np.uint64).astype(np.uint32)
    hard = [0, 0x80000000, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x15AE43FD, 0x95AE43FD, 0x3DCCCCCD]
    numbers = np.concatenate([np.array(hard, dtype=np.uint32), bits]).view(np.float32)
    return numbers[np.isfinite(numbers)][: 8 * 480].reshape(8, 480)


def read(*args, **kwargs):
    found = read_word_vectors(*args, **kwargs)
    return found.words, found.matrix


def same_bits(one, other):
    return one.dtype == other.dtype == np.float32 and one.tobytes() == other.tobytes()


# Reading text


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
    words, matrix = read(write(content))
    assert words == ["the", "cat"]
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, MATRIX)


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_compressed_files_are_read_and_torn_ones_refused(write, suffix, compress):
    packed = compress(GLOVE.encode())
    words, matrix = read(write(packed, f"v.txt{suffix}"))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    for broken in (packed[:-12], b"the 1 2 3\n"):
        with pytest.raises(ValueError, match=f"v.txt{suffix} is torn or not what its name says"):
            read_word_vectors(write(broken, f"v.txt{suffix}"))


def test_words_may_hold_spaces_and_odd_separators(write):
    words, matrix = read(write(". . 1 2\na@b c 3 4\nx\u2028y\u00a0z 5 6\n".replace(". . 1", "the 0 0\n. . 1")))
    assert words == ["the", ". .", "a@b c", "x\u2028y\u00a0z"]
    assert matrix.shape == (4, 2)


def test_only_the_words_of_the_vocabulary_are_kept(write):
    words, matrix = read(write(GLOVE), vocabulary={"cat", "dog"})
    assert words == ["cat"]
    np.testing.assert_array_equal(matrix, MATRIX[1:])
    assert read_word_vectors(write(GLOVE), vocabulary=set()).words == []


def test_a_repeated_word_keeps_its_first_vector_and_is_counted(write, caplog):
    words, matrix = read(write(GLOVE + "the 7 7 7\nthe 8 8 8\n"))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    assert "holds 2 repeated words" in caplog.text


def test_a_vector_without_a_word_is_passed_over_and_counted(write, caplog):
    words, matrix = read(write("3 3\n 7 7 7\n" + GLOVE))
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(matrix, MATRIX)
    assert "holds 1 vectors without a word" in caplog.text


@for_each(
    ("content", "message"),
    [
        (GLOVE + "dog 1 2\n", "line 3: expected a word and 3 numbers, found 3 fields"),
        (GLOVE + "dog 1 2 3 4\n", "line 3: expected a word and 3 numbers, found 5 fields"),
        (GLOVE + "\n", "line 3: expected a word and 3 numbers, found 1 fields"),
        ("2 4\n" + GLOVE, "line 2: expected a word and 4 numbers, found 4 fields"),
        (GLOVE + "dog 1 x 3\n", "line 3: expected 3 numbers; could not convert"),
        (GLOVE + "dog 1 nan 3\n", "line 3: a number is NaN or infinite; remove or repair it"),
        (GLOVE + "dog 1 inf 3\n", "line 3: a number is NaN or infinite"),
        (GLOVE + "dog 1 1e39 3\n", "line 3: a number is NaN or infinite"),
        ("3 3\n" + GLOVE, "line 1 promises 3 vectors but 2 follow"),
        (GLOVE.encode() + b"caf\xe9 1 2 3\n", "line 3: the word is not UTF-8"),
        ("", "holds no vectors; each line is a word and its numbers"),
        ("2 3\n", "holds no vectors"),
        ("word\n", "line 1: expected a word and its numbers"),
    ],
)
def test_a_wrong_file_is_answered_with_its_line(write, content, message):
    with pytest.raises(ValueError) as error:
        read_word_vectors(write(content))
    assert message in str(error.value)
    assert "vectors.txt" in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="no file of word vectors 'nowhere.txt'"):
        read_word_vectors("nowhere.txt")


def test_a_wrong_number_is_found_where_two_lines_make_up_for_each_other(write):
    with pytest.raises(ValueError, match=r"line 1: expected 3 numbers; could not convert b'1\\x0b2'"):
        read_word_vectors(write("the 1\x0b2 3 4\ncat 5  6\n"))


@for_each("number", ["1_0", "0x10", "1-2", "1,5", "1.2.3", "", "1\x0c", "--1", "1\x002"])
def test_what_only_looks_like_a_number_is_refused_with_its_line(write, number):
    with pytest.raises(ValueError, match="line 2: expected"):
        read_word_vectors(write(f"the 1 2 3\ncat 1 {number} 3\n"))


def test_a_limit_counts_vectors_and_does_not_look_at_the_rest(write):
    content = "3 3\nthe 1 2 3\nthe 0 0 0\ntorn"
    found = read_word_vectors(write(content), limit=2)
    assert (found.words, found.repeated) == (["the"], 1)
    assert read_word_vectors(write(GLOVE), limit=1).words == ["the"]
    assert read_word_vectors(write(GLOVE), limit=9).words == ["the", "cat"]
    assert read_word_vectors(write(GLOVE), limit=1, vocabulary={"cat"}).words == []
    with pytest.raises(ValueError, match="promises 4 vectors but 2 follow"):
        read_word_vectors(write("4 3\n" + GLOVE), limit=3)


def test_blocks_are_joined_without_a_seam(write, monkeypatch):
    monkeypatch.setattr(vector_files, "_BLOCK", 50)
    matrix = np.arange(300, dtype=np.float32).reshape(100, 3) / 7
    words = [f"w{index}" for index in range(100)]
    for binary in (False, True):
        path = write(b"")
        write_word_vectors(path, words, matrix, binary=binary)
        found = read_word_vectors(path)
        assert found.words == words
        assert same_bits(found.matrix, matrix)
        assert read_word_vectors(path, limit=77).words == words[:77]
    with pytest.raises(ValueError, match="line 99: expected a word and 3 numbers, found 3 fields"):
        read_word_vectors(write("100 3\n" + "".join(f"w{line} 1 2{' 3' * (line != 99)}\n" for line in range(2, 102))))


def test_the_first_line_is_what_header_says_it_is(write):
    numbers = write("7 5\n8 6\n")
    with pytest.raises(ValueError, match="line 2: expected a word and 5 numbers"):
        read_word_vectors(numbers)
    words, matrix = read(numbers, header=False)
    assert (words, matrix.tolist()) == (["7", "8"], [[5], [6]])
    with pytest.raises(ValueError, match="line 1: expected the numbers of vectors and dimensions, found b'the 1 2 3"):
        read_word_vectors(write(GLOVE), header=True)
    with pytest.raises(ValueError, match="a binary file always has a header"):
        read_word_vectors(write(BINARY), header=False)


def test_a_mark_of_the_byte_order_is_no_part_of_the_header(write):
    assert read(write(b"\xef\xbb\xbf2 3\n" + GLOVE.encode()))[0] == ["the", "cat"]


@pytest.mark.parametrize("binary", [False, True])
def test_words_in_a_wrong_encoding_are_an_error_or_mended_on_request(write, binary):
    content = (BINARY if binary else b"2 3\n" + GLOVE.encode()).replace(b"cat ", b"caf\xe9 ")
    path = write(content)
    place = "word 2" if binary else "line 3"
    message = rf"{place}: the word is not UTF-8 .*: b'caf\\xe9'. Give .*unicode_errors='repl"
    with pytest.raises(ValueError, match=message):
        read_word_vectors(path)
    for options, word in (
        ({"unicode_errors": "ignore"}, "caf"),
        ({"unicode_errors": "replace"}, "caf\ufffd"),
        ({"encoding": "latin-1"}, "café"),
    ):
        words, matrix = read(path, **options)
        assert words == ["the", word]
        np.testing.assert_array_equal(matrix, MATRIX)


def test_words_that_become_equal_are_repeated_ones(write, caplog):
    found = read_word_vectors(write(b"caf\xe9 1 2\ncaf 3 4\n"), unicode_errors="ignore")
    assert (found.words, found.matrix.tolist(), found.repeated) == (["caf"], [[1, 2]], 1)
    assert "holds 1 repeated words" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "csv"}, "format is 'csv'; it can be 'auto', 'text', 'binary' or 'gensim'"),
        ({"limit": 0}, "limit is 0; it is a number of vectors, 1 or more"),
        ({"encoding": "utf-9"}, "unknown encoding: utf-9"),
        ({"unicode_errors": "mend"}, "unknown error handler name 'mend'"),
        ({"encoding": "utf-16"}, "encoding is 'utf-16', in which a space is"),
    ],
)
def test_wrong_options_are_answered_with_what_is_allowed(write, options, message):
    with pytest.raises(ValueError) as error:
        read_word_vectors(write(GLOVE), **options)
    assert message in str(error.value)


# Reading binary files


@pytest.mark.parametrize("format", ["auto", "binary"])
@pytest.mark.parametrize(
    "content",
    [
        BINARY,
        BINARY.replace(b"cat ", b"\ncat "),
        BINARY.replace(b"cat ", b"\ncat ") + b"\n",
        BINARY.replace(b"2 3\n", b"2 3\r\n"),
    ],
    ids=["gensim", "newlines between", "newlines after each", "windows header"],
)
def test_each_binary_format_gives_the_same_vectors(write, content, format):
    found = read_word_vectors(write(content, "vectors.bin"), format=format)
    assert found.words == ["the", "cat"]
    assert found.counts is None
    assert same_bits(found.matrix, MATRIX)
    found.matrix[0] = 0  # the caller's own, and writable


def test_binary_files_are_limited_and_filtered(write, caplog):
    assert read_word_vectors(write(BINARY[:-1]), limit=1).words == ["the"]
    words, matrix = read(write(BINARY), vocabulary={"cat"})
    assert words == ["cat"]
    assert same_bits(matrix, MATRIX[1:])
    found = read_word_vectors(write(BINARY.replace(b"cat", b"the")))
    assert (found.words, found.repeated) == (["the"], 1)
    assert same_bits(found.matrix, MATRIX[:1])
    assert read(write(BINARY.replace(b"cat ", b"\n ")))[0] == ["the"]
    assert "holds 1 vectors without a word" in caplog.text


@for_each(
    ("content", "message"),
    [
        (BINARY[:-1], "ends inside word 2 of 2, which begins at byte 20; is it torn"),
        (BINARY[:22], "ends inside word 2 of 2, which begins at byte 20"),
        (BINARY[:20], "ends inside word 2 of 2, which begins at byte 20"),
        (BINARY + b"x", "the header promises 2 vectors but more follows at byte 36"),
        (BINARY.replace(b"2 3", b"1 3"), "the header promises 1 vectors but more follows at byte 20"),
        (BINARY.replace(b"2 3", b"999999999999 3"), "ends inside word 3 of 999999999999, which begins at byte 47"),
        (
            BINARY.replace(b"2 3", b"2 999999999999"),
            "line 1: a vector of 999999999999 numbers has more than 16777216 bytes",
        ),
        (BINARY.replace(b"2 3", b"2 0"), "line 1: a vector of 0 numbers is none"),
        (BINARY.replace(b"2 3", b"0 3"), "holds no vectors; its header says so"),
        (BINARY[:-4] + struct.pack("<f", np.nan), "word 2: a number is NaN or infinite; remove or repair it"),
        (b"2 3\nthe " + bytes(100_000), "word 2: no space ends the word; is 3 the dimension?"),
    ],
)
def test_a_wrong_binary_file_is_answered_with_its_word_and_byte(write, content, message):
    with pytest.raises(ValueError) as error:
        read_word_vectors(write(content, "vectors.bin"), format="binary")
    assert message in str(error.value)
    assert "vectors.bin" in str(error.value)
    assert isinstance(error.value, EOFError) == ("ends inside" in message)  # as gensim's users expect


def test_text_with_lying_sizes_allocates_nothing_for_them(write):
    with pytest.raises(ValueError, match="promises 999999999999 vectors but 2 follow"):
        read_word_vectors(write("999999999999 3\n" + GLOVE))
    with pytest.raises(ValueError, match="line 2: expected a word and 999999999999 numbers"):
        read_word_vectors(write("2 999999999999\n" + GLOVE))


def test_a_line_that_is_too_long_for_a_vector_is_refused_unread(write, monkeypatch):
    monkeypatch.setattr(vector_files, "_BLOCK", 100)
    monkeypatch.setattr(vector_files, "LONGEST_LINE", 1000)
    path = write(GLOVE + "x" * 100_000)
    with pytest.raises(ValueError, match=r"vectors\.txt, line 3 is longer than \d+ bytes"):
        read_word_vectors(path)
    assert read_word_vectors(path, limit=2).words == ["the", "cat"]
    path.write_bytes(b"1 251\n" + bytes(2000))
    with pytest.raises(ValueError, match="line 1: a vector of 251 numbers has more than 1000 bytes"):
        read_word_vectors(path, format="binary")


@pytest.mark.parametrize("content", ["a 1 2\n" * 100_000, b"\0" * 2_000_000, "x" * 2_000_000], ids=["lines", "0", "x"])
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)])
def test_a_packed_file_is_not_unpacked_without_end(write, monkeypatch, content, suffix, pack):
    monkeypatch.setattr(packed_files, "UNPACKED", 1 << 16)
    path = write(pack(content.encode() if isinstance(content, str) else content), f"vectors.txt{suffix}")
    with pytest.raises(ValueError, match="unpacks to more than 100 times its size: .* give the plain file"):
        read_word_vectors(path)


@for_each(
    ("content", "message"),
    [
        (
            b"\x80\x04\x95rest",
            "is a pickle. If gensim saved it and you trust its writer, read it with format='gensim'",
        ),
        (b"PK\x03\x04rest", "is a zip archive; unpack it"),
        (gzip.compress(b"a 1 2", mtime=0), "is packed by gzip; let its name end in .gz, or unpack it"),
        (lzma.compress(b"a 1 2"), "is packed by xz; let its name end in .xz, or unpack it"),
        (bz2.compress(b"a 1 2"), "is packed by bzip2; let its name end in .bz2, or unpack it"),
        (b"\x28\xb5\x2f\xfdrest", "is packed by zstd; unpack it"),
        (b"\xba\x16\x4f\x2frest", "is a model of fastText; give its .vec file"),
    ],
)
def test_files_of_other_kinds_are_named(write, content, message):
    with pytest.raises(ValueError) as error:
        read_word_vectors(write(content))
    assert message in str(error.value)


# Writing


@for_each("suffix", ["", ".gz", ".xz", ".bz2"])
@for_each(("binary", "header"), [(False, True), (False, False), (True, True)])
def test_what_is_written_comes_back_to_the_bit(tmp_path, odd_numbers, binary, header, suffix):
    path = tmp_path / f"vectors{suffix}"
    write_word_vectors(path, WORDS, odd_numbers, binary=binary, header=header)
    words, matrix = read(path)
    assert words == WORDS
    assert same_bits(matrix, odd_numbers)


def test_text_is_as_short_as_a_float32_allows(tmp_path):
    path = tmp_path / "vectors.txt"
    write_word_vectors(path, ["a"], np.array([[0.1, -2.5, 1e-30]]), prefix="en/")
    assert path.read_bytes() == b"1 3\nen/a 0.1 -2.5 1e-30\n"


@pytest.mark.parametrize("binary", [False, True])
def test_a_file_can_be_written_in_pieces(tmp_path, binary):
    path = tmp_path / "vectors"
    write_word_vectors(path, ["the"], MATRIX[:1], binary=binary, total=2)
    with pytest.raises(ValueError, match="promises? 2 vectors but 1|ends inside word 2 of 2"):
        read_word_vectors(path)
    with pytest.raises(ValueError, match="has its beginning already; append to it with header=False"):
        write_word_vectors(path, ["cat"], MATRIX[1:], binary=binary, append=True)
    write_word_vectors(path, ["cat"], MATRIX[1:], binary=binary, append=True, header=False)
    words, matrix = read(path)
    assert words == ["the", "cat"]
    assert same_bits(matrix, MATRIX)


@for_each("binary", [False, True])
@for_each(
    ("words", "matrix", "options", "message"),
    [
        (["new york", "cat"], MATRIX, {}, "The word 'new york' cannot be written: white space ends a word"),
        (["a\tb", "cat"], MATRIX, {}, "The word 'a\\tb' cannot be written"),
        (["", "cat"], MATRIX, {}, "The word '' cannot be written"),
        (["a", "b"], MATRIX, {"prefix": "en "}, "The word 'en a' cannot be written"),
        (["cat", "cat"], MATRIX, {}, "The word 'cat' is there twice"),
        (["cat"], MATRIX, {}, "1 words need a matrix of as many rows; this one is (2, 3)"),
        (["cat", "dog"], MATRIX[0], {}, "2 words need a matrix of as many rows; this one is (3,)"),
        (["cat", "dog"], MATRIX * np.array([[1], [np.nan]]), {}, "The vector of 'dog' has a number that is NaN"),
        (["cat", "dog"], MATRIX.astype(np.float64) * 1e39, {}, "The vector of 'cat' has a number that is NaN or inf"),
        (["cat", "dog"], MATRIX, {"total": 1}, "would promise 1 vectors; there are 2"),
        ([], MATRIX[:0], {}, "would promise 0 vectors; there are 0"),
    ],
)
def test_what_these_formats_cannot_hold_is_refused_before_a_file_is_made(
    tmp_path, words, matrix, options, message, binary
):
    path = tmp_path / "vectors"
    with pytest.raises(ValueError) as error:
        write_word_vectors(path, words, matrix, binary=binary, **options)
    assert message in str(error.value)
    assert not path.exists()


# gensim, the peer


@pytest.fixture
def keyed_vectors(odd_numbers):
    """The odd words and numbers as gensim's object."""
    models = pytest.importorskip("gensim.models")
    vectors = models.KeyedVectors(odd_numbers.shape[1], count=0)
    vectors.add_vectors(WORDS, odd_numbers)
    return vectors


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_what_we_write_and_we_what_it_writes(tmp_path, keyed_vectors, odd_numbers, binary):
    path = tmp_path / "vectors"
    write_word_vectors(path, WORDS, odd_numbers, binary=binary)
    theirs = type(keyed_vectors).load_word2vec_format(str(path), binary=binary)
    assert theirs.index_to_key == WORDS
    assert same_bits(theirs.vectors, odd_numbers)
    theirs.save_word2vec_format(str(path), binary=binary)
    words, matrix = read(path)
    assert words == WORDS
    # gensim's text writes 7.038531e-26, which is that number's shortest and its neighbour's by way of float64
    hard = np.isin(odd_numbers.view(np.uint32), [0x15AE43FD, 0x95AE43FD]) if not binary else False
    assert same_bits(np.where(hard, odd_numbers, matrix), odd_numbers)


@pytest.mark.parametrize("separately", [None, ["vectors"]], ids=["one file", "with .npy"])
def test_what_gensim_saved_is_read_when_asked_for(tmp_path, keyed_vectors, odd_numbers, separately):
    path = tmp_path / "vectors.kv"
    for index, word in enumerate(WORDS):
        keyed_vectors.set_vecattr(word, "count", 10 + index)
    keyed_vectors.save(str(path), separately=separately)
    assert (tmp_path / "vectors.kv.vectors.npy").exists() == bool(separately)
    with pytest.raises(ValueError, match="read it with format='gensim'"):
        read_word_vectors(path)
    found = read_word_vectors(path, format="gensim")
    assert found.words == WORDS
    assert found.counts.tolist() == list(range(10, 18))
    assert found.counts.dtype == np.int64
    assert same_bits(found.matrix, odd_numbers)
    part = read_word_vectors(path, format="gensim", limit=4, vocabulary={WORDS[1], WORDS[7]})
    assert (part.words, part.counts.tolist()) == ([WORDS[1]], [11])
    assert same_bits(part.matrix, odd_numbers[1:2])


def test_a_whole_model_of_gensim_is_read_by_its_vectors(tmp_path):
    models = pytest.importorskip("gensim.models")
    model = models.Word2Vec([["a", "b", "a"]] * 3, vector_size=4, min_count=1, workers=1)
    model.save(str(tmp_path / "model"))
    found = read_word_vectors(tmp_path / "model", format="gensim")
    assert (found.words, found.counts.tolist()) == (["a", "b"], [6, 3])
    assert same_bits(found.matrix, model.wv.vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"the 1 2 3\n", "is torn or not what its name says"),
        (b"\x80\x04]\x94.", "was not saved by gensim"),
    ],
)
def test_what_gensim_did_not_save_is_refused(write, content, message):
    pytest.importorskip("gensim")
    with pytest.raises(ValueError, match=f"vectors.txt {message}"):
        read_word_vectors(write(content), format="gensim")


def test_without_gensim_its_install_line_is_given(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ImportError, match="vectors.txt can be read by gensim only: pip install gensim"):
        read_word_vectors(write(GLOVE), format="gensim")


# Published files


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
    words, matrix = read(data_folder / "word_vectors" / f"{name}.txt.xz")
    assert matrix.shape == shape
    assert len(set(words)) == shape[0]
    assert np.isfinite(matrix).all()

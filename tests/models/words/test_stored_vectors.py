"""Word vectors in files: ours read gensim's and the other way round, with the same counts and the same order."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hfseq.models.words.vectors import KeyedVectors

WORDS = ["to", "be", "or", "être"]
COUNTS = np.array([2, 9, 2, 5])


@pytest.fixture
def table():
    matrix = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    return KeyedVectors.from_vectors(WORDS, matrix, COUNTS)


def same(first, second):
    assert first.index_to_key == second.index_to_key
    assert first.vectors.dtype == second.vectors.dtype and (first.vectors == second.vectors).all()
    assert first.expandos["count"].tolist() == second.expandos["count"].tolist()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_files_go_both_ways_between_gensim_and_us(table, tmp_path, binary, counted):
    gensim = pytest.importorskip("gensim.models")
    other, readers = table.to_gensim(), (KeyedVectors, gensim.KeyedVectors)
    contents = []
    for writer in (table, other):
        path, counts = str(tmp_path / "vectors"), str(tmp_path / "counts") if counted else None
        writer.save_word2vec_format(path, counts, binary)
        contents.append([Path(name).read_bytes() for name in (path, counts) if name])
        ours, theirs = (reader.load_word2vec_format(path, counts, binary) for reader in readers)
        same(ours, theirs)
        assert ours.index_to_key == ["be", "être", "to", "or"]
        assert ours.get_vecattr("be", "count") == (9 if counted else 4)
    assert contents[0] == contents[1] or not binary  # of text, the numbers may be spelt in another way


def test_options_of_reading(table, tmp_path):
    path = tmp_path / "vectors"
    table.save_word2vec_format(path, write_header=False)
    read = KeyedVectors.load_word2vec_format(path, limit=2, datatype=np.float16, no_header=True)
    assert read.index_to_key == ["be", "être"] and read.vectors.dtype == np.float16
    assert read.most_similar("be")[0][0] == "être"
    with pytest.raises(NotImplementedError, match="header"):
        KeyedVectors.load_word2vec_format(path, binary=True, no_header=True)
    path.write_bytes("1 2\nêtre 1 2\n".encode("latin-1"))
    assert KeyedVectors.load_word2vec_format(path, encoding="latin-1").index_to_key == ["être"]
    assert KeyedVectors.load_word2vec_format(path, unicode_errors="ignore").index_to_key == ["tre"]
    with pytest.raises(UnicodeDecodeError, match="encoding"):
        KeyedVectors.load_word2vec_format(path)
    assert KeyedVectors.from_file(path, encoding="latin-1", vocabulary={"être"})["être"].tolist() == [1, 2]


@pytest.mark.parametrize("options", [{}, {"no_header": True}, {"limit": 1}, {"unicode_errors": "ignore"}])
def test_a_binary_file_read_as_text_is_answered_with_the_right_argument(table, tmp_path, options):
    table.save_word2vec_format(tmp_path / "vectors", binary=True)
    with pytest.raises(ValueError, match=r"vectors.* binary=True in load_word2vec_format"):
        KeyedVectors.load_word2vec_format(tmp_path / "vectors", **options)


def test_a_missing_count_is_zero(table, tmp_path):
    table.save_word2vec_format(tmp_path / "vectors", tmp_path / "counts")
    (tmp_path / "counts").write_text("be 7\n", encoding="utf-8")
    read = KeyedVectors.load_word2vec_format(tmp_path / "vectors", tmp_path / "counts")
    assert read.expandos["count"].tolist() == [7, 0, 0, 0]


def test_options_of_writing(table, tmp_path):
    path = tmp_path / "vectors"
    table.set_vecattr("or", "weight", 0.5)
    table.save_word2vec_format(path, tmp_path / "c", total_vec=8, prefix="a_", sort_attr="weight")
    table.save_word2vec_format(path, tmp_path / "c", write_header=False, prefix="b_", append=True)
    read = KeyedVectors.load_word2vec_format(path)
    assert read.index_to_key == ["a_or", "a_to", "a_be", "a_être", "b_be", "b_être", "b_to", "b_or"]
    assert (tmp_path / "c").read_text(encoding="utf-8").splitlines()[::4] == ["a_or 0.5", "b_be 9"]
    with pytest.raises(ValueError, match="'age'"):
        table.save_word2vec_format(path, tmp_path / "c", sort_attr="age")
    table.expandos.clear()
    table.save_word2vec_format(path)
    assert KeyedVectors.load_word2vec_format(path).index_to_key == WORDS


def test_common_words_take_the_vectors_of_a_file(table, tmp_path):
    other = KeyedVectors.from_vectors(["be", "not"], np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
    other.save_word2vec_format(tmp_path / "vectors", binary=True)
    before = table.vectors.copy()
    table.fill_norms()
    table.intersect_word2vec_format(tmp_path / "vectors", binary=True)
    assert table["be"].tolist() == [1, 2, 3] and (np.delete(table.vectors, 1, 0) == np.delete(before, 1, 0)).all()
    assert table.norms is None
    table["be"] = np.zeros(3)
    table.intersect_word2vec_format(tmp_path / "vectors", 0.5, True)  # gensim's order of arguments
    assert table["be"].tolist() == [1, 2, 3] and not hasattr(table, "vectors_lockf")
    with pytest.raises(ValueError, match="vectors of 3 numbers, not of 2"):
        KeyedVectors.from_vectors(["be"], np.ones((1, 2))).intersect_word2vec_format(tmp_path / "vectors", binary=True)


def test_what_gensim_saved_is_read(table, tmp_path):
    pytest.importorskip("gensim")
    table.to_gensim().save(str(tmp_path / "saved"))
    same(KeyedVectors.from_file(tmp_path / "saved", format="gensim"), table)


def test_what_is_missing_is_named(table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ImportError, match="pip install gensim"):
        table.to_gensim()
    monkeypatch.setitem(sys.modules, "hfseq.formats.vector_files", None)
    for ask in (table.save_word2vec_format, KeyedVectors.from_file, table.intersect_word2vec_format):
        with pytest.raises(ImportError, match="needs the whole package: install hfseq"):
            ask(tmp_path / "vectors")

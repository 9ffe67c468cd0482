"""Analogies and word pairs: by hand, and against gensim on files with everything that can be wrong with a line."""

import bz2
import gzip
import lzma
import os
import threading

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from hfseq.models import packed_files
from hfseq.models.words import evaluation as word_evaluation
from hfseq.models.words.vectors import KeyedVectors
from tests.closeness import assert_same

ANALOGIES = """\
: royals
Man king Woman queen
man king woman man
man king
man king woman stranger

: empty
: cities
Oslo norway rome italy
"""
PAIRS = (
    "# first second score\nman\tking\t3\nwoman\tking\t1.5\nman\tstranger\t9\nbroken\nqueen\twoman\tx\nQueen\tKING\t8\n"
)


@pytest.fixture
def words():
    vectors = {
        "man": [1, 0, 0],
        "woman": [1, 1, 0],
        "king": [1, 0, 1],
        "queen": [1, 1.1, 1],
        "Queen": [-1, 0, 0],
        "norway": [0, -1, 1],
        "oslo": [0, -1, 0],
        "rome": [0, -1, -1],
        "italy": [1, 1, -3],
    }
    return KeyedVectors.from_vectors(list(vectors), np.array(list(vectors.values()), dtype=np.float32))


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "questions.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_analogies_by_hand(words, write):
    score, sections = words.evaluate_word_analogies(write(ANALOGIES))
    assert [section["section"] for section in sections] == ["royals", "empty", "cities", "Total accuracy"]
    assert sections[0]["correct"] == [("MAN", "KING", "WOMAN", "QUEEN")]
    assert sections[0]["incorrect"] == [("MAN", "KING", "WOMAN", "MAN")]
    assert sections[1] == {"section": "empty", "correct": [], "incorrect": []}
    assert sections[2]["incorrect"] == [("OSLO", "NORWAY", "ROME", "ITALY")]
    assert score == pytest.approx(1 / 3)
    score, sections = words.evaluate_word_analogies(write(ANALOGIES), dummy4unknown=True, case_insensitive=False)
    assert score == 0 and len(sections[-1]["incorrect"]) == 4


def test_the_similarity_function_answers(words, write, monkeypatch):
    asked = []

    def answer(positive, negative, topn, restrict_vocab):
        asked.append((positive, negative, topn, restrict_vocab))
        return [("queen", 1.0)]

    monkeypatch.setattr(words, "most_similar_cosmul", answer)
    score, _ = words.evaluate_word_analogies(write(ANALOGIES), 9, similarity_function="most_similar_cosmul")
    assert asked[0] == (["king", "woman"], ["man"], 5, 9) and score == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a b c d\n", ValueError, "questions.txt:1: a line ': name'"),
        ("", ZeroDivisionError, "holds no analogies"),
        (": only\na b\n", ZeroDivisionError, "holds no analogies"),
    ],
)
def test_a_file_without_analogies_is_an_error(words, write, text, error, message):
    with pytest.raises(error, match=message):
        words.evaluate_word_analogies(write(text))


def test_pairs_by_hand(words, write):
    gold = [3, 1.5, 8]
    ours = [np.sqrt(0.5), 0.5, words.similarity("queen", "king")]  # of queen and Queen, the first
    pearson, spearman, unknown = words.evaluate_word_pairs(write(PAIRS))
    assert_same(tuple(pearson), tuple(pearsonr(gold, ours)))
    assert_same(tuple(spearman), tuple(spearmanr(gold, ours)))
    assert unknown == pytest.approx(25)
    assert words.evaluate_word_pairs(write(PAIRS), case_insensitive=False)[2] == pytest.approx(50)
    with pytest.raises(ValueError, match="no pair that can be scored"):
        words.evaluate_word_pairs(write("broken\n"))


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_files_may_be_compressed(words, tmp_path, suffix, compress):
    path = tmp_path / f"questions.txt{suffix}"
    path.write_bytes(compress(ANALOGIES.encode()))
    assert words.evaluate_word_analogies(path)[0] == pytest.approx(1 / 3)
    path.write_bytes(compress(PAIRS.encode("latin-1")))
    assert words.evaluate_word_pairs(str(path), encoding="latin-1")[2] == pytest.approx(25)


def test_zip_archives_are_refused_with_what_to_do(words, tmp_path):
    for ask in (words.evaluate_word_analogies, words.evaluate_word_pairs, KeyedVectors.load_word2vec_format):
        with pytest.raises(ValueError, match=r"questions\.zip is a zip archive; unpack it"):
            (tmp_path / "questions.zip").write_bytes(b"PK")
            ask(tmp_path / "questions.zip")


@pytest.mark.parametrize("method", ["evaluate_word_analogies", "evaluate_word_pairs"])
def test_broken_files_are_named_with_the_place(words, tmp_path, method, monkeypatch):
    def refused(name, content, error, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error, match=f"{name}.*{message}"):
            getattr(words, method)(tmp_path / name)

    good = b": section\nking\tqueen\t1\n" * 50
    refused("set.txt", good + b"caf\xe9 x", ValueError, r"is not UTF-8 \(line 101, byte 1153: 0xe9\): convert it")
    refused("set.gz", gzip.compress(good)[:-9], EOFError, "is torn or not what its name says: .* Download or pack")
    refused("zip.gz", b"PK\x03\x04rest", EOFError, "is torn or not what its name says: Not a gzipped file")
    refused("zip.txt", b"PK\x03\x04rest", ValueError, "is a zip archive; unpack it")
    refused("packed", gzip.compress(good), ValueError, "is packed by gzip; let its name end in .gz, or unpack it")
    monkeypatch.setattr(packed_files, "LONGEST_LINE", 100)
    refused("long", good + b"x" * 200, ValueError, "line 101 is longer than 100 bytes")
    monkeypatch.setattr(packed_files, "UNPACKED", 1 << 16)
    refused("bomb.xz", lzma.compress(b"\n" * 1_000_000), ValueError, "unpacks to more than 100 times its size")
    with pytest.raises(IsADirectoryError, match="is a folder; give the file inside"):
        getattr(words, method)(tmp_path)


@pytest.fixture
def pipe():
    """Function that makes a path which gives its content once only, as `<(zcat file)` does."""
    ends, threads = [], []

    def pipe(content):
        end, other = os.pipe()
        ends.append(end)

        def fill():
            with open(other, "wb") as file:
                file.write(content)

        threads.append(threading.Thread(target=fill))
        threads[-1].start()
        return f"/dev/fd/{end}"

    yield pipe
    for end in ends:
        os.close(end)
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs /dev/fd")
def test_a_pipe_is_read_from_its_first_byte_and_once(pipe):
    rows = 5000  # more than one buffer
    (section,) = word_evaluation.read_analogies(pipe(b": all\n" + b"man king woman queen\n" * rows))
    assert section.name == "all" and len(section.rows) == rows
    pairs = [f"man\tking{row}\t1\n".encode() for row in range(rows)]
    assert [pair[1] for pair in word_evaluation.read_pairs(pipe(b"".join(pairs)))] == [f"king{i}" for i in range(rows)]
    with pytest.raises(ValueError, match="is packed by gzip"):
        word_evaluation.read_pairs(pipe(gzip.compress(b"".join(pairs))[:4000]))
    with pytest.raises(ValueError, match="/dev/fd/.*can't decode byte 0xe9"):
        word_evaluation.read_pairs(pipe(b"man\tking\t1\ncaf\xe9"))


def test_strictly_read_a_line_of_another_form_is_an_error(words, write):
    with pytest.raises(ValueError, match=r"questions\.txt:4: an analogy has 4 words, got 'man king'"):
        words.evaluate_word_analogies(write(ANALOGIES), strict=True)
    with pytest.raises(ValueError, match=r"questions\.txt:6: a row has two words and a number, got 'queen\\twoman"):
        words.evaluate_word_pairs(write(PAIRS.replace("broken\n", "\n")), strict=True)


def test_strictly_read_files_may_have_other_columns_titles_and_comments(words, write):
    path = write("# of ours\nman,king,woman,queen\n: royals\nman\tking\twoman\tman\n")
    score, sections = words.evaluate_word_analogies(path, strict=True)
    assert score == 0.5 and [section["section"] for section in sections[:-1]] == ["", "royals"]
    path = write("# of ours\nfirst, second, mean, sd\nman, king, 3, 0\nwoman, king, 1.5, 0\nQueen, KING, 8, 1\n")
    found = words.evaluate_word_pairs(path, delimiter=None, strict=True)
    with pytest.raises(ValueError, match="separated by tabs, commas or spaces"):
        words.evaluate_word_pairs(path, delimiter=None)  # gensim's way has no fourth column
    assert np.hstack(found[:2]) == pytest.approx(np.hstack(words.evaluate_word_pairs(write(PAIRS))[:2]))


# Against gensim


def questions(keys, count=300):
    generator = np.random.default_rng(2)
    for number in range(count):
        if number % 100 == 0:
            yield f": part {number // 100} of: 3"
        yield " ".join(generator.choice(keys, 4)) + " " * (number % 3)
        if number % 50 == 0:
            yield "too few words"
            yield "W1 w2 W3 unknown"


@pytest.fixture(params=["random", "parallelograms", "ties"])
def pair(request):
    gensim = pytest.importorskip("gensim.models")
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((3000, 6)).astype(np.float32)
    if request.param == "parallelograms":
        matrix = generator.integers(-3, 4, (3000, 6)).astype(np.float32) + matrix * 1e-3
    elif request.param == "ties":
        matrix = generator.integers(-1, 2, (3000, 4)).astype(np.float32) + np.float32(0.5)
    keys = [f"{'wW'[index % 2]}{index // 2 % 1400}" for index in range(len(matrix) - 1)]
    ours = KeyedVectors.from_vectors([*dict.fromkeys(keys)], matrix[: len(dict.fromkeys(keys))])
    assert isinstance(ours.to_gensim(), gensim.KeyedVectors)
    return ours, ours.to_gensim()


def solvable(table, count=60):
    """Questions whose answer is gensim's first choice, so that some answers are right."""
    generator = np.random.default_rng(3)
    yield ": solvable"
    for _ in range(count):
        a, b, c = (str(word) for word in generator.choice(table.index_to_key[:400], 3, replace=False))
        yield f"{a} {b} {c} {table.most_similar([b, c], [a], topn=1)[0][0]}"


@pytest.mark.parametrize("options", [{}, {"restrict_vocab": 500}, {"restrict_vocab": None}, {"dummy4unknown": True}])
@pytest.mark.parametrize("case_insensitive", [True, False])
def test_analogies_are_gensims(pair, write, options, case_insensitive):
    ours, theirs = pair
    path = write("\n".join([*solvable(theirs), *questions(ours.index_to_key[:300])]) + "\n")
    found = ours.evaluate_word_analogies(path, case_insensitive=case_insensitive, **options)
    expected = theirs.evaluate_word_analogies(path, case_insensitive=case_insensitive, **options)
    assert found == expected and len(expected[1][-1]["incorrect"]) > 50
    if "restrict_vocab" not in options and not case_insensitive:
        assert len(expected[1][0]["correct"]) == 60


def test_without_a_better_word_gensims_last_choice_stands(write):
    pytest.importorskip("gensim")
    ours = KeyedVectors.from_vectors(list("abcAB"), np.random.default_rng(0).standard_normal((5, 4)))
    path = write(": all\na b c a\na b c b\n")
    found = ours.evaluate_word_analogies(path)
    assert found == ours.to_gensim().evaluate_word_analogies(path) and found[0] == 0.5


def test_most_analogies_are_answered_together(pair, write, monkeypatch):
    ours, _ = pair
    alone = []
    monkeypatch.setattr(word_evaluation._Answers, "_alone", lambda self, rows: alone.append(rows) or [])
    ours.evaluate_word_analogies(write("\n".join(questions(ours.index_to_key))))
    assert (len(alone) < 15) == (ours.vector_size == 6)  # where all tie, each has to be asked alone


@pytest.mark.parametrize("options", [{}, {"restrict_vocab": 100}, {"dummy4unknown": True}, {"delimiter": ";"}])
@pytest.mark.parametrize("case_insensitive", [True, False])
def test_pairs_are_gensims(pair, write, options, case_insensitive):
    ours, theirs = pair
    generator = np.random.default_rng(1)
    lines = ["# a comment", "", "w1\tw2", "w1\tw2\tmuch", "w1;w2;1", "w2;w3;2", "w3;w4;1.5", "W1\tw2\t1e1"]
    lines += ["\t".join([*generator.choice(ours.index_to_key[:200], 2), f"{score:.2f}"]) for score in range(40)]
    lines += ["w1\tunknown\t3", "W1;W2;2"]
    path = write("\n".join(lines) + "\n")
    found = ours.evaluate_word_pairs(path, case_insensitive=case_insensitive, **options)
    expected = theirs.evaluate_word_pairs(path, case_insensitive=case_insensitive, **options)
    assert [type(part) for part in found] == [type(part) for part in expected]
    assert_same(np.hstack(found), np.hstack(expected))

"""Corpora for word vectors: every source gives the same words, ids and sentences."""

import bz2
import gzip
import lzma
import tracemalloc

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

import hfseq
from hfseq.data import raw_corpus
from hfseq.data.corpus import END_ID, WordCorpus
from hfseq.models import packed_files
from tests.rounds import for_each

TEXTS = ["the cat sat", "the dog sat on the mat", "", "a cat", "the <unk> cat"]
WORDS = ["the", "cat", "sat"]  # at least twice, most frequent first


def sentences(corpus):
    """The corpus as lists of words, empty ones left out."""
    pieces = np.split(corpus.ids, np.flatnonzero(corpus.ids == END_ID))
    lists = [[corpus.words[index - 2] for index in piece if index != END_ID] for piece in pieces]
    return [words for words in lists if words]


KEPT = [["the", "cat", "sat"], ["the", "sat", "the"], ["cat"], ["the", "cat"]]


WHOLE = "\n".join(TEXTS)


def as_file(tmp_path, name="corpus.txt", content=WHOLE, pack=bytes):
    path = tmp_path / name
    path.write_bytes(pack(content.encode()))
    return path


SOURCES = {
    "texts": lambda folder: TEXTS,
    "one text of several lines": lambda folder: ["\n".join(TEXTS)],
    "lists of words": lambda folder: [text.split() for text in TEXTS],
    "tuples of words": lambda folder: (tuple(text.split()) for text in TEXTS),
    "a generator": lambda folder: (text for text in TEXTS),
    "a dataset": lambda folder: Dataset.from_dict({"text": TEXTS, "other": list(range(5))}),
    "a dataset of lists": lambda folder: Dataset.from_dict({"text": [text.split() for text in TEXTS]}),
    "a streamed dataset": lambda folder: Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(),
    "a file": as_file,
    "the name of a file": lambda folder: str(as_file(folder)),
    "a file of Windows": lambda folder: as_file(folder, content="\r\n".join(TEXTS)),
    ".gz": lambda folder: as_file(folder, "c.txt.gz", pack=gzip.compress),
    ".xz": lambda folder: as_file(folder, "c.txt.xz", pack=lzma.compress),
    ".bz2": lambda folder: as_file(folder, "c.txt.bz2", pack=bz2.compress),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_corpus(source, tmp_path):
    corpus = WordCorpus.read(source(tmp_path), min_count=2)
    assert corpus.words == WORDS and corpus.counts.tolist() == [4, 3, 2]
    assert sentences(corpus) == KEPT
    assert corpus.raw_words == 14 and corpus.raw_types == 8
    assert corpus.tokenizer()("the cat flew", add_special_tokens=False)["input_ids"] == [2, 3, 1]


def test_long_texts_are_read_in_pieces_without_cutting_words(tmp_path, monkeypatch):
    monkeypatch.setattr("hfseq.data.raw_corpus._CHARACTERS", 7)
    monkeypatch.setattr("hfseq.data.raw_corpus.IDS", 3)
    monkeypatch.setattr("hfseq.data.raw_corpus._BATCH", 2)
    for source in ("a file", "texts"):
        assert sentences(WordCorpus.read(SOURCES[source](tmp_path), min_count=2)) == KEPT
    unbroken = as_file(tmp_path, content="x" * 100 + " yy yy " + "x" * 100)
    assert {len(word) for word in WordCorpus.read(unbroken, min_count=1).words} > {2}


def test_words_and_symbols_are_split_as_the_tokenizer_of_words_does():
    texts = ["Don't stop: 3.5 naïve cafés!", "日本語 don't", "plain ascii, too_long\tx\x07y"]
    corpus = WordCorpus.read(texts, split="word", lowercase=True, min_count=1)
    tokenizer = hfseq.train_tokenizer(texts, lowercase=True, min_frequency=1)
    expected = [[t for t in tokenizer.tokenize(text) if t != "</s>"] for text in texts]
    assert sentences(corpus) == expected
    own = corpus.tokenizer()
    assert [own.tokenize(text) for text in texts] == expected


def test_the_order_of_words_is_by_count_then_by_first_sight():
    corpus = WordCorpus.read(["b a c c d a b"], min_count=1)
    assert corpus.words == ["b", "a", "c", "d"]
    assert WordCorpus.read(["b a c c d a b"], min_count=1, max_words=2).words == ["b", "a"]


def test_reading_takes_memory_for_the_vocabulary_alone(tmp_path):
    def texts():
        for start in range(0, 500_000, 1000):
            yield " ".join(str((start + i) % 50) for i in range(1000))

    tracemalloc.start()
    corpus = WordCorpus.read(texts(), cache_dir=tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(corpus) == 500_500 and isinstance(corpus.ids, np.memmap)
    assert peak < 12e6  # all words in lists would be 30 MB
    assert list(tmp_path.iterdir())
    del corpus
    assert not list(tmp_path.iterdir())


@for_each(
    ("source", "error", "message"),
    [
        (["a", 3], TypeError, "row 1 is '3' .int.: each must be a text or a list of words"),
        ([["a", None]], TypeError, "row 0 is .*'a', None"),
        ([b"bytes"], TypeError, "row 0 .*bytes"),
        ([], ValueError, "holds no words"),
        (["", " \n "], ValueError, "holds no words"),
        (
            ["a b c"],
            ValueError,
            "min_count=5 leaves 0 words of a corpus of 3 distinct words, the most frequent 1 times",
        ),
        ("no such file.txt", FileNotFoundError, "no text file 'no such file.txt'; a text itself belongs into a list"),
        (None, TypeError, "The source is None: give a text file"),
        ({"text": ["a b"]}, TypeError, "The source is a dict of 'text': pass one of these"),
        (list("abcdefgh") * 9, ValueError, "No sentence has two words.*Is each word a text of its own"),
        (DatasetDict(train=Dataset.from_dict({"text": ["a"]})), TypeError, "of 'train': pass one of these"),
        (Dataset.from_dict({"words": ["a"]}), ValueError, "text_column='text' is not among the columns"),
    ],
)
def test_what_is_no_corpus_is_named(source, error, message):
    with pytest.raises(error, match=message):
        WordCorpus.read(source)


def test_a_source_that_is_used_up_is_named():
    texts = iter(TEXTS)
    WordCorpus.read(texts, min_count=1)
    with pytest.raises(ValueError, match="already used up"):
        WordCorpus.read(texts)


def test_broken_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"c.txt is not UTF-8 \(line 1, byte 3: 0xe9\): convert it"):
        WordCorpus.read(as_file(tmp_path, "c.txt", "é", lambda text: "caf\xe9 ".encode("latin-1") * 9))
    whole = gzip.compress(b"a b c " * 1000)
    with pytest.raises(ValueError, match="torn.txt.gz is torn or not what its name says"):
        WordCorpus.read(as_file(tmp_path, "torn.txt.gz", "", lambda text: whole[: len(whole) // 2]))
    for name in ("t.csv", "t.CSV", "t.jsonl.gz", "t.Parquet.gz", "t.parquet"):
        with pytest.raises(ValueError, match=f"{name} is a table, not a text.*text_column"):
            WordCorpus.read(as_file(tmp_path, name))
    with pytest.raises(ValueError, match="c.zip is a zip archive; unpack it"):
        WordCorpus.read(as_file(tmp_path, "c.zip"))
    with pytest.raises(ValueError, match="c.txt is packed by gzip; let its name end in .gz, or unpack it"):
        WordCorpus.read(as_file(tmp_path, pack=gzip.compress, name="c.txt"))
    with pytest.raises(ValueError, match="empty.txt holds no words"):
        WordCorpus.read(as_file(tmp_path, "empty.txt", ""))
    packed = bytearray(lzma.compress(b"a b c " * 1000))
    packed[40] ^= 255
    with pytest.raises(ValueError, match="c.xz is torn"):
        WordCorpus.read(as_file(tmp_path, "c.xz", pack=lambda text: bytes(packed)))
    with pytest.raises(TypeError, match="phrases=True: give what Phrases.learn returns"):
        WordCorpus.read(TEXTS, min_count=1, phrases=True)
    with pytest.raises(TypeError, match=r"^WordCorpus.read\(\) got an .* 'min_cuont'; it takes .*min_count.*split"):
        WordCorpus.read(TEXTS, min_cuont=1)
    with pytest.raises(TypeError, match=r"^Phrases.learn\(\) got an unexpected keyword argument 'lower'; it takes .*"):
        hfseq.Phrases.learn(TEXTS, lower=True)
    with pytest.raises(ValueError, match="min_count=0"):
        WordCorpus.read(TEXTS, min_count=0)
    with pytest.raises(ValueError, match="split='letters'"):
        WordCorpus.read(TEXTS, split="letters")


@pytest.mark.parametrize(("name", "pack"), [("c.txt", bytes), ("c.txt.gz", gzip.compress)])
def test_what_is_too_long_for_a_word_is_refused_and_not_kept(tmp_path, name, pack):
    path = as_file(tmp_path, name, "a b " + "x" * 70_000 + " c", pack)
    with pytest.raises(ValueError, match=r"c\.txt.*: a word has 70000 characters, more than 65536, and begins 'xxxx"):
        WordCorpus.read(path)
    with pytest.raises(ValueError, match="^a word has 70000 characters"):
        WordCorpus.read([path.name, "x" * 70_000])


def test_where_no_word_ends_for_long_the_text_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_corpus, "_CHARACTERS", 10)
    path = as_file(tmp_path, content="ab " + "x" * 500 + " cd " + "y" * 30 + " ab cd")
    read = []
    monkeypatch.setattr(raw_corpus._Splitter, "__call__", lambda self, text: read.append(text) or text.split())
    WordCorpus.read(path, min_count=1)
    assert "".join(read) == path.read_text()
    assert max(map(len, read)) <= 10 * (raw_corpus._PIECES + 1)
    assert "y" * 30 in " ".join(read).split()


def test_a_packed_corpus_is_not_unpacked_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(packed_files, "UNPACKED", 1 << 16)
    path = as_file(tmp_path, "c.txt.xz", "a b\n" * 500_000, lzma.compress)
    with pytest.raises(ValueError, match=r"c\.txt\.xz unpacks to more than 100 times its size: .* give the plain"):
        WordCorpus.read(path)


# Phrases

NEW_YORK = ["new york is new", "i love new york city", "new york city", "old york"] * 10


def test_pairs_that_belong_together_become_one_word():
    phrases = hfseq.Phrases.learn(NEW_YORK, min_count=2, threshold=0.2)
    assert ("new", "york") in phrases.scores
    assert phrases[["in", "new", "york", "new", "york", "new"]] == ["in", "new_york", "new_york", "new"]
    corpus = WordCorpus.read(NEW_YORK, min_count=1, phrases=phrases)
    assert sentences(corpus)[0][0] == "new_york"
    assert [phrases[text.split()] for text in NEW_YORK] == sentences(corpus)
    assert corpus.counts[corpus.words.index("new_york")] == 30
    longer = hfseq.Phrases.learn(NEW_YORK, min_count=2, threshold=0.2, phrases=phrases)
    assert longer[["new", "york", "city"]] == ["new_york_city"]
    assert sentences(WordCorpus.read(NEW_YORK, min_count=1, phrases=longer)) == [longer[t.split()] for t in NEW_YORK]


def test_overlapping_pairs_are_merged_from_left_to_right():
    phrases = hfseq.Phrases({("a", "a"): 1.0, ("a", "b"): 1.0})
    texts = ["a a a b", "a a", "a b a a a", "b a"]
    corpus = WordCorpus.read(texts, min_count=1, phrases=phrases)
    assert sentences(corpus) == [["a_a", "a_b"], ["a_a"], ["a_b", "a_a", "a"], ["b", "a"]]
    assert sentences(corpus) == [phrases[text.split()] for text in texts]


def test_pairs_are_found_and_merged_across_the_ends_of_blocks(monkeypatch):
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in random.integers(0, 6, 400))]  # one sentence over many blocks
    expected = hfseq.Phrases.learn(texts, min_count=2, threshold=0.085)
    whole = WordCorpus.read(texts, min_count=1, phrases=expected)
    monkeypatch.setattr("hfseq.data.raw_corpus.IDS", 7)
    phrases = hfseq.Phrases.learn(texts, min_count=2, threshold=0.085)
    assert phrases == expected and len(phrases.scores) > 3
    pieces = WordCorpus.read(texts, min_count=1, phrases=phrases)
    assert sentences(pieces) == sentences(whole) == [phrases[texts[0].split()]]
    assert pieces.counts.tolist() == whole.counts.tolist()


@pytest.mark.parametrize(("scoring", "threshold"), [("default", 3.0), ("npmi", 0.4)])
def test_phrases_are_those_of_gensim(scoring, threshold):
    gensim = pytest.importorskip("gensim.models.phrases")
    random = np.random.default_rng(0)
    texts = [
        [f"w{i // 3 * 3 + j}" for i in random.integers(0, 90, 5) for j in range(random.integers(1, 4))]
        for _ in range(400)
    ]
    theirs = gensim.Phrases(texts, min_count=3, threshold=threshold, scoring=scoring)
    ours = hfseq.Phrases.learn(texts, min_count=3, threshold=threshold, scoring=scoring)
    expected = {tuple(pair.split("_")): score for pair, score in theirs.export_phrases().items()}
    assert len(expected) > 3 and ours.scores.keys() == expected.keys()
    for pair, score in expected.items():
        assert ours.scores[pair] == pytest.approx(score, rel=1e-9)
    assert [ours[text] for text in texts] == [theirs[text] for text in texts]


def test_phrases_are_saved_and_loaded(tmp_path):
    first = hfseq.Phrases.learn(NEW_YORK, min_count=2, threshold=0.2, delimiter="~")
    second = hfseq.Phrases.learn(NEW_YORK, min_count=2, threshold=0.2, phrases=first)
    second.save(tmp_path / "phrases.json")
    assert hfseq.Phrases.load(tmp_path / "phrases.json") == second
    for content in ("{}", "[" * 100_000, '{"delimiter"', "\ud800"):
        (tmp_path / "phrases.json").write_bytes(content.encode(errors="surrogatepass"))
        with pytest.raises(ValueError, match="phrases.json is no file of phrases"):
            hfseq.Phrases.load(tmp_path / "phrases.json")
    with pytest.raises(ValueError, match="scoring='pmi'"):
        hfseq.Phrases.learn(NEW_YORK, scoring="pmi")


def test_the_number_of_words_may_tell_how_rare_words_may_be():
    corpus = hfseq.WordCorpus.read(["a b a b a", "c"], min_count=lambda words: words // 3)
    assert corpus.words == ["a", "b"]

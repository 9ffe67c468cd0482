"""The kernel of texts against its plain twin, and the twin against fastText's algorithm written out."""

import random

import numpy as np
import pytest

from hfseq.models.words import bag_text as plain
from hfseq.models.words import fused_words as fused

LETTERS = "abc <>_ é日🎉\u0301\u00a0 \n\t\0/s"
BOTH = pytest.mark.parametrize("made", [plain, fused], ids=["twin", "kernel"])


def flat(texts):
    encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), starts


def some_text(rng):
    text = "".join(rng.choice(LETTERS) for _ in range(rng.choice([0, 1, 3, 10, 60])))
    text = rng.choice(["", "", "", "__label__a ", "</s> "]) + text + rng.choice(["", "", "", " </s> x"])
    encoded = text.encode()
    # Cut in the middle of a letter, as `max_length` does.
    return encoded[: rng.randint(0, len(encoded))] if rng.random() < 0.3 else encoded


def some_case(rng):
    words = plain.split_texts(*flat([some_text(rng) for _ in range(5)]), rng.random() < 0.5, b"")[2:4]
    buckets = rng.choice([0, 1, 7, 50, 1000])
    kept = None
    if rng.random() < 0.5:
        kept = np.array(sorted(rng.sample(range(buckets), rng.randint(0, buckets))), dtype=np.int32)
    options = plain.TextOptions(
        shortest_ngram=rng.randint(0, 3),
        longest_ngram=rng.randint(0, 5),
        word_ngrams=rng.randint(1, 3),
        buckets=buckets,
        ends_texts=rng.random() < 0.5,
        label_prefix=rng.choice([b"", b"__label__", b"a"]),
    )
    return plain.text_tables(*words, kept), options


@pytest.mark.parametrize("seed", range(60))
def test_kernel_and_twin_agree(seed):
    rng = random.Random(seed)
    texts = flat([some_text(rng) for _ in range(rng.randint(0, 12))])
    tables, options = some_case(rng)
    for name, arguments in (
        ("split_texts", (options.ends_texts, options.label_prefix)),
        ("text_features", (tables, options)),
        ("word_rows", (tables, options)),
    ):
        expected, found = (getattr(made, name)(*texts, *arguments) for made in (plain, fused))
        for one, other in zip(expected, found, strict=True):
            assert one.dtype == other.dtype and np.array_equal(one, other), name


def fnv(word):
    value = 2166136261
    for byte in word:
        value = ((value ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * 16777619) % 2**32
    return value


def rows_by_the_book(text, dictionary, options):
    """fastText's way from a line to its rows, letter by letter."""
    words, rows, hashes = [*text.translate(bytes.maketrans(b"\0", b" ")).split(), b"</s>"], [], []
    for word in words[: words.index(b"</s>") + 1]:
        if word not in dictionary and word.startswith(b"__label__"):
            continue
        hashes.append(fnv(word) - 2**32 * (fnv(word) >= 2**31))
        rows += [dictionary.index(word)] if word in dictionary else []
        letters = f"<{word.decode()}>"
        for first in range(len(letters)) if word != b"</s>" else ():
            for size in range(1, options.longest_ngram + 1):
                last = first + size
                lone_mark = size == 1 and (first == 0 or last == len(letters))
                if last <= len(letters) and size >= options.shortest_ngram and not lone_mark:
                    rows.append(len(dictionary) + fnv(letters[first:last].encode()) % options.buckets)
    for first in range(len(hashes)):
        run = hashes[first] % 2**64
        for following in hashes[first + 1 : first + options.word_ngrams]:
            run = (run * 116049371 + following) % 2**64
            rows.append(len(dictionary) + run % options.buckets)
    return rows


@BOTH
@pytest.mark.parametrize("lengths", [(1, 3), (2, 4), (3, 2)])
def test_rows_are_fasttexts(made, lengths):
    dictionary = ["hei", "</s>", "日本", "__label__known", "<"]
    options = plain.TextOptions(*lengths, 3, 1000, ends_texts=True, label_prefix=b"__label__")
    texts = ["hei på deg", "", "日本 日本 __label__x __label__known", "<> < >", "🎉\0e\u0301 hei </s> gone"]
    starts, rows = made.text_features(*flat(texts), plain.text_tables(*flat(dictionary)), options)
    encoded = [word.encode() for word in dictionary]
    for text, begin, end in zip(texts, starts, starts[1:], strict=False):
        assert rows[begin:end].tolist() == rows_by_the_book(text.encode(), encoded, options)


@BOTH
def test_pruned_buckets_leave_no_row(made):
    tables = plain.text_tables(*flat(["a"]), np.zeros(0, dtype=np.int32))
    options = plain.TextOptions(2, 3, 2, 100)
    assert made.text_features(*flat(["a b"]), tables, options)[1].tolist() == [0]


@BOTH
def test_words_are_counted_in_the_order_they_come(made):
    numbers, starts, words, word_starts, counts = made.split_texts(
        *flat(["b a", "", "__label__x a\n b"]), True, b"__label__"
    )
    assert numbers.tolist() == [0, 1, 2, 2, 1, 0, 2] and starts.tolist() == [0, 3, 4, 7]
    assert bytes(words) == b"ba</s>" and word_starts.tolist() == [0, 1, 2, 6] and counts.tolist() == [2, 2, 3]


def test_many_words_are_all_kept_apart():
    texts = [" ".join(f"w{i}" for i in range(20_000)), " ".join(f"w{i}" for i in range(19_999, -1, -1))]
    expected, found = (made.split_texts(*flat(texts), True, b"") for made in (plain, fused))
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


def test_texts_that_do_not_fit_their_starts_are_refused():
    if fused.text_kernels() is None:
        pytest.skip("needs numba")
    tables, options = plain.text_tables(*flat(["a"])), plain.TextOptions()
    with pytest.raises(ValueError, match="must rise from 0 to the 3 bytes"):
        fused.text_features(np.zeros(3, np.uint8), np.array([0, 5]), tables, options)

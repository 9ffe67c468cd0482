"""From the bytes of texts to the rows of a bag's matrix, as fastText counts them: the plain twin of the kernel.

A text is cut at white space. Each word stands for its own row, if the dictionary has it, and for the rows of its
character n-grams; words that follow one another stand for their word n-grams. Rows 0 to W - 1 are the words of the
dictionary, and n-grams share the buckets behind them: a hash says which. Everything is bytes of UTF-8, so that words
nobody has seen have exactly the rows that fastText gives them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .tables import fnv_hashes, hashed_ngrams

END = b"</s>"
WORD_NGRAM_FACTOR = 116049371  # fastText's
# NUL is white space to fastText as well; `bytes.split` knows the other six.
_SPACES = bytes.maketrans(b"\0", b" ")


class TextOptions(NamedTuple):
    """How texts become rows.

    Attributes:
        shortest_ngram: Characters of the shortest n-gram of a word, the marks of its ends counted.
        longest_ngram: Characters of the longest; 0 for no character n-grams.
        word_ngrams: Words of the longest word n-gram; 1 for none.
        buckets: How many rows the n-grams share, before any were pruned.
        ends_texts: Whether the word `</s>` ends each text. One that is spelled in a text then ends it there.
        label_prefix: Words that begin so and are not in the dictionary are skipped; empty for none.
    """

    shortest_ngram: int = 0
    longest_ngram: int = 0
    word_ngrams: int = 1
    buckets: int = 0
    ends_texts: bool = False
    label_prefix: bytes = b""


class TextTables(NamedTuple):
    """The dictionary, and which rows are left of the n-grams.

    Attributes:
        word_bytes: uint8: the words of the dictionary, one after another.
        word_starts: int64, (W + 1,): where each begins.
        slots: int32, a power of two: a hash table of the words; -1 is a free place.
        kept_buckets: int32, ascending: the buckets that have a row, in the order of their rows, if some were pruned.
        bucket_slots: int32, (a power of two, 2): a hash table of those: a bucket, or -1 for a free place, and its row;
            without any place if no bucket was pruned.
    """

    word_bytes: np.ndarray
    word_starts: np.ndarray
    slots: np.ndarray
    kept_buckets: np.ndarray
    bucket_slots: np.ndarray


def text_tables(word_bytes: np.ndarray, word_starts: np.ndarray, kept_buckets: np.ndarray | None = None) -> TextTables:
    """Derive the tables from the words of the dictionary, which are distinct.

    Args:
        word_bytes: uint8: the words, one after another.
        word_starts: int64, (W + 1,): where each begins.
        kept_buckets: int32, ascending: the buckets that pruning left; None if there was none.
    """
    slots = _hash_table(fnv_hashes(word_bytes, word_starts[:-1], word_starts[1:]).astype(np.int64))
    if kept_buckets is None:
        none = np.zeros(0, dtype=np.int32)
        return TextTables(word_bytes, word_starts, slots, none, none.reshape(0, 2))
    places = _hash_table(kept_buckets.astype(np.int64))
    # A table of all buckets would be quicker to make and slower to read: few are kept, and it leaves the caches.
    bucket_slots = np.full((len(places), 2), -1, dtype=np.int32)
    bucket_slots[places >= 0, 0] = kept_buckets[places[places >= 0]]
    bucket_slots[places >= 0, 1] = places[places >= 0] + len(word_starts) - 1
    return TextTables(word_bytes, word_starts, slots, kept_buckets, bucket_slots)


def _hash_table(hashes: np.ndarray) -> np.ndarray:
    """Put numbers 0, 1, ... into a table of twice as many places, each to the first free one from its hash on."""
    size = 16
    while size < 2 * len(hashes):
        size *= 2
    slots = np.full(size, -1, dtype=np.int32)
    places, left = hashes & (size - 1), np.arange(len(hashes))
    # All that have no place yet try their next one together; the first of those that want the same gets it.
    while len(left):
        free = np.flatnonzero(slots[places[left]] < 0)
        _, first = np.unique(places[left[free]], return_index=True)
        settled = free[first]
        slots[places[left[settled]]] = left[settled]
        left = np.delete(left, settled)
        places[left] = (places[left] + 1) & (size - 1)
    return slots


def text_features(
    texts: np.ndarray, text_starts: np.ndarray, tables: TextTables, options: TextOptions
) -> tuple[np.ndarray, np.ndarray]:
    """List the rows of each text: those of its words, one word after another, then those of its word n-grams.

    Args:
        texts: uint8: the texts, one after another.
        text_starts: int64, (texts + 1,): where each begins.

    Returns:
        starts: int64, (texts + 1,): where the rows of each text begin in the next.
        rows: int32: rows of the bag's matrix.
    """
    numbers, starts, word_bytes, word_starts, _ = split_texts(texts, text_starts, options.ends_texts, b"")
    row_starts, word_rows_, hashes = word_rows(word_bytes, word_starts, tables, options)
    is_label = _labels(word_bytes, word_starts, row_starts, word_rows_, tables, options)
    rows_of = np.split(word_rows_, row_starts[1:-1]) if len(hashes) else []
    none = np.zeros(0, dtype=np.int32)
    texts_rows = [none]
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        words = [number for number in numbers[begin:end] if not is_label[number]]
        following = _word_ngrams(hashes[words].tolist(), options)
        texts_rows.append(np.concatenate([none, *(rows_of[word] for word in words), _kept(following, tables)]))
    counts = [len(rows) for rows in texts_rows]
    return np.cumsum(counts, dtype=np.int64), np.concatenate(texts_rows).astype(np.int32)


def split_texts(
    texts: np.ndarray, text_starts: np.ndarray, ends_texts: bool, label_prefix: bytes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the words of texts numbers, in the order in which they first come.

    Args:
        texts: uint8: the texts, one after another.
        text_starts: int64, (texts + 1,): where each begins.
        ends_texts: Whether the word `</s>` ends each text.
        label_prefix: Words that begin so are skipped; empty for none.

    Returns:
        numbers: int32: the words of all texts.
        starts: int64, (texts + 1,): where those of each text begin.
        word_bytes: uint8: the distinct words, one after another.
        word_starts: int64, (words + 1,): where each begins.
        counts: int64, (words,): how often each comes.
    """
    known: dict[bytes, int] = {}
    numbers: list[int] = []
    starts = [0]
    for text in _each(texts, text_starts):
        words = text.translate(_SPACES).split()
        if ends_texts:
            words = [*words[: words.index(END)], END] if END in words else [*words, END]
        if label_prefix:
            words = [word for word in words if not word.startswith(label_prefix)]
        numbers += [known.setdefault(word, len(known)) for word in words]
        starts.append(len(numbers))
    word_starts = np.concatenate([[0], np.cumsum([len(word) for word in known])]).astype(np.int64)
    word_bytes = np.frombuffer(b"".join(known), dtype=np.uint8)
    counts = np.bincount(np.array(numbers, dtype=np.int64), minlength=len(known)).astype(np.int64)
    return np.array(numbers, dtype=np.int32), np.array(starts, dtype=np.int64), word_bytes, word_starts, counts


def word_rows(
    word_bytes: np.ndarray, word_starts: np.ndarray, tables: TextTables, options: TextOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the rows of words: each word's own, if the dictionary has it, then those of its character n-grams.

    Args:
        word_bytes: uint8: the words, one after another.
        word_starts: int64, (words + 1,): where each begins.

    Returns:
        starts: int64, (words + 1,): where the rows of each word begin in the next.
        rows: int32: rows of the bag's matrix.
        hashes: int32, (words,): of which the word n-grams are made.
    """
    hashes = fnv_hashes(word_bytes, word_starts[:-1], word_starts[1:])
    own = _found(word_bytes, word_starts, hashes, tables)
    with_ngrams = options.longest_ngram > 0 and options.buckets > 0
    ngrams = _ngram_rows(word_bytes, word_starts, tables, options) if with_ngrams else [[] for _ in own]
    rows = [([word] if word >= 0 else []) + places for word, places in zip(own, ngrams, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(places) for places in rows])]).astype(np.int64)
    return starts, np.array([row for places in rows for row in places], dtype=np.int32), hashes.astype(np.int32)


def _each(flat: np.ndarray, starts: np.ndarray) -> Iterator[bytes]:
    whole = flat.tobytes()
    return (whole[begin:end] for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))


def _found(word_bytes: np.ndarray, word_starts: np.ndarray, hashes: np.ndarray, tables: TextTables) -> list[int]:
    """Return the row of each word in the dictionary, or -1."""
    dictionary, begins, mask = tables.word_bytes.tobytes(), tables.word_starts, len(tables.slots) - 1
    found = []
    for word, hash_ in zip(_each(word_bytes, word_starts), hashes.tolist(), strict=True):
        place = hash_ & mask
        while (row := int(tables.slots[place])) >= 0 and dictionary[begins[row] : begins[row + 1]] != word:
            place = (place + 1) & mask
        found.append(row)
    return found


def _ngram_rows(
    word_bytes: np.ndarray, word_starts: np.ndarray, tables: TextTables, options: TextOptions
) -> list[list[int]]:
    words = list(_each(word_bytes, word_starts))
    marked = [b"<" + word + b">" for word in words]
    starts = np.concatenate([[0], np.cumsum([len(word) for word in marked])]).astype(np.int64)
    text = np.frombuffer(b"".join(marked), dtype=np.uint8)
    sizes = {"shortest": options.shortest_ngram, "longest": options.longest_ngram}
    owners, begins, hashes = hashed_ngrams(text, starts, **sizes)
    order = np.argsort(begins, kind="stable")  # those that begin at one letter, from short to long
    found: list[list[int]] = [[] for _ in words]
    for owner, bucket in zip(
        owners[order].tolist(), (hashes[order] % np.uint32(options.buckets)).tolist(), strict=True
    ):
        if words[owner] != END:  # which is no word of letters
            found[owner].append(bucket)
    return [_kept(buckets, tables).tolist() for buckets in found]


def _word_ngrams(hashes: list[int], options: TextOptions) -> list[int]:
    """List the buckets of the runs of 2, 3, ... words that begin at each word."""
    found = []
    for place in range(len(hashes) if options.buckets > 0 else 0):
        hash_ = hashes[place]
        for following in hashes[place + 1 : place + options.word_ngrams]:
            # fastText's sum is one of 64 bits without a sign, of hashes that have one.
            hash_ = (hash_ * WORD_NGRAM_FACTOR + following) % 2**64
            found.append(hash_ % options.buckets)
    return found


def _kept(buckets: list[int], tables: TextTables) -> np.ndarray:
    """Return the rows of buckets, without those that were pruned."""
    places = np.array(buckets, dtype=np.int32)
    if len(tables.bucket_slots):
        wanted, places = places, np.searchsorted(tables.kept_buckets, places).astype(np.int32)
        kept = np.append(tables.kept_buckets, -1)  # no bucket, for those behind the last
        is_kept = kept[places] == wanted
        places = places[is_kept]
    return places + np.int32(len(tables.word_starts) - 1)


def _labels(
    word_bytes: np.ndarray,
    word_starts: np.ndarray,
    row_starts: np.ndarray,
    rows: np.ndarray,
    tables: TextTables,
    options: TextOptions,
) -> list[bool]:
    """Tell which words are skipped as labels: those with the prefix that are not words of the dictionary."""
    if not options.label_prefix:
        return [False] * (len(word_starts) - 1)
    dictionary = len(tables.word_starts) - 1
    known = [begin < end and rows[begin] < dictionary for begin, end in zip(row_starts, row_starts[1:], strict=False)]
    words = _each(word_bytes, word_starts)
    return [word.startswith(options.label_prefix) and not own for word, own in zip(words, known, strict=True)]

"""The loops of `bag_text.py` in numba: from the bytes of texts to rows.

`bag_text.py` reads this file as text and imports it from the folder where machine code is kept. All offsets into
`texts` are taken from `starts`, which the callers have checked; nothing reads behind the end of a text, for a text may
be cut in the middle of a character.

Hashes are kept in 64 bits and cut to 32: numba would widen 32 bits by itself, and forget to cut.
"""

from typing import Any

import numpy as np
from numba import njit

FLAGS: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False}
INSIDE = FLAGS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
OFFSET, PRIME, LOW = np.uint64(2166136261), np.uint64(16777619), np.uint64(0xFFFFFFFF)
FACTOR = np.uint64(116049371)
LESS, GREATER, SLASH, LETTER = 60, 62, 47, 115
SPACES = np.zeros(256, dtype=np.bool_)
SPACES[[0, 9, 10, 11, 12, 13, 32]] = True


@njit(**INSIDE)
def hashed(hash_, byte):
    """Take one byte into a hash (FNV-1a of signed bytes, as fastText has it)."""
    return ((hash_ ^ np.uint64(np.int64(np.int8(byte)))) * PRIME) & LOW


@njit(**INSIDE)
def next_word(texts, begin, end):
    """Return where the next word begins and ends, and its hash; both places are `end` if there is none."""
    while begin < end and SPACES[texts[begin]]:
        begin += 1
    place, hash_ = begin, OFFSET
    while place < end and not SPACES[texts[place]]:
        hash_ = hashed(hash_, texts[place])
        place += 1
    return begin, place, hash_


@njit(**INSIDE)
def hash_of(texts, begin, end):
    """Hash some bytes."""
    hash_ = OFFSET
    for place in range(begin, end):
        hash_ = hashed(hash_, texts[place])
    return hash_


@njit(**INSIDE)
def same(one, begin, end, other, other_begin, other_end):
    """Tell whether two words have the same bytes."""
    if end - begin != other_end - other_begin:
        return False
    for offset in range(end - begin):  # noqa: SIM110 (numba knows no `all`)
        if one[begin + offset] != other[other_begin + offset]:
            return False
    return True


@njit(**INSIDE)
def begins_with(texts, begin, end, prefix):
    """Tell whether a word begins with a prefix that is not empty."""
    size = prefix.shape[0]
    return 0 < size <= end - begin and same(texts, begin, begin + size, prefix, 0, size)


@njit(**INSIDE)
def is_end(texts, begin, end):
    """Tell whether a word is `</s>`."""
    if end - begin != 4:
        return False
    return (
        texts[begin] == LESS
        and texts[begin + 1] == SLASH
        and texts[begin + 2] == LETTER
        and texts[begin + 3] == GREATER
    )


@njit(**INSIDE)
def find(texts, begin, end, hash_, tables):
    """Return the row of a word in the dictionary, or -1."""
    word_bytes, word_starts, slots, _, _ = tables
    mask = slots.shape[0] - 1
    place = np.int64(hash_) & mask
    while True:
        row = slots[place]
        if row < 0 or same(texts, begin, end, word_bytes, word_starts[row], word_starts[row + 1]):
            return row
        place = (place + 1) & mask


@njit(**INSIDE)
def push(rows, count, bucket, tables):
    """Write down the row of a bucket, unless it was pruned; return how many there are."""
    row = np.int64(bucket) + tables[1].shape[0] - 1
    slots = tables[4]
    if slots.shape[0] > 0:
        mask = slots.shape[0] - 1
        place = np.int64(bucket) & mask
        while slots[place, 0] >= 0 and slots[place, 0] != np.int64(bucket):
            place = (place + 1) & mask
        row = np.int64(slots[place, 1])
    # The place behind the last row is written in any case, which is cheaper than a jump.
    rows[count] = row
    return count + (row >= 0)


@njit(**INSIDE)
def push_ngrams(texts, begin, end, scratch, sizes, tables, rows, count):
    """Write down the rows of a word's character n-grams; return how many rows there are."""
    shortest, longest, _, buckets = sizes
    size = end - begin + 2
    scratch[0], scratch[size - 1] = LESS, GREATER
    for offset in range(end - begin):
        scratch[1 + offset] = texts[begin + offset]
    divisor = np.uint64(buckets)
    first = 0
    while first < size:
        place, characters, hash_ = first, 0, OFFSET
        while place < size and characters < longest:
            hash_ = hashed(hash_, scratch[place])
            place += 1
            while place < size and (scratch[place] & 0xC0) == 0x80:
                hash_ = hashed(hash_, scratch[place])
                place += 1
            characters += 1
            if characters >= shortest and not (characters == 1 and (first == 0 or place == size)):
                count = push(rows, count, hash_ % divisor, tables)
        first += 1
        while first < size and (scratch[first] & 0xC0) == 0x80:
            first += 1
    return count


@njit(**INSIDE)
def rows_of_text(texts, begin, end, ending, prefix, sizes, tables, work):
    """Write down the rows of one text; return how many there are.

    `ending` is whether `</s>` ends it, its row or -1, and its hash.
    """
    rows, hashes, scratch = work
    _, longest, word_ngrams, buckets = sizes
    ends, end_row, end_hash = ending
    count = words = 0
    while True:
        begin, stop, hash_ = next_word(texts, begin, end)
        is_last = begin == stop or (ends and is_end(texts, begin, stop))
        if is_last:
            break
        row = find(texts, begin, stop, hash_, tables)
        if row >= 0 or not begins_with(texts, begin, stop, prefix):
            if row >= 0:
                rows[count] = row
                count += 1
            if longest > 0 and buckets > 0 and not is_end(texts, begin, stop):
                count = push_ngrams(texts, begin, stop, scratch, sizes, tables, rows, count)
            hashes[words] = np.int64(np.int32(hash_))
            words += 1
        begin = stop
    if ends:
        if end_row >= 0:
            rows[count] = end_row
            count += 1
        hashes[words] = end_hash
        words += 1
    if word_ngrams > 1 and buckets > 0:
        count = push_word_ngrams(hashes, words, word_ngrams, np.uint64(buckets), tables, rows, count)
    return count


@njit(**INSIDE)
def push_word_ngrams(hashes, words, longest, buckets, tables, rows, count):
    """Write down the rows of the runs of 2, 3, ... words; return how many rows there are."""
    for place in range(words):
        hash_ = np.uint64(hashes[place])
        for following in range(place + 1, min(words, place + longest)):
            hash_ = hash_ * FACTOR + np.uint64(hashes[following])
            count = push(rows, count, hash_ % buckets, tables)
    return count


@njit(**INSIDE)
def most_rows(length, sizes):
    """Return how many rows a text of so many bytes can have, and one."""
    words = length // 2 + 2
    return words * min(sizes[2], words) + (length + 2 * words) * min(sizes[1], length + 2) + 1


@njit(**INSIDE)
def prepare(starts, ending_bytes, ends, sizes, tables):
    """Return what the end of a text needs, and memory for the longest text."""
    longest = 0
    for text in range(starts.shape[0] - 1):
        longest = max(longest, starts[text + 1] - starts[text])
    rows = np.empty(most_rows(longest, sizes), dtype=np.int32)
    hashes = np.empty(longest // 2 + 2, dtype=np.int64)
    hash_ = hash_of(ending_bytes, 0, 4)
    row = find(ending_bytes, 0, 4, hash_, tables)
    ending = (ends, np.int64(row), np.int64(np.int32(hash_)))
    return ending, (rows, hashes, np.empty(longest + 2, dtype=np.uint8))


@njit(**FLAGS, cache=True)
def list_rows(texts, starts, tables, sizes, ends, ending_bytes, prefix):
    """List the rows of each text: where they begin, and the rows."""
    ending, work = prepare(starts, ending_bytes, ends, sizes, tables)
    found = np.empty(max(4 * texts.shape[0], 16), dtype=np.int32)
    found_starts = np.zeros(starts.shape[0], dtype=np.int64)
    total = 0
    for text in range(starts.shape[0] - 1):
        count = rows_of_text(texts, starts[text], starts[text + 1], ending, prefix, sizes, tables, work)
        if total + count > found.shape[0]:
            larger = np.empty(2 * (total + count), dtype=np.int32)
            larger[:total] = found[:total]
            found = larger
        for place in range(count):
            found[total + place] = work[0][place]
        total += count
        found_starts[text + 1] = total
    return found_starts, found[:total].copy()


@njit(**FLAGS, cache=True)
def list_word_rows(words, starts, tables, sizes):
    """List the rows of each word: where they begin, the rows, and the hash of each word."""
    total = 0
    longest = 0
    for word in range(starts.shape[0] - 1):
        total += most_rows(starts[word + 1] - starts[word], sizes)
        longest = max(longest, starts[word + 1] - starts[word])
    scratch = np.empty(longest + 2, dtype=np.uint8)
    found_starts = np.zeros(starts.shape[0], dtype=np.int64)
    hashes = np.empty(starts.shape[0] - 1, dtype=np.int32)
    rows = np.empty(total + 1, dtype=np.int32)
    count = 0
    for word in range(starts.shape[0] - 1):
        begin, end = starts[word], starts[word + 1]
        hash_ = hash_of(words, begin, end)
        row = find(words, begin, end, hash_, tables)
        if row >= 0:
            rows[count] = row
            count += 1
        if sizes[1] > 0 and sizes[3] > 0 and not is_end(words, begin, end):
            count = push_ngrams(words, begin, end, scratch, sizes, tables, rows, count)
        hashes[word] = np.int32(hash_)
        found_starts[word + 1] = count
    return found_starts, rows[:count].copy(), hashes


@njit(**INSIDE)
def rehashed(slots, hashes, known, left_out):
    """Return a table of twice the size with the same words, without one."""
    larger = np.full(2 * slots.shape[0], -1, dtype=np.int32)
    mask = larger.shape[0] - 1
    for word in range(known):
        if word != left_out:
            place = np.int64(hashes[word]) & mask
            while larger[place] >= 0:
                place = (place + 1) & mask
            larger[place] = word
    return larger


@njit(**INSIDE)
def grown(array):
    """Return a copy with room for twice as many."""
    larger = np.empty(2 * array.shape[0], dtype=array.dtype)
    larger[: array.shape[0]] = array
    return larger


@njit(**FLAGS, cache=True)
def number_words(texts, starts, ends, ending_bytes, prefix):  # noqa: C901 (in parts, the tables that grow move about)
    """Give the words of texts numbers as they come: numbers, starts, and begin, end and count of each distinct word.

    The word `</s>` that ends a text begins at -1.
    """
    slots = np.full(1 << 12, -1, dtype=np.int32)
    begins, stops = np.empty(1 << 11, dtype=np.int64), np.empty(1 << 11, dtype=np.int64)
    counts, hashes = np.zeros(1 << 11, dtype=np.int64), np.empty(1 << 11, dtype=np.uint64)
    numbers = np.empty(texts.shape[0] // 4 + 16, dtype=np.int32)
    number_starts = np.zeros(starts.shape[0], dtype=np.int64)
    known = total = 0
    end_number = -1
    for text in range(starts.shape[0] - 1):
        place, end = starts[text], starts[text + 1]
        is_going = True
        while is_going:
            begin, stop, hash_ = next_word(texts, place, end)
            place = stop
            is_going = begin < stop and not (ends and is_end(texts, begin, stop))
            if is_going and begins_with(texts, begin, stop, prefix):
                continue
            if not is_going and not ends:
                break
            slot = np.int64(0)
            if is_going:
                slot = np.int64(hash_) & (slots.shape[0] - 1)
                while slots[slot] >= 0 and not (
                    hashes[slots[slot]] == hash_
                    and same(texts, begin, stop, texts, begins[slots[slot]], stops[slots[slot]])
                ):
                    slot = (slot + 1) & (slots.shape[0] - 1)
                number = slots[slot]
            else:
                number, begin, stop, hash_ = end_number, -1, 3, hash_of(ending_bytes, 0, 4)
            if number < 0:
                number = known
                begins[known], stops[known], hashes[known] = begin, stop, hash_
                if is_going:
                    slots[slot] = number
                else:
                    end_number = number
                known += 1
                if known == begins.shape[0]:
                    begins, stops, hashes = grown(begins), grown(stops), grown(hashes)
                    counts = np.concatenate((counts, np.zeros_like(counts)))
                    slots = rehashed(slots, hashes, known, end_number)
            counts[number] += 1
            if total == numbers.shape[0]:
                numbers = grown(numbers)
            numbers[total] = number
            total += 1
        number_starts[text + 1] = total
    return numbers[:total].copy(), number_starts, begins[:known], stops[:known], counts[:known].copy()


@njit(**FLAGS, cache=True)
def gathered(texts, begins, starts, ending_bytes):
    """Copy words that begin at `begins` one after another to `starts`; one that begins at -1 is `</s>`."""
    words = np.empty(starts[-1], dtype=np.uint8)
    for word in range(begins.shape[0]):
        for offset in range(starts[word + 1] - starts[word]):
            byte = ending_bytes[offset] if begins[word] < 0 else texts[begins[word] + offset]
            words[starts[word] + offset] = byte
    return words

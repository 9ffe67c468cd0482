"""The training loops of word2vec, for one width of rows and one kind of model (this file is a template, see below).

`engine.py` reads this file as text, writes the line of constants anew, and imports the result, whose machine code is
then kept on disk. Each thread runs a loop on its own part of the corpus, and all of them update the same two
matrices without locks (hogwild): rows are many and seldom met by two at once.

The corpus is a sequence of word ids; -1 ends a sentence. Frequent words are left out at random (`keep`), before the
window is laid over what remains; a window never leaves its sentence.

    train_block   negative sampling for blocks of tokens that share their negatives: small dense products
    train_paths   one output list at a time: the published algorithms (negative sampling, hierarchical softmax)

In both, an input vector is the mean of the listed input rows: one row (skip-gram), those of the window (CBOW), each
word with its n-grams where there are any. Its whole gradient goes to each of them, as in word2vec.c and fastText:
the mean then moves by exactly that gradient, though the true derivative would be divided by their number.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from hfseq.kernels.words.engine import Addresses
from hfseq.kernels.words.rows import padded, row_operations

DIMENSION, SHARED, CBOW, NGRAMS, HIERARCHICAL = 100, 32, False, False, False  # written anew

WIDTH = padded(DIMENSION)
ROW = 4 * WIDTH  # bytes
CHUNK = 10_000  # ids between two looks at the clock, the learning rate and the wish to stop
LOSS_EVERY = 64  # blocks or sentences, of which one is looked at for the loss
OPERATIONS = row_operations(DIMENSION, SHARED)
copy, fetch, mean, dot, dots, product, gradients, row_gradients = OPERATIONS[:8]
accumulate, both, both_anew, listed_anew, spread, add, AT_ONCE = OPERATIONS[8:]
A, C = np.uint64(6364136223846793005), np.uint64(1442695040888963407)  # Knuth's generator; its high bits are good
FLAGS: Any = {"nogil": True, "error_model": "numpy"}
INSIDE = FLAGS | {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}  # called by loops alone: compiled in half the time


@njit(**INSIDE)
def fill(ids, start, stop, keep, tokens, first, last, random):
    """List the tokens that stay of ids[start:stop], and where the sentence of each begins and ends among them."""
    count = begin = 0
    for place in range(start, stop):
        word = ids[place]
        if word < 0:
            for index in range(begin, count):
                last[index] = count
            begin = count
        else:
            random = random * A + C
            tokens[count] = word
            first[count] = begin
            count += np.int64(np.float32(random >> np.uint64(40)) * np.float32(2.0**-24) < keep[word])
    for index in range(begin, count):
        last[index] = count
    return count, random


@njit(**INSIDE)
def window_of(index, first, last, window, shrink, random):
    """Return the places around a token that belong to its window; its size is drawn anew if it is to shrink."""
    size = window
    if shrink:
        random = random * A + C
        size -= np.int64(((random >> np.uint64(40)) * np.uint64(window)) >> np.uint64(24))
    return max(first[index], index - size), min(last[index], index + size + 1), random


@njit(**INSIDE)
def list_word(word, base, ngram_starts, ngrams, rows, count):
    """Append the input rows of a word to a list."""
    rows[count] = base + np.int64(word) * ROW
    count += 1
    if NGRAMS:
        for place in range(ngram_starts[word], ngram_starts[word + 1]):
            rows[count] = base + np.int64(ngrams[place]) * ROW
            count += 1
    return count


@njit(**INSIDE)
def softplus(x):
    """Return -log sigmoid(-x)."""
    return max(x, np.float32(0.0)) + math.log1p(math.exp(-abs(x)))


@njit(**INSIDE)
def learning_rate(rates, done, before, total):
    """Return the learning rate: it falls along a line with the work that all threads together have done."""
    share = before
    for thread in range(done.shape[0]):
        share += done[thread]
    return np.float32(max(rates[1], rates[0] - (rates[0] - rates[1]) * share / total))


@njit(**INSIDE)
def draw(noise, chosen, base, random):
    """Choose the next block's negatives, and fetch their rows into the cache."""
    for k in range(SHARED):
        random = random * A + C
        chosen[k] = noise[(random >> np.uint64(32)) & np.uint64(noise.shape[0] - 1)]
        fetch(base + np.int64(chosen[k]) * ROW)
    return random


@njit(**INSIDE)
def take_negatives(chosen, base, shared, columns, at):
    """Copy the rows of a block's negatives, and the same as columns."""
    for k in range(SHARED):
        copy(at.shared + k * ROW, base + np.int64(chosen[k]) * ROW)
    for k in range(SHARED):
        for d in range(DIMENSION):
            columns[d, k] = shared[k, d]


@njit(**INSIDE)
def take_tokens(begin, size, text, window, shrink, vocabulary, lists, at, random):  # noqa: C901 (in two, CBOW lost 15 %)
    """Gather a block: the vector of each token, the output rows it is to meet, and its scores with them.

    Returns how many such pairs there are.
    """
    tokens, first, last = text
    base_in, base_out, ngram_starts, ngrams = vocabulary
    targets, sources, offsets, counts, source_offsets, source_counts = lists
    found = listed = 0
    for a in range(size):
        index = begin + a
        low, high, random = window_of(index, first, last, window, shrink, random)
        offsets[a], source_offsets[a] = found, listed
        if CBOW:
            for place in range(low, high):
                if place != index:
                    listed = list_word(tokens[place], base_in, ngram_starts, ngrams, sources, listed)
            if high - low > 1:
                targets[found] = base_out + np.int64(tokens[index]) * ROW
                found += 1
        else:
            for place in range(low, high):
                if place != index:
                    targets[found] = base_out + np.int64(tokens[place]) * ROW
                    found += 1
            if NGRAMS:
                listed = list_word(tokens[index], base_in, ngram_starts, ngrams, sources, listed)
        counts[a], source_counts[a] = found - offsets[a], listed - source_offsets[a]
        vector = at.vectors + a * ROW
        if CBOW or NGRAMS:
            share = np.float32(1.0) / np.float32(max(source_counts[a], 1))
            mean(vector, at.sources + 8 * source_offsets[a], source_counts[a], share)
        else:
            copy(vector, base_in + np.int64(tokens[index]) * ROW)
        if CBOW:
            if counts[a] > 0:
                dot(vector, targets[offsets[a]], at.positives + 4 * offsets[a])
        else:
            targets[found] = at.vectors  # read, not used, where a count is odd
            dots(vector, at.targets + 8 * offsets[a], counts[a], at.positives + 4 * offsets[a])
    return found, random


@njit(**INSIDE)
def block_loss(found, size, positives, scores, counts, weight):
    """Sum the losses of a block's pairs, weighted as the gradients are."""
    loss = np.float64(0.0)
    for j in range(found):
        loss += softplus(-positives[j])
    for a in range(size):
        if counts[a] > 0:
            noise_loss = np.float64(0.0)
            for k in range(SHARED):
                noise_loss += softplus(scores[a, k])
            loss += noise_loss * weight * counts[a]
    return loss


@njit(**INSIDE)
def move_rows(block, tokens, chosen, vocabulary, lists, rate, weight, at):
    """Turn a block's scores into gradients, and add these to all rows that took part.

    `block` is the index of its first token, the number of its tokens and that of its pairs.
    """
    begin, size, found = block
    base_in, base_out = vocabulary[0], vocabulary[1]
    _, _, offsets, counts, source_offsets, source_counts = lists
    gradients(at.positives, at.ones, found, rate)
    if CBOW:  # one pair a token, so all rows have one rate; a word alone in its sentence has none
        gradients(at.scores, at.zeros, size * SHARED, rate * weight)
    for a in range(size):
        if not CBOW or counts[a] == 0:
            row_gradients(at.scores + 4 * a * SHARED, at.zeros, SHARED, rate * weight * np.float32(counts[a]))
    for a in range(size):
        mine, met = at.positives + 4 * offsets[a], at.targets + 8 * offsets[a]
        if CBOW or NGRAMS:
            both_anew(at.errors + a * ROW, at.scores + 4 * a * SHARED, at.shared, mine, met, counts[a])
        else:
            row = base_in + np.int64(tokens[begin + a]) * ROW
            both(row, at.scores + 4 * a * SHARED, at.shared, mine, met, counts[a])
    for a in range(size):
        spread(at.vectors + a * ROW, at.positives + 4 * offsets[a], at.targets + 8 * offsets[a], counts[a])
        if CBOW or NGRAMS:
            add(at.errors + a * ROW, at.sources + 8 * source_offsets[a], source_counts[a])
    for k in range(SHARED):
        accumulate(base_out + np.int64(chosen[k]) * ROW, at.scores + 4 * k, SHARED, at.vectors, size)


@njit(**FLAGS, cache=True)
def train_block(part, tables, inputs, outputs, sizes, progress, scratch, lists, numbers):
    """Train by negative sampling, where the tokens of a block share SHARED negatives.

    A negative's share of the gradient is weighted by (negatives wished for a pair) / SHARED, so that its expectation
    is that of drawing for each pair anew. Within a block all vectors are read before any is written. A negative that
    happens to be the positive word counts all the same (`train_paths` leaves it out): this is seldom, and for the
    other tokens of the block it is a negative.
    """
    ids, start, stop, thread, seed, rates, before, total = part
    window, shrink, block = sizes[0], sizes[1] != 0, sizes[3]
    weight = np.float32(sizes[2]) / np.float32(SHARED)
    done, halt, losses = progress
    tokens, first, last, chosen, ahead = numbers
    at = places(scratch, lists)
    base_in, base_out = np.int64(inputs.ctypes.data), np.int64(outputs.ctypes.data)
    vocabulary = (base_in, base_out, tables.ngram_starts, tables.ngrams)
    blocks = 0
    random = draw(tables.noise, ahead, base_out, np.uint64(seed))
    position = start
    while position < stop and halt[0] == 0:
        end = min(position + CHUNK, stop)
        count, random = fill(ids, position, end, tables.keep, tokens, first, last, random)
        done[thread] += end - position
        position = end
        rate = learning_rate(rates, done, before, total)
        for begin in range(0, count, block):
            size = min(block, count - begin)
            for k in range(SHARED):  # drawn a block ago, to be in the cache by now
                chosen[k] = ahead[k]
            take_negatives(chosen, base_out, scratch.shared, scratch.columns, at)
            random = draw(tables.noise, ahead, base_out, random)
            for index in range(begin + size, min(count, begin + size + block + window)):
                fetch(base_out + np.int64(tokens[index]) * ROW)
                fetch(base_in + np.int64(tokens[index]) * ROW)
            found, random = take_tokens(
                begin, size, (tokens, first, last), window, shrink, vocabulary, lists, at, random
            )
            for a in range(0, size, AT_ONCE):
                product(at.vectors + a * ROW, at.columns, at.scores + 4 * a * SHARED)
            if blocks % LOSS_EVERY == 0:
                losses[thread, 0] += block_loss(found, size, scratch.positives, scratch.scores, lists[3], weight)
                losses[thread, 1] += found
            blocks += 1
            move_rows((begin, size, found), tokens, chosen, vocabulary, lists, rate, weight, at)
    return alive(inputs, outputs, scratch, lists)


@njit(**INSIDE)
def places(scratch, lists):
    """Return the addresses of the scratch memory."""
    labels = np.int64(scratch.labels.ctypes.data)
    return Addresses(
        np.int64(scratch.vectors.ctypes.data),
        np.int64(scratch.errors.ctypes.data),
        np.int64(scratch.shared.ctypes.data),
        np.int64(scratch.columns.ctypes.data),
        np.int64(scratch.scores.ctypes.data),
        np.int64(scratch.positives.ctypes.data),
        labels,
        labels + 4 * (scratch.labels.shape[0] // 2),
        np.int64(lists[0].ctypes.data),
        np.int64(lists[1].ctypes.data),
    )


@njit(**INSIDE)
def alive(inputs, outputs, scratch, lists):
    """Use all arrays once more, last of all: their addresses alone do not keep them from being freed."""
    total = inputs.shape[0] + outputs.shape[0] + scratch.vectors.shape[0] + scratch.errors.shape[0]
    total += scratch.shared.shape[0] + scratch.columns.shape[0] + scratch.scores.shape[0]
    return total + scratch.positives.shape[0] + scratch.labels.shape[0] + lists[0].shape[0] + lists[1].shape[0]


@njit(**INSIDE)
def list_inputs(index, place, stop, tokens, vocabulary, lists):
    """List the rows behind each input vector that meets one list of outputs; return how many vectors there are.

    CBOW: one, of all words around. Hierarchical softmax: of each word around, in places up to `stop`. Otherwise the
    word's own.
    """
    base_in, _, ngram_starts, ngrams = vocabulary
    _, sources, _, _, source_offsets, source_counts = lists
    if not CBOW and not HIERARCHICAL:
        source_offsets[0] = 0
        source_counts[0] = list_word(tokens[index], base_in, ngram_starts, ngrams, sources, 0)
        return 1
    listed = vectors = 0
    for other in range(place, stop):
        if other != index:
            if vectors == 0 or not CBOW:
                source_offsets[vectors] = listed
                vectors += 1
            listed = list_word(tokens[other], base_in, ngram_starts, ngrams, sources, listed)
            source_counts[vectors - 1] = listed - source_offsets[vectors - 1]
    return vectors


@njit(**INSIDE)
def list_outputs(word, tables, negatives, base, targets, labels, random):
    """List the output rows to meet and their labels: the path to a word, or the word and its negatives."""
    rows = 0
    if HIERARCHICAL:
        for step in range(tables.path_starts[word], tables.path_starts[word + 1]):
            targets[rows] = base + np.int64(tables.path_rows[step]) * ROW
            labels[rows] = tables.path_labels[step]
            rows += 1
        return rows, random
    targets[0] = base + np.int64(word) * ROW
    labels[0] = np.float32(1.0)
    rows = 1
    for _ in range(negatives):
        random = random * A + C
        other = tables.noise[(random >> np.uint64(32)) & np.uint64(tables.noise.shape[0] - 1)]
        if other != word:
            targets[rows] = base + np.int64(other) * ROW
            labels[rows] = np.float32(0.0)
            rows += 1
    return rows, random


@njit(**INSIDE)
def meet(vectors, rows, rate, watched, losses, scratch, lists, at):
    """Score input vectors with the listed output rows, and move both."""
    targets, _, _, _, source_offsets, source_counts = lists
    stride = scratch.scores.shape[1]
    targets[rows] = at.vectors  # read, not used, where a count is odd
    for a in range(vectors):
        vector, scores = at.vectors + a * ROW, at.scores + 4 * a * stride
        mean(
            vector, at.sources + 8 * source_offsets[a], source_counts[a], np.float32(1) / np.float32(source_counts[a])
        )
        dots(vector, at.targets, rows, scores)
        if watched:
            for row in range(rows):
                score = scratch.scores[a, row]
                losses[0] += softplus(-score if scratch.labels[row] > 0 else score)
            losses[1] += 1
        gradients(scores, at.ones, rows, rate)  # where the labels are
        listed_anew(at.errors + a * ROW, scores, at.targets, rows)
    if vectors == 1:
        spread(at.vectors, at.scores, at.targets, rows)
    else:
        for row in range(rows):
            accumulate(targets[row], at.scores + 4 * row, stride, at.vectors, vectors)
    for a in range(vectors):
        add(at.errors + a * ROW, at.sources + 8 * source_offsets[a], source_counts[a])


@njit(**FLAGS, cache=True)
def train_paths(part, tables, inputs, outputs, sizes, progress, scratch, lists, numbers):
    """Train on one list of output rows at a time, each with its label: a word and its negatives, or a word's path.

    Negative sampling and CBOW go pair by pair, as published. Skip-gram with hierarchical softmax takes the words of a
    window together along the one path, which they would walk one after another (sizes[3] = 1 makes them do so).
    """
    ids, start, stop, thread, seed, rates, before, total = part
    window, shrink, negatives, together = sizes[0], sizes[1] != 0, sizes[2], sizes[3] != 1
    done, halt, losses = progress
    tokens, first, last = numbers[0], numbers[1], numbers[2]
    at = places(scratch, lists)
    base_in, base_out = np.int64(inputs.ctypes.data), np.int64(outputs.ctypes.data)
    vocabulary = (base_in, base_out, tables.ngram_starts, tables.ngrams)
    random, steps = np.uint64(seed), 0
    position = start
    while position < stop and halt[0] == 0:
        end = min(position + CHUNK, stop)
        count, random = fill(ids, position, end, tables.keep, tokens, first, last, random)
        done[thread] += end - position
        position = end
        rate = learning_rate(rates, done, before, total)
        for index in range(count):
            low, high, random = window_of(index, first, last, window, shrink, random)
            place = low
            while place < high and high - low > 1:
                if place == index and not CBOW:
                    place += 1
                    continue
                until = high if CBOW or (HIERARCHICAL and together) else place + 1
                vectors = list_inputs(index, place, until, tokens, vocabulary, lists)
                target = tokens[index] if CBOW or HIERARCHICAL else tokens[place]
                rows, random = list_outputs(target, tables, negatives, base_out, lists[0], scratch.labels, random)
                meet(vectors, rows, rate, steps % LOSS_EVERY == 0, losses[thread], scratch, lists, at)
                steps += 1
                place = until
    return alive(inputs, outputs, scratch, lists)

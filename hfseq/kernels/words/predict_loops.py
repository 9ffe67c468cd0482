"""From the bytes of a text to its most probable labels, in one call.

`bag_predict.py` reads this file as text and imports it from the folder where machine code is kept. A call by ctypes
takes a third of the time of one with arrays, which numba unpacks one by one; so a model is handed over as a list of
addresses and sizes (`bag_predict.State` names them).
"""

import math
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hfseq.kernels.words.bag_predict import FEW, State
from hfseq.kernels.words.text_loops import prepare, rows_of_text

FLAGS: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False}
INSIDE = FLAGS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
LOOSE = INSIDE | {"fastmath": {"reassoc", "contract", "nsz"}}
SIGMOID, PATHS = 1, 2
S: Any = State(*range(len(State._fields)))


@intrinsic
def pointer(typing, address):
    """Turn an address into a pointer."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


@njit(**INSIDE)
def tables_of(state):
    """Return the dictionary and the table of kept buckets."""
    return (
        carray(pointer(state[S.word_bytes]), state[S.num_word_bytes], np.uint8),
        carray(pointer(state[S.word_starts]), state[S.words] + 1, np.int64),
        carray(pointer(state[S.slots]), state[S.num_slots], np.int32),
        carray(pointer(state[S.bucket_slots]), 0, np.int32),
        carray(pointer(state[S.bucket_slots]), (state[S.num_bucket_slots], 2), np.int32),
    )


@njit(**LOOSE)
def add_row(state, row, weight, mean):
    """Add a row, times a weight."""
    if state[S.parts] == 0:
        width = state[S.width]
        matrix = carray(pointer(state[S.matrix]), (state[S.rows], width), np.float32)
        for column in range(width):
            mean[column] += weight * matrix[row, column]
        return
    parts, size = state[S.parts], state[S.part_size]
    codes = carray(pointer(state[S.matrix]), (state[S.rows], parts), np.uint8)
    centroids = carray(pointer(state[S.centroids]), (parts, 256, size), np.float32)
    if state[S.norm_codes] != 0:
        norm_codes = carray(pointer(state[S.norm_codes]), state[S.rows], np.uint8)
        weight *= carray(pointer(state[S.norms]), 256, np.float32)[norm_codes[row]]
    if size == 2:  # fastText's own, unrolled
        for part in range(parts):
            code = codes[row, part]
            mean[2 * part] += weight * centroids[part, code, 0]
            mean[2 * part + 1] += weight * centroids[part, code, 1]
        return
    for part in range(parts):
        code = codes[row, part]
        for offset in range(size):
            mean[part * size + offset] += weight * centroids[part, code, offset]


@njit(**LOOSE)
def score(state, hidden, row):
    """Return the score of an output row."""
    width = state[S.width]
    outputs = carray(pointer(state[S.outputs]), (state[S.num_outputs], width), np.float32)
    total = np.float32(0)
    for column in range(width):
        total += hidden[column] * outputs[row, column]
    if state[S.bias] != 0:
        total += carray(pointer(state[S.bias]), state[S.num_outputs], np.float32)[row]
    return total


@njit(**INSIDE)
def sigmoid(x):
    """Return the logistic function."""
    return np.float32(1) / (np.float32(1) + np.exp(-x))


@njit(**INSIDE)
def put(label, chance, count, most, threshold, labels, chances):
    """Put a label among the best ones, which are in order; return how many there are."""
    if chance < threshold or (count == most and chance <= chances[count - 1]):
        return count
    if count < most:
        count += 1
    place = count - 1
    while place > 0 and chances[place - 1] < chance:
        labels[place], chances[place] = labels[place - 1], chances[place - 1]
        place -= 1
    labels[place], chances[place] = label, chance
    return count


@njit(**INSIDE)
def walk(state, hidden, most, threshold, labels, chances):
    """Walk down the tree of labels, but not where no label can be among the best; return how many were found."""
    num_labels = state[S.labels]
    children = carray(pointer(state[S.children]), (max(num_labels - 1, 1), 2), np.int32)
    nodes, below = np.empty(num_labels + 1, dtype=np.int64), np.empty(num_labels + 1, dtype=np.float32)
    nodes[0], below[0] = state[S.root], np.float32(1)
    depth, count = 1, 0
    while depth > 0:
        depth -= 1
        node, chance = nodes[depth], below[depth]
        if chance < threshold or (count == most and chance <= chances[count - 1]):
            continue
        if node < 0:
            count = put(-1 - node, chance, count, most, threshold, labels, chances)
            continue
        right = sigmoid(score(state, hidden, node))
        # The likelier side is walked first, so that it lies on top.
        first = 0 if right < np.float32(0.5) else 1
        for side in (1 - first, first):
            nodes[depth] = children[node, side]
            below[depth] = chance * (right if side == 1 else np.float32(1) - right)
            depth += 1
    return count


@njit(**INSIDE)
def all_chances(state, hidden, chances):
    """Write the probability of each label."""
    num_labels = state[S.labels]
    if state[S.kind] == SIGMOID:
        for label in range(num_labels):
            chances[label] = sigmoid(score(state, hidden, label))
        return
    highest = np.float32(-np.inf)
    for label in range(num_labels):
        chances[label] = score(state, hidden, label)
        highest = max(highest, chances[label])
    total = np.float32(0)
    for label in range(num_labels):
        chances[label] = np.exp(chances[label] - highest)
        total += chances[label]
    for label in range(num_labels):
        chances[label] /= total


@njit(**INSIDE)
def walk_all(state, hidden, chances):
    """Write the probability of each label at the end of a path."""
    num_labels = state[S.labels]
    children = carray(pointer(state[S.children]), (max(num_labels - 1, 1), 2), np.int32)
    below = np.empty(num_labels + 1, dtype=np.float32)
    waiting = np.empty(num_labels + 1, dtype=np.int64)
    waiting[0], below[0] = state[S.root], np.float32(1)
    depth = 1
    while depth > 0:
        depth -= 1
        node, chance = waiting[depth], below[depth]
        if node < 0:
            chances[-1 - node] = chance
            continue
        right = sigmoid(score(state, hidden, node))
        for side in range(2):
            waiting[depth] = children[node, side]
            below[depth] = chance * (right if side == 1 else np.float32(1) - right)
            depth += 1


@njit(**INSIDE)
def best(state, hidden, most, threshold, labels, chances):
    """Write the best labels and their probabilities, the best first; return how many there are.

    More than a few are written in the order of the labels, all of them.
    """
    num_labels = state[S.labels]
    few = most <= FEW
    if state[S.kind] == PATHS and few:
        return walk(state, hidden, most, threshold, labels, chances)
    every = np.empty(num_labels, dtype=np.float32) if few else chances
    if state[S.kind] == PATHS:
        walk_all(state, hidden, every)
    else:
        all_chances(state, hidden, every)
    count = 0 if few else num_labels
    for label in range(num_labels):
        if few:
            count = put(label, every[label], count, most, threshold, labels, chances)
        else:
            labels[label] = label
    return count


@njit(**INSIDE)
def predict_text(state, texts, begin, end, parts, most, threshold, labels, chances):
    """Write what a text is, most probable first; return how many labels, 0 for a text without features."""
    ending, work, tables, sizes, prefix, hidden = parts
    count = rows_of_text(texts, begin, end, ending, prefix, sizes, tables, work)
    if count == 0:
        return 0
    for column in range(hidden.shape[0]):
        hidden[column] = np.float32(0)
    total = np.float32(count)
    if state[S.weights] != 0:
        weights = carray(pointer(state[S.weights]), state[S.rows], np.float32)
        total = np.float32(0)
        for place in range(count):
            weight = weights[work[0][place]]
            add_row(state, work[0][place], weight, hidden)
            total += weight * weight if state[S.by_length] != 0 else weight
        if state[S.by_length] != 0:
            total = np.float32(math.sqrt(total))
        total = max(total, np.float32(1e-30))
    else:
        for place in range(count):
            add_row(state, work[0][place], np.float32(1), hidden)
    for column in range(hidden.shape[0]):
        hidden[column] /= total
    return best(state, hidden, most, threshold, labels, chances)


@njit(**INSIDE)
def parts_of(state, starts):
    """Return what all texts share, and memory for the longest."""
    tables = tables_of(state)
    sizes = (state[S.shortest], state[S.longest], state[S.word_ngrams], state[S.buckets])
    prefix = carray(pointer(state[S.prefix]), state[S.num_prefix], np.uint8)
    ending_bytes = carray(pointer(state[S.ending]), 4, np.uint8)
    ending, work = prepare(starts, ending_bytes, state[S.ends_texts] != 0, sizes, tables)
    hidden = np.empty(max(state[S.width], state[S.parts] * state[S.part_size]), dtype=np.float32)
    return ending, work, tables, sizes, prefix, hidden


def predict_one(room, text, length, most, threshold):
    """Do it for one text; `bag_predict.py` compiles this for ctypes."""
    places = carray(pointer(room), 3, np.int64)
    state = carray(pointer(places[0]), len(S), np.int64)
    texts = carray(text, length, np.uint8)
    labels = carray(pointer(places[1]), FEW, np.int32)
    chances = carray(pointer(places[2]), FEW, np.float32)
    starts = np.zeros(2, dtype=np.int64)
    starts[1] = length
    return predict_text(state, texts, 0, length, parts_of(state, starts), most, threshold, labels, chances)


@njit(**FLAGS, cache=True)
def predict_many(state, texts, starts, most, threshold):
    """Do it for many texts: labels and probabilities of each, and how many."""
    size = starts.shape[0] - 1
    labels, chances = np.zeros((size, most), dtype=np.int32), np.zeros((size, most), dtype=np.float32)
    counts = np.zeros(size, dtype=np.int64)
    parts = parts_of(state, starts)
    for text in range(size):
        found = labels[text], chances[text]
        counts[text] = predict_text(state, texts, starts[text], starts[text + 1], parts, most, threshold, *found)
    return labels, chances, counts

"""The training loop of bags of words and n-grams, for one width of rows and one loss (this file is a template).

`bag_engine.py` reads this file as text, writes the line of constants anew, and imports the result, whose machine code
is then kept on disk. Each thread takes its own texts, and all update the same two matrices without locks (hogwild).

A text is a sequence of numbers of words. A word has a list of rows (its own, and those of its character n-grams) and a
32-bit hash; the rows of word n-grams follow from the hashes. A step is one text:

    h = sum of w_f v_f, the weights w_f of its features adding up to 1
    e = learning rate x (what the labels are - what the model says)
    v_f += w_f x sum over labels of e_l u_l,    u_l += e_l h,    b_l += e_l          (plain SGD, as fastText)
"""

import math
from typing import Any

import numpy as np
from numba import njit

from hfseq.kernels.words.rows import padded, row_operations

DIMENSION, LOSS = 64, 0  # written anew

SOFTMAX, SIGMOIDS, PATHS, SQUARES = 0, 1, 2, 3
ROW = 4 * padded(DIMENSION)  # bytes
LOOK_EVERY = 64  # texts between two looks at the wish to stop
OPERATIONS = row_operations(DIMENSION, 16)
fetch, dots, listed_anew, spread = OPERATIONS.fetch, OPERATIONS.dots, OPERATIONS.listed_anew, OPERATIONS.spread
FACTOR = np.uint64(116049371)  # fastText's, of word n-grams
FLAGS: Any = {"nogil": True, "error_model": "numpy"}
INSIDE = FLAGS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@njit(**INSIDE)
def list_row(row, base, sources, weights, row_weights, count):
    """Append a row to the features of a text, and ask for it to be in the cache."""
    sources[count] = base + np.int64(row) * ROW
    fetch(sources[count])
    weights[count] = row_weights[row] if row_weights.shape[0] > 0 else np.float32(1.0)
    return count + 1


@njit(**INSIDE)
def list_bucket(bucket, words, bucket_rows, base, sources, weights, row_weights, count):
    """Append the row of a bucket of n-grams, unless it was pruned."""
    row = np.int64(bucket)
    if bucket_rows.shape[0] > 0:
        row = np.int64(bucket_rows[row])
        if row < 0:
            return count
    return list_row(words + row, base, sources, weights, row_weights, count)


@njit(**INSIDE)
def list_features(text, corpus, tables, base, sources, weights):
    """List the rows of a text, and their weights, which add up to 1 (or their squares do); return how many."""
    numbers, text_starts = corpus
    word_starts, word_rows, hashes, bucket_rows, row_weights, words, buckets, word_ngrams, by_length = tables
    count = 0
    begin, end = text_starts[text], text_starts[text + 1]
    for place in range(begin, end):
        word = numbers[place]
        for index in range(word_starts[word], word_starts[word + 1]):
            count = list_row(word_rows[index], base, sources, weights, row_weights, count)
    if word_ngrams > 1:
        for place in range(begin, end):
            run = np.uint64(np.int64(hashes[numbers[place]]))
            for last in range(place + 1, min(place + word_ngrams, end)):
                run = run * FACTOR + np.uint64(np.int64(hashes[numbers[last]]))
                bucket = run % np.uint64(buckets)
                count = list_bucket(bucket, words, bucket_rows, base, sources, weights, row_weights, count)
    total = np.float32(0.0)
    for index in range(count):
        total += weights[index] * weights[index] if by_length else weights[index]
    if by_length:
        total = np.float32(math.sqrt(total))
    share = np.float32(1.0) / total if total > 0 else np.float32(0.0)
    for index in range(count):
        weights[index] *= share
    return count


@njit(**INSIDE)
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return np.float32(1.0) / (np.float32(1.0) + math.exp(-x))


@njit(**INSIDE)
def softplus(x):
    """Return -log sigmoid(-x)."""
    return max(x, np.float32(0.0)) + math.log1p(math.exp(-abs(x)))


@njit(**INSIDE)
def softmax_errors(label, scores, count, rate):
    """Turn scores into rate x (1 for the label, 0 elsewhere - probability); return the loss."""
    highest = scores[0]
    for index in range(1, count):
        highest = max(highest, scores[index])
    total = np.float32(0.0)
    right = scores[label] - highest
    for index in range(count):
        scores[index] = math.exp(scores[index] - highest)
        total += scores[index]
    share = rate / total
    for index in range(count):
        scores[index] *= -share
    scores[label] += rate
    return math.log(total) - right


@njit(**INSIDE)
def errors_of(text, targets, scores, count, rate):
    """Turn scores into rate x (what the labels are - what the model says), in place; return the loss."""
    label_starts, labels, values, turns = targets
    loss = np.float64(0.0)
    if LOSS == SOFTMAX:
        return np.float64(softmax_errors(labels[label_starts[text]], scores, count, rate))
    if LOSS == PATHS:
        for index in range(count):
            is_one = turns[index] > 0
            loss += softplus(-scores[index] if is_one else scores[index])
            scores[index] = rate * (turns[index] - sigmoid(scores[index]))
    if LOSS == SIGMOIDS:
        for place in range(label_starts[text], label_starts[text + 1]):
            loss -= scores[labels[place]]
        for index in range(count):
            loss += softplus(scores[index])
            scores[index] = -rate * sigmoid(scores[index])
        for place in range(label_starts[text], label_starts[text + 1]):
            scores[labels[place]] += rate
    if LOSS == SQUARES:
        for index in range(count):
            error = values[text, index] - scores[index]
            loss += error * error
            scores[index] = rate * error
    return loss


@njit(**INSIDE)
def list_outputs(text, targets, paths, base, rows, turns):
    """List the rows that score a text: those of all labels, or of the path to its label; return how many."""
    if LOSS != PATHS:
        return rows.shape[0] - 1
    label_starts, labels = targets[0], targets[1]
    path_starts, path_nodes, path_turns = paths
    label = labels[label_starts[text]]
    begin, end = path_starts[label], path_starts[label + 1]
    for index in range(begin, end):
        rows[index - begin] = base + np.int64(path_nodes[index]) * ROW
        turns[index - begin] = path_turns[index]
    return end - begin


@njit(**FLAGS, cache=True)
def train_texts(order, corpus, tables, targets, paths, matrices, rates, report, scratch):
    """Take one step for each text of `order`, in that order; the learning rate goes from rates[0] to rates[1].

    rates[2] is that of the biases, as a share: 0 where there are none. `report` is the progress of all threads and
    this one's number. `scratch` has two lists of features, for the next text's rows are fetched while this one's are
    used.
    """
    inputs, outputs, biases = matrices
    (done, halt, losses), thread = report
    sources, weights, rows, turns, scores, vectors = scratch
    label_starts, labels, values = targets
    base_in, base_out = np.int64(inputs.ctypes.data), np.int64(outputs.ctypes.data)
    vector, error = np.int64(vectors.ctypes.data), np.int64(vectors.ctypes.data) + ROW
    list_at, weight_at = np.int64(sources.ctypes.data), np.int64(weights.ctypes.data)
    list_step, weight_step = np.int64(8 * sources.shape[1]), np.int64(4 * weights.shape[1])
    rows_at, scores_at = np.int64(rows.ctypes.data), np.int64(scores.ctypes.data)
    for index in range(rows.shape[0]):
        rows[index] = base_out + (np.int64(index) * ROW if index < outputs.shape[0] else np.int64(0))
    size = order.shape[0]
    ahead = list_features(order[0], corpus, tables, base_in, sources[0], weights[0]) if size > 0 else 0
    for step in range(size):
        if step % LOOK_EVERY == 0 and halt[0] != 0:
            break
        text, count, side = order[step], ahead, step % 2
        if step + 1 < size:
            other = 1 - side
            ahead = list_features(order[step + 1], corpus, tables, base_in, sources[other], weights[other])
        done[thread] += corpus[1][text + 1] - corpus[1][text]
        if label_starts[text + 1] == label_starts[text] and LOSS != SIGMOIDS and LOSS != SQUARES:
            continue  # no label
        rate = rates[0] + (rates[1] - rates[0]) * np.float32(step) / np.float32(size)
        list_here, weights_here = list_at + side * list_step, weight_at + side * weight_step
        # 1. The vector of the text, and its scores.
        listed_anew(vector, weights_here, list_here, count)
        met = list_outputs(text, targets, paths, base_out, rows, turns)
        dots(vector, rows_at, met, scores_at)
        for index in range(met):
            scores[index] += biases[path_node(text, targets, paths, index)]
        # 2. The errors, and what they say of the vector.
        losses[thread, 0] += errors_of(text, (label_starts, labels, values, turns), scores, met, rate)
        losses[thread, 1] += 1
        listed_anew(error, scores_at, rows_at, met)
        # 3. Move labels and features.
        spread(vector, scores_at, rows_at, met)
        for index in range(met):
            biases[path_node(text, targets, paths, index)] += rates[2] * scores[index]
        spread(error, weights_here, list_here, count)
    return inputs.shape[0] + outputs.shape[0] + sources.shape[0] + weights.shape[0] + rows.shape[0] + vectors.shape[0]


@njit(**INSIDE)
def path_node(text, targets, paths, index):
    """Return which bias belongs to the score at `index`: that of the label, or of the node on its path."""
    if LOSS != PATHS:
        return np.int64(index)
    return np.int64(paths[1][paths[0][targets[1][targets[0][text]]] + index])


@njit(**FLAGS, cache=True)
def count_features(corpus, tables, found, last, scratch):
    """Count the features of all texts; with `last`, (rows,), each once a text: it holds the last text that had it."""
    sources, weights = scratch
    for text in range(corpus[1].shape[0] - 1):
        count = list_features(text, corpus, tables, np.int64(0), sources, weights)
        for index in range(count):
            row = sources[index] // ROW
            if last.shape[0] > 0:
                if last[row] == text:
                    continue
                last[row] = text
            found[row] += 1

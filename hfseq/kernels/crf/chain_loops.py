"""The loops of `chain.py` in numba.

Most labels may stand behind any other, but I-X stands behind B-X and I-X alone. So the columns of a matrix of
transitions are of two kinds: full ones, which are laid side by side in a block, and thin ones, whose few entries are a
list.
"""

from typing import Any

import numpy as np
from numba import njit

# Sums may be added in another order, several at a time; NaN and infinity stay what they are.
FLAGS: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False, "fastmath": {"reassoc", "contract", "nsz"}}


@njit(**FLAGS, cache=True)
def parted(matrix, nothing):
    """Part a matrix (L, L): its full columns and their block, then rows, columns and values of all other entries.

    Entries that are not above `nothing` are left out.
    """
    size = len(matrix)
    is_full = np.zeros(size, np.bool_)
    entries = 0
    for j in range(size):
        count = 0
        for i in range(size):
            if matrix[i, j] > nothing:
                count += 1
        is_full[j] = 2 * count > size
        if not is_full[j]:
            entries += count
    full = np.flatnonzero(is_full)
    block = np.empty((size, len(full)), matrix.dtype)
    rows, columns, values = np.empty(entries, np.int64), np.empty(entries, np.int64), np.empty(entries, matrix.dtype)
    found = 0
    for i in range(size):
        for place in range(len(full)):
            block[i, place] = matrix[i, full[place]]
        for j in range(size):
            if not is_full[j] and matrix[i, j] > nothing:
                rows[found], columns[found], values[found] = i, j, matrix[i, j]
                found += 1
    return full, block, rows, columns, values


@njit(**FLAGS, cache=True)
def _times_matrix(vector, parts, row, product):
    """Compute vector @ matrix; `row` is room for the block's columns."""
    full, block, rows, columns, values = parts
    size, width = block.shape
    row[:] = 0
    i = 0
    while i + 4 <= size:  # four at a time: the sums are read and written once
        a, b, c, d = vector[i], vector[i + 1], vector[i + 2], vector[i + 3]
        if a != 0 or b != 0 or c != 0 or d != 0:
            for k in range(width):
                row[k] += a * block[i, k] + b * block[i + 1, k] + c * block[i + 2, k] + d * block[i + 3, k]
        i += 4
    while i < size:
        for k in range(width):
            row[k] += vector[i] * block[i, k]
        i += 1
    product[:] = 0
    for k in range(width):
        product[full[k]] = row[k]
    for k in range(len(rows)):
        product[columns[k]] += vector[rows[k]] * values[k]


@njit(**FLAGS, cache=True)
def _matrix_times(parts, vector, row, product):
    """Compute matrix @ vector."""
    full, block, rows, columns, values = parts
    size, width = block.shape
    for k in range(width):
        row[k] = vector[full[k]]
    for i in range(size):
        total = row[0] * 0
        for k in range(width):
            total += block[i, k] * row[k]
        product[i] = total
    for k in range(len(rows)):
        product[rows[k]] += values[k] * vector[columns[k]]


@njit(**FLAGS, cache=True)
def _read_forward(start, parts, words, row, alphas, scales):
    """Fill alpha and c of one text; return the sum of log c, NaN where no label has a probability."""
    size, total = len(start), 0.0
    for t in range(len(words)):
        alpha, word = alphas[t], words[t]
        if t == 0:
            alpha[:] = start
        else:
            _times_matrix(alphas[t - 1], parts, row, alpha)
        scale = 0.0
        for j in range(size):
            alpha[j] *= word[j]
            scale += alpha[j]
        if not scale > 0:
            return np.nan
        total += np.log(scale)
        scales[t], one = scale, 1 / scale
        for j in range(size):
            alpha[j] *= one
    return total


@njit(**FLAGS, cache=True)
def _read_backward(beta, parts, words, row, alphas, scales, ahead, marginals):
    """Fill v of the word behind each and the marginals of one text; `beta` is that of its last word."""
    ahead[-1] = 0
    for t in range(len(words) - 1, -1, -1):
        alpha, marginal = alphas[t], marginals[t]
        for j in range(len(beta)):
            marginal[j] = alpha[j] * beta[j]
        if t > 0:
            word, v, one = words[t], ahead[t - 1], 1 / scales[t]
            for j in range(len(beta)):
                v[j] = word[j] * beta[j] * one
            _matrix_times(parts, v, row, beta)


@njit(**FLAGS, cache=True)
def pass_through(begins, start, steps, end, words, alphas, ahead, marginals):
    """Fill alpha, v of the word behind each (0 at the end of a text) and the marginals, each (n, L).

    Returns:
        log Z of all texts together; NaN if a text has no legal row of labels.
    """
    parts = parted(steps, 0.0)
    row, scales = np.empty(len(parts[0])), np.empty(len(words))
    log_z = 0.0
    for text in range(len(begins) - 1):
        first, last = begins[text], begins[text + 1]
        if first == last:
            continue
        own = slice(first, last)
        log_z += _read_forward(start, parts, words[own], row, alphas[own], scales[own])
        total = (alphas[last - 1] * end).sum()
        if not (log_z == log_z and total > 0):
            return np.nan
        log_z += np.log(total)
        _read_backward(end / total, parts, words[own], row, alphas[own], scales[own], ahead[own], marginals[own])
    return log_z


@njit(**FLAGS, cache=True)
def follow_labels(begins, labels, start, steps, end, words, d_words, d_steps, d_ends):
    """Take the numbers of labels, transitions and ends of rows that are wholly known from the expected numbers.

    Returns:
        The logarithm of their probabilities, before these are divided by Z; minus infinity if one is ruled out.
    """
    total = 0.0
    for text in range(len(begins) - 1):
        first, last = begins[text], begins[text + 1]
        if first == last:
            continue
        total += np.log(start[labels[first]]) + np.log(end[labels[last - 1]])
        d_ends[0, labels[first]] -= 1
        d_ends[1, labels[last - 1]] -= 1
        for t in range(first, last):
            label = labels[t]
            total += np.log(words[t, label])
            d_words[t, label] -= 1
            if t > first:
                total += np.log(steps[labels[t - 1], label])
                d_steps[labels[t - 1], label] -= 1
    return total


@njit(**FLAGS, cache=True)
def _best_behind(before, parts, row, nothing, best):
    """Fill the best score with which each label stands behind another."""
    full, block, rows, columns, values = parts
    size, width = block.shape
    row[:] = 2 * nothing
    for i in range(size):
        for k in range(width):
            score = before[i] + block[i, k]
            row[k] = score if score > row[k] else row[k]
    best[:] = 2 * nothing
    for k in range(width):
        best[full[k]] = row[k]
    for k in range(len(rows)):
        score = before[rows[k]] + values[k]
        if score > best[columns[k]]:
            best[columns[k]] = score


@njit(**FLAGS, cache=True)
def find_paths(begins, start, steps, end, emissions, nothing, paths):
    """Fill the labels (n) of the likeliest rows; scores are logarithms, and those below `nothing` are left out."""
    parts, into = parted(steps, nothing), np.ascontiguousarray(steps.T)
    deltas, row = np.empty_like(emissions), np.empty(len(parts[0]), emissions.dtype)
    for text in range(len(begins) - 1):
        first, last = begins[text], begins[text + 1]
        if first == last:
            continue
        deltas[first] = start + emissions[first]
        for t in range(first + 1, last):
            delta = deltas[t]
            _best_behind(deltas[t - 1], parts, row, nothing, delta)
            delta += emissions[t]
            delta -= delta.max()  # in a long text the sums would lose digits
        label = np.argmax(deltas[last - 1] + end)
        paths[last - 1] = label
        # Which label a best one came from is not stored, as that would slow the loops down: it is looked for again.
        for t in range(last - 1, first, -1):
            label = np.argmax(deltas[t - 1] + into[label])
            paths[t - 1] = label

"""The loops of `chain.py` in numba; arrays are float32, or all float64.

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
def below_largest(rows, less):
    """Fill each row less its largest number, and return the largest difference of two numbers of a row."""
    widest = rows[0, 0] * 0
    for t in range(len(rows)):
        row, top, low = rows[t], rows[t, 0], rows[t, 0]
        for j in range(len(row)):
            top = row[j] if row[j] > top else top
            low = row[j] if row[j] < low else low
        widest = top - low if top - low > widest else widest
        for j in range(len(row)):
            less[t, j] = row[j] - top
    return widest


@njit(**FLAGS, cache=True)
def ends_of(values, nothing):
    """Return the largest of the values and the smallest that is above `nothing`."""
    top = values[0]
    for value in values:
        top = value if value > top else top
    low = top
    for value in values:
        if value > nothing and value < low:
            low = value
    return top, low


@njit(**FLAGS, cache=True)
def parted(matrix, nothing):
    """Part a matrix (L, L): its full columns, their block and its transpose, and rows, columns and values of the rest.

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
    return full, block, np.ascontiguousarray(block.T), rows, columns, values


@njit(**FLAGS, cache=True)
def _sum_rows(weights, block, total):
    """Fill weights @ block."""
    total[:] = 0
    i = 0
    while i + 4 <= len(block):  # four at a time: the sums are read and written once
        a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        if a != 0 or b != 0 or c != 0 or d != 0:
            for k in range(len(total)):
                total[k] += a * block[i, k] + b * block[i + 1, k] + c * block[i + 2, k] + d * block[i + 3, k]
        i += 4
    while i < len(block):
        for k in range(len(total)):
            total[k] += weights[i] * block[i, k]
        i += 1


@njit(**FLAGS, cache=True)
def _times_matrix(vector, parts, row, product):
    """Fill vector @ matrix; `row` is room for the full columns."""
    full, block, _, rows, columns, values = parts
    _sum_rows(vector, block, row)
    product[:] = 0
    for k in range(len(full)):
        product[full[k]] = row[k]
    for k in range(len(rows)):
        product[columns[k]] += vector[rows[k]] * values[k]


@njit(**FLAGS, cache=True)
def _matrix_times(parts, vector, row, product):
    """Fill matrix @ vector."""
    full, _, across, rows, columns, values = parts
    for k in range(len(full)):
        row[k] = vector[full[k]]
    _sum_rows(row, across, product)
    for k in range(len(rows)):
        product[rows[k]] += values[k] * vector[columns[k]]


@njit(**FLAGS, cache=True)
def _read_forward(start, parts, words, row, alphas, scales):
    """Fill alpha and 1 / c of one text; return the sum of log c, NaN where no label has a probability."""
    size, total = len(start), 0.0
    for t in range(len(words)):
        alpha, word = alphas[t], words[t]
        if t == 0:
            alpha[:] = start
        else:
            _times_matrix(alphas[t - 1], parts, row, alpha)
        scale = word[0] * 0
        for j in range(size):
            alpha[j] *= word[j]
            scale += alpha[j]
        if not scale > 0:
            return np.nan
        total += np.log(scale)
        scales[t] = 1 / scale
        for j in range(size):
            alpha[j] *= scales[t]
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
            word, v, scale = words[t], ahead[t - 1], scales[t]
            for j in range(len(beta)):
                v[j] = word[j] * beta[j] * scale
            _matrix_times(parts, v, row, beta)


@njit(**FLAGS, cache=True)
def pass_through(begins, start, steps, end, words, alphas, ahead, marginals):
    """Fill alpha, v of the word behind each (0 at the end of a text) and the marginals, each (n, L).

    Returns:
        log Z of all texts together; NaN if a text has no legal row of labels.
    """
    parts = parted(steps, steps[0, 0] * 0)
    row, beta = np.empty(len(parts[0]), words.dtype), np.empty_like(end)
    scales = np.empty(len(words), words.dtype)
    log_z = 0.0
    for text in range(len(begins) - 1):
        first, last = begins[text], begins[text + 1]
        if first == last:
            continue
        own = slice(first, last)
        log_z += _read_forward(start, parts, words[own], row, alphas[own], scales[own])
        total = end[0] * 0
        for j in range(len(end)):
            total += alphas[last - 1, j] * end[j]
        if not (log_z == log_z and total > 0):
            return np.nan
        log_z += np.log(total)
        for j in range(len(end)):
            beta[j] = end[j] / total
        _read_backward(beta, parts, words[own], row, alphas[own], scales[own], ahead[own], marginals[own])
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
    full, block, _, rows, columns, values = parts
    row[:] = nothing
    i = 0
    while i + 4 <= len(block):
        a, b, c, d = before[i], before[i + 1], before[i + 2], before[i + 3]
        for k in range(len(row)):
            one, other = a + block[i, k], b + block[i + 1, k]
            one = one if one > other else other
            other = c + block[i + 2, k]
            one = one if one > other else other
            other = d + block[i + 3, k]
            one = one if one > other else other
            row[k] = one if one > row[k] else row[k]
        i += 4
    while i < len(block):
        for k in range(len(row)):
            one = before[i] + block[i, k]
            row[k] = one if one > row[k] else row[k]
        i += 1
    best[:] = nothing
    for k in range(len(full)):
        best[full[k]] = row[k]
    for k in range(len(rows)):
        score = before[rows[k]] + values[k]
        if score > best[columns[k]]:
            best[columns[k]] = score


@njit(**FLAGS, cache=True)
def _place_of_best(scores, more):
    """Return the first place where the sum of both is largest."""
    place, best = 0, scores[0] + more[0]
    for j in range(1, len(scores)):
        score = scores[j] + more[j]
        if score > best:
            place, best = j, score
    return place


@njit(**FLAGS, cache=True)
def sure_paths(begins, steps, alphas, ahead, marginals, paths):
    """Fill the likeliest label of each word, and return of which texts these are the likeliest row.

    They are where their row has more than half of the probability of all rows; else it is not known.
    """
    is_sure = np.zeros(len(begins) - 1, np.bool_)
    for text in range(len(begins) - 1):
        share = 1.0
        for t in range(begins[text], begins[text + 1]):
            j = np.argmax(marginals[t])
            paths[t] = j
            if t == begins[text]:
                share = marginals[t, j]
            else:
                i = paths[t - 1]
                share *= alphas[t - 1, i] * steps[i, j] * ahead[t - 1, j] / marginals[t - 1, i]
        is_sure[text] = share > 0.51  # rounded numbers made it
    return is_sure


@njit(**FLAGS, cache=True)
def find_paths(begins, start, steps, end, emissions, nothing, is_known, paths):
    """Fill the labels (n) of the likeliest rows, but of texts whose row is known.

    Scores are logarithms, and those below `nothing` are left out.
    """
    parts, into = parted(steps, nothing), np.ascontiguousarray(steps.T)
    deltas, row = np.empty_like(emissions), np.empty(len(parts[0]), emissions.dtype)
    for text in range(len(begins) - 1):
        first, last = begins[text], begins[text + 1]
        if first == last or is_known[text]:
            continue
        for j in range(len(start)):
            deltas[first, j] = start[j] + emissions[first, j]
        for t in range(first + 1, last):
            delta, emission = deltas[t], emissions[t]
            _best_behind(deltas[t - 1], parts, row, nothing, delta)
            top = delta[0] + emission[0]
            for j in range(len(delta)):
                delta[j] += emission[j]
                top = delta[j] if delta[j] > top else top
            for j in range(len(delta)):
                delta[j] -= top  # in a long text the sums would lose digits
        paths[last - 1] = _place_of_best(deltas[last - 1], end)
        # Which label a best one came from is not stored, as that would slow the loops down: it is looked for again.
        for t in range(last - 1, first, -1):
            paths[t - 1] = _place_of_best(deltas[t - 1], into[paths[t]])


@njit(**FLAGS, cache=True)
def put_first(rows, labels, rounding):
    """Let the label and the best of each row change places; what equals the best is made less by `rounding`."""
    for t in range(len(rows)):
        row, label = rows[t], labels[t]
        place = np.argmax(row)
        best = row[place]
        row[place] = row[label]
        row[label] = best
        below = best - rounding * max(abs(best), best / best)
        for j in range(len(row)):
            if row[j] > below and j != label:
                row[j] = below

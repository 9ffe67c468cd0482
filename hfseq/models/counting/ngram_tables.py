"""What the tables of an n-gram model must be for its probabilities to sum to 1; `ngram.py` says what they hold."""

from collections.abc import Iterable, Sequence

import torch

Tables = dict[str, torch.Tensor]

_TOLERANCE = 1e-5  # tables are float32: each number is off by 6e-8 of itself at the most


def find_fault(tables: Tables, *, order: int, vocab_size: int, impossible_ids: Sequence[int]) -> str | None:
    """Say what is wrong with the tables, in time linear in their size; None if nothing is.

    Every number is looked at, so that none of a sound model leads out of its tables.

    Args:
        tables: `keys_k`, `shares_k` and `gammas_j`, as long as each other's rows ask for.
        order: n.
        vocab_size: V.
        impossible_ids: Words whose share must be 0.
    """
    for k in range(1, order + 1):
        fault = _fault_of_order(tables, k, vocab_size, impossible_ids)
        if fault is not None:
            return fault
    return None


def _fault_of_order(tables: Tables, k: int, vocab_size: int, impossible_ids: Sequence[int]) -> str | None:
    shares, gammas = tables[f"shares_{k}"], tables[f"gammas_{k - 1}"]
    # Of order 1 every word has a row, and the one context is that of no words.
    keys = torch.arange(vocab_size, device=shares.device) if k == 1 else tables[f"keys_{k}"]
    return (
        _fault_of_keys(f"keys_{k}", keys, len(gammas) * vocab_size)
        or _fault_of_probabilities(f"shares_{k}", shares)
        or _fault_of_probabilities(f"gammas_{k - 1}", gammas)
        or _fault_of_words(k, keys % vocab_size, shares, impossible_ids)
        or _fault_of_sums(tables, k, keys // vocab_size, vocab_size)
    )


def _fault_of_keys(name: str, keys: torch.Tensor, end: int) -> str | None:
    if len(keys) == 0:
        return None
    # Binary search needs them sorted, and an n-gram must not stand there twice.
    falls = keys[1:] <= keys[:-1]
    if falls.any():
        row = int(falls.nonzero()[0]) + 1
        return f"{name}[{row}] = {int(keys[row])} must be above the number before it, {int(keys[row - 1])}"
    for row in (0, len(keys) - 1):
        if not 0 <= keys[row] < end:
            return f"{name}[{row}] = {int(keys[row])} is outside 0 to {end - 1}, contexts times vocab_size"
    return None


def _fault_of_probabilities(name: str, table: torch.Tensor) -> str | None:
    sound = (table >= 0) & (table <= 1)  # nan is not
    if sound.all():
        return None
    row = int((~sound).nonzero()[0])
    return f"{name}[{row}] = {float(table[row])} is no probability"


def _fault_of_words(k: int, words: torch.Tensor, shares: torch.Tensor, impossible_ids: Iterable[int]) -> str | None:
    for word in impossible_ids:
        wrong = (words == word) & (shares != 0)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            return f"shares_{k}[{row}] = {float(shares[row])} must be 0: the id {word} is never predicted"
    return None


def _fault_of_sums(tables: Tables, k: int, contexts: torch.Tensor, vocab_size: int) -> str | None:
    """Check that each context's gamma and shares sum to 1; then P does, if P of the shorter context does."""
    # In float64: float32 sums of a frequent context's thousands of shares would be off by more than the tolerance.
    sums = tables[f"gammas_{k - 1}"].double().index_add(0, contexts, tables[f"shares_{k}"].double())
    wrong = (sums - 1).abs() > _TOLERANCE
    if not wrong.any():
        return None
    row = int(wrong.nonzero()[0])
    return (
        f"gammas_{k - 1}[{row}] and the shares_{k} of its context, the ids {_words_of(tables, k - 1, row, vocab_size)}"
        f", sum to {float(sums[row]):.6g}, not to 1"
    )


def _words_of(tables: Tables, order: int, row: int, vocab_size: int) -> list[int]:
    """Return the ids of the n-gram in a row; the one n-gram of order 0 has none."""
    words: list[int] = []
    for k in range(order, 0, -1):
        key = row if k == 1 else int(tables[f"keys_{k}"][row])
        row, word = divmod(key, vocab_size)
        words.insert(0, word)
    return words

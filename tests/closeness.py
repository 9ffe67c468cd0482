"""Whether two results are the same numbers: the one measure of closeness in the tests.

No float library promises bits: another CPU, number of threads or shape of a product adds in another order, and a sum
is wrong by a few roundings of its largest terms. So a difference is told as a share of the size of the values.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

INFINITE = 3e38  # the ends of float32 and bfloat16 stand for it, in masks and in logits of what is impossible
ROUNDINGS = 1e-5  # about 80 roundings of float32; claims about the maths run in float64 and ask for less


def assert_same(
    found: Any,
    expected: Any,
    tolerance: float = ROUNDINGS,
    *,
    scale: float = 0.0,
    nan: bool = False,
    what: object = "",
) -> None:
    """Assert that no value differs by more than a share of the size of the values.

    Args:
        found: An array or number, or a mapping or sequence of such, each of which is compared by its own size.
        expected: The same, in any precision. A number stands for an array of it.
        tolerance: The share that is allowed.
        scale: The least size that counts: what is left where terms of this size cancel is as wrong as they are.
        nan: Whether NaN is an answer, and the same as NaN: else it is the same as nothing.
        what: What is compared, for the message.
    """
    for name, gaps, size, (ours, theirs) in _compared(found, expected, scale, nan, str(what)):
        if gaps.size and gaps.max() > tolerance * size:
            worst = np.unravel_index(gaps.argmax(), gaps.shape)
            place = f"{name}{[int(index) for index in worst] if worst else ''}: "
            raise AssertionError(
                f"{place}{ours[worst]:.9g} is not {theirs[worst]:.9g}: they differ by {gaps[worst]:.3g}, "
                f"but {tolerance * size:.3g} is allowed ({tolerance:g} of values of size {size:.3g})"
            )


def difference(found: Any, expected: Any, *, scale: float = 0.0) -> float:
    """The largest difference as a share of the size of the values, for the tests that ask for one."""
    compared = _compared(found, expected, scale, False, "")
    return max(float(gaps.max(initial=0)) / (size or 1.0) for _, gaps, size, _ in compared)


def _compared(found: Any, expected: Any, scale: float, nan: bool, name: str) -> Iterator[tuple]:
    """Of each array: its name, the differences, the size of its values, and both sides."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), f"{name} {sorted(found)} against {sorted(expected)}"
        for key, value in expected.items():
            yield from _compared(found[key], value, scale, nan, f"{name} {key}".strip())
    elif isinstance(expected, Iterable) and not _is_array(expected):
        for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            yield from _compared(ours, theirs, scale, nan, f"{name} {number}".strip())
    else:
        ours, theirs = _array(found), _array(expected)
        if not isinstance(expected, float | int):
            assert ours.shape == theirs.shape, f"{name} shape {ours.shape} against {theirs.shape}"
        theirs = np.broadcast_to(theirs, ours.shape)
        with np.errstate(invalid="ignore"):
            same = (ours == theirs) | (nan & np.isnan(ours) & np.isnan(theirs))  # infinite ones too
            gaps = np.where(same, 0.0, np.abs(ours - theirs))
        sizes = np.abs(np.concatenate((ours.ravel(), theirs.ravel())))
        size = sizes[sizes < INFINITE].max(initial=scale)
        yield name, np.where(np.isnan(gaps), np.inf, gaps), float(size), (ours, theirs)


def _is_array(value: Any) -> bool:
    """Whether it is one array, or a list of numbers, which is one too."""
    if isinstance(value, list | tuple):
        return all(isinstance(part, float | int) for part in value)
    return isinstance(value, torch.Tensor | np.ndarray)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().double().cpu()
    return np.asarray(value, dtype=np.float64)

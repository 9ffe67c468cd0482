"""The values of a cell's gates, read off any equation while it runs.

An equation is given the sums of its gates, and says what becomes of them: `f = sigmoid(a_f)`. The value of a gate is
what the first function (sigmoid, tanh, relu, exp) makes of its sum, whatever was added to it before, such as the
peephole in `sigmoid(a_f + p_f * c)`. A gate that no function meets is shown as its sum.

Each sum is wrapped into a `Watched`, which remembers the gates that it holds. Numbers are not changed by it.
"""

import operator
from collections.abc import Callable, Collection, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch

GateValues: TypeAlias = dict[str, torch.Tensor]
"""Name of a gate or state -> its values."""


class Watched:
    """A tensor of an equation that knows which gates it is the sum of.

    Args:
        value: The tensor.
        gates: The gates whose sums are in it, and which no function has met yet.
        split: Those of the cell's gates that are still sums when they are multiplied by another gate.
        is_gated: Whether the value of a gate is in it.
    """

    def __init__(self, value: torch.Tensor, gates: frozenset[str], split: frozenset[str], is_gated: bool) -> None:
        self.value, self.gates, self.split, self.is_gated = value, gates, split, is_gated

    def _combine(self, compute: Callable[[Any, Any], Any], other: Any, *, is_product: bool = False) -> "Watched":
        gates, is_gated = self.gates, self.is_gated
        if isinstance(other, Watched):
            gates, is_gated = gates | other.gates, is_gated or other.is_gated
        if is_product and is_gated:
            # f * c + i * n is a new memory, and no longer the sum of n; only the GRU's r * (U h) is one still.
            gates &= self.split
        return Watched(compute(self.value, plain(other)), gates, self.split, is_gated)

    def __add__(self, other: Any) -> "Watched":
        return self._combine(operator.add, other)

    def __radd__(self, other: Any) -> "Watched":
        return self._combine(lambda own, left: left + own, other)

    def __sub__(self, other: Any) -> "Watched":
        return self._combine(operator.sub, other)

    def __rsub__(self, other: Any) -> "Watched":
        return self._combine(lambda own, left: left - own, other)

    def __mul__(self, other: Any) -> "Watched":
        return self._combine(operator.mul, other, is_product=True)

    def __rmul__(self, other: Any) -> "Watched":
        return self._combine(lambda own, left: left * own, other, is_product=True)

    def __truediv__(self, other: Any) -> "Watched":
        return self._combine(operator.truediv, other, is_product=True)

    def __rtruediv__(self, other: Any) -> "Watched":
        return self._combine(lambda own, left: left / own, other, is_product=True)

    def __neg__(self) -> "Watched":
        return Watched(-self.value, self.gates, self.split, self.is_gated)


def plain(value: Any) -> Any:
    """Return the tensor, watched or not."""
    return value.value if isinstance(value, Watched) else value


class _Watch:
    """The sums and the values of the gates of one step, as they come up.

    Args:
        split: The gates that come as two parts.
    """

    def __init__(self, split: Collection[str]) -> None:
        self.split = frozenset(split)
        self.values: GateValues = {}
        self.sums: GateValues = {}

    def gate(self, name: str, gate: Any) -> Any:
        """Return a gate whose sum is watched: a tensor, a pair of them, or a function."""
        if callable(gate):
            return lambda vector: self._sum(name, gate(plain(vector)))
        if not isinstance(gate, tuple):
            return self._sum(name, gate)
        parts = tuple(self._sum(name, part) for part in gate)
        self.sums[name] = gate[0] + gate[1]
        return parts

    def _sum(self, name: str, total: torch.Tensor) -> Watched:
        self.sums[name] = total
        return Watched(total, frozenset((name,)), self.split, is_gated=False)

    def apply(self, function: Callable[[Any], Any], vector: Any) -> Any:
        """Apply a function; of the gates that it is the first to meet, the result is the value."""
        found = function(plain(vector))
        if not isinstance(vector, Watched):
            return found
        for name in vector.gates:
            self.values.setdefault(name, found)
        return Watched(found, frozenset(), self.split, is_gated=True)


def run_watched(
    equation: Callable[..., Any],
    ops: Any,
    gates: Sequence[Any],
    states: tuple[torch.Tensor, ...],
    params: Any,
    *,
    names: Sequence[str],
    split: Collection[str],
) -> tuple[Any, GateValues]:
    """Run an equation, and return the new states and the value of each gate.

    Args:
        equation: As in `cells.py`, which says what the next four are.
        ops: Its operations on tensors.
        gates: The sums.
        states: The states before the step.
        params: The cell's own vectors.
        names: Those of the gates.
        split: Those that come as two parts.
    """
    watch = _Watch(split)
    # A mean is a number of the whole row: it is no gate, and nothing is a gate because of it.
    functions = {name: partial(watch.apply, function) for name, function in vars(ops).items() if name != "mean"}
    watching = SimpleNamespace(**functions, mean=lambda vector: ops.mean(plain(vector)))
    new = equation(watching, tuple(map(watch.gate, names, gates)), states, params)
    found = watch.sums | watch.values
    for name in names:
        if name not in found:
            raise ValueError(f"the equation never calls its late gate {name!r}, which therefore has no value to show")
    if isinstance(new, tuple | list):
        new = tuple(map(plain, new))
    return new, {name: found[name] for name in names}


def shown_names(gates: Sequence[str], states: Sequence[str]) -> tuple[str, ...]:
    """Return under which names the gates are shown beside the states: a gate called as a state is gets `_gate`."""
    return tuple(f"{gate}_gate" if gate in states else gate for gate in gates)

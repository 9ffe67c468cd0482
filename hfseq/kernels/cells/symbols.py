"""A cell's equation as a graph, and its derivative as another.

Calling an equation with `Symbols` instead of torch's functions records what it does: each `Node` is one operation on
vectors as wide as the hidden state. Equal expressions are one node, numbers are folded, and `differentiate` applies
the chain rule backward through the graph, so that a kernel for the gradient is printed from the same equation.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Union

Operand = Union["Node", float]


class Node:
    """`operation(*arguments)`; a leaf is an "input" with its name, or a "number" with its value.

    Attributes:
        operation: The name of a function in `simd.py`, or "input", "number", "mean".
        arguments: Nodes, or the name or value of a leaf.
        level: How many `mean`s lie on the way to the leaves; each costs a pass over the row.
        uniform: Whether it is one number for the whole row: made of means and numbers alone.
    """

    def __init__(self, graph: "Graph", operation: str, arguments: tuple[Any, ...]) -> None:
        self.graph, self.operation, self.arguments = graph, operation, arguments
        self.operands: list[Node] = [argument for argument in arguments if isinstance(argument, Node)]
        levels = [operand.level for operand in self.operands]
        self.level: int = max(levels, default=0) + (operation == "mean")
        uniform = [operand.uniform for operand in self.operands]
        self.uniform: bool = operation in ("mean", "number") or (bool(uniform) and all(uniform))

    @property
    def number(self) -> float | None:
        """The value, if this is a number."""
        return self.arguments[0] if self.operation == "number" else None

    def __add__(self, other: Operand) -> "Node":
        return self.graph.add(self, other)

    def __radd__(self, other: Operand) -> "Node":
        return self.graph.add(other, self)

    def __sub__(self, other: Operand) -> "Node":
        return self.graph.subtract(self, other)

    def __rsub__(self, other: Operand) -> "Node":
        return self.graph.subtract(other, self)

    def __mul__(self, other: Operand) -> "Node":
        return self.graph.multiply(self, other)

    def __rmul__(self, other: Operand) -> "Node":
        return self.graph.multiply(other, self)

    def __truediv__(self, other: Operand) -> "Node":
        return self.graph.divide(self, other)

    def __rtruediv__(self, other: Operand) -> "Node":
        return self.graph.divide(other, self)

    def __neg__(self) -> "Node":
        return self.graph.multiply(-1.0, self)


class Graph:
    """Makes nodes, each once; has the functions that an equation may call (`ops` in `models/recurrent/cells.py`)."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Node] = {}

    def make(self, operation: str, *arguments: Any) -> Node:
        """Return the one node of this operation on these arguments."""
        key = (operation, *(id(argument) if isinstance(argument, Node) else argument for argument in arguments))
        if key not in self._made:
            self._made[key] = Node(self, operation, arguments)
        return self._made[key]

    def input(self, name: str) -> Node:
        """Return the node of a vector that the kernel reads from memory."""
        return self.make("input", name)

    def _node(self, operand: Operand) -> Node:
        if isinstance(operand, Node):
            return operand
        if not isinstance(operand, int | float):
            raise TypeError(f"an equation combines gates, states, parameters and numbers, not {operand!r}")
        if not math.isfinite(operand):
            raise ValueError(f"an equation's numbers are finite, got {operand!r}")
        return self.make("number", float(operand))

    def add(self, x: Operand, y: Operand) -> Node:
        """Return x + y."""
        x, y = self._node(x), self._node(y)
        if x.number is not None and y.number is not None:
            return self._node(x.number + y.number)
        if x.number == 0:
            return y
        return x if y.number == 0 else self.make("add", x, y)

    def subtract(self, x: Operand, y: Operand) -> Node:
        """Return x - y."""
        x, y = self._node(x), self._node(y)
        if x.number is not None and y.number is not None:
            return self._node(x.number - y.number)
        return x if y.number == 0 else self.make("sub", x, y)

    def multiply(self, x: Operand, y: Operand) -> Node:
        """Return x * y."""
        x, y = self._node(x), self._node(y)
        if x.number is not None and y.number is not None:
            return self._node(x.number * y.number)
        for factor, other in ((x, y), (y, x)):
            if factor.number == 0:
                return factor
            if factor.number == 1:
                return other
        return self.make("mul", x, y)

    def divide(self, x: Operand, y: Operand) -> Node:
        """Return x / y."""
        x, y = self._node(x), self._node(y)
        if y.number is not None:
            return self.multiply(x, 1.0 / y.number)
        return self.make("div", x, y)

    def sigmoid(self, x: Operand) -> Node:
        """Return 1 / (1 + e^-x)."""
        return self.make("sigmoid", self._node(x))

    def tanh(self, x: Operand) -> Node:
        """Return the hyperbolic tangent."""
        return self.make("tanh", self._node(x))

    def relu(self, x: Operand) -> Node:
        """Return max(x, 0)."""
        return self.make("relu", self._node(x))

    def exp(self, x: Operand) -> Node:
        """Return e^x."""
        return self.make("exp", self._node(x))

    def rsqrt(self, x: Operand) -> Node:
        """Return 1 / sqrt(x)."""
        return self.make("rsqrt", self._node(x))

    def mean(self, x: Operand) -> Node:
        """Return the mean over the width of the state, in every element."""
        return self.make("mean", self._node(x))


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """List the nodes that the outputs need, operands first."""
    seen: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in seen:
            for operand in node.operands:
                visit(operand)
            seen[node] = None

    for output in outputs:
        visit(output)
    return list(seen)


def differentiate(outputs: Sequence[Node], gradients: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """Return d(sum of outputs * gradients) / d(each input)."""
    graph = gradients[0].graph
    found: dict[Node, Node] = {}

    def collect(node: Node, gradient: Node) -> None:
        found[node] = graph.add(found[node], gradient) if node in found else gradient

    for output, gradient in zip(outputs, gradients, strict=True):
        collect(output, gradient)
    for node in reversed(in_order(outputs)):
        if node in found and node.operands:
            for operand, part in zip(node.operands, _CHAIN_RULE[node.operation](node, found[node]), strict=True):
                if operand.number is None:
                    collect(operand, part)
    return [found.get(node, graph.make("number", 0.0)) for node in inputs]


# operation -> (y = the node, d = gradient of y) -> the gradients of its operands
_CHAIN_RULE: dict[str, Callable[[Node, Node], list[Node]]] = {
    "add": lambda y, d: [d, d],
    "sub": lambda y, d: [d, -d],
    "mul": lambda y, d: [d * y.operands[1], d * y.operands[0]],
    "div": lambda y, d: [d / y.operands[1], -(d * y / y.operands[1])],
    "sigmoid": lambda y, d: [d * (y * (1.0 - y))],
    "tanh": lambda y, d: [d * (1.0 - y * y)],
    "relu": lambda y, d: [y.graph.make("where_positive", y.operands[0], d)],
    "exp": lambda y, d: [d * y],
    "rsqrt": lambda y, d: [d * (-0.5 * (y * y * y))],
    "mean": lambda y, d: [y.graph.mean(d)],
}

"""A cell's equation called with symbols, and the places in memory of all that a kernel for it reads and writes.

Arrays, with H numbers a row: `gates` (n, G, H), W x + b + U h; `split` (n, S, H), U h + b' of the gates that keep it
apart; `before` and `after` (states, n, H); `params` (P, H); `vector` (n, H), what a late gate's weights meet; `d_...`,
their gradients. `plane` is the distance between two states, `d_plane` between their gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .symbols import Graph, Node, differentiate, in_order

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell

_GRADIENT_OF = {"gates": "d_gates", "split": "d_split", "before": "d_states", "params": "d_params"}


class Place(NamedTuple):
    """Where a vector of the row lies: the array's name, and the index of its first element."""

    array: str
    start: str


@dataclass(frozen=True)
class Output:
    """A result and its place; `accumulate` adds to what is there."""

    node: Node
    place: Place
    accumulate: bool = False


class Traced:
    """A cell's equation as a graph, with the place of every vector it reads and writes."""

    def __init__(self, cell: "Cell") -> None:
        self.graph = Graph()
        self.places: dict[Node, Place] = {}
        count = len(cell.gates)
        self.gates = [
            self._input(f"gate.{g}", "gates", f"row * {count} * width + {k} * width") for k, g in enumerate(cell.gates)
        ]
        self.split = [
            self._input(f"split.{g}", "split", f"row * {len(cell.split)} * width + {k} * width")
            for k, g in enumerate(cell.split)
        ]
        self.states = [
            self._input(f"state.{s}", "before", f"{k} * plane + row * width") for k, s in enumerate(cell.states)
        ]
        names = [f"param.{name}.{i}" for name, values in cell.params.items() for i in range(len(values))]
        self.params = [self._input(name, "params", f"{k} * width") for k, name in enumerate(names)]
        self.late = self.gates[-1] if cell.late is not None else None
        self.vector: Node | None = None
        self.new_states = self._call(cell)

    def _input(self, name: str, array: str, index: str) -> Node:
        node = self.graph.input(name)
        self.places[node] = Place(array, index)
        return node

    def _call(self, cell: "Cell") -> list[Node]:
        own = dict(zip(cell.split, self.split, strict=True))
        gates: list[Any] = [
            (node, own[g]) if g in own else node for g, node in zip(cell.gates, self.gates, strict=True)
        ]
        if self.late is not None:
            gates[-1] = self._meet
        states = cell.equation(self.graph, tuple(gates), tuple(self.states), cell.named(self.params))
        cell.check_states(states)
        if self.late is not None and self.vector is None:
            raise ValueError(f"the equation never calls its late gate {cell.late!r}")
        return [self.graph.add(state, 0.0) for state in states]

    def _meet(self, vector: Node) -> Node:
        if self.vector is not None and self.vector is not vector:
            raise ValueError("a late gate can meet one vector only")
        self.vector = vector
        assert self.late is not None
        return self.late

    def forward_outputs(self) -> list[Output]:
        """List the new states."""
        return [Output(node, Place("after", f"{k} * plane + row * width")) for k, node in enumerate(self.new_states)]

    def activations(self) -> dict[Node, Place]:
        """Map sigmoid(a) or tanh(a) to where a lies, for gates a that the equation uses in no other form.

        Forward kernels may leave the activation there in the place of a, so that backward ones need not compute it.
        """
        users: dict[Node, list[Node]] = {}
        for node in in_order([*self.new_states, *([] if self.vector is None else [self.vector])]):
            for operand in node.operands:
                users.setdefault(operand, []).append(node)
        alone = {gate: users.get(gate, []) for gate in self.gates if gate is not self.late}
        return {
            using[0]: self.places[gate]
            for gate, using in alone.items()
            if len(using) == 1 and using[0].operation in ("sigmoid", "tanh")
        }

    def backward_outputs(self) -> list[Output]:
        """List the gradients of gates, states and params; they lie in `d_gates` as the gates in `gates`, and so on."""
        plain = [gate for gate in self.gates if gate is not self.late]
        wanted = [*plain, *self.split, *self.states, *self.params]
        gradients = self.gradients(with_vector=True, wanted=wanted)
        outputs = []
        for node, gradient in zip(wanted, gradients, strict=True):
            array, start = self.places[node]
            place = Place(_GRADIENT_OF[array], start.replace("plane", "d_plane"))
            outputs.append(Output(gradient, place, accumulate=array == "params"))
        return outputs

    def early_outputs(self) -> tuple[list[Output], list[Output]]:
        """List the vector that the late gate's weights meet, and the gate's gradient; nothing without such a gate."""
        if self.late is None or self.vector is None:
            return [], []
        (gradient,) = self.gradients(with_vector=False, wanted=[self.late])
        place = Place("d_gates", self.places[self.late].start)
        return [Output(self.vector, Place("vector", "row * width"))], [Output(gradient, place)]

    def gradients(self, *, with_vector: bool, wanted: Sequence[Node]) -> list[Node]:
        """Return gradients of the loss with respect to `wanted`, from those of the new states (and of the vector)."""
        incoming = [
            self._input(f"gradient.{k}", "d_states", f"{k} * d_plane + row * width")
            for k in range(len(self.new_states))
        ]
        incoming[0] = incoming[0] + self._input("d_output", "d_output", "row * width")
        outputs = list(self.new_states)
        if with_vector and self.vector is not None:
            outputs.append(self.vector)
            incoming.append(self._input("d_vector", "d_vector", "row * width"))
        return differentiate(outputs, incoming, wanted)

"""From a composition's equation to machine code, with the graph and the printer of the cells (`kernels/cells`).

Where nodes lie in memory saves all copies between levels. Each node writes its states into its slot among its
parent's children, so that the children of a level are the rows of a matrix, [left ; right] side by side, and the next
product reads them there. Backward, the same product leaves the gradient of each child in its slot.

    leaf        words                      -> states             leaf_backward      back to the words
    early       gates, words, children     -> the vectors that a late gate's weights meet
    inner       gates, words, children     -> states             inner_backward     back to all three
    message     gates, words, children     -> sums of messages   message_backward   (compositions that are sums)

A row is H numbers. Arrays: `gates` (rows, G, H), the product of the children, in whose place the activations are kept;
`table` (words, X, H), W x + b, of leaves the gates that they need; `states` (S, slots, H); `children`, the same from
the first slot of a level on; `sums` (S, inner nodes, H); `vectors` (rows, 2, H); `d_...`, their gradients. Integers
tell where: `word` (the row of `table`) and `slot` of a node, `owner` (the inner node) of a child. `base` is the first
node or child of the level in these.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..cells import simd
from ..cells.modules import import_source
from ..cells.printer import IMPORTED, Printer
from ..cells.symbols import Graph, Node, differentiate, in_order
from ..cells.traced import Output, Place

if TYPE_CHECKING:
    from ...models.recurrent.compositions import Composition


class Arguments(NamedTuple):
    """What every kernel takes, in this order: addresses, 0 of what it does not read; arrays of integers; numbers.

    `plane` is the distance between two states, `sums_plane` between those of sums, `table_step` between two words, in
    elements.
    """

    gates: int = 0
    table: int = 0
    states: int = 0
    children: int = 0
    sums: int = 0
    vectors: int = 0
    d_states: int = 0
    d_children: int = 0
    d_gates: int = 0
    d_table: int = 0
    d_sums: int = 0
    d_vectors: int = 0
    word: Any = None
    slot: Any = None
    owner: Any = None
    base: int = 0
    plane: int = 0
    sums_plane: int = 0
    rows: int = 0
    width: int = 0
    table_step: int = 0


Kernel = Callable[..., None]


class Kernels(NamedTuple):
    """The compiled loops of one composition; None where it has no such."""

    leaf: Kernel
    leaf_backward: Kernel
    inner: Kernel
    inner_backward: Kernel
    early: Kernel | None
    early_backward: Kernel | None
    message: Kernel | None
    message_backward: Kernel | None


class _Trace:
    """An equation called with symbols, and the place of every vector that it reads and writes."""

    def __init__(self, composition: "Composition") -> None:
        self.composition = composition
        self.graph = Graph()
        self.places: dict[Node, Place] = {}
        self.gradients: dict[Node, Place] = {}

    def input(self, name: str, place: Place, gradient: Place | None = None) -> Node:
        """Return the node of a vector in memory, whose gradient has a place of its own."""
        node = self.graph.input(name)
        self.places[node] = place
        if gradient is not None:
            self.gradients[node] = gradient
        return node

    def words(self, row: str) -> list[Node]:
        """Return the word's part of each gate of W, from the row of the table that `row` says."""
        starts = [f"{row} * table_step + {k} * width" for k in range(len(self.composition.word_gates))]
        return [
            self.input(f"word.{gate}", Place("table", start), Place("d_table", start))
            for gate, start in zip(self.composition.word_gates, starts, strict=True)
        ]

    def gates(self, words: Sequence[Node]) -> list[Node]:
        """Return the whole gates: the children's product and the word's part."""
        count, found = len(self.composition.gates), []
        for k, (gate, place) in enumerate(zip(self.composition.gates, self.composition.word_places, strict=True)):
            start = f"row * {count} * width + {k} * width"
            product = self.input(f"gate.{gate}", Place("gates", start), Place("d_gates", start))
            found.append(self.graph.add(product, words[place]))
        return found

    def states(self, row: str) -> tuple[Node, ...]:
        """Return the states of a child, of the row that `row` says."""
        starts = [f"{row} * width + {k} * plane" for k in range(len(self.composition.states))]
        return tuple(
            self.input(f"{row}.{k}", Place("children", start), Place("d_children", start))
            for k, start in enumerate(starts)
        )

    def own_states(self, new: Sequence[Node]) -> tuple[list[Output], list[Node]]:
        """Return where new states go, and the symbols of their gradients."""
        starts = [f"slot[base + row] * width + {k} * plane" for k in range(len(new))]
        outputs = [Output(node, Place("states", start)) for node, start in zip(new, starts, strict=True)]
        incoming = [self.input(f"gradient.{k}", Place("d_states", start)) for k, start in enumerate(starts)]
        return outputs, incoming

    def backward(self, outputs: Sequence[Node], incoming: Sequence[Node], wanted: Sequence[Node]) -> list[Output]:
        """List the gradients of `wanted`; those of gates are written, all others added to what is there."""
        found = differentiate(outputs, incoming, wanted)
        return [
            Output(gradient, self.gradients[node], accumulate=self.gradients[node].array != "d_gates")
            for node, gradient in zip(wanted, found, strict=True)
            if gradient.number != 0
        ]


class _Job(NamedTuple):
    """One kernel to print."""

    name: str
    places: dict[Node, Place]
    outputs: list[Output]


def _leaf_jobs(composition: "Composition") -> list[_Job]:
    """Print the equation without children, in which all that they would give folds away."""
    trace = _Trace(composition)
    words = trace.words("word[base + row]")
    gates: list[Any] = [words[place] for place in composition.word_places]
    if composition.late is not None:
        late = gates[-1]
        gates[-1] = lambda left, right: late
    nothing = (0.0,) * len(composition.states)
    children = nothing if composition.is_sum else (nothing, nothing)
    new = _nodes(trace.graph, composition.equation(trace.graph, tuple(gates), children))
    outputs, incoming = trace.own_states(new)
    return [
        _Job("leaf", trace.places, outputs),
        _Job("leaf_backward", trace.places, trace.backward(new, incoming, words)),
    ]


def _binary_jobs(composition: "Composition") -> list[_Job]:
    """Print the equation of nodes with two children, and what comes before a late gate."""
    trace = _Trace(composition)
    words = trace.words("word[base + row]")
    sums = trace.gates(words)
    left, right = trace.states("2 * row"), trace.states("(2 * row + 1)")
    met: list[Node] = []
    gates: list[Any] = list(sums)
    if composition.late is not None:

        def late(*vectors: Node) -> Node:
            met.extend(vectors)
            return sums[-1]

        gates[-1] = late
    new = _nodes(trace.graph, composition.equation(trace.graph, tuple(gates), (left, right)))
    outputs, incoming = trace.own_states(new)
    kept = _activations(sums, [*new, *met], trace.places)
    after = trace.places | {output.node: output.place for output in kept}
    of_gates = [node for node, place in trace.places.items() if place.array == "gates"]
    early: list[_Job] = []
    first: list[Output] = []
    if met:
        starts = ["row * 2 * width", "row * 2 * width + width"]
        vectors = [Output(node, Place("vectors", start)) for node, start in zip(met, starts, strict=True)]
        below = set(in_order(met))
        first = [output for output in kept if output.node in below]
        d_late = trace.backward(new, incoming, of_gates[-1:])
        early = [_Job("early", dict(trace.places), vectors + first), _Job("early_backward", after, d_late)]
        of_gates = of_gates[:-1]
        incoming = incoming + [trace.input(f"vector.{k}", Place("d_vectors", start)) for k, start in enumerate(starts)]
        after |= {node: trace.places[node] for node in incoming}
    outputs += [output for output in kept if output not in first]
    wanted = [*of_gates, *words, *left, *right]
    return [
        *early,
        _Job("inner", trace.places, outputs),
        _Job("inner_backward", after, trace.backward([*new, *met], incoming, wanted)),
    ]


def _sum_jobs(composition: "Composition") -> list[_Job]:
    """Print the message of each child, and the equation of the sums."""
    assert composition.message is not None
    trace = _Trace(composition)
    words = trace.words("word[owner[base + row]]")
    gate = trace.input("gate", Place("gates", "row * width"), Place("d_gates", "row * width"))
    total = trace.graph.add(gate, words[composition.word_gates.index(str(composition.message_gate))])
    child = trace.states("row")
    sent = _nodes(trace.graph, composition.message(trace.graph, total, child))
    starts = [f"owner[base + row] * width + {k} * sums_plane" for k in range(len(sent))]
    summed = [Output(node, Place("sums", start), accumulate=True) for node, start in zip(sent, starts, strict=True)]
    kept = _activations([total], sent, trace.places)
    incoming = [trace.input(f"gradient.{k}", Place("d_sums", start)) for k, start in enumerate(starts)]
    after = trace.places | {output.node: output.place for output in kept}
    jobs = [
        _Job("message", trace.places, summed + kept),
        _Job("message_backward", after, trace.backward(sent, incoming, [gate, *words, *child])),
    ]
    trace = _Trace(composition)
    words = trace.words("word[base + row]")
    gates = trace.gates(words)
    starts = [f"(base + row) * width + {k} * sums_plane" for k in range(len(composition.states))]
    sums = [trace.input(f"sum.{k}", Place("sums", start), Place("d_sums", start)) for k, start in enumerate(starts)]
    new = _nodes(trace.graph, composition.equation(trace.graph, tuple(gates), tuple(sums)))
    outputs, incoming = trace.own_states(new)
    kept = _activations(gates, new, trace.places)
    after = trace.places | {output.node: output.place for output in kept}
    of_gates = [node for node, place in trace.places.items() if place.array == "gates"]
    return [
        *jobs,
        _Job("inner", trace.places, outputs + kept),
        _Job("inner_backward", after, trace.backward(new, incoming, [*of_gates, *words, *sums])),
    ]


def _nodes(graph: Graph, values: Sequence[Any]) -> list[Node]:
    return [graph.add(value, 0.0) for value in values]


def _activations(gates: Sequence[Node], outputs: Sequence[Node], places: dict[Node, Place]) -> list[Output]:
    """List sigmoid(a) or tanh(a) of gates a that are used in no other form: kept in the place of the product."""
    users: dict[Node, list[Node]] = {}
    for node in in_order(outputs):
        for operand in node.operands:
            users.setdefault(operand, []).append(node)
    kept = []
    for gate in gates:
        using = users.get(gate, [])
        if len(using) == 1 and using[0].operation in ("sigmoid", "tanh"):
            product = next(operand for operand in gate.operands if places[operand].array == "gates")
            kept.append(Output(using[0], places[product]))
    return kept


def print_module(composition: "Composition", dtype: str, *, rest: bool) -> str:
    """Print the Python source of a composition's kernels.

    Args:
        composition: The equation.
        dtype: "float32" or "float64".
        rest: Whether the width may leave a rest that fills no vector.
    """
    jobs = _leaf_jobs(composition) + (_sum_jobs(composition) if composition.is_sum else _binary_jobs(composition))
    header = [
        "from numba import njit",
        f"from hfseq.kernels.cells.simd import {', '.join(IMPORTED)}",
        f"LANES = {simd.native_lanes(dtype)}",
        f"load_v, fill_v, spread_v = memory({dtype!r}, LANES)",
        f"load_r, fill_r, _ = memory({dtype!r}, 1)",
    ]
    functions = [
        "@njit(nogil=True, cache=True)\n"
        + Printer(job.places, job.outputs, rest=rest).source(job.name, Arguments._fields)
        for job in jobs
    ]
    return "\n".join(header) + "\n\n\n" + "\n\n\n".join(functions) + "\n"


def kernels_for(composition: "Composition", dtype: str, width: int) -> Kernels:
    """Return the kernels of a composition at this width; numba compiles them at their first call."""
    return _compile(composition, dtype, width % simd.native_lanes(dtype) != 0)


@cache
def _compile(composition: "Composition", dtype: str, rest: bool) -> Kernels:
    module = import_source(print_module(composition, dtype, rest=rest))
    return Kernels(**{name: getattr(module, name, None) for name in Kernels._fields})  # type: ignore[arg-type]

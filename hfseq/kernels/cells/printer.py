"""From a cell's equation to machine code: fused forward and backward kernels for the CPU.

A cell is traced once (`symbols.py`), differentiated, and printed as loops in plain Python over `simd.py`'s vectors;
numba compiles them, and keeps the machine code beside the printed module, so that the next process loads it at once.
Matrix products stay outside, in torch (`sequence.py`).

    forward          gates, states            -> new states
    early            gates, states            -> the vector that a late gate's weights meet
    early_backward   ... and gradients of new states -> gradient of the late gate
    backward         ... and gradient of that vector -> gradients of gates, states, params

A row is H numbers. A mean over it needs all of it before anything behind it, so a row is passed over once more for
each mean on the way (`Node.level`); what several passes need is kept in between, in a scratch row.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from string import Template
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import simd
from .modules import import_source
from .products import product, products_module
from .symbols import Node, in_order
from .traced import Output, Place, Traced

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell


class ForwardAddresses(NamedTuple):
    """The arguments of the forward loops before `rows` and `width`, in this order; of each one value a step.

    They are the addresses of the step's first row in the arrays of `traced.py`, 0 where the cell has no such array;
    `plane` is a distance in elements.
    """

    gates: Iterable[int]
    split: Iterable[int]
    before: Iterable[int]
    params: Iterable[int]
    vector: Iterable[int]
    after: Iterable[int]
    scratch: Iterable[int]
    plane: Iterable[int]


class BackwardAddresses(NamedTuple):
    """The same for the backward loops; `plane` and `d_plane` are distances in elements."""

    gates: Iterable[int]
    split: Iterable[int]
    before: Iterable[int]
    params: Iterable[int]
    d_states: Iterable[int]
    d_output: Iterable[int]
    d_vector: Iterable[int]
    d_gates: Iterable[int]
    d_split: Iterable[int]
    d_params: Iterable[int]
    scratch: Iterable[int]
    plane: Iterable[int]
    d_plane: Iterable[int]


_FORWARD = (*ForwardAddresses._fields, "rows", "width")
_BACKWARD = (*BackwardAddresses._fields, "rows", "width")


class Kernels(NamedTuple):
    """The compiled loops of one cell; `scratch` is how many vectors of width H they keep between passes."""

    forward: Callable[..., None]
    early: Callable[..., None] | None
    early_backward: Callable[..., None] | None
    backward: Callable[..., None]
    sequence: Callable[..., None]
    product: Callable[..., None]
    scratch: int


class Printer:
    """Prints one kernel: passes over each row, each for whole vectors, and for the rest of the row if there is one.

    Names: `v7_v2` is node 7 as a vector in pass 2, `v7_r2` the same in the rest, `v7` one number for the row. Each is
    assigned once, which numba compiles fastest.
    """

    def __init__(self, places: dict[Node, Place], outputs: Sequence[Output], *, rest: bool) -> None:
        self.places, self.outputs = places, outputs
        self.loops = (
            {"v": "range(0, full, LANES)", "r": "range(full, width)"} if rest else {"v": "range(0, width, LANES)"}
        )
        self.last = max(output.node.level for output in outputs)
        needed = in_order(output.node for output in outputs)
        self.means = [node for node in needed if node.operation == "mean"]
        self.names = {node: f"v{i}" for i, node in enumerate(needed)}
        self.first_pass: dict[Node, int] = {}
        self.kept: dict[Node, int] = {}
        self.kept = self._keep()
        self._starts: dict[str, str] = {}

    def _targets(self, level: int) -> list[Node]:
        """List what a pass computes: the arguments of the next means or, in the last pass, the outputs."""
        if level == self.last:
            return [output.node for output in self.outputs]
        return [mean.operands[0] for mean in self.means if mean.level == level + 1]

    def _body(self, level: int) -> list[Node]:
        """List the nodes of a pass in order, down to leaves, numbers of the row and what earlier passes kept."""
        seen: dict[Node, None] = {}

        def visit(node: Node) -> None:
            if node in seen:
                return
            if not (node.uniform or node in self.places or self._loads(node, level)):
                for operand in node.operands:
                    visit(operand)
            seen[node] = None

        for target in self._targets(level):
            visit(target)
        return list(seen)

    def _loads(self, node: Node, level: int) -> bool:
        """Tell whether an earlier pass kept this node."""
        return node in self.kept and self.first_pass[node] < level

    def _keep(self) -> dict[Node, int]:
        """Map the results that several passes need to their slots in the scratch row."""
        passes: dict[Node, int] = {}
        for level in range(self.last + 1):
            for node in self._body(level):
                self.first_pass.setdefault(node, level)
                passes[node] = passes.get(node, 0) + 1
        several = [node for node, count in passes.items() if count > 1]
        self.kept = {node: 0 for node in several if node not in self.places and not node.uniform}
        bodies = [(level, self._body(level)) for level in range(self.last + 1)]
        loaded = dict.fromkeys(node for level, body in bodies for node in body if self._loads(node, level))
        return {node: slot for slot, node in enumerate(loaded)}

    def source(self, name: str, arguments: Iterable[str]) -> str:
        """Print the kernel as a Python function."""
        known: set[Node] = set()
        passes = [line for level in range(self.last + 1) for line in self._pass(level, known)]
        lines = [f"def {name}({', '.join(arguments)}):"]
        if "r" in self.loops:
            lines.append("    full = width - width % LANES")
        if self.means:
            lines.append("    share = fill_r(1.0 / width)")
        lines.append("    for row in range(rows):")
        lines += [f"        {variable} = {start}" for start, variable in self._starts.items()]
        lines += [f"        {line}" for line in passes]
        return "\n".join(lines)

    def _pass(self, level: int, known: set[Node]) -> list[str]:
        """Print one pass; `known` are the numbers of the row that have been computed."""
        body = self._body(level)
        means = [mean for mean in self.means if mean.level == level + 1]
        lines = self._numbers([node for node in body if node.uniform], level, known)
        for kind, loop in self.loops.items():
            lines += [f"sum_{self.names[mean]}_{kind} = fill_{kind}(0.0)" for mean in means]
            lines.append(f"for j{kind}{level} in {loop}:")
            lines += [f"    {line}" for node in body for line in self._statement(node, kind, level)]
            for mean in means:
                value = self._name(mean.operands[0], kind, level)
                lines.append(f"    sum_{self.names[mean]}_{kind} = add(sum_{self.names[mean]}_{kind}, {value})")
            if level == self.last:
                lines += [f"    {self._write(output, kind, level)}" for output in self.outputs]
        for mean in means:
            name = self.names[mean]
            whole = f"total(sum_{name}_v)"
            lines.append(f"{name} = mul({f'add({whole}, sum_{name}_r)' if 'r' in self.loops else whole}, share)")
        return lines

    def _numbers(self, uniform: Sequence[Node], level: int, known: set[Node]) -> list[str]:
        """Print what a pass needs that is one number for the row: computed once, then spread over a vector."""
        lines = []
        for node in in_order(uniform):  # goes below the means too, which earlier passes have done
            if node.uniform and node.operation != "mean" and node not in known:
                lines.append(f"{self.names[node]} = {self._value(node, 'r', level)}")
                known.add(node)
        return lines + [f"{self._name(node, 'v', level)} = spread_v({self.names[node]})" for node in uniform]

    def _name(self, node: Node, kind: str, level: int) -> str:
        return self.names[node] if node.uniform and kind == "r" else f"{self.names[node]}_{kind}{level}"

    def _value(self, node: Node, kind: str, level: int) -> str:
        """Print the expression of a number or an operation."""
        if node.operation == "number":
            return f"fill_{kind}({node.number!r})"
        return f"{node.operation}({', '.join(self._name(operand, kind, level) for operand in node.operands)})"

    def _statement(self, node: Node, kind: str, level: int) -> list[str]:
        name = self._name(node, kind, level)
        if node.uniform:
            return []
        if node in self.places:
            return [f"{name} = load_{kind}({self._at(self.places[node], kind, level)})"]
        if self._loads(node, level):
            return [f"{name} = load_{kind}({self._at(self._slot(node), kind, level)})"]
        lines = [f"{name} = {self._value(node, kind, level)}"]
        if node in self.kept:
            lines.append(f"store({name}, {self._at(self._slot(node), kind, level)})")
        return lines

    def _slot(self, node: Node) -> Place:
        return Place("scratch", f"{self.kept[node]} * width")

    def _at(self, place: Place, kind: str, level: int) -> str:
        """Print array and index of a place; where the row's vector starts is computed once a row."""
        start = self._starts.setdefault(place.start, f"start{len(self._starts)}")
        return f"{place.array}, {start} + j{kind}{level}"

    def _write(self, output: Output, kind: str, level: int) -> str:
        value, place = self._name(output.node, kind, level), self._at(output.place, kind, level)
        if output.accumulate:
            value = f"add({value}, load_{kind}({place}))"
        return f"store({value}, {place})"


IMPORTED = (
    *("add", "div", "exp", "memory", "mul", "relu", "rsqrt", "sigmoid", "store", "sub", "tanh", "total"),
    "where_positive",
)


# The blocks of `sequence`. $gates counts all gates of a cell; $plain and $split those whose recurrent product is added
# to the input's, and kept apart; $last is the number of the late gate; $bytes are those of one element.
_SEQUENCE = Template("""\
def sequence(gates, split, trace, params, vectors, scratch, weight_hh, sizes, first, plane, width):
    before = 0
    now = 0
    for t in range(len(sizes)):
        size = sizes[t]
$products
        forward($addresses)
        before = first + now
        now += size""")
_PLAIN = Template(
    "        add_product(weight_hh, 0, $plain * width, trace, before * width, width, "
    "gates, now * $gates * width, $gates * width, size, width)"
)
_SPLIT = Template(
    "        add_product(weight_hh, $plain * width * width, $split * width, trace, before * width, width, "
    "split, now * $split * width, $split * width, size, width)"
)
_LATE = Template("""\
        early($addresses)
        add_product(weight_hh, $last * width * width, width, vectors, now * width, width, \
gates, now * $gates * width + $last * width, $gates * width, size, width)""")
_ADDRESSES = Template(
    "gates + now * $gates * width * $bytes, split + now * $split * width * $bytes, "
    "trace + before * width * $bytes, params, vectors + now * width * $bytes, "
    "trace + (first + now) * width * $bytes, scratch, plane, size, width"
)


def _sequence(cell: "Cell", item: int) -> str:
    """Print all steps at once, products included: for inference on few rows (`products.py`).

    `split` holds the bias already. The GRU, in float32 (its lines broken here):

        def sequence(gates, split, trace, params, vectors, scratch, weight_hh, sizes, first, plane, width):
            before = 0
            now = 0
            for t in range(len(sizes)):
                size = sizes[t]
                add_product(weight_hh, 0, 2 * width, trace, before * width, width,
                            gates, now * 3 * width, 3 * width, size, width)
                add_product(weight_hh, 2 * width * width, 1 * width, trace, before * width, width,
                            split, now * 1 * width, 1 * width, size, width)
                forward(gates + now * 3 * width * 4, split + now * 1 * width * 4, trace + before * width * 4, params,
                        vectors + now * width * 4, trace + (first + now) * width * 4, scratch, plane, size, width)
                before = first + now
                now += size
    """
    gates, split = len(cell.gates), len(cell.split)
    plain = gates - split - (cell.late is not None)
    words: dict[str, object] = {"gates": gates, "plain": plain, "split": split, "last": gates - 1, "bytes": item}
    words["addresses"] = _ADDRESSES.substitute(words)
    blocks = ((plain, _PLAIN), (split, _SPLIT), (cell.late, _LATE))
    products = "\n".join(block.substitute(words) for there, block in blocks if there)
    return _SEQUENCE.substitute(words, products=products)


def print_module(cell: "Cell", dtype: str, *, rest: bool) -> tuple[str, int]:
    """Print the Python source of a cell's kernels; also return how many vectors of scratch they need.

    Args:
        dtype: "float32" or "float64".
        rest: Whether the width may leave a rest that fills no vector.
    """
    traced = Traced(cell)
    early, early_backward = traced.early_outputs()
    activations = traced.activations()
    kept = [Output(node, place) for node, place in activations.items()]
    backward = traced.backward_outputs()
    before, after = traced.places, traced.places | activations  # what lies in the gates' places
    jobs = [
        ("forward", _FORWARD, before, traced.forward_outputs() + kept),
        ("backward", _BACKWARD, after, backward),
        ("early", _FORWARD, before, early),
        ("early_backward", _BACKWARD, after, early_backward),
    ]
    functions, scratch = [], 0
    for name, arguments, places, outputs in jobs:
        if not outputs:
            continue
        printer = Printer(places, outputs, rest=rest)
        scratch = max(scratch, len(printer.kept))
        functions.append("@njit(nogil=True, cache=True)\n" + printer.source(name, arguments))
    functions.append("@njit(nogil=True, cache=True)\n" + _sequence(cell, np.dtype(dtype).itemsize))
    header = [
        "from numba import njit",
        f"from hfseq.kernels.cells.simd import {', '.join(IMPORTED)}",
        f"from {products_module(dtype)} import add_product",
        f"LANES = {simd.native_lanes(dtype)}",
        f"load_v, fill_v, spread_v = memory({dtype!r}, LANES)",
        f"load_r, fill_r, _ = memory({dtype!r}, 1)",
    ]
    return "\n".join(header) + "\n\n\n" + "\n\n\n".join(functions) + "\n", scratch


def kernels_for(cell: "Cell", dtype: str, width: int) -> Kernels:
    """Return the kernels of a cell for states of this width; numba compiles them at their first call."""
    return _compile(cell, dtype, width % simd.native_lanes(dtype) != 0)


@cache
def _compile(cell: "Cell", dtype: str, rest: bool) -> Kernels:
    source, scratch = print_module(cell, dtype, rest=rest)
    module = import_source(source)
    return Kernels(
        forward=module.forward,
        early=getattr(module, "early", None),
        early_backward=getattr(module, "early_backward", None),
        backward=module.backward,
        sequence=module.sequence,
        product=product(dtype),
        scratch=scratch,
    )

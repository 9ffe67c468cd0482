"""A cell's equation as Triton source, for `gpu.py`: what `printer.py` prints for numba, from the same graph.

    forward, backward, early, early_backward    one step between two products, as in `printer.py`
    persistent_forward, persistent_backward     all steps of a few rows, the recurrent products included

A program holds whole rows, padded to a power of two, so that a mean is one sum and everything is computed once. Its
values are blocks of (ROWS or 1, BLOCK or 1). `inside` leaves out the padding, `keep` also the rows that have ended.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from .symbols import Node, in_order
from .traced import Output, Place, Traced

if TYPE_CHECKING:
    from ...models.recurrent.cells import Cell

_EXPRESSIONS = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "sigmoid": "tl.sigmoid({})",
    "tanh": "2 * tl.sigmoid(2 * {}) - 1",
    "relu": "tl.where({0} < 0, 0.0, {0})",
    "exp": "tl.exp({})",
    "rsqrt": "tl.rsqrt({})",
    "where_positive": "tl.where({} > 0, {}, 0.0)",
    "mean": "tl.sum(tl.where(inside, {}, 0.0), 1, keep_dims=True) / width",
}

_STEP = "@triton.jit(do_not_specialize=['now', 'start', 'first', 'size'])"  # else some steps would compile anew
_KEPT = "all_gates, all_split, all_vectors, trace, params"
_GRADIENTS = "all_d_outputs, d_states, all_d_gates, all_d_split, d_params"
_SCHEDULE = "lengths, offsets, starts, first"

_ROWS = """
program = tl.program_id(0)
row = program * ROWS + tl.arange(0, ROWS)[:, None]
j = tl.arange(0, BLOCK)[None, :]
inside = j < width
"""
_ALIVE = """
now, start = tl.cast(now, tl.int64), tl.cast(start, tl.int64)
keep = (row < size) & inside
"""
_ALL_ROWS = """
i = tl.arange(0, BLOCK)[:, None]
square = (i < width) & inside
length = tl.load(lengths + row, mask=row < first, other=0)
exists = (row < first) & inside
steps = tl.load(lengths + program * ROWS)
"""
_ALIVE_AT_T = """
now, start = tl.load(offsets + t), tl.load(starts + t)
keep = (length > t) & inside
"""
_PLACES = """
gates, split = all_gates + now * ({gates} * width), all_split + now * ({split} * width)
before = trace + start * width
"""
_FORWARD_PLACES = """
after = trace + (first + now) * width
vector = all_vectors + now * width
"""
_BACKWARD_PLACES = """
d_gates, d_split = all_d_gates + now * ({gates} * width), all_d_split + now * ({split} * width)
d_output = all_d_outputs + now * width
"""


def print_triton(cell: "Cell", dtype: str) -> str:
    """Print the source of all kernels of a cell."""
    traced = Traced(cell)
    backward = traced.backward_outputs()
    kernels = [
        _StepWriter(traced, dtype).forward("forward", traced.forward_outputs()),
        _StepWriter(traced, dtype).backward("backward", backward),
        _PersistentWriter(traced, dtype).forward(traced.forward_outputs()),
        _PersistentWriter(traced, dtype).backward(backward),
    ]
    early, early_backward = traced.early_outputs()
    if early:
        kernels.append(_StepWriter(traced, dtype).forward("early", early))
        kernels.append(_StepWriter(traced, dtype).backward("early_backward", early_backward))
    return "\n\n\n".join(["import triton\nimport triton.language as tl", *kernels])


@cache
def has_mean(cell: "Cell") -> bool:
    """Tell whether the equation takes a mean over the row."""
    return any(node.operation == "mean" for node in in_order(Traced(cell).new_states))


class _Writer:
    """Writes one kernel; a node becomes a variable when a line first needs it."""

    def __init__(self, traced: Traced, dtype: str) -> None:
        self.traced, self.dtype = traced, dtype
        self.names: dict[Node, str] = {}
        self.lines: list[str] = []
        self.indent = "    "

    def write(self, *texts: str) -> None:
        """Add lines at the current depth."""
        self.lines += [self.indent + line for text in texts for line in text.strip("\n").splitlines()]

    def value(self, node: Node) -> str:
        """Return the variable that holds this node from here on."""
        if node not in self.names:
            operands = [self.value(operand) for operand in node.operands]
            name = f"v{len(self.names)}"
            self.write(f"{name} = {self._expression(node, operands)}")
            self.names[node] = name
        return self.names[node]

    def _expression(self, node: Node, operands: Sequence[str]) -> str:
        if node.operation == "number":
            return f"tl.full((1, 1), {node.number!r}, tl.{self.dtype})"
        if node.operation == "input":
            return self.load(node)
        return _EXPRESSIONS[node.operation].format(*operands)

    def load(self, node: Node, mask: str = "keep") -> str:
        """Print how an input is read from its place."""
        array, start = self.traced.places[node]
        mask = "inside" if array == "params" else mask
        return f"tl.load({array} + {start} + j, mask={mask}, other=0.0)"

    def store(self, place: Place, value: str, mask: str = "keep") -> None:
        """Write to a place."""
        self.write(f"tl.store({place.array} + {place.start} + j, {value}, mask={mask})")

    def places(self, *texts: str) -> None:
        """Write where this step's rows begin in each array."""
        counts = {"gates": len(self.traced.gates), "split": len(self.traced.split)}
        self.write(*(text.format(**counts) for text in (_PLACES, *texts)))

    def share(self, output: Output) -> Place:
        """Return where a program keeps its own part of a param's gradient."""
        return Place("d_params", f"program * ({len(self.traced.params)} * width) + {output.place.start}")

    def function(self, head: str, name: str, arguments: str, options: str = "") -> str:
        """Print the whole kernel."""
        sizes = "width, ROWS: tl.constexpr, BLOCK: tl.constexpr"
        return "\n".join([head, f"def {name}({arguments}, {sizes}{options}):", *self.lines])


def _over_rows(value: str) -> str:
    return f"tl.sum(tl.where(keep, {value}, 0.0), 0, keep_dims=True)"


class _StepWriter(_Writer):
    """One step: between products, everything for the rows alive."""

    def forward(self, name: str, outputs: Sequence[Output]) -> str:
        """Print the kernel of new states, or of the vector that the late gate's weights meet."""
        self.write(_ROWS, _ALIVE)
        self.places(_FORWARD_PLACES)
        for output in outputs:
            self.store(output.place, self.value(output.node))
        return self.function(_STEP, name, f"{_KEPT}, now, start, first, size, plane")

    def backward(self, name: str, outputs: Sequence[Output]) -> str:
        """Print the kernel of all gradients, or of the late gate's alone."""
        self.write(_ROWS, _ALIVE)
        self.places(_BACKWARD_PLACES)
        values = [self.value(output.node) for output in outputs]  # all, before the states' gradients are overwritten
        for output, value in zip(outputs, values, strict=True):
            if output.accumulate:
                place = self.share(output)
                so_far = f"tl.load({place.array} + {place.start} + j, mask=inside, other=0.0)"
                self.store(place, f"{so_far} + {_over_rows(value)}", mask="inside")
            else:
                self.store(output.place, value)
        return self.function(_STEP, name, f"{_KEPT}, {_GRADIENTS}, d_vector, now, start, size, plane, d_plane")


class _PersistentWriter(_Writer):
    """All steps of a few rows; the products, and what crosses steps stays in the program."""

    def __init__(self, traced: Traced, dtype: str) -> None:
        super().__init__(traced, dtype)
        self.plain = len(traced.gates) - len(traced.split) - (traced.late is not None)
        self.last = len(traced.gates) - 1

    def forward(self, outputs: Sequence[Output]) -> str:
        """Print the kernel that carries states s0, s1, ... from step to step."""
        traced = self.traced
        self._start("{} * width * width + j * width + i")
        for k, node in enumerate(traced.states):
            self.names[node] = f"s{k}"
            self.write(f"s{k} = tl.load(trace + {k} * plane + row * width + j, mask=exists, other=0.0)")
        self._loop("for t in range(steps):")
        self.places(_FORWARD_PLACES)
        for k, gate in enumerate(traced.gates[: self.plain]):
            self._keep_whole(gate, f"{self.load(gate)} + {_product('s0', k)}")
        for k, own in enumerate(traced.split):
            bias = f"tl.load(bias_hh + {k} * width + j, mask=inside, other=0.0)"
            self._keep_whole(own, _product("s0", self.plain + k), f"if bias_hh is not None:\n    {{}} += {bias}")
        if traced.late is not None and traced.vector is not None:
            self.write(f"met = tl.where(keep, {self.value(traced.vector)}, 0.0)")
            self.store(Place("vector", "row * width"), "met")
            self._keep_whole(traced.late, f"{self.load(traced.late)} + {_product('met', self.last)}")
        values = [self.value(output.node) for output in outputs]
        for k, output in enumerate(outputs):
            self.store(output.place, values[k])
            self.write(f"s{k} = tl.where(keep, {values[k]}, 0.0)")
        return self._function("persistent_forward", f"{_KEPT}, weight_hh, bias_hh, {_SCHEDULE}, plane")

    def backward(self, outputs: Sequence[Output]) -> str:
        """Print the kernel that carries the states' gradients d0, d1, ... back and sums the params' p0, p1, ..."""
        traced = self.traced
        self._start("{} * width * width + i * width + j")
        incoming = [node for node, place in traced.places.items() if place.array == "d_states"]
        for k, node in enumerate(incoming):
            self.names[node] = f"d{k}"
            self.write(f"d{k} = {self.load(node, mask='exists')}")
        self.write(*(f"p{k} = tl.zeros((1, BLOCK), tl.{self.dtype})" for k in range(len(traced.params))))
        self._loop("for step in range(steps):\n    t = steps - 1 - step")
        self.places(_BACKWARD_PLACES)
        if traced.late is not None:
            _, (late,) = traced.early_outputs()
            self.write(f"late = tl.where(keep, {self.value(late.node)}, 0.0)")
            self.store(late.place, "late")
            (vector,) = (node for node, place in traced.places.items() if place.array == "d_vector")
            self.names[vector] = "d_met"
            self.write(f"d_met = {_product('late', self.last)}")
        self._hand_back(outputs)
        self.indent = "    "
        for k, node in enumerate(incoming):
            self.store(traced.places[node], f"d{k}", mask="exists")
        for k, output in enumerate(output for output in outputs if output.accumulate):
            self.store(self.share(output), f"p{k}", mask="inside")
        return self._function("persistent_backward", f"{_KEPT}, {_GRADIENTS}, weight_hh, {_SCHEDULE}, plane, d_plane")

    def _start(self, weight: str) -> None:
        """Write what a program reads once: weights and params."""
        self.write(_ROWS, _ALL_ROWS)
        for k in range(len(self.traced.gates)):
            self.write(f"w{k} = tl.load(weight_hh + {weight.format(k)}, mask=square, other=0.0)")
        for node in self.traced.params:
            self.value(node)

    def _loop(self, head: str) -> None:
        self.write(head)
        self.indent = "        "
        self.write(_ALIVE_AT_T)

    def _keep_whole(self, gate: Node, value: str, then: str = "") -> None:
        """Write a gate with its recurrent product, and keep it for backward."""
        name = self.names[gate] = f"v{len(self.names)}"
        self.write(f"{name} = {value}", then.format(name))
        self.store(self.traced.places[gate], name)

    def _hand_back(self, outputs: Sequence[Output]) -> None:
        """Store the gates' gradients, add up the params', and take the states' one step back."""
        values = [self.value(output.node) for output in outputs]
        by_array: dict[str, list[tuple[Place, str]]] = {"d_gates": [], "d_split": [], "d_states": [], "d_params": []}
        for output, value in zip(outputs, values, strict=True):
            by_array[output.place.array].append((output.place, value))
        met = []
        for array, weight, count in (("d_gates", 0, self.plain), ("d_split", self.plain, self.last + 1)):
            for k, (place, value) in enumerate(by_array[array]):
                self.write(f"{array}_{k} = tl.where(keep, {value}, 0.0)")
                self.store(place, f"{array}_{k}")
                met += [_product(f"{array}_{k}", weight + k)] if k < count else []
        for k, (_, value) in enumerate(by_array["d_params"]):
            self.write(f"p{k} += {_over_rows(value)}")
        for k, (_, value) in enumerate(by_array["d_states"]):
            self.write(f"d{k} = tl.where(keep, {' + '.join([value, *met] if k == 0 else [value])}, d{k})")

    def _function(self, name: str, arguments: str) -> str:
        return self.function("@triton.jit", name, arguments, ", PRECISION: tl.constexpr")


def _product(value: str, gate: int) -> str:
    return f"tl.dot({value}.to(w{gate}.dtype), w{gate}, input_precision=PRECISION)"

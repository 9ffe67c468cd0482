"""Operations on rows of one fixed width, unrolled: what the word2vec loops (`loops.py`) are made of.

A row is `dimension` numbers, padded with zeros to whole registers. Rows are named by their addresses, for they lie
anywhere in the two matrices; a list of rows is a list of addresses. Every operation keeps one row's sums in registers
and touches memory once, which a loop over numpy arrays would not. Nothing checks bounds or addresses: the caller does.

`row_operations(dimension, shared)` makes the operations for one width, as numba intrinsics: LLVM vector code that is
lowered to AVX-512, AVX2 or NEON on the spot.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..cells.simd import Vector, broadcast, intrinsic_call, native_lanes, sigmoid_value

ROW_MULTIPLE = 16  # floats: a row begins and ends with a cache line, and with a register of any CPU
_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()
_AT_ONCE = 10  # sums of one row kept in registers together; the rest of the 16 are for what is added


class RowOperations(NamedTuple):
    """The operations on rows of one width. Addresses and counts are int64, rates float32."""

    copy: Callable[..., None]
    """copy(target, source)"""
    fetch: Callable[..., None]
    """fetch(row): into the cache, ahead of its use."""
    mean: Callable[..., None]
    """mean(target, rows, count, share): target = share * sum of the listed rows."""
    dot: Callable[..., None]
    """dot(vector, row, score): score = vector . row."""
    dots: Callable[..., None]
    """dots(vector, rows, count, scores): scores[j] = vector . rows[j]; reads one row more if the count is odd."""
    product: Callable[..., None]
    """product(vectors, columns, scores): `rows_at_once` rows of vectors times a (dimension, shared) matrix."""
    gradients: Callable[..., None]
    """gradients(scores, labels, count, rate): scores = (labels - sigmoid(scores)) * rate, in whole registers."""
    row_gradients: Callable[..., None]
    """The same for one row of a score matrix, whose width may be less than a register."""
    accumulate: Callable[..., None]
    """accumulate(target, weights, stride, matrix, count): target += sum of weights[i * stride] * matrix[i]."""
    both: Callable[..., None]
    """both(target, weights, matrix, list_weights, rows, count): target += sum over the `shared` rows of a matrix and
    over the listed rows, each with its weight."""
    both_anew: Callable[..., None]
    """The same, but target = ..."""
    listed_anew: Callable[..., None]
    """listed_anew(target, weights, rows, count): target = sum of weights[j] * rows[j]."""
    spread: Callable[..., None]
    """spread(vector, weights, rows, count): rows[j] += weights[j] * vector."""
    add: Callable[..., None]
    """add(vector, rows, count): rows[j] += vector."""
    rows_at_once: int
    """How many rows `product` does; blocks are whole multiples of it."""


def padded(dimension: int) -> int:
    """Return the width of a row in memory."""
    return -(-dimension // ROW_MULTIPLE) * ROW_MULTIPLE


class _Emitter:
    """Writes LLVM code for rows. The methods from `copy` on are the operations, as `RowOperations` tells them."""

    def __init__(self, builder: ir.IRBuilder, vector: Vector, dimension: int, shared: int) -> None:
        self.builder, self.vector, self.bytes = builder, vector, 4 * vector.lanes
        self.dimension, self.shared = dimension, shared
        self.row_bytes, self.parts = 4 * padded(dimension), range(padded(dimension) // vector.lanes)

    def at(self, address: ir.Value, offset: int | ir.Value) -> ir.Value:
        return self.builder.add(address, _INDEX(offset) if isinstance(offset, int) else offset)

    def times(self, index: ir.Value, size: int | ir.Value) -> ir.Value:
        return self.builder.mul(index, _INDEX(size) if isinstance(size, int) else size)

    def part(self, row: ir.Value, index: int) -> ir.Value:
        return self.at(row, index * self.bytes)

    def _pointer(self, address: ir.Value) -> ir.Value:
        return self.builder.inttoptr(address, ir.PointerType())

    def load(self, address: ir.Value) -> ir.Value:
        return self.builder.load(self._pointer(address), align=4, typ=self.vector.llvm)

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, self._pointer(address), align=4)

    def number(self, address: ir.Value) -> ir.Value:
        """Load the float at an address into every lane."""
        return broadcast(self.builder, self.vector, self.builder.load(self._pointer(address), align=4, typ=_FLOAT))

    def listed(self, rows: ir.Value, index: ir.Value) -> ir.Value:
        """Load the address of a listed row."""
        return self.builder.load(self._pointer(self.at(rows, self.times(index, 8))), align=8, typ=_INDEX)

    def held(self, row: ir.Value, most: int) -> Callable[[int], ir.Value]:
        """Load the parts of a row into registers; if they are more than `most`, read each where it is used."""
        if len(self.parts) > most:
            return lambda part: self.load(self.part(row, part))
        return [self.load(self.part(row, part)) for part in self.parts].__getitem__

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return intrinsic_call(self.builder, "fma", self.vector, x, y, z)

    def total(self, value: ir.Value) -> ir.Value:
        """Sum the lanes."""
        name = f"llvm.vector.reduce.fadd.v{self.vector.lanes}f32"
        kind = ir.FunctionType(_FLOAT, [_FLOAT, self.vector.llvm])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, [ir.Constant(_FLOAT, 0.0), value], fastmath=("reassoc",))

    @contextmanager
    def loop(self, count: ir.Value | int, step: int = 1) -> Iterator[ir.Value]:
        """Loop over the code inside: for index in range(0, count, step)."""
        stop = _INDEX(count) if isinstance(count, int) else count
        with cgutils.for_range_slice(self.builder, _INDEX(0), stop, _INDEX(step), intp=_INDEX) as (index, _):
            yield index

    def chunks(self) -> list[Sequence[int]]:
        """Split the registers of a row into groups that fit into the CPU together."""
        return [self.parts[start : start + _AT_ONCE] for start in range(0, len(self.parts), _AT_ONCE)]

    def copy(self, target: ir.Value, source: ir.Value) -> None:
        for part in self.parts:
            self.store(self.load(self.part(source, part)), self.part(target, part))

    def fetch(self, row: ir.Value) -> None:
        kinds = [ir.IntType(32)(number) for number in (0, 3, 1)]  # to read, keep near, data
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), *[ir.IntType(32)] * 3])
        name = "llvm.prefetch.p0"
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        for start in range(0, self.row_bytes, 64):
            self.builder.call(function, [self._pointer(self.at(row, start)), *kinds])

    def mean(self, target: ir.Value, rows: ir.Value, count: ir.Value, share: ir.Value) -> None:
        factor = broadcast(self.builder, self.vector, share)
        for chunk in self.chunks():
            sums = _Sums(self, len(chunk))
            with self.loop(count) as index:
                row = self.listed(rows, index)
                for number, part in enumerate(chunk):
                    sums.add(number, self.load(self.part(row, part)))
            for number, part in enumerate(chunk):
                self.store(self.builder.fmul(sums.value(number), factor), self.part(target, part))

    def dot(self, vector: ir.Value, row: ir.Value, score: ir.Value) -> None:
        sums: list[ir.Value | None] = [None, None]
        for part in self.parts:
            x, y, before = self.load(self.part(vector, part)), self.load(self.part(row, part)), sums[part % 2]
            sums[part % 2] = self.builder.fmul(x, y) if before is None else self.fma(x, y, before)
        whole = sums[0] if sums[1] is None else self.builder.fadd(sums[0], sums[1])
        self.builder.store(self.total(whole), self._pointer(score), align=4)

    def dots(self, vector: ir.Value, rows: ir.Value, count: ir.Value, scores: ir.Value) -> None:
        mine = self.held(vector, _AT_ONCE)
        with self.loop(count, 2) as index:
            pair = [self.listed(rows, self.at(index, which)) for which in (0, 1)]
            # Two rows, and even and odd registers of each, are four sums that do not wait for one another.
            sums: list[ir.Value | None] = [None] * 4
            for part in self.parts:
                own = mine(part)
                for which, row in enumerate(pair):
                    number, other = 2 * which + part % 2, self.load(self.part(row, part))
                    before = sums[number]
                    sums[number] = self.builder.fmul(own, other) if before is None else self.fma(own, other, before)
            for which in (0, 1):
                even, odd = sums[2 * which], sums[2 * which + 1]
                whole = even if odd is None else self.builder.fadd(even, odd)
                place = self.at(scores, self.times(self.at(index, which), 4))
                self.builder.store(self.total(whole), self._pointer(place), align=4)

    def product(self, vectors: ir.Value, matrix: ir.Value, scores: ir.Value) -> None:
        rows, columns = _rows_at_once(self.shared), self.shared // self.vector.lanes
        sums = _Sums(self, rows * columns)
        with self.loop(self.dimension) as index:
            line = self.at(matrix, self.times(index, 4 * self.shared))
            factors = [self.load(self.part(line, column)) for column in range(columns)]
            element = self.at(vectors, self.times(index, 4))
            for row in range(rows):
                number = self.number(self.at(element, row * self.row_bytes))
                for column, factor in enumerate(factors):
                    sums.add_product(row * columns + column, number, factor)
        for place in range(rows * columns):
            self.store(sums.value(place), self.part(scores, place))

    def gradients(self, scores: ir.Value, labels: ir.Value, count: ir.Value, rate: ir.Value) -> None:
        factor = broadcast(self.builder, self.vector, rate)
        with self.loop(count, self.vector.lanes) as index:
            offset = self.times(index, 4)
            place = self.at(scores, offset)
            probability = sigmoid_value(self.builder, self.vector, self.load(place))
            error = self.builder.fsub(self.load(self.at(labels, offset)), probability)
            self.store(self.builder.fmul(error, factor), place)

    row_gradients = gradients

    def accumulate(
        self, target: ir.Value, weights: ir.Value, stride: ir.Value, matrix: ir.Value, count: ir.Value
    ) -> None:
        self._add_weighted(target, [(weights, stride, matrix, None, count)], anew=False)

    def both(
        self, target: ir.Value, weights: ir.Value, matrix: ir.Value, more: ir.Value, rows: ir.Value, count: ir.Value
    ) -> None:
        self._add_weighted(target, self._dense_and_listed(weights, matrix, more, rows, count), anew=False)

    def both_anew(
        self, target: ir.Value, weights: ir.Value, matrix: ir.Value, more: ir.Value, rows: ir.Value, count: ir.Value
    ) -> None:
        self._add_weighted(target, self._dense_and_listed(weights, matrix, more, rows, count), anew=True)

    def listed_anew(self, target: ir.Value, weights: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        self._add_weighted(target, [(weights, _INDEX(1), None, rows, count)], anew=True)

    def spread(self, vector: ir.Value, weights: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        # Twenty registers for a row are many for a CPU with 16, but those it spills stay in the nearest cache.
        mine = self.held(vector, 20)
        with self.loop(count) as index:
            weight = self.number(self.at(weights, self.times(index, 4)))
            row = self.listed(rows, index)
            for part in self.parts:
                place = self.part(row, part)
                self.store(self.fma(weight, mine(part), self.load(place)), place)

    def add(self, vector: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        with self.loop(count) as index:
            row = self.listed(rows, index)
            for part in self.parts:
                place = self.part(row, part)
                self.store(self.builder.fadd(self.load(self.part(vector, part)), self.load(place)), place)

    def _dense_and_listed(
        self, weights: ir.Value, matrix: ir.Value, more: ir.Value, rows: ir.Value, count: ir.Value
    ) -> "list[_Term]":
        return [(weights, _INDEX(1), matrix, None, _INDEX(self.shared)), (more, _INDEX(1), None, rows, count)]

    def _add_weighted(self, target: ir.Value, terms: "Sequence[_Term]", *, anew: bool) -> None:
        """Sum weights[i * stride] * row i, where the rows are those of a matrix or of a list."""
        for chunk in self.chunks():
            sums = _Sums(self, len(chunk))
            for weights, stride, matrix, rows, count in terms:
                with self.loop(count) as index:
                    weight = self.number(self.at(weights, self.times(self.times(index, stride), 4)))
                    if matrix is None:
                        row = self.listed(rows, index)
                    else:
                        row = self.at(matrix, self.times(index, self.row_bytes))
                    for number, part in enumerate(chunk):
                        sums.add_product(number, weight, self.load(self.part(row, part)))
            for number, part in enumerate(chunk):
                place, value = self.part(target, part), sums.value(number)
                self.store(value if anew else self.builder.fadd(self.load(place), value), place)


# Weights, their stride, then a matrix or a list of rows, and how many rows.
_Term: TypeAlias = tuple[ir.Value, ir.Value, ir.Value | None, ir.Value | None, ir.Value]


class _Sums:
    """Registers that a loop adds to."""

    def __init__(self, emitter: _Emitter, count: int) -> None:
        self.emitter = emitter
        self.places = [cgutils.alloca_once(emitter.builder, emitter.vector.llvm) for _ in range(count)]
        for place in self.places:
            emitter.builder.store(emitter.vector.constant(0.0), place)

    def add_product(self, index: int, x: ir.Value, y: ir.Value) -> None:
        self.emitter.builder.store(self.emitter.fma(x, y, self.value(index)), self.places[index])

    def add(self, index: int, x: ir.Value) -> None:
        self.emitter.builder.store(self.emitter.builder.fadd(x, self.value(index)), self.places[index])

    def value(self, index: int) -> ir.Value:
        return self.emitter.builder.load(self.places[index], typ=self.emitter.vector.llvm)


# Operation -> its arguments: addresses and counts "a", rates "r".
_SIGNATURES = {
    "copy": "aa",
    "fetch": "a",
    "mean": "aaar",
    "dot": "aaa",
    "dots": "aaaa",
    "product": "aaa",
    "gradients": "aaar",
    "row_gradients": "aaar",
    "accumulate": "aaaaa",
    "both": "aaaaaa",
    "both_anew": "aaaaaa",
    "listed_anew": "aaaa",
    "spread": "aaaa",
    "add": "aaa",
}
_ON_SCORES = ("product", "row_gradients")  # work on registers of the scores' width


def _rows_at_once(shared: int) -> int:
    """Choose the rows of a product: their sums take half of the registers, of which AVX-512 has 32, others 16."""
    lanes = native_lanes("float32")
    return max(1, (16 if lanes == 16 else 8) * min(lanes, shared) // shared)


def row_operations(dimension: int, shared: int) -> RowOperations:
    """Make the operations for one width.

    Args:
        dimension: Numbers in a row.
        shared: Width of the score matrix of `product`, and rows of the matrix of `both`: a power of two.
    """
    lanes = native_lanes("float32")

    def make(name: str, signature: str) -> Callable[..., None]:
        vector = Vector("float32", min(lanes, shared) if name in _ON_SCORES else lanes)
        return _intrinsic(name, signature, vector, dimension, shared)

    made = {name: make(name, signature) for name, signature in _SIGNATURES.items()}
    return RowOperations(**made, rows_at_once=_rows_at_once(shared))


def _intrinsic(name: str, signature: str, vector: Vector, dimension: int, shared: int) -> Callable[..., None]:
    """Make a function for numba's code whose machine code is what the emitter's method writes."""
    kinds = [types.int64 if letter == "a" else types.float32 for letter in signature]
    names = ", ".join(f"x{i}" for i in range(len(signature)))

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        getattr(_Emitter(builder, vector, dimension, shared), name)(*arguments)
        return context.get_dummy_value()

    scope: dict[str, Any] = {"result": (types.void(*kinds), generate)}
    exec(f"def function(context, {names}):\n    return result\n", scope)  # numba reads the argument names
    return intrinsic(scope["function"])

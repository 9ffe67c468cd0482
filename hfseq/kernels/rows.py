"""Operations on rows of one fixed width, unrolled: what the word2vec loops (`word2vec_loops.py`) are made of.

A row is `dimension` numbers, padded with zeros to whole registers. Rows are named by their addresses, for they lie
anywhere in the two matrices; a list of rows is a list of addresses. Every operation keeps one row's sums in registers
and touches memory once, which a loop over numpy arrays would not. Nothing checks bounds or addresses: the caller does.

`row_operations(dimension, shared)` makes the operations for one width, as numba intrinsics: LLVM vector code that is
lowered to AVX-512, AVX2 or NEON on the spot.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .simd import Vector, broadcast, intrinsic_call, native_lanes, sigmoid_value

ROW_MULTIPLE = 16  # floats: a row begins and ends with a cache line, and with a register of any CPU
_INDEX, _BYTE, _FLOAT = ir.IntType(64), ir.IntType(8), ir.FloatType()
_AT_ONCE = 10  # sums of one row kept in registers together; the rest of the 16 are for what is added


class RowOperations(NamedTuple):
    """The operations on rows of one width. Addresses and counts are int64, rates float32."""

    copy: Callable[..., None]
    """copy(target, source)"""
    fetch: Callable[..., None]
    """fetch(row): into the cache, ahead of its use."""
    mean: Callable[..., None]
    """mean(target, rows, count, share): target = share * sum of the listed rows."""
    dots: Callable[..., None]
    """dots(vector, rows, count, scores): scores[j] = vector . rows[j]; reads one row more if the count is odd."""
    product: Callable[..., None]
    """product(vectors, columns, scores): `rows_at_once` rows of vectors times a (dimension, shared) matrix."""
    gradients: Callable[..., None]
    """gradients(scores, labels, count, rate): scores = (labels - sigmoid(scores)) * rate, in whole registers."""
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
    """Width of a row in memory."""
    return -(-dimension // ROW_MULTIPLE) * ROW_MULTIPLE


class _Emitter:
    """Writes LLVM code for rows; `parts` are the registers of a row."""

    def __init__(self, builder: ir.IRBuilder, vector: Vector, width: int) -> None:
        self.builder, self.vector, self.bytes = builder, vector, 4 * vector.lanes
        self.row_bytes, self.parts = 4 * width, range(width // vector.lanes)

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
        """The float at an address, in every lane."""
        return broadcast(self.builder, self.vector, self.builder.load(self._pointer(address), align=4, typ=_FLOAT))

    def address(self, rows: ir.Value, index: ir.Value) -> ir.Value:
        """The address of a listed row."""
        return self.builder.load(self._pointer(self.at(rows, self.times(index, 8))), align=8, typ=_INDEX)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        return intrinsic_call(self.builder, "fma", self.vector, x, y, z)

    def zero(self) -> ir.Value:
        return self.vector.constant(0.0)

    def total(self, value: ir.Value) -> ir.Value:
        """Sum over the lanes."""
        name = f"llvm.vector.reduce.fadd.v{self.vector.lanes}f32"
        function = self.builder.module.globals.get(name) or ir.Function(
            self.builder.module, ir.FunctionType(_FLOAT, [_FLOAT, self.vector.llvm]), name
        )
        return self.builder.call(function, [ir.Constant(_FLOAT, 0.0), value], fastmath=("reassoc",))

    def store_number(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, self._pointer(address), align=4)

    def prefetch(self, address: ir.Value) -> None:
        kinds = [ir.IntType(32)(number) for number in (0, 3, 1)]  # to read, keep near, data
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), *[ir.IntType(32)] * 3])
        name = "llvm.prefetch.p0"
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        self.builder.call(function, [self._pointer(address), *kinds])

    @contextmanager
    def loop(self, count: ir.Value | int, step: int = 1) -> Iterator[ir.Value]:
        """for index in range(0, count, step)"""
        stop = _INDEX(count) if isinstance(count, int) else count
        with cgutils.for_range_slice(self.builder, _INDEX(0), stop, _INDEX(step), intp=_INDEX) as (index, _):
            yield index

    def sums(self, count: int) -> "_Sums":
        return _Sums(self, count)

    def chunks(self) -> list[Sequence[int]]:
        """The registers of a row, in groups that fit into the CPU together."""
        return [self.parts[start : start + _AT_ONCE] for start in range(0, len(self.parts), _AT_ONCE)]


class _Sums:
    """Registers that a loop adds to."""

    def __init__(self, emitter: _Emitter, count: int) -> None:
        self.emitter = emitter
        self.places = [cgutils.alloca_once(emitter.builder, emitter.vector.llvm) for _ in range(count)]
        for place in self.places:
            emitter.builder.store(emitter.zero(), place)

    def add_product(self, index: int, x: ir.Value, y: ir.Value) -> None:
        self.emitter.builder.store(self.emitter.fma(x, y, self.value(index)), self.places[index])

    def add(self, index: int, x: ir.Value) -> None:
        self.emitter.builder.store(self.emitter.builder.fadd(x, self.value(index)), self.places[index])

    def value(self, index: int) -> ir.Value:
        return self.emitter.builder.load(self.places[index], typ=self.emitter.vector.llvm)


def _operation(vector: Vector, width: int, signature: str, emit: Callable[..., None]) -> Callable[..., None]:
    """An intrinsic of addresses ("a") and rates ("r") from a function that writes its code."""
    kinds = [types.int64 if letter == "a" else types.float32 for letter in signature]
    names = ", ".join(f"x{i}" for i in range(len(signature)))

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> Any:
        emit(_Emitter(builder, vector, width), *arguments)
        return context.get_dummy_value()

    scope: dict[str, Any] = {"result": (types.void(*kinds), generate)}
    exec(f"def function(context, {names}):\n    return result\n", scope)  # numba reads the argument names
    return intrinsic(scope["function"])


def row_operations(dimension: int, shared: int) -> RowOperations:
    """Make the operations.

    Args:
        dimension: Numbers in a row.
        shared: Width of the score matrix of `product`, and rows of the matrix of `both`: a power of two.
    """
    vector = Vector("float32", native_lanes("float32"))
    scores_vector = Vector("float32", min(vector.lanes, shared))
    width, columns = padded(dimension), shared // scores_vector.lanes
    # AVX-512 and NEON have 32 registers, others 16: half of them for sums.
    rows_at_once = max(1, (16 if vector.lanes == 16 else 8) // columns)

    def copy(emit: _Emitter, target: ir.Value, source: ir.Value) -> None:
        for part in emit.parts:
            emit.store(emit.load(emit.part(source, part)), emit.part(target, part))

    def fetch(emit: _Emitter, row: ir.Value) -> None:
        for start in range(0, emit.row_bytes, 64):
            emit.prefetch(emit.at(row, start))

    def mean(emit: _Emitter, target: ir.Value, rows: ir.Value, count: ir.Value, share: ir.Value) -> None:
        factor = broadcast(emit.builder, vector, share)
        for chunk in emit.chunks():
            sums = emit.sums(len(chunk))
            with emit.loop(count) as index:
                row = emit.address(rows, index)
                for number, part in enumerate(chunk):
                    sums.add(number, emit.load(emit.part(row, part)))
            for number, part in enumerate(chunk):
                emit.store(emit.builder.fmul(sums.value(number), factor), emit.part(target, part))

    def dots(emit: _Emitter, vector_: ir.Value, rows: ir.Value, count: ir.Value, scores: ir.Value) -> None:
        held = [emit.load(emit.part(vector_, part)) for part in emit.parts] if len(emit.parts) <= _AT_ONCE else None
        with emit.loop(count, 2) as index:
            pair = [emit.address(rows, emit.at(index, which)) for which in (0, 1)]
            # Two rows, and even and odd registers of each, are four sums that do not wait for one another.
            sums: list[ir.Value | None] = [None] * 4
            for part in emit.parts:
                mine = held[part] if held else emit.load(emit.part(vector_, part))
                for which, row in enumerate(pair):
                    number, other = 2 * which + part % 2, emit.load(emit.part(row, part))
                    before = sums[number]
                    sums[number] = emit.builder.fmul(mine, other) if before is None else emit.fma(mine, other, before)
            target = emit.at(scores, emit.times(index, 4))
            for which in (0, 1):
                even, odd = sums[2 * which], sums[2 * which + 1]
                whole = even if odd is None else emit.builder.fadd(even, odd)
                emit.store_number(emit.total(whole), emit.at(target, 4 * which))

    def product(emit: _Emitter, vectors: ir.Value, matrix: ir.Value, scores: ir.Value) -> None:
        sums = emit.sums(rows_at_once * columns)
        with emit.loop(dimension) as index:
            line = emit.at(matrix, emit.times(index, 4 * shared))
            factors = [emit.load(emit.part(line, column)) for column in range(columns)]
            element = emit.at(vectors, emit.times(index, 4))
            for row in range(rows_at_once):
                number = emit.number(emit.at(element, row * emit.row_bytes))
                for column, factor in enumerate(factors):
                    sums.add_product(row * columns + column, number, factor)
        for row in range(rows_at_once):
            for column in range(columns):
                target = emit.at(scores, 4 * shared * row)
                emit.store(sums.value(row * columns + column), emit.part(target, column))

    def gradients(emit: _Emitter, scores: ir.Value, labels: ir.Value, count: ir.Value, rate: ir.Value) -> None:
        factor = broadcast(emit.builder, emit.vector, rate)
        with emit.loop(count, emit.vector.lanes) as index:
            offset = emit.times(index, 4)
            place = emit.at(scores, offset)
            probability = sigmoid_value(emit.builder, emit.vector, emit.load(place))
            error = emit.builder.fsub(emit.load(emit.at(labels, offset)), probability)
            emit.store(emit.builder.fmul(error, factor), place)

    def accumulate(
        emit: _Emitter, target: ir.Value, weights: ir.Value, stride: ir.Value, matrix: ir.Value, count: ir.Value
    ) -> None:
        _add_weighted(emit, target, [(weights, stride, matrix, None, count)], anew=False)

    def both(
        emit: _Emitter,
        target: ir.Value,
        weights: ir.Value,
        matrix: ir.Value,
        list_weights: ir.Value,
        rows: ir.Value,
        count: ir.Value,
        *,
        anew: bool = False,
    ) -> None:
        dense = (weights, _INDEX(1), matrix, None, _INDEX(shared))
        _add_weighted(emit, target, [dense, (list_weights, _INDEX(1), None, rows, count)], anew=anew)

    def both_anew(emit: _Emitter, *arguments: ir.Value) -> None:
        both(emit, *arguments, anew=True)

    def listed_anew(emit: _Emitter, target: ir.Value, weights: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        _add_weighted(emit, target, [(weights, _INDEX(1), None, rows, count)], anew=True)

    def spread(emit: _Emitter, vector_: ir.Value, weights: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        # Twenty registers for a row are many for a CPU with 16, but those it spills stay in the nearest cache.
        held = [emit.load(emit.part(vector_, part)) for part in emit.parts] if len(emit.parts) <= 20 else None
        with emit.loop(count) as index:
            weight = emit.number(emit.at(weights, emit.times(index, 4)))
            row = emit.address(rows, index)
            for part in emit.parts:
                place = emit.part(row, part)
                mine = held[part] if held else emit.load(emit.part(vector_, part))
                emit.store(emit.fma(weight, mine, emit.load(place)), place)

    def add(emit: _Emitter, vector_: ir.Value, rows: ir.Value, count: ir.Value) -> None:
        with emit.loop(count) as index:
            row = emit.address(rows, index)
            for part in emit.parts:
                place = emit.part(row, part)
                emit.store(emit.builder.fadd(emit.load(emit.part(vector_, part)), emit.load(place)), place)

    def made(signature: str, emit: Callable[..., None], kind: Vector = vector) -> Callable[..., None]:
        return _operation(kind, width, signature, emit)

    return RowOperations(
        copy=made("aa", copy),
        fetch=made("a", fetch),
        mean=made("aaar", mean),
        dots=made("aaaa", dots),
        product=made("aaa", product, scores_vector),
        gradients=made("aaar", gradients, scores_vector),
        accumulate=made("aaaaa", accumulate),
        both=made("aaaaaa", both),
        both_anew=made("aaaaaa", both_anew),
        listed_anew=made("aaaa", listed_anew),
        spread=made("aaaa", spread),
        add=made("aaa", add),
        rows_at_once=rows_at_once,
    )


def _add_weighted(
    emit: _Emitter,
    target: ir.Value,
    terms: Sequence[tuple[ir.Value, ir.Value, ir.Value | None, ir.Value | None, ir.Value]],
    *,
    anew: bool,
) -> None:
    """target (+)= sums of weights[i * stride] * row i, where the rows are those of a matrix or of a list."""
    for chunk in emit.chunks():
        sums = emit.sums(len(chunk))
        for weights, stride, matrix, rows, count in terms:
            with emit.loop(count) as index:
                weight = emit.number(emit.at(weights, emit.times(emit.times(index, stride), 4)))
                row = (
                    emit.address(rows, index) if matrix is None else emit.at(matrix, emit.times(index, emit.row_bytes))
                )
                for number, part in enumerate(chunk):
                    sums.add_product(number, weight, emit.load(emit.part(row, part)))
        for number, part in enumerate(chunk):
            place, value = emit.part(target, part), sums.value(number)
            emit.store(value if anew else emit.builder.fadd(emit.load(place), value), place)

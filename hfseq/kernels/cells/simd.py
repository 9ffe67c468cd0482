"""Short vectors as a numba type: what a loop in a generated kernel is written in.

`Vector(dtype, lanes)` is one register's worth of numbers. The functions below become single LLVM instructions on
`<lanes x float>`, which LLVM lowers to AVX-512, AVX2, NEON or plain scalars: no compiler at the user's, no wheel per
platform. One lane is a scalar, so the rest of a row that fills no vector runs through the same functions.

Memory is addressed as (address of an array, index of an element). Nothing checks the bounds: a kernel's caller does.
NaN goes in and comes out, as in torch; a diverged run must not look healthy.
"""

import math
import os
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

if numba.config.DISABLE_JIT or numba.version_info.short < (0, 62):  # type: ignore[attr-defined]
    raise ImportError("the kernels need numba 0.62 or newer, with its compiler on (NUMBA_DISABLE_JIT)")

_LLVM_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_INDEX = ir.IntType(64)
# Multiply and add may become one instruction; nothing else is re-ordered, so NaN and infinity stay what they are.
_FLAGS = ("contract",)


class Vector(types.Type):
    """`lanes` numbers of `dtype` ("float32" or "float64") that move together."""

    def __init__(self, dtype: str, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        self.llvm = ir.VectorType(_LLVM_FLOATS[dtype], lanes)
        super().__init__(name=f"Vector({dtype}, {lanes})")

    def constant(self, number: float) -> ir.Constant:
        """Return the number in every lane."""
        if self.dtype == "float32":  # llvmlite wants a double that a float32 can hold exactly
            number = struct.unpack("f", struct.pack("f", number))[0]
        return ir.Constant(self.llvm, [number] * self.lanes)


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


@cache
def register_bits() -> int:
    """Return the width of the kernels' vectors: this CPU's registers, unless HFSEQ_SIMD_BITS names less.

    More than the CPU has is an error: LLVM would split each vector in two, and who asks for 512 bits wants to know
    what they give.
    """
    features = llvmlite.binding.get_host_cpu_features()
    widest = 512 if features.get("avx512f") else 256 if features.get("avx2") else 128
    asked = os.environ.get("HFSEQ_SIMD_BITS") or str(widest)
    allowed = [str(bits) for bits in (128, 256, 512) if bits <= widest]
    if asked not in allowed:
        raise ValueError(
            f"HFSEQ_SIMD_BITS={asked!r} is no width of vectors on this CPU: unset it, or take {', '.join(allowed)}."
        )
    return int(asked)


@cache
def native_lanes(dtype: str) -> int:
    """Count the numbers that fill one register."""
    return register_bits() // (8 * np.dtype(dtype).itemsize)


def memory(dtype: str, lanes: int) -> tuple[Callable, Callable, Callable]:
    """Make `load(address, index)`, `fill(number)` and `spread(one lane)` for one vector type."""
    vector = Vector(dtype, lanes)

    @intrinsic
    def load(context: Any, address: types.Type, index: types.Type) -> Any:
        def build(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return builder.load(_place(builder, vector, *arguments), align=_bytes(vector), typ=vector.llvm)

        return vector(types.int64, types.int64), build

    @intrinsic
    def fill(context: Any, number: types.Type) -> Any:
        def build(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            value = arguments[0]
            if vector.dtype == "float32":
                value = builder.fptrunc(value, ir.FloatType())
            return broadcast(builder, vector, value)

        return vector(types.float64), build

    @intrinsic
    def spread(context: Any, one: Vector) -> Any:
        def build(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return broadcast(builder, vector, builder.extract_element(arguments[0], _INDEX(0)))

        return vector(one), build

    return load, fill, spread


def _bytes(vector: Vector) -> int:
    """Return the alignment that any array has: that of one element."""
    return np.dtype(vector.dtype).itemsize


def _place(builder: ir.IRBuilder, vector: Vector, address: ir.Value, index: ir.Value) -> ir.Value:
    element = _LLVM_FLOATS[vector.dtype]
    base = builder.inttoptr(address, ir.PointerType())
    return builder.gep(base, [index], source_etype=element)


def broadcast(builder: ir.IRBuilder, vector: Vector, value: ir.Value) -> ir.Value:
    """Put a number into every lane."""
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def intrinsic_call(builder: ir.IRBuilder, name: str, vector: Vector, *arguments: ir.Value) -> ir.Value:
    """Call LLVM's `llvm.<name>.v<lanes>f<bits>`; llvmlite's own declaration knows no vectors."""
    full_name = f"llvm.{name}.v{vector.lanes}f{8 * _bytes(vector)}"
    function = builder.module.globals.get(full_name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(vector.llvm, [vector.llvm] * len(arguments)), full_name)
    return builder.call(function, arguments)


def _elementwise(arity: int, build: Callable[..., ir.Value]) -> Callable:
    """Make an intrinsic from vectors of one type to one of that type; `build(builder, type, *values)` says how."""
    names = ", ".join(f"x{i}" for i in range(arity))

    def typed(vector: Any) -> Any:
        def generate(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return build(builder, vector, *arguments)

        return vector(*[vector] * arity), generate

    scope: dict[str, Any] = {"typed": typed}
    exec(f"def function(context, {names}):\n    return typed(x0)\n", scope)  # numba reads the argument names
    return intrinsic(scope["function"])


@intrinsic
def store(context: Any, value: Vector, address: types.Type, index: types.Type) -> Any:
    """Write memory[address, index : index + lanes] = value."""

    def build(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[0], _place(builder, value, *arguments[1:]), align=_bytes(value))
        return _.get_dummy_value()

    return types.void(value, types.int64, types.int64), build


@intrinsic
def total(context: Any, value: Vector) -> Any:
    """Sum the lanes, to a vector of one."""
    one = Vector(value.dtype, 1)

    def build(_: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        element = _LLVM_FLOATS[value.dtype]
        name = f"llvm.vector.reduce.fadd.v{value.lanes}f{8 * _bytes(value)}"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(element, [element, value.llvm]), name
        )
        number = builder.call(function, [ir.Constant(element, 0.0), arguments[0]], fastmath=("reassoc",))
        return builder.insert_element(ir.Constant(one.llvm, ir.Undefined), number, _INDEX(0))

    return one(value), build


def _exp(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    """Build e^x: float64 by the C library, float32 by 2^k * polynomial; relative error 2e-7 at 0, 4e-6 at the ends."""
    if vector.dtype == "float64":
        return intrinsic_call(builder, "exp", vector, x)
    # Beyond these the exponent would leave its bits. A NaN passes both comparisons unchanged.
    for test, bound in (("<", _LOWEST), (">", _HIGHEST)):
        limit = vector.constant(bound)
        x = builder.select(builder.fcmp_ordered(test, x, limit), limit, x)
    scaled = builder.fmul(x, vector.constant(1 / math.log(2)))
    # Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    magic = vector.constant(12582912.0)
    shifted = builder.fadd(scaled, magic)
    fraction = builder.fsub(scaled, builder.fsub(shifted, magic))
    power = vector.constant(_EXP2[0])
    for coefficient in _EXP2[1:]:
        power = intrinsic_call(builder, "fma", vector, power, fraction, vector.constant(coefficient))
    integers = ir.VectorType(ir.IntType(32), vector.lanes)
    exponent = builder.shl(builder.bitcast(shifted, integers), ir.Constant(integers, [23] * vector.lanes))
    return builder.bitcast(builder.add(builder.bitcast(power, integers), exponent), vector.llvm)


# 2^f on [-1/2, 1/2]: 1 at 0 exactly, the other coefficients chosen for the smallest largest relative error, 1.7e-7.
_EXP2 = (0.00132647275, 0.00967151286, 0.0555073374, 0.240222421, 0.693146978, 1.0)


_LOWEST, _HIGHEST = -87.0, 88.0


def _open_exp(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    """Build e^x with its ends: 0 below -87, infinite above 88 (in float32; a sigmoid needs neither)."""
    value = _exp(builder, vector, x)
    if vector.dtype == "float64":
        return value
    for test, bound, end in (("<", _LOWEST, 0.0), (">", _HIGHEST, math.inf)):
        value = builder.select(builder.fcmp_ordered(test, x, vector.constant(bound)), vector.constant(end), value)
    return value


def sigmoid_value(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    """Build 1 / (1 + e^-x) of each lane."""
    one = vector.constant(1.0)
    return builder.fdiv(one, builder.fadd(one, _exp(builder, vector, builder.fneg(x))))


def _tanh(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    """Build tanh as 2 sigmoid(2x) - 1: absolute error 1e-7 in float32."""
    double = sigmoid_value(builder, vector, builder.fmul(x, vector.constant(2.0)))
    return intrinsic_call(builder, "fma", vector, vector.constant(2.0), double, vector.constant(-1.0))


def _relu(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    zero = vector.constant(0.0)
    return builder.select(builder.fcmp_ordered("<", x, zero), zero, x)


def _where_positive(builder: ir.IRBuilder, vector: Vector, x: ir.Value, y: ir.Value) -> ir.Value:
    zero = vector.constant(0.0)
    return builder.select(builder.fcmp_ordered(">", x, zero), y, zero)


def _rsqrt(builder: ir.IRBuilder, vector: Vector, x: ir.Value) -> ir.Value:
    return builder.fdiv(vector.constant(1.0), intrinsic_call(builder, "sqrt", vector, x))


add = _elementwise(2, lambda builder, vector, x, y: builder.fadd(x, y, flags=_FLAGS))
sub = _elementwise(2, lambda builder, vector, x, y: builder.fsub(x, y, flags=_FLAGS))
mul = _elementwise(2, lambda builder, vector, x, y: builder.fmul(x, y, flags=_FLAGS))
div = _elementwise(2, lambda builder, vector, x, y: builder.fdiv(x, y, flags=_FLAGS))
fma = _elementwise(3, lambda builder, vector, x, y, z: intrinsic_call(builder, "fma", vector, x, y, z))
exp = _elementwise(1, _open_exp)
sigmoid = _elementwise(1, sigmoid_value)
tanh = _elementwise(1, _tanh)
relu = _elementwise(1, _relu)
rsqrt = _elementwise(1, _rsqrt)
where_positive = _elementwise(2, _where_positive)

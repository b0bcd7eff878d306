"""A SIMD vector type for Numba: ``N_LANES`` float32 numbers.

A compiler vectorises a loop over a short last axis only if it can prove that the arrays do not overlap.
Here the vector is explicit: ``load``, ``store`` and the operators below each emit one LLVM vector
instruction. LLVM lowers it to the processor's registers (one of AVX-512, two of AVX2, four of NEON).

Inside a compiled function::

    x = load(array, 32)              # N_LANES floats, starting at array[32]
    y = x * weight + load(array, 0)  # scalars are float32 and are broadcast to the lanes
    store(array, 0, y)

Offsets are not checked: the caller guarantees that ``offset + N_LANES`` is within the array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

N_LANES = 16

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
_FLOATS = ir.VectorType(_FLOAT, N_LANES)
_INTS = ir.VectorType(_INT, N_LANES)
_BYTES = ir.VectorType(ir.IntType(8), N_LANES)
_FLOAT_BYTES = 4
_CONTRACT = ("contract",)  # a * b + c may become one fused instruction


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{N_LANES}")


_LANES = _LanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _FLOATS)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Pointer to the vector that begins at element ``offset`` of a one-dimensional array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), _FLOATS.as_pointer())


def _spread(builder: Any, scalar: Any) -> Any:
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, first, ir.Constant(_INTS, [0] * N_LANES))


@intrinsic
def load(_typing: Any, array: Any, offset: Any) -> Any:
    """``N_LANES`` floats of ``array``, starting at ``offset``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, sig.args[0], *args), align=_FLOAT_BYTES)

    return _LANES(array, types.intp), generate


@intrinsic
def store(_typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """Write ``lanes`` to ``array``, starting at ``offset``."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        target = _pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store(args[2], target, align=_FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def store_bytes(_typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """Write ``lanes``, rounded down to whole numbers of 0 to 255, as bytes; ``offset`` counts bytes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        start = builder.bitcast(data, ir.IntType(8).as_pointer())
        target = builder.bitcast(builder.gep(start, [args[1]]), _BYTES.as_pointer())
        builder.store(builder.trunc(builder.fptosi(args[2], _INTS), _BYTES), target, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def broadcast(_typing: Any, scalar: Any) -> Any:
    """One float in every lane."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _spread(builder, args[0])

    return _LANES(types.float32), generate


@intrinsic
def load_everywhere(_typing: Any, array: Any, offset: Any) -> Any:
    """The float at ``offset`` of ``array`` in every lane; unlike ``array[offset]``, never from its end."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return _spread(builder, builder.load(builder.gep(data, [args[1]]), align=_FLOAT_BYTES))

    return _LANES(array, types.intp), generate


@intrinsic
def maximum(_typing: Any, lanes: Any, floor: Any) -> Any:
    """``max(lanes, floor)`` in every lane, of a float or of lanes; NaN in ``lanes`` becomes ``floor``."""
    kind = _LANES if floor == _LANES else types.float32

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        bound = args[1] if kind == _LANES else _spread(builder, args[1])
        return builder.select(builder.fcmp_ordered(">", args[0], bound), args[0], bound)

    return _LANES(_LANES, kind), generate


@intrinsic
def minimum(_typing: Any, lanes: Any, ceiling: Any) -> Any:
    """``min(lanes, ceiling)`` in every lane; NaN becomes ``ceiling``."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        bound = _spread(builder, args[1])
        return builder.select(builder.fcmp_ordered("<", args[0], bound), args[0], bound)

    return _LANES(_LANES, types.float32), generate


_SQRT_HALF_BITS = 0x3F3504F3  # sqrt(1/2) as float32
_MANTISSA_BITS = 23


def _binary_exponent(builder: Any, lanes: Any) -> tuple[Any, Any]:
    """Bits of a positive number and its exponent ``e``, with ``x / 2**e`` in [sqrt(1/2), sqrt(2))."""
    bits = builder.bitcast(lanes, _INTS)
    above = builder.sub(bits, ir.Constant(_INTS, [_SQRT_HALF_BITS] * N_LANES))
    return bits, builder.ashr(above, ir.Constant(_INTS, [_MANTISSA_BITS] * N_LANES))


@intrinsic
def exponent(_typing: Any, lanes: Any) -> Any:
    """Whole power of two ``e`` with ``x / 2**e`` in [sqrt(1/2), sqrt(2)), for normal ``x > 0``."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.sitofp(_binary_exponent(builder, args[0])[1], _FLOATS)

    return _LANES(_LANES), generate


@intrinsic
def mantissa(_typing: Any, lanes: Any) -> Any:
    """``x / 2**exponent(x)``, in [sqrt(1/2), sqrt(2)), for normal ``x > 0``."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        bits, power = _binary_exponent(builder, args[0])
        shift = ir.Constant(_INTS, [_MANTISSA_BITS] * N_LANES)
        return builder.bitcast(builder.sub(bits, builder.shl(power, shift)), _FLOATS)

    return _LANES(_LANES), generate


@intrinsic
def transpose_tile(
    _typing: Any, source: Any, offset: Any, stride: Any, target: Any, to_offset: Any, to_stride: Any
) -> Any:
    """Square tile, transposed: ``target[to_offset + j * to_stride + i] = source[offset + i * stride + j]``.

    All ``N_LANES`` rows are held in registers. A riffle interleaves row ``i`` with row ``i + N_LANES / 2``,
    like two halves of a pack of cards; ``log2(N_LANES)`` riffles make the transpose.
    """
    low = [half for i in range(N_LANES // 2) for half in (i, i + N_LANES)]
    high = [index + N_LANES // 2 for index in low]

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def row(array: int, i: int) -> Any:
            step = builder.mul(args[array + 2], ir.Constant(args[array + 2].type, i))
            where = builder.add(args[array + 1], step)
            return _pointer(context, builder, sig.args[array], args[array], where)

        rows = [builder.load(row(0, i), align=_FLOAT_BYTES) for i in range(N_LANES)]
        for _ in range(N_LANES.bit_length() - 1):
            pairs = zip(rows[: N_LANES // 2], rows[N_LANES // 2 :], strict=True)
            rows = [
                builder.shuffle_vector(a, b, ir.Constant(_INTS, order))
                for a, b in pairs
                for order in (low, high)
            ]
        for i, lanes in enumerate(rows):
            builder.store(lanes, row(3, i), align=_FLOAT_BYTES)
        return context.get_dummy_value()

    where = types.intp
    return types.void(source, where, where, target, where, where), generate


def _define_operator(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    @infer_global(symbol)
    class _Typing(ConcreteTemplate):
        cases = [signature(_LANES, _LANES, _LANES), signature(_LANES, _LANES, types.float32)]  # noqa: RUF012

    @lower_builtin(symbol, _LANES, _LANES)
    def _lanes(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(args[0], args[1], flags=_CONTRACT)

    @lower_builtin(symbol, _LANES, types.float32)
    def _scalar(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(args[0], _spread(builder, args[1]), flags=_CONTRACT)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")

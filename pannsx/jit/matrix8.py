"""Matrix products of bytes: rows of uint8 with a packed matrix of int8, summed in int32, scaled to float32.

``C[r, j] = scale[j] * sum(A[r, k] * B[k, j] for k) + bias[j]``, limited. The tile is that of
:mod:`pannsx.jit.matrix`; each step takes four numbers of a row and of each column, which lie side by side:

    four bytes of A, row r        a0 a1 a2 a3                  in every lane
    four rows of B, packed        b00 b10 b20 b30 | b01 b11 b21 b31 | ...      a lane for each column
    sum[r], int32, each lane      += a0 * b0j + a1 * b1j + a2 * b2j + a3 * b3j

One instruction of processors with VNNI does this for all lanes: four times the products of a multiply-add in
float32. Sums are exact, whatever their order. In arrays, four bytes stand in one int32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import PANEL, TILE_ROWS, TILE_VECTORS, Emitter, row_numbers, up_to_panel
from pannsx.jit.matrix import SOURCES as MATRIX_SOURCES
from pannsx.jit.simd import N_LANES

BYTES = 4
"""Numbers in an int32."""

MOST = 255
"""Greatest number of A."""

SOURCES = (*MATRIX_SOURCES, "jit/matrix8.py")
"""What a compiled function that calls :func:`product` passes to ``digest_of``, besides its own module."""

_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT, N_LANES), ir.VectorType(_FLOAT, N_LANES)
_ALIGNMENT = 4
_BLOCK_INTS = 2**16  # of A at a time, which stay in the second-level cache from panel to panel
_ASSEMBLY = {"avx512vnni": ("vpdpbusd $3, $2, $0", 16), "avxvnni": ("{vex} vpdpbusd $3, $2, $0", 8)}


def _feature() -> str | None:
    """The instructions that this computes with, of those that Numba compiles for; None: there are none."""
    said: str | None = getattr(config, "CPU_FEATURES", None)  # what NUMBA_CPU_FEATURES says
    if said is None:
        features = {name for name, there in binding.get_host_cpu_features().items() if there}
    else:
        features = {each[1:] for each in said.split(",") if each.startswith("+")}
    return next((name for name in _ASSEMBLY if name in features), None)


binding.initialize_native_asmparser()  # the names of these functions differ from one LLVM to the next

FEATURE = _feature()
"""Name of the processor's instructions for products of bytes, or None: :func:`product` is not available."""


def packed(matrix: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """``(K, n)``, ``K`` a multiple of four -> panels ``(n / PANEL, K / 4, PANEL)``, flat."""
    k, n = matrix.shape
    whole = np.zeros((k, up_to_panel(n)), np.int8)
    whole[:, :n] = matrix
    parts = whole.reshape(k // BYTES, BYTES, -1, PANEL).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(parts).view(np.int32).reshape(-1)


class _ByteEmitter(Emitter):
    """The instructions of a tile's sums of bytes; rows and panels are pointers to int32."""

    kind = _INTS

    def vectors_of_b(self, here: Any) -> list[Any]:
        """The vectors of B at a step of the panel."""
        builder = self.builder
        pointers = [builder.gep(here, [self.integer(v * N_LANES)]) for v in range(self.n_vectors)]
        return [
            builder.load(builder.bitcast(pointer, _INTS.as_pointer()), align=_ALIGNMENT)
            for pointer in pointers
        ]

    def fetch(self, _i: Any) -> None:
        """Nothing: a panel is a quarter as long."""

    def sum_of(self, total: Any, a: Any, b: Any) -> Any:
        """``total`` and four products in each lane."""
        builder = self.builder
        text, n = _ASSEMBLY[FEATURE or "avx512vnni"]
        kind = ir.VectorType(_INT, n)
        form = ir.InlineAsm(
            ir.FunctionType(kind, [kind] * 3), text, "=v,0,v,v" if n == N_LANES else "=x,0,x,x"
        )
        if n == N_LANES:
            return builder.call(form, [total, a, b])
        halves = []
        for begin in range(0, N_LANES, n):
            lanes = ir.Constant(ir.VectorType(_INT, n), list(range(begin, begin + n)))
            parts = [builder.shuffle_vector(each, each, lanes) for each in (total, a, b)]
            halves.append(builder.call(form, parts))
        both = ir.Constant(_INTS, list(range(N_LANES)))
        return builder.shuffle_vector(*halves, both)

    def scaled(self, sums: list[Any], scales: list[Any], biases: list[Any]) -> list[Any]:
        """The sums in float32."""
        builder = self.builder
        found = []
        for i, value in enumerate(sums):
            number = builder.sitofp(value, _FLOATS)
            v = i % self.n_vectors
            product = builder.fmul(number, scales[v], flags=("contract",))
            found.append(builder.fadd(product, biases[v], flags=("contract",)))
        return found


def _tile_product_of(n_vectors: int) -> Any:
    """What computes a tile of the first ``n_vectors`` of a panel."""

    @intrinsic
    def tile_product(
        _typing: Any, a: Any, rows: Any, a_at: Any, a_step: Any, k: Any, b: Any, b_at: Any, scale: Any,
        scale_at: Any, bias: Any, bias_at: Any, floor: Any, cap: Any, c: Any, c_at: Any, c_step: Any,
    ) -> Any:  # fmt: skip
        """``rows`` rows of the vectors' columns -> C; a row of A has ``k`` int32."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def at(which: int, offset: Any) -> Any:
                data = context.make_array(sig.args[which])(context, builder, args[which]).data
                return builder.gep(data, [offset])

            numbers = row_numbers(builder, args[1])
            start = at(0, args[2])
            rows_of_a = [builder.gep(start, [builder.mul(number, args[3])]) for number in numbers]
            emit = _ByteEmitter(builder, rows_of_a, n_vectors, start)
            scales, biases = (
                [builder.load(emit.vector(at(i, args[i + 1]), v), align=_ALIGNMENT) for v in range(n_vectors)]
                for i in (7, 9)
            )
            zeros = [ir.Constant(_INTS, [0] * N_LANES)] * (TILE_ROWS * n_vectors)
            nothing, one = emit.integer(0), emit.integer(1)
            sums = emit.segments(zeros, one, args[4], at(5, args[6]), nothing, nothing)
            to = at(13, args[14])
            rows_of_c = [builder.gep(to, [builder.mul(number, args[15])]) for number in numbers]
            emit.finish(emit.scaled(sums, scales, biases), args[11], args[12], rows_of_c)
            return context.get_dummy_value()

        where, number = types.intp, types.float32
        arguments = (
            a, where, where, where, where, b, where, scale, where, bias, where, number, number, c, where,
            where,
        )  # fmt: skip
        return types.void(*arguments), generate

    return tile_product


_tile_product = _tile_product_of(TILE_VECTORS)
_narrow_product = _tile_product_of(1)  # for a last panel of which half is used, or less


@cache
def product() -> Callable[..., Any]:
    """The compiled product, for other compiled functions to call."""
    sources = digest_of(*SOURCES)

    def multiply(
        a, a_at, a_step, m, k, b, b_at, n, c, c_at, c_step, scale, scale_at, bias, bias_at, floor, cap
    ):  # fmt: skip
        """``C = min(max(scale * (A @ B) + bias, floor), cap)`` of whole vectors of columns ``n``.

        Row ``r`` of A is ``k`` int32 at ``a_at + r * a_step``; panels of B, each ``(k, PANEL)``, follow each
        other from ``b_at`` on; row ``r`` of C is at ``c_at + r * c_step``. ``scale`` and ``bias`` are
        filled up to whole panels.
        """
        _ = sources
        block = max(TILE_ROWS, _BLOCK_INTS // k // TILE_ROWS * TILE_ROWS)
        for first in range(0, m, block):
            last = min(first + block, m)
            for j in range(0, n, PANEL):
                panel = b_at + j * k
                for r in range(first, last, TILE_ROWS):
                    rows = min(TILE_ROWS, last - r)
                    of_a, to = a_at + r * a_step, c_at + r * c_step + j
                    if TILE_VECTORS > 1 and n - j <= N_LANES:
                        _narrow_product(
                            a, rows, of_a, a_step, k, b, panel, scale, scale_at + j, bias, bias_at + j, floor,
                            cap, c, to, c_step,
                        )  # fmt: skip
                    else:
                        _tile_product(
                            a, rows, of_a, a_step, k, b, panel, scale, scale_at + j, bias, bias_at + j, floor,
                            cap, c, to, c_step,
                        )  # fmt: skip

    return compiled(multiply)

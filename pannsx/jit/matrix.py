"""Matrix products on vectors: a tile of the result stays in registers while its sums run.

``C = A @ B``, with ``A (m, K)`` as it lies in memory, row after row, and ``B (K, n)`` packed once into panels
of ``PANEL`` columns, each ``(K, PANEL)`` and contiguous. A *tile* is ``TILE_ROWS`` rows of A times a panel:

    for each i of K:                       one step, on AVX-512: 8 rows, 2 vectors, 16 sums
        b = panel[i]                       loads of TILE_VECTORS vectors
        for each row r of the tile:
            sum[r] += A[r, i] * b          one number of A in every lane

The tile fills the processor's registers (:func:`_tile`). Rows are taken where they lie because a number of A
is broadcast when it is loaded; so whoever makes A - the transform of a convolution, a layer before - needs no
second copy of it. A row may be cut into *segments*, equally far apart: the cells that a convolution reads
in several frames. Sums run in the order of K for every row, so a row's result does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, load, store
from pannsx.types import FloatArray

ONE, NONE, NOWHERE = np.int64(1), np.int64(0), np.int64(-1)
"""For calls of :func:`product` in compiled code: for literals, Numba would compile another product."""

SOURCES = ("jit/simd.py", "jit/matrix.py")
"""What a compiled function that calls :func:`product` passes to ``digest_of``, besides its own module."""

_FLOAT, _INT64, _INT32 = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, N_LANES)
_FLOAT_BYTES = 4
_CONTRACT = ("contract",)  # a * b + c becomes one fused instruction
_UNROLLED = 2  # steps of a loop's turn
_AHEAD = 8  # floats of the next panel that a step fetches: a turn one line of the cache of 64 bytes
_LONGEST_SUM = 1024  # numbers of a row at a time: a panel's part of 128 KB stays in the second-level cache
_ROW_FLOATS = 2**16  # floats of A at a time: they stay in the second-level cache from panel to panel
_FEW_ROWS = 2  # so few are computed one by one, of several panels at a time: reading B takes the time
_ROW_PANELS = 4  # 8 vectors of sums on AVX-512, as many as hide the latency


def _tile() -> tuple[int, int]:
    """Rows and vectors of a tile: as many sums as registers hold beside the operands.

    AVX-512 has 32 registers of one vector each: 8 x 2 sums hide the latency of two multiply-adds a cycle, and
    more rows would need more pointers than there are registers for these. AVX2 has 16 registers of half a
    vector: 6 x 1 take 12. NEON has 32 of a quarter: 6 x 1 take 24.
    """
    features: str | None = getattr(config, "CPU_FEATURES", None)  # what NUMBA_CPU_FEATURES says
    if features is None:
        has_avx512 = bool(binding.get_host_cpu_features().get("avx512f"))
    else:
        has_avx512 = "+avx512f" in features.split(",")
    return (8, 2) if has_avx512 else (6, 1)


TILE_ROWS, TILE_VECTORS = _tile()
PANEL = TILE_VECTORS * N_LANES
"""Columns of B in a panel."""


def up_to_panel(n: int) -> int:
    """``n`` columns filled up to whole panels."""
    return -(-n // PANEL) * PANEL


def packed(matrix: FloatArray) -> FloatArray:
    """``(..., K, n)`` -> panels of each matrix, flat: ``(..., n / PANEL, K, PANEL)``, filled with zeros."""
    *outer, k, n = matrix.shape
    panels = np.zeros((*outer, up_to_panel(n) // PANEL, k, PANEL), np.float32)
    for j in range(0, n, PANEL):
        part = matrix[..., j : j + PANEL]
        panels[..., j // PANEL, :, : part.shape[-1]] = part
    return panels.reshape(-1)


def padded(bias: FloatArray) -> FloatArray:
    """``(n,)`` -> filled with zeros up to whole panels and by one panel more, as :func:`product` needs it."""
    filled = np.zeros(up_to_panel(len(bias)) + PANEL, np.float32)
    filled[: len(bias)] = bias
    return filled


class Emitter:
    """LLVM instructions of one tile's sums."""

    kind = _VECTOR  # of the sums

    def __init__(self, builder: Any, rows: list[Any], n_vectors: int, ahead: Any) -> None:
        self.builder = builder
        self.rows = rows  # pointers to the rows of A
        self.n_vectors = n_vectors  # of C
        self.ahead = ahead  # pointer to the values to prefetch

    def integer(self, value: int) -> Any:
        return ir.Constant(_INT64, value)

    def vector(self, pointer: Any, vector: int) -> Any:
        at = self.builder.gep(pointer, [self.integer(vector * N_LANES)])
        return self.builder.bitcast(at, _VECTOR.as_pointer())

    def everywhere(self, scalar: Any) -> Any:
        undefined = ir.Constant(ir.VectorType(scalar.type, N_LANES), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
        lanes = ir.Constant(ir.VectorType(_INT32, N_LANES), [0] * N_LANES)
        return self.builder.shuffle_vector(first, first, lanes)

    def fetch(self, i: Any) -> None:
        """Bring a line of the cache closer that a later panel's tiles will read; once in a loop's turn."""
        builder = self.builder
        byte_pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, flag, flag, flag])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
        at = builder.gep(self.ahead, [builder.mul(i, self.integer(_AHEAD))])
        read, second_level, data = (ir.Constant(flag, value) for value in (0, 2, 1))
        builder.call(prefetch, [builder.bitcast(at, byte_pointer), read, second_level, data])

    def vectors_of_b(self, here: Any) -> list[Any]:
        """The vectors of B at step ``here`` of the panel."""
        return [self.builder.load(self.vector(here, v), align=_FLOAT_BYTES) for v in range(self.n_vectors)]

    def step(self, sums: list[Any], i: Any, panel: Any, ahead: int) -> list[Any]:
        """The sums after number ``i + ahead`` of every row; ``panel`` points at step ``i``."""
        builder = self.builder
        b = self.vectors_of_b(builder.gep(panel, [self.integer(ahead * PANEL)]))
        new = []
        for r, row in enumerate(self.rows):
            a = self.everywhere(builder.load(builder.gep(row, [builder.add(i, self.integer(ahead))])))
            for v in range(self.n_vectors):
                new.append(self.sum_of(sums[r * self.n_vectors + v], a, b[v]))
        return new

    def sum_of(self, total: Any, a: Any, b: Any) -> Any:
        """``total + a * b``."""
        product = self.builder.fmul(a, b, flags=_CONTRACT)
        return self.builder.fadd(total, product, flags=_CONTRACT)

    def loop(self, sums: list[Any], begin: Any, end: Any, panel: Any, stride: int) -> list[Any]:
        """The sums after steps ``begin`` to ``end``, ``stride`` at a time; ``end - begin`` is a multiple."""
        builder = self.builder
        before = builder.block
        turn = builder.append_basic_block("steps")
        after = builder.append_basic_block("after_steps")
        builder.cbranch(builder.icmp_signed("<", begin, end), turn, after)
        builder.position_at_end(turn)
        i = builder.phi(_INT64)
        old = [builder.phi(self.kind) for _ in sums]
        new: list[Any] = list(old)
        here = builder.gep(panel, [builder.mul(i, self.integer(PANEL))])
        if stride == _UNROLLED:
            self.fetch(i)
        for ahead in range(stride):
            new = self.step(new, i, here, ahead)
        following = builder.add(i, self.integer(stride))
        i.add_incoming(begin, before)
        i.add_incoming(following, turn)
        for phi, first, last in zip(old, sums, new, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, turn)
        builder.cbranch(builder.icmp_signed("<", following, end), turn, after)
        builder.position_at_end(after)
        found = [builder.phi(self.kind) for _ in sums]
        for phi, first, last in zip(found, sums, new, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, turn)
        return found

    def segments(
        self, sums: list[Any], n: Any, k: Any, panel: Any, a_segment: Any, b_segment: Any
    ) -> list[Any]:
        """``sums`` and those over ``n`` segments of ``k`` numbers; strides: floats of A, steps of B."""
        builder = self.builder
        before = builder.block
        turn = builder.append_basic_block("segment")
        after = builder.append_basic_block("after_segments")
        builder.branch(turn)
        builder.position_at_end(turn)
        s = builder.phi(_INT64)
        old = [builder.phi(self.kind) for _ in sums]
        rows, ahead = self.rows, self.ahead
        self.ahead = builder.gep(ahead, [builder.mul(builder.mul(s, k), self.integer(_AHEAD))])
        self.rows = [builder.gep(row, [builder.mul(s, a_segment)]) for row in rows]
        here = builder.gep(panel, [builder.mul(builder.mul(s, b_segment), self.integer(PANEL))])
        whole = builder.and_(k, self.integer(-_UNROLLED))
        new = self.loop(list(old), self.integer(0), whole, here, _UNROLLED)
        new = self.loop(new, whole, k, here, 1)
        self.rows, self.ahead = rows, ahead
        following = builder.add(s, self.integer(1))
        s.add_incoming(self.integer(0), before)
        s.add_incoming(following, builder.block)
        for phi, first, last in zip(old, sums, new, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, n), turn, after)
        builder.position_at_end(after)
        return new

    def added(self, sums: list[Any], adds: Any, rows_of: Callable[[], list[Any]]) -> list[Any]:
        """The sums plus those rows, if ``adds``.

        At the end: a sum in parts of some thousand numbers is more exact than one number after the other.
        """
        builder = self.builder
        before = builder.block
        adding, after = builder.append_basic_block("adding"), builder.append_basic_block("after_adding")
        builder.cbranch(adds, adding, after)
        builder.position_at_end(adding)
        rows, both = rows_of(), []
        for i, value in enumerate(sums):
            pointer = self.vector(rows[i // self.n_vectors], i % self.n_vectors)
            both.append(builder.fadd(value, builder.load(pointer, align=_FLOAT_BYTES)))
        builder.branch(after)
        builder.position_at_end(after)
        found = [builder.phi(self.kind) for _ in sums]
        for phi, alone, more in zip(found, sums, both, strict=True):
            phi.add_incoming(alone, before)
            phi.add_incoming(more, adding)
        return found

    def finish(self, sums: list[Any], floor: Any, cap: Any, targets: list[Any]) -> None:
        """Store the sums, limited, in rows at ``targets``."""
        builder = self.builder
        least, most = self.everywhere(floor), self.everywhere(cap)
        for i, value in enumerate(sums):
            # Comparisons that are false for NaN keep it.
            value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
            value = builder.select(builder.fcmp_ordered(">", value, most), most, value)
            pointer = self.vector(targets[i // self.n_vectors], i % self.n_vectors)
            builder.store(value, pointer, align=_FLOAT_BYTES)


class _RowEmitter(Emitter):
    """The same of one row and several panels, ``stride`` floats apart."""

    def __init__(self, builder: Any, row: Any, stride: Any) -> None:
        super().__init__(builder, [row], _ROW_PANELS * TILE_VECTORS, row)
        self.stride = stride

    def panels(self, here: Any) -> list[Any]:
        """Pointers to a step of each panel; ``here`` points at it in the first."""
        builder = self.builder
        return [builder.gep(here, [builder.mul(self.stride, self.integer(p))]) for p in range(_ROW_PANELS)]

    def vectors_of_b(self, here: Any) -> list[Any]:
        """The vectors of all panels."""
        return [
            self.builder.load(self.vector(panel, v), align=_FLOAT_BYTES)
            for panel in self.panels(here)
            for v in range(TILE_VECTORS)
        ]

    def fetch(self, _i: Any) -> None:
        """Nothing: the processor sees by itself that each panel is read in order."""


def row_numbers(builder: Any, rows: Any) -> list[Any]:
    """The rows of a tile: 0, 1 ... ``rows - 1``, and this one again in place of those that lack."""
    last = builder.sub(rows, ir.Constant(_INT64, 1))
    numbers = [ir.Constant(_INT64, 0)]
    for r in range(1, TILE_ROWS):
        here = ir.Constant(_INT64, r)
        numbers.append(builder.select(builder.icmp_signed("<", here, rows), here, last))
    return numbers


def _tile_product_of(n_vectors: int) -> Any:
    """What computes a tile of the first ``n_vectors`` of a panel."""

    @intrinsic
    def tile_product(
        _typing: Any, a: Any, rows: Any, a_at: Any, a_step: Any, n: Any, a_segment: Any, k: Any,
        b: Any, b_at: Any, b_segment: Any, b_ahead: Any, bias: Any, bias_at: Any,
        floor: Any, cap: Any, adds: Any, c: Any, added_at: Any, c_at: Any, c_step: Any,
    ) -> Any:  # fmt: skip
        """``rows`` rows of the vectors' columns, ``min(max(bias + A @ B [+ added], floor), cap)``, -> C.

        ``added`` are the rows of C at ``added_at``. Meanwhile the tile fetches ``_AHEAD`` floats a step from
        ``b_ahead`` on into the second-level cache.

        With fewer rows than ``TILE_ROWS`` the last one is computed, and stored, in place of those that lack.
        """

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def data(which: int) -> Any:
                return context.make_array(sig.args[which])(context, builder, args[which]).data

            def rows_of(which: int, at: Any, step: Any) -> list[Any]:
                start = builder.gep(data(which), [at])
                return [builder.gep(start, [builder.mul(number, step)]) for number in numbers]

            numbers = row_numbers(builder, args[1])
            emit = Emitter(builder, rows_of(0, args[2], args[3]), n_vectors, builder.gep(data(7), [args[10]]))
            first = builder.gep(data(11), [args[12]])
            biases = [builder.load(emit.vector(first, v), align=_FLOAT_BYTES) for v in range(n_vectors)]
            panel = builder.gep(data(7), [args[8]])
            sums = emit.segments(biases * TILE_ROWS, args[4], args[6], panel, args[5], args[9])
            sums = emit.added(sums, args[15], lambda: rows_of(16, args[17], args[19]))
            emit.finish(sums, args[13], args[14], rows_of(16, args[18], args[19]))
            return context.get_dummy_value()

        where, number = types.intp, types.float32
        arguments = (
            a, where, where, where, where, where, where, b, where, where, where, bias, where, number, number,
            types.boolean, c, where, where, where,
        )  # fmt: skip
        return types.void(*arguments), generate

    return tile_product


_tile_product = _tile_product_of(TILE_VECTORS)
_narrow_product = _tile_product_of(1)  # for a last panel of which half is used, or less


@intrinsic
def _row_product(
    _typing: Any, a: Any, a_at: Any, n: Any, a_segment: Any, k: Any, b: Any, b_at: Any, b_segment: Any,
    b_panel: Any, bias: Any, bias_at: Any, starts: Any, floor: Any, cap: Any, adds: Any, c: Any,
    added_at: Any, c_at: Any,
) -> Any:  # fmt: skip
    """As a tile's product, in the same order of sums, of one row and ``_ROW_PANELS`` panels.

    The bias counts if the sum ``starts``.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def at(which: int, offset: Any) -> Any:
            data = context.make_array(sig.args[which])(context, builder, args[which]).data
            return builder.gep(data, [offset])

        emit = _RowEmitter(builder, at(0, args[1]), args[8])
        first = at(9, args[10])
        zeros = ir.Constant(_VECTOR, [0.0] * N_LANES)
        biases = [
            builder.select(args[11], builder.load(emit.vector(first, v), align=_FLOAT_BYTES), zeros)
            for v in range(emit.n_vectors)
        ]
        sums = emit.segments(biases, args[2], args[4], at(5, args[6]), args[3], args[7])
        sums = emit.added(sums, args[14], lambda: [at(15, args[16])])
        emit.finish(sums, args[12], args[13], [at(15, args[17])])
        return context.get_dummy_value()

    where, number = types.intp, types.float32
    arguments = (
        a, where, where, where, where, b, where, where, where, bias, where, types.boolean, number, number,
        types.boolean, c, where, where,
    )  # fmt: skip
    return types.void(*arguments), generate


@njit(forceinline=True)
def _copy_rows(source, at, step, target, to, to_step, n, width):
    """``n`` rows of ``width`` floats."""
    for i in range(n):
        for x in range(0, width - N_LANES + 1, N_LANES):
            store(target, to + i * to_step + x, load(source, at + i * step + x))
        for x in range(width // N_LANES * N_LANES, width):
            target[to + i * to_step + x] = source[at + i * step + x]


@cache
def _rows_by_panels() -> Callable[..., Any]:
    """A function of its own: within :func:`product`, it made the loops of the tiles 2 to 4 % slower."""
    sources = digest_of(*SOURCES)

    def multiply(
        a, a_at, a_step, first, last, n_segments, a_segment, k, b, b_at, b_segment, b_panel, n, bias, bias_at,
        starts, floor, cap, adds, c, added_at, c_at, c_step,
    ):  # fmt: skip
        """Rows ``first`` to ``last`` one by one, of ``n`` columns, a multiple of ``_ROW_PANELS`` panels."""
        _ = sources
        for j in range(0, n, _ROW_PANELS * PANEL):
            panel = b_at + j // PANEL * b_panel
            for r in range(first, last):
                of_c = r * c_step + j
                _row_product(
                    a, a_at + r * a_step, n_segments, a_segment, k, b, panel, b_segment, b_panel, bias,
                    bias_at + j, starts, floor, cap, adds, c, added_at + of_c, c_at + of_c,
                )  # fmt: skip

    return compiled(multiply)


@cache
def product() -> Callable[..., Any]:
    """The compiled product of rows and a packed matrix, for other compiled functions to call."""
    sources = digest_of(*SOURCES)
    rows_by_panels = _rows_by_panels()

    def multiply(
        a, a_at, a_step, m, n_segments, a_segment, k, b, b_at, b_segment, b_panel, n, c, c_at, c_step,
        bias, bias_at, floor, cap, added_at,
    ):  # fmt: skip
        """``C = min(max(A @ B + bias, floor), cap)``; with ``added_at`` >= 0, of the sum with rows there.

        Row ``r`` of A is ``n_segments`` times ``k`` floats, at ``a_at + r * a_step + s * a_segment``.
        Segment ``s`` of a panel of B begins ``s * b_segment`` rows after the panel; panels of ``n`` columns
        follow each other at ``b_panel`` floats from ``b_at`` on. Row ``r`` of C is at ``c_at + r * c_step``,
        and what is added to it at ``added_at + r * c_step`` of the same array. ``bias`` is :func:`padded`.
        """
        _ = sources
        together = n_segments * k <= _LONGEST_SUM
        n_parts = 1 if together else n_segments
        n_joined = n_segments if together else 1
        block = max(TILE_ROWS, _ROW_FLOATS // (n_joined * min(k, _LONGEST_SUM)) // TILE_ROWS * TILE_ROWS)
        edge = np.empty(TILE_ROWS * PANEL, np.float32) if n % N_LANES else bias[:0]
        nothing = len(bias) - PANEL
        for first in range(0, m, block):
            last = min(first + block, m)
            for part in range(n_parts):
                for begin in range(0, k, _LONGEST_SUM):
                    length = min(_LONGEST_SUM, k - begin)
                    starts = part == 0 and begin == 0
                    ends = part == n_parts - 1 and begin + length == k
                    low = np.float32(floor if ends else -np.inf)
                    high = np.float32(cap if ends else np.inf)
                    before = added_at if starts else c_at
                    adds = before >= 0
                    # Few rows: several panels at a time, as many as there are of these.
                    done = 0
                    if m <= _FEW_ROWS:
                        done = n // (_ROW_PANELS * PANEL) * (_ROW_PANELS * PANEL)
                        rows_by_panels(
                            a, a_at + part * a_segment + begin, a_step, first, last, n_joined, a_segment,
                            length, b, b_at + (part * b_segment + begin) * PANEL, b_segment, b_panel, done,
                            bias, bias_at, starts, low, high, adds, c, before, c_at, c_step,
                        )  # fmt: skip
                    for j in range(done, n, PANEL):
                        panel = b_at + j // PANEL * b_panel + (part * b_segment + begin) * PANEL
                        width = min(PANEL, n - j)
                        whole = width % N_LANES == 0  # else the last vector goes beyond the columns of C
                        next_panel = panel + (b_panel if j + PANEL < n else 0)
                        of_bias = bias_at + j if starts else nothing
                        into = c if whole else edge
                        step = c_step if whole else PANEL
                        for r in range(first, last, TILE_ROWS):
                            rows = min(TILE_ROWS, last - r)
                            # The first tiles of a panel fetch a part of the next one each.
                            part_ahead = (r - first) // TILE_ROWS % (PANEL // _AHEAD)
                            ahead = next_panel + part_ahead * n_joined * length * _AHEAD
                            to = c_at + r * c_step + j
                            added = before + r * c_step + j
                            if not whole and adds:
                                _copy_rows(c, added, c_step, edge, 0, PANEL, rows, width)
                            at = to if whole else 0
                            added = added if whole else 0
                            of_a = a_at + r * a_step + part * a_segment + begin
                            if TILE_VECTORS > 1 and width <= N_LANES:
                                _narrow_product(
                                    a, rows, of_a, a_step, n_joined, a_segment, length, b, panel, b_segment,
                                    ahead, bias, of_bias, low, high, adds, into, added, at, step,
                                )  # fmt: skip
                            else:
                                _tile_product(
                                    a, rows, of_a, a_step, n_joined, a_segment, length, b, panel, b_segment,
                                    ahead, bias, of_bias, low, high, adds, into, added, at, step,
                                )  # fmt: skip
                            if not whole:
                                _copy_rows(edge, 0, PANEL, c, to, c_step, rows, width)

    return compiled(multiply)

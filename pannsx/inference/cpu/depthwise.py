"""Depthwise convolutions ``(cells, C)`` -> ``(cells, C)`` on ragged batches, compiled: vectors of channels.

Activations are matrices ``(cells, C)``: the frames of all items one below the other, ``W`` cells each,
without borders. A zero frame precedes the first one. A table lists the frames read by each output, with the
zero frame in place of frames beyond an item's edge. So no item reads another.

A convolution followed by a mean over 2 x 2 cells equals one of 4 x 4 taps with a stride of two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, broadcast, load, load_everywhere, maximum, minimum, store, store_bytes
from pannsx.types import FloatArray, IntArray

_ZERO, _HALF = np.float32(0), np.float32(0.5)


@lru_cache(maxsize=256)
def frame_table(heights: tuple[int, ...], stride: int) -> IntArray:
    """``(n, 3)``, or for a stride of two ``(n, 4)``: frames an output reads, from 1; 0 is the zero frame."""
    taps = np.arange(3 if stride == 1 else 4)
    parts, begin = [], 0
    for height in heights:
        frames = stride * np.arange(height // stride)[:, None] - 1 + taps
        parts.append(np.where((frames >= 0) & (frames < height), begin + frames + 1, 0))
        begin += height
    return np.ascontiguousarray(np.concatenate(parts))


def taps_of(weight: FloatArray, stride: int) -> FloatArray:
    """``(C, 1, 3, 3)`` filters -> ``(taps, C)``, flat: 9 taps, or 16 with the mean over 2 x 2 cells."""
    taps = weight[:, 0].astype(np.float64)
    if stride == 2:
        wide = np.zeros((len(taps), 4, 4))
        for dy in range(2):
            for dx in range(2):
                wide[:, dy : dy + 3, dx : dx + 3] += taps / 4
        taps = wide
    return taps.reshape(len(taps), -1).T.astype(np.float32).reshape(-1)


@njit(forceinline=True)
def _left(total, cap):
    return minimum(maximum(total, _ZERO), cap)


@njit(forceinline=True)
def _place(table, i, lacks):
    """The frame of entry ``i`` in a source that lacks the first ``lacks`` frames after the zero frame."""
    frame = table[i]
    return frame - lacks if frame > 0 else 0


@njit(forceinline=True)
def _four_loads(source, r0, r1, r2, r3, at):
    """A cell in each of four rows."""
    return load(source, r0 + at), load(source, r1 + at), load(source, r2 + at), load(source, r3 + at)


@njit(forceinline=True)
def _three(total, a, b, c, v, w, x):
    """``total`` and three products, one after the other: fused in one way only, as a frame may be either."""
    return total + a * v + b * w + c * x


@njit(forceinline=True)
def _put(out, at, total, cap):
    store(out, at, _left(total, cap))


@njit(forceinline=True)
def _put_bytes(out, at, total, cap):
    store_bytes(out, at, _left(total, cap) + _HALF)


@cache
def depthwise(*, to_bytes: bool = False) -> Callable[..., Any]:
    """The compiled kernel for 3 x 3 taps on every cell, ``(cells, C)`` -> ``(cells, C)``.

    With ``to_bytes``, outputs are rounded to whole numbers of 0 to 255 and are bytes, and so is ``cell``.
    """
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")
    put = _put_bytes if to_bytes else _put

    def convolve(
        source, source_cell, width, table, lacks, first, last, weight, step, bias, channels, cap, out, cell
    ):  # fmt: skip
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated; see :func:`_place`.

        Of the first ``channels``; cells are ``source_cell`` and ``cell`` floats apart, taps ``step``.

        Two frames at a time, which share two of their three sources. A last one, of the range or of an item,
        is computed with something in place of the other, which it then overwrites.
        """
        _ = sources
        row = width * source_cell
        k = first
        while k < last:
            i = 3 * k
            is_pair = k + 1 < last and table[i + 3] == table[i + 1] and table[i + 4] == table[i + 2]
            r0, r1 = _place(table, i, lacks) * row, _place(table, i + 1, lacks) * row
            r2 = _place(table, i + 2, lacks) * row
            r3 = _place(table, i + 5, lacks) * row if is_pair else r2
            frame = (k - first) * width * cell
            second = width * cell if is_pair else 0
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                w0, w1, w2 = load(weight, c), load(weight, c + step), load(weight, c + 2 * step)
                w3, w4 = load(weight, c + 3 * step), load(weight, c + 4 * step)
                w5, w6 = load(weight, c + 5 * step), load(weight, c + 6 * step)
                w7, w8 = load(weight, c + 7 * step), load(weight, c + 8 * step)
                at, to = c, frame + c
                p, q, r, s = _four_loads(source, r0, r1, r2, r3, at)
                upper, lower = _three(b, p, q, r, w1, w4, w7), _three(b, q, r, s, w1, w4, w7)
                upper_next, lower_next = _three(b, p, q, r, w0, w3, w6), _three(b, q, r, s, w0, w3, w6)
                for _x in range(1, width):
                    at += source_cell
                    p, q, r, s = _four_loads(source, r0, r1, r2, r3, at)
                    # A column of cells counts for three outputs of each frame.
                    put(out, to + second, _three(lower, q, r, s, w2, w5, w8), cap)
                    put(out, to, _three(upper, p, q, r, w2, w5, w8), cap)
                    to += cell
                    upper, lower = (
                        _three(upper_next, p, q, r, w1, w4, w7),
                        _three(lower_next, q, r, s, w1, w4, w7),
                    )
                    upper_next, lower_next = _three(b, p, q, r, w0, w3, w6), _three(b, q, r, s, w0, w3, w6)
                put(out, to + second, lower, cap)
                put(out, to, upper, cap)
            k += 2 if is_pair else 1

    return compiled(convolve)


@njit(forceinline=True)
def _four_weights(weight, at, step):
    return load(weight, at), load(weight, at + step), load(weight, at + 2 * step), load(weight, at + 3 * step)


@njit(forceinline=True)
def _plus(total, cells, weights):
    """``total`` and four products, one after the other: fused in one way only, wherever this is compiled."""
    total = total + cells[0] * weights[0] + cells[1] * weights[1]
    return total + cells[2] * weights[2] + cells[3] * weights[3]


@cache
def depthwise_halving(*, to_bytes: bool = False) -> Callable[..., Any]:
    """The compiled kernel for 4 x 4 taps at a stride of two, ``(cells, C)`` -> ``(cells, C)``.

    ``to_bytes`` as of :func:`depthwise`.
    """
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")
    put = _put_bytes if to_bytes else _put

    def convolve(
        source, source_cell, width, table, lacks, first, last, weight, step, bias, channels, cap, out, cell
    ):  # fmt: skip
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated; see :func:`_place`.

        Of the first ``channels``; cells are ``source_cell`` and ``cell`` floats apart, taps ``step``.
        """
        _ = sources
        row = width * source_cell
        out_width, nothing = width // 2, broadcast(_ZERO)
        for k in range(first, last):
            to = (k - first) * out_width * cell
            r0 = _place(table, 4 * k, lacks) * row
            r1 = _place(table, 4 * k + 1, lacks) * row
            r2 = _place(table, 4 * k + 2, lacks) * row
            r3 = _place(table, 4 * k + 3, lacks) * row
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                # The four taps of each column of cells.
                w0 = _four_weights(weight, c, 4 * step)
                w1 = _four_weights(weight, c + step, 4 * step)
                w2 = _four_weights(weight, c + 2 * step, 4 * step)
                w3 = _four_weights(weight, c + 3 * step, 4 * step)
                at = c
                early = _plus(b, _four_loads(source, r0, r1, r2, r3, at), w1)
                for x in range(out_width - 1):
                    # A column of cells counts for two outputs, each a sum in two parts that run in parallel.
                    at += source_cell
                    cells = _four_loads(source, r0, r1, r2, r3, at)
                    late, following = _plus(nothing, cells, w2), _plus(b, cells, w0)
                    at += source_cell
                    cells = _four_loads(source, r0, r1, r2, r3, at)
                    late, following = _plus(late, cells, w3), _plus(following, cells, w1)
                    put(out, to + x * cell + c, early + late, cap)
                    early = following
                at += source_cell
                late = _plus(nothing, _four_loads(source, r0, r1, r2, r3, at), w2)
                if 2 * out_width < width:
                    late = _plus(late, _four_loads(source, r0, r1, r2, r3, at + source_cell), w3)
                put(out, to + (out_width - 1) * cell + c, early + late, cap)

    return compiled(convolve)


@njit(forceinline=True)
def _column(source, at, row):
    """Four numbers of one channel, one below the other, each in every lane."""
    return (
        load_everywhere(source, at),
        load_everywhere(source, at + row),
        load_everywhere(source, at + 2 * row),
        load_everywhere(source, at + 3 * row),
    )


@cache
def first_halving() -> Callable[..., Any]:
    """The compiled kernel for the same taps from one channel to ``C``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, row, tops, first, last, width, channels, weight, bias, cap, out):
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated.

        ``source`` is a plane with a border; ``tops`` the row above each output's first.
        """
        _ = sources
        nothing = broadcast(_ZERO)
        for c in range(0, channels, N_LANES):
            b = load(bias, c)
            w0 = _four_weights(weight, c, 4 * channels)
            w1 = _four_weights(weight, c + channels, 4 * channels)
            w2 = _four_weights(weight, c + 2 * channels, 4 * channels)
            w3 = _four_weights(weight, c + 3 * channels, 4 * channels)
            for k in range(first, last):
                at = tops[k] * row
                to = (k - first) * width * channels + c
                early = _plus(_plus(b, _column(source, at, row), w0), _column(source, at + 1, row), w1)
                for _x in range(width - 1):
                    at += 2
                    cells = _column(source, at, row)
                    late, following = _plus(nothing, cells, w2), _plus(b, cells, w0)
                    cells = _column(source, at + 1, row)
                    late, following = _plus(late, cells, w3), _plus(following, cells, w1)
                    store(out, to, _left(early + late, cap))
                    early = following
                    to += channels
                late = _plus(
                    _plus(nothing, _column(source, at + 2, row), w2), _column(source, at + 3, row), w3
                )
                store(out, to, _left(early + late, cap))

    return compiled(convolve)

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
from pannsx.jit.simd import N_LANES, broadcast, load, load_everywhere, maximum, minimum, store
from pannsx.types import FloatArray, IntArray

_ZERO = np.float32(0)


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


@cache
def depthwise() -> Callable[..., Any]:
    """The compiled kernel for 3 x 3 taps on every cell, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(
        source, source_cell, width, table, lacks, first, last, weight, step, bias, channels, cap, out, cell
    ):  # fmt: skip
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated; see :func:`_place`.

        Of the first ``channels``; cells are ``source_cell`` and ``cell`` floats apart, taps ``step``.
        """
        _ = sources
        row = width * source_cell
        for k in range(first, last):
            r0 = _place(table, 3 * k, lacks) * row
            r1 = _place(table, 3 * k + 1, lacks) * row
            r2 = _place(table, 3 * k + 2, lacks) * row
            to = (k - first) * width * cell
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                w0, w1, w2 = load(weight, c), load(weight, c + step), load(weight, c + 2 * step)
                w3 = load(weight, c + 3 * step)
                w4 = load(weight, c + 4 * step)
                w5 = load(weight, c + 5 * step)
                w6 = load(weight, c + 6 * step)
                w7 = load(weight, c + 7 * step)
                w8 = load(weight, c + 8 * step)
                left0, left1, left2 = broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO)
                here0 = load(source, r0 + c)
                here1 = load(source, r1 + c)
                here2 = load(source, r2 + c)
                for x in range(width - 1):
                    at = (x + 1) * source_cell + c
                    right0 = load(source, r0 + at)
                    right1 = load(source, r1 + at)
                    right2 = load(source, r2 + at)
                    total = b + left0 * w0 + here0 * w1 + right0 * w2
                    total = total + left1 * w3 + here1 * w4 + right1 * w5
                    total = total + left2 * w6 + here2 * w7 + right2 * w8
                    store(out, to + x * cell + c, _left(total, cap))
                    left0, left1, left2 = here0, here1, here2
                    here0, here1, here2 = right0, right1, right2
                total = b + left0 * w0 + here0 * w1
                total = total + left1 * w3 + here1 * w4
                total = total + left2 * w6 + here2 * w7
                store(out, to + (width - 1) * cell + c, _left(total, cap))

    return compiled(convolve)


@njit(forceinline=True)
def _four_weights(weight, at, step):
    return load(weight, at), load(weight, at + step), load(weight, at + 2 * step), load(weight, at + 3 * step)


@njit(forceinline=True)
def _four_loads(source, r0, r1, r2, r3, at):
    """A cell in each of four rows."""
    return load(source, r0 + at), load(source, r1 + at), load(source, r2 + at), load(source, r3 + at)


@njit(forceinline=True)
def _plus(total, cells, weights):
    """``total`` and four products, one after the other: fused in one way only, wherever this is compiled."""
    total = total + cells[0] * weights[0] + cells[1] * weights[1]
    return total + cells[2] * weights[2] + cells[3] * weights[3]


@cache
def depthwise_halving() -> Callable[..., Any]:
    """The compiled kernel for 4 x 4 taps at a stride of two, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(
        source, source_cell, width, table, lacks, first, last, weight, step, bias, channels, cap, out, cell
    ):  # fmt: skip
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated; see :func:`_place`.

        Of the first ``channels``; cells are ``source_cell`` and ``cell`` floats apart, taps ``step``.
        """
        _ = sources
        row = width * source_cell
        out_width = width // 2
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
                nothing = broadcast(_ZERO)
                before = nothing, nothing, nothing, nothing
                here = _four_loads(source, r0, r1, r2, r3, c)
                for x in range(out_width):
                    at = (2 * x + 1) * source_cell + c
                    right = _four_loads(source, r0, r1, r2, r3, at)
                    total = _plus(_plus(_plus(b, before, w0), here, w1), right, w2)
                    before = right
                    if 2 * x + 2 < width:
                        here = _four_loads(source, r0, r1, r2, r3, at + source_cell)
                        total = _plus(total, here, w3)
                    store(out, to + x * cell + c, _left(total, cap))

    return compiled(convolve)


@njit(forceinline=True)
def _four_neighbours(source, at):
    """Four neighbouring numbers of one channel, each in every lane."""
    return (
        load_everywhere(source, at),
        load_everywhere(source, at + 1),
        load_everywhere(source, at + 2),
        load_everywhere(source, at + 3),
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
        for c in range(0, channels, N_LANES):
            b = load(bias, c)
            w0 = _four_weights(weight, c, channels)
            w1 = _four_weights(weight, c + 4 * channels, channels)
            w2 = _four_weights(weight, c + 8 * channels, channels)
            w3 = _four_weights(weight, c + 12 * channels, channels)
            for k in range(first, last):
                for x in range(width):
                    at = tops[k] * row + 2 * x
                    total = _plus(b, _four_neighbours(source, at), w0)
                    total = _plus(total, _four_neighbours(source, at + row), w1)
                    total = _plus(total, _four_neighbours(source, at + 2 * row), w2)
                    total = _plus(total, _four_neighbours(source, at + 3 * row), w3)
                    store(out, ((k - first) * width + x) * channels + c, _left(total, cap))

    return compiled(convolve)

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
import numpy.typing as npt
from numba import njit

from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, broadcast, load, maximum, minimum, store
from pannsx.types import FloatArray

IntArray = npt.NDArray[np.int64]

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
def _entered(source, at, cap):
    """Outputs of the previous layer, with its pending activation applied."""
    return minimum(maximum(load(source, at), _ZERO), cap)


@njit(forceinline=True)
def _left(total, cap):
    return minimum(maximum(total, _ZERO), cap)


@cache
def depthwise() -> Callable[..., Any]:
    """The compiled kernel for 3 x 3 taps on every cell, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, width, channels, table, first, last, weight, bias, cap, out):
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, both activations done."""
        _ = sources
        row = width * channels
        for k in range(first, last):
            r0, r1, r2 = table[k, 0] * row, table[k, 1] * row, table[k, 2] * row
            to = (k - first) * row
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                w0, w1, w2 = load(weight, c), load(weight, c + channels), load(weight, c + 2 * channels)
                w3 = load(weight, c + 3 * channels)
                w4 = load(weight, c + 4 * channels)
                w5 = load(weight, c + 5 * channels)
                w6 = load(weight, c + 6 * channels)
                w7 = load(weight, c + 7 * channels)
                w8 = load(weight, c + 8 * channels)
                left0, left1, left2 = broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO)
                here0 = _entered(source, r0 + c, cap)
                here1 = _entered(source, r1 + c, cap)
                here2 = _entered(source, r2 + c, cap)
                for x in range(width - 1):
                    at = (x + 1) * channels + c
                    right0 = _entered(source, r0 + at, cap)
                    right1 = _entered(source, r1 + at, cap)
                    right2 = _entered(source, r2 + at, cap)
                    total = b + left0 * w0 + here0 * w1 + right0 * w2
                    total = total + left1 * w3 + here1 * w4 + right1 * w5
                    total = total + left2 * w6 + here2 * w7 + right2 * w8
                    store(out, to + x * channels + c, _left(total, cap))
                    left0, left1, left2 = here0, here1, here2
                    here0, here1, here2 = right0, right1, right2
                total = b + left0 * w0 + here0 * w1
                total = total + left1 * w3 + here1 * w4
                total = total + left2 * w6 + here2 * w7
                store(out, to + (width - 1) * channels + c, _left(total, cap))

    return compiled(convolve)


@cache
def depthwise_halving() -> Callable[..., Any]:
    """The compiled kernel for 4 x 4 taps at a stride of two, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, width, channels, table, first, last, weight, bias, cap, out):
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, both activations done."""
        _ = sources
        row = width * channels
        out_width = width // 2
        for k in range(first, last):
            to = (k - first) * out_width * channels
            for c in range(0, channels, N_LANES):
                for x in range(out_width):
                    total = load(bias, c)
                    for j in range(4):
                        at = table[k, j] * row + (2 * x - 1) * channels + c
                        w = 4 * j * channels + c
                        if x > 0:
                            total = total + _entered(source, at, cap) * load(weight, w)
                        total = total + _entered(source, at + channels, cap) * load(weight, w + channels)
                        total = total + _entered(source, at + 2 * channels, cap) * load(
                            weight, w + 2 * channels
                        )
                        if 2 * x + 2 < width:
                            total = total + _entered(source, at + 3 * channels, cap) * load(
                                weight, w + 3 * channels
                            )
                    store(out, to + x * channels + c, _left(total, cap))

    return compiled(convolve)


@cache
def first_halving() -> Callable[..., Any]:
    """The compiled kernel for the same taps from one channel to ``C``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, row, tops, first, last, width, weight, bias, out):
        """``source`` is a plane with a border; ``tops`` the row above each output's first. No activation."""
        _ = sources
        channels = len(bias)
        for k in range(first, last):
            for c in range(0, channels, N_LANES):
                for x in range(width):
                    total = load(bias, c)
                    for j in range(4):
                        at = (tops[k] + j) * row + 2 * x
                        w = 4 * j * channels + c
                        total = total + load(weight, w) * source[at]
                        total = total + load(weight, w + channels) * source[at + 1]
                        total = total + load(weight, w + 2 * channels) * source[at + 2]
                        total = total + load(weight, w + 3 * channels) * source[at + 3]
                    store(out, (k * width + x) * channels + c, total)

    return compiled(convolve)

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
from pannsx.jit.simd import N_LANES, broadcast, load, load_everywhere, maximum, minimum, store
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
def _left(total, cap):
    return minimum(maximum(total, _ZERO), cap)


@cache
def depthwise() -> Callable[..., Any]:
    """The compiled kernel for 3 x 3 taps on every cell, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, width, channels, table, first, last, weight, bias, cap, out):
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated."""
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
                here0 = load(source, r0 + c)
                here1 = load(source, r1 + c)
                here2 = load(source, r2 + c)
                for x in range(width - 1):
                    at = (x + 1) * channels + c
                    right0 = load(source, r0 + at)
                    right1 = load(source, r1 + at)
                    right2 = load(source, r2 + at)
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


@njit(forceinline=True)
def _two(source, at, channels, weight, w):
    """The middle two of four taps of a row: the cells from ``at`` on."""
    here = load(source, at) * load(weight, w + channels)
    return here + load(source, at + channels) * load(weight, w + 2 * channels)


@njit(forceinline=True)
def _tap(source, at, weight, w):
    return load(source, at) * load(weight, w)


@cache
def depthwise_halving() -> Callable[..., Any]:
    """The compiled kernel for 4 x 4 taps at a stride of two, ``(cells, C)`` -> ``(cells, C)``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, width, channels, table, first, last, weight, bias, cap, out):
        """Frames ``first`` to ``last`` -> ``out``, from its beginning, activated."""
        _ = sources
        row = width * channels
        out_width = width // 2
        w1, w2, w3 = 4 * channels, 8 * channels, 12 * channels  # rows of taps
        for k in range(first, last):
            to = (k - first) * out_width * channels
            r0, r1, r2, r3 = table[k, 0] * row, table[k, 1] * row, table[k, 2] * row, table[k, 3] * row
            for x in range(out_width):
                has_left, has_right = x > 0, 2 * x + 2 < width
                for c in range(0, channels, N_LANES):
                    at = 2 * x * channels + c
                    upper = load(bias, c) + _two(source, r0 + at, channels, weight, c)
                    lower = _two(source, r1 + at, channels, weight, c + w1)
                    upper = upper + _two(source, r2 + at, channels, weight, c + w2)
                    lower = lower + _two(source, r3 + at, channels, weight, c + w3)
                    if has_left:
                        at -= channels
                        upper = upper + _tap(source, r0 + at, weight, c)
                        lower = lower + _tap(source, r1 + at, weight, c + w1)
                        upper = upper + _tap(source, r2 + at, weight, c + w2)
                        lower = lower + _tap(source, r3 + at, weight, c + w3)
                        at += channels
                    if has_right:
                        at += 2 * channels
                        w = c + 3 * channels
                        upper = upper + _tap(source, r0 + at, weight, w)
                        lower = lower + _tap(source, r1 + at, weight, w + w1)
                        upper = upper + _tap(source, r2 + at, weight, w + w2)
                        lower = lower + _tap(source, r3 + at, weight, w + w3)
                    store(out, to + x * channels + c, _left(upper + lower, cap))

    return compiled(convolve)


@njit(forceinline=True)
def _four_weights(weight, at, step):
    return load(weight, at), load(weight, at + step), load(weight, at + 2 * step), load(weight, at + 3 * step)


@njit(forceinline=True)
def _weighted(source, at, w):
    """Four neighbouring numbers of one channel, each times the vector of its weights."""
    total = w[0] * load_everywhere(source, at) + w[1] * load_everywhere(source, at + 1)
    return total + w[2] * load_everywhere(source, at + 2) + w[3] * load_everywhere(source, at + 3)


@cache
def first_halving() -> Callable[..., Any]:
    """The compiled kernel for the same taps from one channel to ``C``."""
    sources = digest_of("jit/simd.py", "inference/cpu/depthwise.py")

    def convolve(source, row, tops, first, last, width, weight, bias, cap, out):
        """``source`` is a plane with a border; ``tops`` the row above each output's first."""
        _ = sources
        channels = len(bias)
        for c in range(0, channels, N_LANES):
            b = load(bias, c)
            w0 = _four_weights(weight, c, channels)
            w1 = _four_weights(weight, c + 4 * channels, channels)
            w2 = _four_weights(weight, c + 8 * channels, channels)
            w3 = _four_weights(weight, c + 12 * channels, channels)
            for k in range(first, last):
                for x in range(width):
                    at = tops[k] * row + 2 * x
                    upper = _weighted(source, at, w0) + _weighted(source, at + row, w1)
                    lower = _weighted(source, at + 2 * row, w2) + _weighted(source, at + 3 * row, w3)
                    store(out, (k * width + x) * channels + c, _left(upper + (lower + b), cap))

    return compiled(convolve)

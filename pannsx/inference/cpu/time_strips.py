"""Layers over time in strips: ranges of frames that stay in the cache through convolutions and pooling.

Maps are ``(L, C)``, frame after frame, with a frame of zeros before the first and after the last. Then three
successive frames are one row of ``3 C`` numbers, and a convolution of three taps is one matrix product on
rows that overlap: nothing is copied for it.

A *task* is some successive layers; its *pieces* are ranges of frames of the last layer's output, done in any
order by any thread. For each, the frames that it needs of every layer before are computed into the thread's
scratch memory; only the last layer writes to the memory that all threads share. A task of a single
convolution may instead be cut by channels.

Layers, pieces and places are rows of int64 numbers, made by :mod:`pannsx.inference.cpu.leenet`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.jit import matrix
from pannsx.jit.atomic import fetch_add
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import PANEL
from pannsx.jit.simd import N_LANES, load, load_everywhere, maximum, store

FIRST, CONVOLUTION, POOLING = range(3)
"""Kinds of layers: the first convolution, of one channel and with a stride of three; one with a stride of
one; the maximum of three frames. All have three taps, one of them before the frame, and zeros beyond the
ends. Convolutions are rectified, so that these zeros do not change a maximum.
"""

STRIDE = 3
"""Of the first convolution and of pooling."""

KIND, IN_CHANNELS, CHANNELS, WEIGHTS, BIAS = range(5)
"""Columns of a layer; the last two say where its taps or panels, and its bias, begin in the weights."""

ITEM, BEGIN, END, FIRST_CHANNEL, LAST_CHANNEL = range(5)
"""Columns of a piece: frames ``BEGIN`` to ``END`` of an item, and channels of the last layer."""

_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)


@njit(forceinline=True)
def _first_layer(source, at, taps, bias, weights, n, channels, target, to):
    """``n`` frames from samples ``at`` on, of which the first frame reads the one before."""
    for c in range(0, channels, N_LANES):
        b = load(weights, bias + c)
        left, middle = load(weights, taps + c), load(weights, taps + channels + c)
        right = load(weights, taps + 2 * channels + c)
        for i in range(n):
            s = at + STRIDE * i
            total = b + left * load_everywhere(source, s - 1) + middle * load_everywhere(source, s)
            total = total + right * load_everywhere(source, s + 1)
            store(target, to + i * channels + c, maximum(total, _ZERO))


@njit(forceinline=True)
def _pooling(source, at, n, channels, target, to):
    """``n`` frames, the first of which is the maximum of the frame at ``at`` and its two neighbours."""
    for i in range(n):
        middle = at + STRIDE * i * channels
        for c in range(0, channels, N_LANES):
            here = middle + c
            most = maximum(load(source, here - channels), load(source, here))
            store(target, to + i * channels + c, maximum(most, load(source, here + channels)))


@cache
def run_task() -> Callable[..., Any]:
    """The compiled function that each thread calls; it returns when no piece of the task is left."""
    sources = digest_of(*matrix.SOURCES, "jit/atomic.py", "inference/cpu/time_strips.py")
    multiply = matrix.product()

    def share(counter, layers, lengths, places, pieces, weights, memory, scratch):
        """``lengths[item, i]``: frames of the input of layer ``i``, and of the last one's output.

        ``places[item]``: where the input and the output of the task begin in the memory, each with the frame
        of zeros before it. ``counter`` is zero when the first thread comes.
        """
        _ = sources
        n_layers = len(layers)
        ranges = np.empty((n_layers + 1, 2), np.int64)
        half = len(scratch) // 2
        p = fetch_add(counter, 0, 1)
        while p < len(pieces):
            item = pieces[p, ITEM]
            ranges[n_layers, 0], ranges[n_layers, 1] = pieces[p, BEGIN], pieces[p, END]
            for i in range(n_layers - 1, -1, -1):
                low, high = ranges[i + 1, 0], ranges[i + 1, 1]
                if layers[i, KIND] == CONVOLUTION:
                    low, high = low - 1, high + 1
                else:
                    low, high = STRIDE * low - 1, STRIDE * high - 1
                # Of the frames beyond the ends, the next ones alone are read.
                ranges[i, 0], ranges[i, 1] = max(low, -1), min(high, lengths[item, i] + 1)
            source, frame_0 = memory, places[item, 0] + layers[0, IN_CHANNELS]
            for i in range(n_layers):
                kind, n_in, n_out = layers[i, KIND], layers[i, IN_CHANNELS], layers[i, CHANNELS]
                low, high = ranges[i + 1, 0], ranges[i + 1, 1]
                begin, end = 0, n_out
                if i == n_layers - 1:
                    target, to_0 = memory, places[item, 1] + n_out
                    begin, end = pieces[p, FIRST_CHANNEL], pieces[p, LAST_CHANNEL]
                else:
                    target, to_0 = scratch, (i % 2) * half - low * n_out
                    if low < 0:
                        scratch[to_0 - n_out : to_0] = 0
                        low = 0
                    length = lengths[item, i + 1]
                    if high > length:
                        scratch[to_0 + length * n_out : to_0 + (length + 1) * n_out] = 0
                        high = length
                if kind == CONVOLUTION:
                    multiply(
                        source, frame_0 + (low - 1) * n_in, n_in, high - low, 1, 0, 3 * n_in,
                        weights, layers[i, WEIGHTS] + begin * 3 * n_in, 0, 3 * n_in * PANEL, end - begin,
                        target, to_0 + low * n_out + begin, n_out,
                        weights, layers[i, BIAS] + begin, _ZERO, _INFINITY, False,
                    )  # fmt: skip
                elif kind == POOLING:
                    _pooling(
                        source, frame_0 + STRIDE * low * n_in, high - low, n_out, target, to_0 + low * n_out
                    )
                else:
                    _first_layer(
                        source, frame_0 + STRIDE * low, layers[i, WEIGHTS], layers[i, BIAS], weights,
                        high - low, n_out, target, to_0 + low * n_out,
                    )  # fmt: skip
                source, frame_0 = target, to_0
            p = fetch_add(counter, 0, 1)

    return compiled(share)

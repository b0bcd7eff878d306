"""Layers over time in one compiled call: ranges of frames that stay in the cache through several layers.

A *map* is ``(L, C)``, frame after frame, with frames of zeros before the first and after the last, as many as
the layers that read it see beyond the ends. Map 0 is the waveform, map ``i + 1`` the output of layer ``i``.
Successive frames, or samples, are then one row of numbers, and a convolution is one matrix product on rows
that overlap: nothing is copied for it. One of three taps can be computed as Winograd's F(4, 3) instead, six
matrix products of a quarter of the rows, which are half of the multiplications.

A *task* is some successive layers; its *pieces* are ranges of frames of the last layer's output. For each,
the frames that it needs of every layer before are computed into the thread's scratch memory; only maps that a
later task reads are written to the memory that all threads share. A task of a single convolution may instead
be cut by channels. Threads take pieces as in :mod:`pannsx.inference.cpu.pieces`.

Layers, tasks, pieces and places are rows of int64 numbers, made by :mod:`pannsx.inference.cpu.time_plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.inference.cpu import pieces as shared
from pannsx.inference.cpu import winograd_transforms as transforms
from pannsx.inference.cpu.winograd_transforms import N_INPUTS, N_OUTPUTS, load_six, of_inputs, to_outputs
from pannsx.jit import matrix
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import NONE, NOWHERE, ONE, PANEL, TILE_ROWS
from pannsx.jit.simd import N_LANES, load, maximum, store

CONVOLUTION, WINOGRAD, MAXIMUM, MEAN = range(4)
"""Kinds of layers. Zeros beyond the ends enter a maximum: a padded one is for rectified maps only."""

(
    KIND, SOURCE, ADDED, IN_CHANNELS, CHANNELS, N_TAPS, STRIDE, DILATION, PADDING, WEIGHTS, BIAS, RECTIFIED,
) = range(12)  # fmt: skip
"""Columns of a layer: its kind, the maps that it reads and adds (-1: none), its shape, where its panels and
its bias begin in the weights, and whether its outputs are rectified.
"""

BEGIN, END, FIRST_PIECE, N_PIECES, BY_CHANNELS, TRANSFORMED = range(6)
"""Columns of a task: its layers, its pieces, whether these are channels, and where Winograd's matrices begin
in the scratch memory.
"""

ITEM, FIRST, LAST, FIRST_CHANNEL, LAST_CHANNEL = range(5)
"""Columns of a piece: frames ``FIRST`` to ``LAST`` of an item, and channels of a task cut by channels."""

CHUNK = 64
"""Output channels of Winograd's form at a time; as many zeros stand at the end of the weights."""

_WINOGRAD_FLOATS = 50_000  # of the transformed inputs of a block of tiles: they stay in the cache
_LEAST_TILES = 40  # of a block, unless its layer has fewer: else reading the weights takes the time
_SKEW = N_LANES  # floats between rows and between the six matrices: they do not share cache sets
_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)
_ROW = np.int64(CHUNK)


def most_tiles(in_channels: int) -> int:
    """Tiles of a block in Winograd's form."""
    n = max(_LEAST_TILES, _WINOGRAD_FLOATS // (N_INPUTS * (in_channels + _SKEW)))
    return -(-n // TILE_ROWS) * TILE_ROWS


def winograd_floats(in_channels: int, n_tiles: int) -> int:
    """Floats of the matrices of a block."""
    return N_INPUTS * (n_tiles * (in_channels + _SKEW + CHUNK) + 2 * _SKEW)


@njit(forceinline=True)
def _needed(layer, low, high):
    """The frames of its source that frames ``low`` to ``high`` of a layer need.

    Tiles of Winograd's form begin at the same frames for every range, so that no result depends on the cut.
    """
    if layer[KIND] == WINOGRAD:
        group = N_OUTPUTS * layer[DILATION]
        low, high = low // group * group, -(-high // group) * group
    first = layer[STRIDE] * low - layer[PADDING]
    last = layer[STRIDE] * (high - 1) - layer[PADDING] + (layer[N_TAPS] - 1) * layer[DILATION]
    return first, last + 1


@njit(forceinline=True)
def _copy_rows(source, at, target, to, step, n, width):
    for i in range(n):
        for c in range(0, width, N_LANES):
            store(target, to + i * step + c, load(source, at + i * step + c))


@njit(forceinline=True)
def _pooling(kind, source, at, step, n_taps, n, channels, target, to):
    """``n`` frames, each the maximum or mean of ``n_taps`` successive ones."""
    share = np.float32(1 / n_taps)
    for i in range(n):
        first = at + i * step
        for c in range(0, channels, N_LANES):
            found = load(source, first + c)
            if kind == MAXIMUM:
                for tap in range(1, n_taps):
                    found = maximum(found, load(source, first + tap * channels + c))
            else:
                for tap in range(1, n_taps):
                    found = found + load(source, first + tap * channels + c)
                found = found * share
            store(target, to + i * channels + c, found)


@njit(forceinline=True)
def _first_frame(tile, dilation):
    """Of the four outputs of a tile, ``dilation`` apart."""
    return tile // dilation * N_OUTPUTS * dilation + tile % dilation


@njit(forceinline=True)
def _enter(source, frame_0, channels, dilation, first, n, v, v_at, v_step):
    """Tiles ``first`` to ``first + n`` of a map -> ``v[i, tile, channel]``."""
    step = dilation * channels
    for t in range(n):
        at = frame_0 + (_first_frame(first + t, dilation) - dilation) * channels
        to = v_at + t * (channels + _SKEW)
        for c in range(0, channels, N_LANES):
            found = of_inputs(*load_six(source, at + c, step))
            store(v, to + c, found[0])
            store(v, to + v_step + c, found[1])
            store(v, to + 2 * v_step + c, found[2])
            store(v, to + 3 * v_step + c, found[3])
            store(v, to + 4 * v_step + c, found[4])
            store(v, to + 5 * v_step + c, found[5])


@njit(forceinline=True)
def _leave(
    m, m_at, m_step, n_channels, dilation, first, n, low, high, weights, bias, floor, adds, added, added_0,
    target, to_0, channels,
):  # fmt: skip
    """``m[i, tile, channel]`` -> those frames of the tiles that lie in ``low`` to ``high``, in a map."""
    for t in range(n):
        frame = _first_frame(first + t, dilation)
        inside = (
            low <= frame < high,
            low <= frame + dilation < high,
            low <= frame + 2 * dilation < high,
            low <= frame + 3 * dilation < high,
        )
        step = dilation * channels
        for c in range(0, n_channels, N_LANES):
            # No call with arrays on conditions: counting references to these is slow.
            w, x, y, z = to_outputs(*load_six(m, m_at + t * CHUNK + c, m_step))
            more = load(weights, bias + c)
            at, to = added_0 + frame * channels + c, to_0 + frame * channels + c
            if inside[0]:
                w = w + more + load(added, at) if adds else w + more
                store(target, to, maximum(w, floor))
            if inside[1]:
                x = x + more + load(added, at + step) if adds else x + more
                store(target, to + step, maximum(x, floor))
            if inside[2]:
                y = y + more + load(added, at + 2 * step) if adds else y + more
                store(target, to + 2 * step, maximum(y, floor))
            if inside[3]:
                z = z + more + load(added, at + 3 * step) if adds else z + more
                store(target, to + 3 * step, maximum(z, floor))


@cache
def compiled_share() -> Callable[..., Any]:
    """The compiled function that each thread calls; it returns when all tasks are done."""
    sources = digest_of(*matrix.SOURCES, *shared.SOURCES, transforms.SOURCE, "inference/cpu/time_strips.py")
    multiply = matrix.product()

    def winograd(
        layer, begin, end, low, high, floor, weights, source, frame_0, adds, added, added_0, target, to_0,
        scratch, v_at, most,
    ):  # fmt: skip
        """Frames ``low`` to ``high`` of a layer, channels ``begin`` to ``end``, by blocks of tiles."""
        _ = sources
        n_in, n_out, dilation = layer[IN_CHANNELS], layer[CHANNELS], layer[DILATION]
        group = N_OUTPUTS * dilation
        first, last = low // group * dilation, -(-high // group) * dilation
        n_blocks = -(-(last - first) // most)
        even = -(-(last - first) // n_blocks)
        block = -(-even // TILE_ROWS) * TILE_ROWS
        v_step, m_step = block * (n_in + _SKEW) + _SKEW, block * CHUNK + _SKEW
        m_at = v_at + N_INPUTS * v_step
        size = -(-n_out // PANEL) * PANEL * n_in
        for at in range(first, last, block):
            n = min(block, last - at)
            _enter(source, frame_0, n_in, dilation, at, n, scratch, v_at, v_step)
            for chunk in range(begin, end, CHUNK):
                width = min(CHUNK, end - chunk)
                for i in range(N_INPUTS):
                    multiply(
                        scratch, v_at + i * v_step, n_in + _SKEW, n, ONE, NONE, n_in,
                        weights, layer[WEIGHTS] + i * size + chunk * n_in, NONE, n_in * PANEL, width,
                        scratch, m_at + i * m_step, _ROW, weights, len(weights) - CHUNK,
                        -_INFINITY, _INFINITY, NOWHERE,
                    )  # fmt: skip
                _leave(
                    scratch, m_at, m_step, width, dilation, at, n, low, high, weights, layer[BIAS] + chunk,
                    floor, adds, added, added_0 + chunk, target, to_0 + chunk, n_out,
                )  # fmt: skip

    winograd = compiled(winograd)

    def run_layer(
        layer, begin, end, low, high, weights, source, frame_0, added, added_0, target, to_0, scratch, v_at,
        most,
    ):  # fmt: skip
        """Frames ``low`` to ``high`` of a layer, channels ``begin`` to ``end``; frame 0 is at the places."""
        _ = sources
        kind, n_in, n_out, n_taps = layer[KIND], layer[IN_CHANNELS], layer[CHANNELS], layer[N_TAPS]
        adds = layer[ADDED] >= 0
        floor = _ZERO if layer[RECTIFIED] else -_INFINITY
        at, step = frame_0 + (layer[STRIDE] * low - layer[PADDING]) * n_in, layer[STRIDE] * n_in
        if kind == WINOGRAD:
            winograd(
                layer, begin, end, low, high, floor, weights, source, frame_0, adds, added, added_0, target,
                to_0, scratch, v_at, most,
            )  # fmt: skip
        elif kind == CONVOLUTION:
            to = to_0 + low * n_out + begin
            if adds:
                here = added_0 + low * n_out + begin
                _copy_rows(added, here, target, to, n_out, high - low, end - begin)
            joined = layer[DILATION] == 1  # then the taps of a frame are one stretch of memory
            multiply(
                source, at, step, high - low,
                1 if joined else n_taps, layer[DILATION] * n_in, n_taps * n_in if joined else n_in,
                weights, layer[WEIGHTS] + begin * n_taps * n_in, n_in, n_taps * n_in * PANEL, end - begin,
                target, to, n_out, weights, layer[BIAS] + begin, floor, _INFINITY, to if adds else -1,
            )  # fmt: skip
        else:
            _pooling(kind, source, at, step, n_taps, high - low, n_out, target, to_0 + low * n_out)

    run_layer = compiled(run_layer)

    def share(
        me, n, counters, first_task, last_task, tasks, layers, tiles, margins, slots, lengths, places,
        pieces, weights, memory, scratch, yields,
    ):  # fmt: skip
        """Thread ``me`` of ``n``, which all call it with the same arrays but their own ``scratch``.

        By map: ``margins``, the frames of zeros before and after it, and ``slots``, where it begins in the
        scratch memory, -1 for maps in memory. By item and map: ``lengths``, its frames, and ``places`` of
        frame 0 in memory. By layer: ``tiles``, the most of a block in Winograd's form.
        """
        _ = sources
        ranges = np.empty((len(slots), 2), np.int64)
        for t in range(first_task, last_task):
            begin, end, n_pieces = tasks[t, BEGIN], tasks[t, END], tasks[t, N_PIECES]
            p = shared.take(counters, t, me, n, n_pieces)
            while p >= 0:
                piece = pieces[tasks[t, FIRST_PIECE] + p]
                item = piece[ITEM]
                for i in range(begin, end):
                    ranges[i + 1, 0], ranges[i + 1, 1] = lengths[item, i + 1], 0
                    if slots[i + 1] < 0:
                        ranges[i + 1, 0], ranges[i + 1, 1] = piece[FIRST], piece[LAST]
                for i in range(end - 1, begin - 1, -1):
                    low, high = max(ranges[i + 1, 0], 0), min(ranges[i + 1, 1], lengths[item, i + 1])
                    source, added = layers[i, SOURCE], layers[i, ADDED]
                    if source > begin:
                        first, last = _needed(layers[i], low, high)
                        ranges[source, 0] = min(ranges[source, 0], first)
                        ranges[source, 1] = max(ranges[source, 1], last)
                    if added > begin:
                        ranges[added, 0] = min(ranges[added, 0], low)
                        ranges[added, 1] = max(ranges[added, 1], high)
                for i in range(begin, end):
                    n_in, n_out = layers[i, IN_CHANNELS], layers[i, CHANNELS]
                    low, high = ranges[i + 1, 0], ranges[i + 1, 1]
                    length = lengths[item, i + 1]
                    first_channel, last_channel = 0, n_out
                    if slots[i + 1] < 0:
                        target, to_0 = memory, places[item, i + 1]
                        if tasks[t, BY_CHANNELS]:
                            first_channel, last_channel = piece[FIRST_CHANNEL], piece[LAST_CHANNEL]
                        low, high = max(low, 0), min(high, length)
                        if first_channel == 0 and low == 0:
                            memory[to_0 - margins[i + 1, 0] * n_out : to_0] = 0
                        if first_channel == 0 and high == length:
                            behind = to_0 + length * n_out
                            memory[behind : behind + margins[i + 1, 1] * n_out] = 0
                    else:
                        target, to_0 = scratch, slots[i + 1] - low * n_out
                        if low < 0:
                            scratch[slots[i + 1] : to_0] = 0
                            low = 0
                        if high > length:
                            scratch[to_0 + length * n_out : to_0 + high * n_out] = 0
                            high = length
                    which = layers[i, SOURCE]
                    source, frame_0 = memory, places[item, which]
                    if slots[which] >= 0:
                        source, frame_0 = scratch, slots[which] - ranges[which, 0] * n_in
                    which = max(layers[i, ADDED], 0)
                    added, added_0 = memory, places[item, which]
                    if slots[which] >= 0:
                        added, added_0 = scratch, slots[which] - ranges[which, 0] * n_out
                    run_layer(
                        layers[i], first_channel, last_channel, low, high, weights, source, frame_0,
                        added, added_0, target, to_0, scratch, tasks[t, TRANSFORMED], tiles[i],
                    )  # fmt: skip
                shared.put_down(counters, t, n)
                p = shared.take(counters, t, me, n, n_pieces)
            shared.wait_for_all(counters, t, n, n_pieces, yields)

    return compiled(share)

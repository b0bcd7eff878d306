"""Layers of a MobileNet in one compiled call: strips of frames through several layers, shared by threads.

The work is a list of *tasks*, one after the other. A task is some successive layers; its *pieces* are done
in any order, by any thread:

* *strips*: a range of frames of the last layer's output. For each, the frames that it needs of every layer
  before are computed into the thread's scratch memory, which stays in its cache; only the last layer writes
  to the memory that all threads share. Neighbouring strips both compute the frames at their common edge.
* *columns*, of a single product or pooling, or of a product and the depthwise convolution after it: all rows,
  or of a product a part of them, and some of its columns.

Threads take pieces as in :mod:`pannsx.inference.cpu.pieces`.

Layers and tasks are rows of int64 numbers, made by :mod:`pannsx.inference.cpu.strip_plan`. Their columns are
named here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from pannsx.inference.cpu import pieces
from pannsx.inference.cpu.depthwise import depthwise, depthwise_halving, first_halving
from pannsx.jit import matrix, matrix8
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.matrix import NONE, NOWHERE, ONE, PANEL, TILE_ROWS
from pannsx.jit.simd import N_LANES, broadcast, load, maximum, store

FIRST, DEPTHWISE, HALVING, PRODUCT, POOLING, DEPTHWISE8, HALVING8, PRODUCT8 = range(8)
"""Kinds of layers. The first and the halving ones read two frames for each of their own. Pooling gives a cell
for each item: the mean over the width, then over time the maximum plus the mean. Those of 8 bits: depthwise
convolutions that give bytes, and products that read them.
"""

DEPTHWISE_KINDS, HALVING_KINDS = (DEPTHWISE, DEPTHWISE8), (HALVING, HALVING8)
PRODUCT_KINDS = (PRODUCT, PRODUCT8)

(
    KIND, IN_CHANNELS, IN_CELL, IN_WIDTH, CELL, WIDTH, TABLE, TAPS, BIAS, PANELS, SOURCE, TARGET, ADDED,
) = range(13)  # fmt: skip
"""Columns of a layer: kind; channels that a product sums; floats of a cell and cells of a frame, of the input
and of the output. Then where it begins: its frame table in the tables, or for pooling the first frame of each
item and their number; its taps, bias and panels in the weights; and in the memory the matrices that it reads,
writes and adds, each with a zero frame before it.
``SOURCE`` counts for the first layer of a task, ``TARGET`` for the last; ``ADDED`` may be -1.

A cell is whole vectors; channels are filled up with zeros. Four bytes stand in a float's place. ``TAPS`` of a
product of bytes are the scales of its columns.
"""

N_LAYER_COLUMNS = 13

BEGIN, END, N_FRAMES, N_PIECES, BY_COLUMNS, N_ROWS, N_PARTS = range(7)
"""Columns of a task: its layers, frames of the last one, pieces, and whether these are columns. Then rows of
the first layer's output, and in how many parts they are divided, besides the columns.
"""

_ZERO, _INFINITY = np.float32(0), np.float32(np.inf)


@njit(forceinline=True)
def _needed(layer, tables, first, last):
    """The frames that frames ``first`` to ``last`` of a layer need of its source."""
    if layer[KIND] not in DEPTHWISE_KINDS and layer[KIND] not in HALVING_KINDS:
        return first, last
    n_taps = 3 if layer[KIND] in DEPTHWISE_KINDS else 4
    begin, end = layer[TABLE] + first * n_taps, layer[TABLE] + last * n_taps - 1
    while tables[begin] == 0:
        begin += 1
    while tables[end] == 0:
        end -= 1
    return tables[begin] - 1, tables[end]


@cache
def compiled_share() -> Callable[..., Any]:
    """The compiled function that each thread calls; it returns when all tasks are done."""
    sources = digest_of(
        *matrix8.SOURCES, *pieces.SOURCES, "inference/cpu/depthwise.py", "inference/cpu/strips.py"
    )
    multiply = matrix.product()
    first_layer, stride_one, stride_two = first_halving(), depthwise(), depthwise_halving()
    has_bytes = matrix8.FEATURE is not None
    # Where there are none, no layer is of these kinds; something must stand in their place.
    multiply8 = matrix8.product() if has_bytes else matrix.product()
    stride_one8, stride_two8 = depthwise(to_bytes=has_bytes), depthwise_halving(to_bytes=has_bytes)

    def strip(
        layers,
        limits,
        begin,
        end,
        first,
        last,
        weights,
        plane,
        plane_row,
        tops,
        tables,
        memory,
        scratch,
        ranges,
    ):
        """Frames ``first`` to ``last`` of layer ``end - 1``, through the layers from ``begin`` on."""
        _ = sources
        ranges[end, 0], ranges[end, 1] = first, last
        for i in range(end - 1, begin - 1, -1):
            ranges[i, 0], ranges[i, 1] = _needed(layers[i], tables, ranges[i + 1, 0], ranges[i + 1, 1])
        source_at, at = 0, 0  # in scratch
        for i in range(begin, end):
            layer = layers[i]
            low, high = ranges[i + 1, 0], ranges[i + 1, 1]
            in_cell, cell = layer[IN_CELL], layer[CELL]
            frame = layer[WIDTH] * cell
            if i > begin:
                source, lacks = scratch[source_at:], ranges[i, 0]
            else:
                source, lacks = memory[layer[SOURCE] :], 0
            if i < end - 1:
                scratch[at : at + frame] = 0
                target, to = scratch, at + frame
            else:
                target, to = memory, layer[TARGET] + (1 + low) * frame
            floor, cap = limits[i, 0], limits[i, 1]
            taps, bias = weights[layer[TAPS] :], weights[layer[BIAS] :]
            table = tables[layer[TABLE] :]
            if layer[KIND] == PRODUCT:
                n_rows = (high - low) * layer[WIDTH]
                added = layer[ADDED] + (1 + low) * frame if layer[ADDED] >= 0 else -1
                multiply(
                    source, (1 + low - lacks) * layer[IN_WIDTH] * in_cell, in_cell, n_rows,
                    ONE, NONE, layer[IN_CHANNELS],
                    weights, layer[PANELS], NONE, layer[IN_CHANNELS] * PANEL, cell,
                    target, to, cell, weights, layer[BIAS], floor, cap, added,
                )  # fmt: skip
            elif has_bytes and layer[KIND] == PRODUCT8:
                multiply8(
                    source.view(np.int32), (1 + low - lacks) * layer[IN_WIDTH] * in_cell, in_cell,
                    (high - low) * layer[WIDTH], in_cell, weights.view(np.int32), layer[PANELS], cell,
                    target, to, cell, weights, layer[TAPS], weights, layer[BIAS], floor, cap,
                )  # fmt: skip
            elif layer[KIND] == DEPTHWISE:
                stride_one(
                    source, cell, layer[IN_WIDTH], table, lacks, low, high, taps, cell, bias, cell, cap,
                    target[to:], cell,
                )  # fmt: skip
            elif layer[KIND] == DEPTHWISE8:
                stride_one8(
                    source, in_cell, layer[IN_WIDTH], table, lacks, low, high, taps, in_cell, bias, in_cell,
                    cap, target[to:], in_cell,
                )  # fmt: skip
            elif layer[KIND] == HALVING8:
                stride_two8(
                    source, in_cell, layer[IN_WIDTH], table, lacks, low, high, taps, in_cell, bias, in_cell,
                    cap, target[to:], in_cell,
                )  # fmt: skip
            elif layer[KIND] == HALVING:
                stride_two(
                    source, cell, layer[IN_WIDTH], table, lacks, low, high, taps, cell, bias, cell, cap,
                    target[to:], cell,
                )  # fmt: skip
            else:
                first_layer(
                    plane, plane_row, tops, low, high, layer[WIDTH], cell, taps, bias, cap, target[to:]
                )
            source_at = at
            at += (1 + high - low) * frame

    def columns(layer, floor, cap, first, last, first_row, last_row, weights, memory):
        """Panels ``first`` to ``last`` of a product, some of its rows."""
        _ = sources
        in_channels, in_cell, cell = layer[IN_CHANNELS], layer[IN_CELL], layer[CELL]
        begin, end = first * PANEL, min(last * PANEL, cell)
        row = layer[WIDTH] + first_row
        at = row * cell + begin
        if has_bytes and layer[KIND] == PRODUCT8:
            multiply8(
                memory.view(np.int32), layer[SOURCE] + row * in_cell, in_cell, last_row - first_row, in_cell,
                weights.view(np.int32), layer[PANELS] + begin * in_cell, end - begin, memory,
                layer[TARGET] + at, cell, weights, layer[TAPS] + begin, weights, layer[BIAS] + begin, floor,
                cap,
            )  # fmt: skip
            return
        multiply(
            memory, layer[SOURCE] + row * in_cell, in_cell, last_row - first_row,
            ONE, NONE, in_channels, weights, layer[PANELS] + begin * in_channels, NONE, in_channels * PANEL,
            end - begin, memory, layer[TARGET] + at, cell, weights, layer[BIAS] + begin, floor, cap,
            layer[ADDED] + at if layer[ADDED] >= 0 else -1,
        )  # fmt: skip

    def widened(layers, limits, begin, first, last, n_rows, n_frames, weights, tables, memory, scratch):
        """Panels ``first`` to ``last`` of a product with ``n_rows``, then of the depthwise convolution."""
        _ = sources
        wide, deep = layers[begin], layers[begin + 1]
        in_channels, in_cell, cell = wide[IN_CHANNELS], wide[IN_CELL], wide[CELL]
        begin_c, end_c = first * PANEL, min(last * PANEL, cell)
        n = end_c - begin_c
        scratch[: wide[WIDTH] * n] = 0
        multiply(
            memory, wide[SOURCE] + wide[WIDTH] * in_cell, in_cell, n_rows, ONE, NONE, in_channels,
            weights, wide[PANELS] + begin_c * in_channels, NONE, in_channels * PANEL, n,
            scratch, wide[WIDTH] * n, n, weights, wide[BIAS] + begin_c, limits[begin, 0],
            limits[begin, 1], NOWHERE,
        )  # fmt: skip
        table, target = tables[deep[TABLE] :], memory[deep[TARGET] + deep[WIDTH] * cell + begin_c :]
        taps, bias = weights[deep[TAPS] + begin_c :], weights[deep[BIAS] + begin_c :]
        cap = limits[begin + 1, 1]
        if deep[KIND] == DEPTHWISE:
            stride_one(
                scratch,
                n,
                deep[IN_WIDTH],
                table,
                NONE,
                NONE,
                n_frames,
                taps,
                cell,
                bias,
                n,
                cap,
                target,
                cell,
            )
        else:
            stride_two(
                scratch,
                n,
                deep[IN_WIDTH],
                table,
                NONE,
                NONE,
                n_frames,
                taps,
                cell,
                bias,
                n,
                cap,
                target,
                cell,
            )

    def pooled(layer, tables, first, last, n_items, memory):
        """Panels ``first`` to ``last`` of the pooling of all items."""
        _ = sources
        width, cell = layer[IN_WIDTH], layer[CELL]
        share = np.float32(1 / width)
        for item in range(n_items):
            begin, end = tables[layer[TABLE] + item], tables[layer[TABLE] + item + 1]
            part = np.float32(1 / (end - begin))
            for c in range(first * PANEL, min(last * PANEL, cell), N_LANES):
                most, total = broadcast(-_INFINITY), broadcast(_ZERO)
                for frame in range(begin, end):
                    at = layer[SOURCE] + (1 + frame) * width * cell + c
                    mean = load(memory, at)
                    for x in range(1, width):
                        mean = mean + load(memory, at + x * cell)
                    mean = mean * share
                    most, total = maximum(mean, most), total + mean
                store(memory, layer[TARGET] + (1 + item) * cell + c, most + total * part)

    strip, columns, widened, pooled = (compiled(each) for each in (strip, columns, widened, pooled))

    def share(
        me, n, counters, first_task, last_task, tasks, layers, limits, weights, plane, plane_row, tops,
        tables, memory, scratch, yields,
    ):  # fmt: skip
        """Thread ``me`` of ``n``; ``limits`` are each layer's least and greatest output.

        The ``counters`` are those of :mod:`pannsx.inference.cpu.pieces`.
        """
        _ = sources
        ranges = np.empty((len(layers) + 1, 2), np.int64)
        for t in range(first_task, last_task):
            task = tasks[t]
            last_layer, n_pieces, n_frames = task[END] - 1, task[N_PIECES], task[N_FRAMES]
            n_panels = -(-layers[last_layer, CELL] // PANEL)
            piece = pieces.take(counters, t, me, n, n_pieces)
            while piece >= 0:
                n_parts = task[N_PARTS]
                n_columns, column, part = n_pieces // n_parts, piece // n_parts, piece % n_parts
                first, last = n_panels * column // n_columns, n_panels * (column + 1) // n_columns
                if layers[last_layer, KIND] == POOLING:
                    pooled(layers[last_layer], tables, first, last, n_frames, memory)
                elif task[BY_COLUMNS] and task[BEGIN] < last_layer:
                    widened(
                        layers, limits, task[BEGIN], first, last, task[N_ROWS], n_frames, weights, tables,
                        memory, scratch,
                    )  # fmt: skip
                elif task[BY_COLUMNS]:
                    n_tiles = -(-task[N_ROWS] // TILE_ROWS)
                    columns(
                        layers[last_layer], limits[last_layer, 0], limits[last_layer, 1], first, last,
                        n_tiles * part // n_parts * TILE_ROWS,
                        min(n_tiles * (part + 1) // n_parts * TILE_ROWS, task[N_ROWS]), weights, memory,
                    )  # fmt: skip
                else:
                    strip(
                        layers, limits, task[BEGIN], task[END],
                        n_frames * piece // n_pieces, n_frames * (piece + 1) // n_pieces,
                        weights, plane, plane_row, tops, tables, memory, scratch, ranges,
                    )  # fmt: skip
                pieces.put_down(counters, t, n)
                piece = pieces.take(counters, t, me, n, n_pieces)
            pieces.wait_for_all(counters, t, n, n_pieces, yields)

    return compiled(share)

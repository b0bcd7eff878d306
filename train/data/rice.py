"""A lossless code for int16 samples that is fast to decode: fixed predictors and Rice codes.

As in Shorten (Robinson 1994, "SHORTEN: Simple lossless and near-lossless waveform compression") and FLAC's
fixed subframes, the difference of order 0 to 3 that is smallest in a block is stored, each residual as a
quotient in unary and ``k`` low bits (Rice 1979). To decode fast, the residuals of a block are in four streams
of bits, so that four codes are read at once, and ``k`` is large enough for quotients below `LONGEST`, so that
every code is within one 64-bit word.

A clip is its number of samples (4 bytes), then blocks of `BLOCK` samples, the last one shorter:

    order            1 byte
    lengths          4 x 2 bytes: bits of each stream
    k                4 x 4 bytes: of each quarter of each stream
    streams          each from a byte's boundary on, the lowest bit first

Numbers are little-endian. The compiled functions run without the interpreter's lock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pannsx.jit.cache import compiled

BLOCK = 4096
STREAMS = 4
QUARTERS = 4
LONGEST = 32
"""Quotients are below this: a code has at most 32 + 14 bits."""

PADDING = 8192
"""Bytes needed after an encoded clip: however damaged, decoding does not read further."""

_HEADER = 1 + 2 * STREAMS + STREAMS * QUARTERS
_MAX_ORDER, _MAX_K = 3, 19
_CODE_BITS = LONGEST + _MAX_K
_LENGTH_BYTES = 4

_DE_BRUIJN = 0x077CB531
_PLACES = np.zeros(32, np.uint8)
for _place in range(32):
    _PLACES[((_DE_BRUIJN << _place) & 0xFFFFFFFF) >> 27] = _place


def encode_rice(pcm: NDArray[np.int16]) -> bytes:
    """``(n,)`` samples -> bytes."""
    samples = np.ascontiguousarray(pcm, np.int16)
    n_blocks = -(-len(samples) // BLOCK)
    longest = n_blocks * (_HEADER + STREAMS * (BLOCK // STREAMS * _CODE_BITS // 8 + 1))
    encoded = np.zeros(_LENGTH_BYTES + longest, np.uint8)
    encoded[:_LENGTH_BYTES] = np.array([len(samples)], "<u4").view(np.uint8)
    end = int(_encode(samples, encoded, _LENGTH_BYTES))
    return encoded[:end].tobytes()


def n_samples_of(encoded: NDArray[np.uint8], n_bytes: int) -> int:
    """The number of samples of an encoded clip of ``n_bytes``.

    Raises:
        ValueError: it has no header.
    """
    if n_bytes < _LENGTH_BYTES:
        raise ValueError(f"{n_bytes} bytes are too few for a clip in Rice codes")
    return int(encoded[:_LENGTH_BYTES].view("<u4")[0])


def decode_rice(encoded: NDArray[np.uint8], n_bytes: int, out: NDArray[np.int16]) -> None:
    """Decode a clip of `n_samples_of` samples into the begin of ``out``.

    Args:
        encoded: the clip's ``n_bytes`` bytes, and at least `PADDING` more of any content.
        n_bytes: its length.
        out: contiguous; samples after the clip's end stay as they are.

    Raises:
        ValueError: the bytes are not in this code, or ``out`` is too short.
    """
    n_samples = n_samples_of(encoded, n_bytes)
    if n_samples > len(out):
        raise ValueError(f"the clip has {n_samples} samples; {len(out)} are expected at most")
    if len(encoded) < n_bytes + PADDING:
        raise ValueError(
            f"{PADDING} bytes are needed after the clip's {n_bytes}, {len(encoded) - n_bytes} are there"
        )
    words = encoded[: len(encoded) // 8 * 8].view("<u8")
    if _decode(encoded, words, n_bytes, out[:n_samples], _PLACES) != n_bytes:
        raise ValueError("the bytes are not a clip in Rice codes")


@compiled
def _encode(samples, encoded, begin):
    """Write the blocks of ``(n,)`` samples into zeroed bytes from ``begin`` on -> the end."""
    n = len(samples)
    residuals = np.empty((4, BLOCK), np.uint32)
    history = np.zeros(4, np.int64)
    now = np.zeros(4, np.int64)
    position = begin
    for first in range(0, n, BLOCK):
        size = min(BLOCK, n - first)
        costs = np.zeros(4, np.float64)
        for i in range(size):
            now[0] = samples[first + i]
            for order in range(4):
                if order:
                    now[order] = now[order - 1] - history[order - 1]
                residual = now[order]
                residuals[order, i] = (residual << 1) ^ (residual >> 63)
                costs[order] += abs(residual)
            history[:] = now
        order = int(np.argmin(costs))
        chosen = residuals[order]
        encoded[position] = order
        length = (size + STREAMS - 1) // STREAMS
        quarter = (length + QUARTERS - 1) // QUARTERS
        chosen[size : STREAMS * length] = 0  # all streams are equally long
        at = position + _HEADER
        for stream in range(STREAMS):
            bit = at * 8
            for part in range(QUARTERS):
                low = stream * length + min(length, part * quarter)
                high = stream * length + min(length, (part + 1) * quarter)
                k = _best_k(chosen[low:high])
                encoded[position + 1 + 2 * STREAMS + stream * QUARTERS + part] = k
                for i in range(low, high):
                    bit += chosen[i] >> k
                    encoded[bit >> 3] |= np.uint8(1 << (bit & 7))
                    bit += 1
                    for j in range(k):
                        if (chosen[i] >> j) & 1:
                            encoded[bit >> 3] |= np.uint8(1 << (bit & 7))
                        bit += 1
            n_bits = bit - at * 8
            encoded[position + 1 + 2 * stream] = n_bits & 255
            encoded[position + 2 + 2 * stream] = n_bits >> 8
            at += (n_bits + 7) >> 3
        position = at
    return position


@compiled
def _best_k(values):
    """The ``k`` with the fewest bits of those with quotients below `LONGEST`."""
    largest = np.uint32(0)
    for value in values:
        largest = max(largest, value)
    least = 0
    while (largest >> least) >= LONGEST:
        least += 1
    best, fewest = least, np.int64(1) << 62
    for k in range(least, _MAX_K + 1):
        bits = np.int64(len(values)) * (1 + k)
        for value in values:
            bits += value >> k
        if bits >= fewest:
            break
        best, fewest = k, bits
    return best


@compiled
def _decode(encoded, words, n_bytes, out, places):
    """Decode all blocks -> the position after the last, or -1 for bytes that are no blocks."""
    n = len(out)
    residuals = np.empty(BLOCK, np.int32)
    starts = np.empty(STREAMS, np.int64)
    ends = np.empty(STREAMS, np.int64)
    history = np.zeros(3, np.int32)
    position = _LENGTH_BYTES
    for first in range(0, n, BLOCK):
        size = min(BLOCK, n - first)
        if position + _HEADER > n_bytes:
            return -1
        order = encoded[position]
        at = position + _HEADER
        for stream in range(STREAMS):
            n_bits = np.int64(encoded[position + 1 + 2 * stream]) + (
                np.int64(encoded[position + 2 + 2 * stream]) << 8
            )
            starts[stream], ends[stream] = at * 8, at * 8 + n_bits
            at += (n_bits + 7) >> 3
        if at > n_bytes or order > _MAX_ORDER:
            return -1
        length = (size + STREAMS - 1) // STREAMS
        quarter = (length + QUARTERS - 1) // QUARTERS
        p0, p1, p2, p3 = starts[0], starts[1], starts[2], starts[3]
        for part in range(QUARTERS):
            low, high = min(length, part * quarter), min(length, (part + 1) * quarter)
            header = position + 1 + 2 * STREAMS + part
            k0, k1 = np.uint64(encoded[header]), np.uint64(encoded[header + QUARTERS])
            k2, k3 = np.uint64(encoded[header + 2 * QUARTERS]), np.uint64(encoded[header + 3 * QUARTERS])
            if max(k0, k1, k2, k3) > _MAX_K:
                return -1
            for i in range(low, high):
                value, n_bits = _code(words, p0, k0, places)
                residuals[i] = value
                p0 += n_bits
                value, n_bits = _code(words, p1, k1, places)
                residuals[length + i] = value
                p1 += n_bits
                value, n_bits = _code(words, p2, k2, places)
                residuals[2 * length + i] = value
                p2 += n_bits
                value, n_bits = _code(words, p3, k3, places)
                residuals[3 * length + i] = value
                p3 += n_bits
        if p0 != ends[0] or p1 != ends[1] or p2 != ends[2] or p3 != ends[3]:
            return -1
        _undo_differences(residuals, out[first : first + size], history, order)
        position = at
    return position


@compiled
def _code(words, position, k, places):
    """The residual at a position in bits, and the length of its code."""
    word, shift = position >> 6, np.uint64(position & 63)
    bits = (words[word] >> shift) | ((words[word + 1] << np.uint64(1)) << (np.uint64(63) - shift))
    lowest = (bits & (~bits + np.uint64(1))) & np.uint64(0xFFFFFFFF)
    quotient = np.uint64(places[((lowest * np.uint64(_DE_BRUIJN)) & np.uint64(0xFFFFFFFF)) >> np.uint64(27)])
    rest = (bits >> (quotient + np.uint64(1))) & ((np.uint64(1) << k) - np.uint64(1))
    value = (quotient << k) | rest
    residual = np.int32(value >> np.uint64(1)) ^ -np.int32(value & np.uint64(1))
    return residual, np.int64(quotient + k + np.uint64(1))


@compiled
def _undo_differences(residuals, out, history, order):
    """Residuals of an order -> samples; `history` holds the last value of each lower difference."""
    h0, h1, h2 = history[0], history[1], history[2]
    if order == 0:
        for i in range(len(out)):
            h2 = residuals[i] - h0 - h1
            h1 = residuals[i] - h0
            h0 = residuals[i]
            out[i] = h0
    elif order == 1:
        for i in range(len(out)):
            h2 = residuals[i] - h1
            h1 = residuals[i]
            h0 += h1
            out[i] = h0
    elif order == 2:
        for i in range(len(out)):
            h2 = residuals[i]
            h1 += h2
            h0 += h1
            out[i] = h0
    else:
        for i in range(len(out)):
            h2 += residuals[i]
            h1 += h2
            h0 += h1
            out[i] = h0
    history[0], history[1], history[2] = h0, h1, h2

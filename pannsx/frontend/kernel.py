"""The compiled front end for the CPU: from samples to log-mel in one pass over blocks of frames.

A block is ``L = N_LANES`` neighbouring frames, one in each lane of a vector, so that every step of
the transform is the same vector instruction for all of them:

1. The samples of a block are transposed once, ``columns[p, r] = x[r * hop + p]``.  Sample ``s`` of
   frames ``0 .. L - 1`` is then the vector in row ``s % hop`` from column ``s // hop``: overlapping
   frames share their samples.
2. Window and first pass of the transform (:mod:`pannsx.frontend.transform`) read these vectors and
   write ``spectrum[place, re/im, lane]``; the later passes work in place, part by part, so that a
   part fits into the first-level cache.
3. Untangling gives the power of each bin ``power[bin, lane]``; each bin adds to its two mel
   bands; decibels are computed from an exponent and a polynomial.
4. ``(F, L)`` decibels are transposed to the ``L`` rows of the result.

Threads that call the compiled function at once take blocks by a counter, so that one which the system starts
late delays nothing. It releases the interpreter's lock, starts no threads and allocates nothing: the
caller provides its scratch memory (:class:`pannsx.frontend.numba_logmel.Workspace`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import njit

from pannsx.frontend.definition import FLOOR
from pannsx.frontend.transform import first_pass, last_pass, middle_pass, untangle
from pannsx.jit.atomic import LINE, fetch_add, wait_for
from pannsx.jit.cache import compiled, digest_of
from pannsx.jit.simd import N_LANES, broadcast, exponent, load, mantissa, maximum, store, transpose_tile

_DECIBELS_PER_OCTAVE = np.float32(10 * np.log10(2.0))
_FLOOR = np.float32(FLOOR)
_ZERO = np.float32(0)
_ONE = np.float32(1)


@njit(forceinline=True)
def _transpose_samples(source, base, hop, n_phases, n_columns, columns):
    """``columns[p * n_columns + r] = source[base + r * hop + p]``."""
    if n_phases < N_LANES:
        for p in range(n_phases):
            for r in range(n_columns):
                columns[p * n_columns + r] = source[base + r * hop + p]
        return
    for tile in range(0, n_phases, N_LANES):
        p = min(tile, n_phases - N_LANES)  # the last tile may redo some rows of the one before
        for r in range(0, n_columns, N_LANES):
            transpose_tile(source, base + r * hop + p, hop, columns, p * n_columns + r, n_columns)


@njit(forceinline=True)
def _reflect(waveform, start, samples):
    """Fill ``samples`` with the reflected waveform from ``start``, which may be outside the waveform."""
    last = len(waveform) - 1
    for i in range(len(samples)):
        s = start + i
        if 0 <= s <= last:
            samples[i] = waveform[s]
        elif last == 0:
            samples[i] = waveform[0]
        else:
            s %= 2 * last
            samples[i] = waveform[min(s, 2 * last - s)]


@njit(forceinline=True)
def _decibels(power, coefficients):
    """``10 log10(max(power, floor))``; values that are not finite stay so."""
    x = maximum(power, _FLOOR)
    f = mantissa(x) - _ONE
    series = broadcast(coefficients[0])
    for c in coefficients[1:]:
        series = series * f + broadcast(c)
    return exponent(x) * _DECIBELS_PER_OCTAVE + series * f + (power - power)


@njit(forceinline=True)
def _mel_bands(power, segment_ends, rising, falling, coefficients, scale, shift, decibels):
    """``(bins, L)`` power -> ``(F, L)`` scaled and shifted decibels, one segment between mel edges after the
    other.
    """
    band = broadcast(_ZERO)  # sum over the previous segment of the band that now falls
    for segment in range(len(segment_ends) - 1):
        up, down = broadcast(_ZERO), band
        for k in range(segment_ends[segment], segment_ends[segment + 1]):
            x = load(power, k * N_LANES)
            up = up + x * rising[k]
            down = down + x * falling[k]
        if segment > 0:
            value = _decibels(down, coefficients) * scale[segment - 1] + broadcast(shift[segment - 1])
            store(decibels, (segment - 1) * N_LANES, value)
        band = up


LogMelFunction = Callable[..., None]


@cache
def compiled_kernel(n_fft: int, radices: tuple[int, ...]) -> LogMelFunction:
    """The compiled function for one transform size; sizes and strides are constants in it."""
    sources = digest_of("jit/simd.py", "jit/atomic.py", "frontend/transform.py", "frontend/kernel.py")
    n = n_fft // 2
    radix1, radix2, radix3 = (*radices[1:], 0, 0)[:3]
    m1 = n // 8
    m2 = m1 // radix1

    def log_mel(
        waveform, counters, n_frames, n_bands, hop, scale, shift, result, at, step, work, tables, limits,
        yields,
    ):  # fmt: skip
        """``(S,)`` waveform -> ``(T, F)`` log-mel, by all threads that call this, to the end of the work.

        Frames are ``step`` floats apart in ``result``, from ``at`` on, each band times its ``scale`` plus its
        ``shift``. The two ``counters``, zero at first, are of blocks of frames taken and done.
        """
        _ = sources
        samples, columns, spectrum, power, decibels, rows = work
        column_samples, window, twiddles, starts, places, untangling, ends, rising, falling, coefs = tables
        n_columns, first_bin, last_bin = limits
        n_blocks = -(-n_frames // N_LANES)
        row_stride = len(rows) // N_LANES
        n_phases = min(hop, n_fft)
        block = fetch_add(counters, 0, 1)
        while block < n_blocks:
            frame = block * N_LANES
            base = frame * hop - n_fft // 2
            if base >= 0 and base + n_columns * hop <= len(waveform):
                _transpose_samples(waveform, base, hop, n_phases, n_columns, columns)
            else:
                _reflect(waveform, base, samples)
                _transpose_samples(samples, 0, hop, n_phases, n_columns, columns)
            first_pass(columns, column_samples, window, spectrum, n, twiddles)
            for begin in range(0, n, m1):
                end = begin + m1
                if radix2 == 0:
                    last_pass(radix1, spectrum, begin, end)
                else:
                    middle_pass(radix1, spectrum, begin, end, m1, twiddles, starts[1])
                    if radix3 == 0:
                        last_pass(radix2, spectrum, begin, end)
                    else:
                        middle_pass(radix2, spectrum, begin, end, m2, twiddles, starts[2])
                        last_pass(radix3, spectrum, begin, end)
            untangle(spectrum, places, untangling, n, first_bin, last_bin, power)
            _mel_bands(power, ends, rising, falling, coefs, scale, shift, decibels)
            for band in range(0, row_stride, N_LANES):
                transpose_tile(decibels, band * N_LANES, N_LANES, rows, band, row_stride)
            for lane in range(min(N_LANES, n_frames - frame)):
                to = at + (frame + lane) * step
                for band in range(n_bands):
                    result[to + band] = rows[lane * row_stride + band]
            fetch_add(counters, LINE, 1)
            block = fetch_add(counters, 0, 1)
        wait_for(counters, LINE, n_blocks, yields)

    return compiled(log_mel)

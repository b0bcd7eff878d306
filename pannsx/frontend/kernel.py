"""From samples to log-mel in one pass over blocks of frames: the compiled front end of the CPU.

A block is ``L = N_LANES`` neighbouring frames, one in each lane of a vector, so that every step of
the transform is the same vector instruction for all of them:

1. The samples of a block are transposed once, ``columns[p, r] = x[r * hop + p]``.  Sample ``s`` of
   frames ``0 .. L - 1`` is then the vector at row ``s % hop`` from column ``s // hop`` on: frames
   that overlap share their samples.
2. Window and first pass of the transform (see :mod:`pannsx.frontend.plan`) read these vectors and
   write ``spectrum[place, re/im, lane]``; the later passes work in place, part by part, so that a
   part stays in the first-level cache.
3. Untangling gives the power of each bin ``power[bin, lane]``; each bin adds to the two mel bands
   it lies in; decibels are an exponent and a polynomial.
4. ``(F, L)`` decibels are transposed to the ``L`` rows of the result.

Everything lives in one :class:`Workspace` a thread, and only the result is allocated.  The compiled
function holds no lock of the interpreter and starts no threads of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pannsx.config import FrontEnd
from pannsx.frontend.definition import FLOOR
from pannsx.frontend.lanes import N_LANES, at_least, exponent, load, mantissa, spread, store, transpose_tile
from pannsx.frontend.plan import FloatArray, Plan, make_plan

_DECIBELS_PER_OCTAVE = np.float32(10 * np.log10(2.0))
_SQRT_HALF = np.float32(np.sqrt(0.5))
_FLOOR = np.float32(FLOOR)
_ZERO = np.float32(0)
_ONE = np.float32(1)
_PAIR = 2 * N_LANES  # floats of one complex value of a block: L real parts, then L imaginary ones


class Workspace(NamedTuple):
    """Scratch memory of one thread, in float32 (``n = n_fft / 2``, ``W`` columns)."""

    samples: FloatArray  # (W * hop,) samples of a block that reaches over an end of the waveform
    columns: FloatArray  # (phases * W,) transposed samples
    spectrum: FloatArray  # (n * 2 * L,)
    power: FloatArray  # ((n + 1) * L,)
    decibels: FloatArray  # (F' * L,), F' = F rounded up to a multiple of L
    rows: FloatArray  # (L * F',)


def make_workspace(plan: Plan) -> Workspace:
    """Allocate the scratch memory one thread needs for ``plan``."""
    n = plan.frontend.n_fft // 2
    hop = plan.frontend.hop_length
    n_bands = -(-plan.frontend.n_mels // N_LANES) * N_LANES
    sizes = (
        plan.n_columns * hop,
        max(min(hop, plan.frontend.n_fft), N_LANES) * plan.n_columns,
        n * _PAIR,
        (n + 1) * N_LANES,
        n_bands * N_LANES,
        N_LANES * n_bands,
    )
    return Workspace(*(np.zeros(size, np.float32) for size in sizes))


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _dft4(ar, ai, br, bi, cr, ci, dr, di):  # type: ignore[no-untyped-def]
    """Four complex points -> their discrete Fourier transform, in order."""
    er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
    gr, gi, hr, hi = br + dr, bi + di, bi - di, dr - br  # h = -i (b - d)
    return er + gr, ei + gi, fr + hr, fi + hi, er - gr, ei - gi, fr - hr, fi - hi


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _dft8(ar, ai, br, bi, cr, ci, dr, di, er, ei, fr, fi, gr, gi, hr, hi):  # type: ignore[no-untyped-def]
    """Eight complex points -> their discrete Fourier transform, in order."""
    x0r, x0i, x2r, x2i, x4r, x4i, x6r, x6i = _dft4(
        ar + er, ai + ei, br + fr, bi + fi, cr + gr, ci + gi, dr + hr, di + hi
    )
    pr, pi, qr, qi = br - fr, bi - fi, dr - hr, di - hi
    x1r, x1i, x3r, x3i, x5r, x5i, x7r, x7i = _dft4(
        ar - er,
        ai - ei,
        (pr + pi) * _SQRT_HALF,
        (pi - pr) * _SQRT_HALF,
        ci - gi,
        gr - cr,
        (qi - qr) * _SQRT_HALF,
        (qr + qi) * -_SQRT_HALF,
    )
    return x0r, x0i, x1r, x1i, x2r, x2i, x3r, x3i, x4r, x4i, x5r, x5i, x6r, x6i, x7r, x7i


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _put(spectrum, place, re, im):  # type: ignore[no-untyped-def]
    store(spectrum, place * _PAIR, re)
    store(spectrum, place * _PAIR + N_LANES, im)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _put_turned(spectrum, place, re, im, twiddles, t):  # type: ignore[no-untyped-def]
    """Store a complex vector times the factor at ``twiddles[t]``."""
    c, s = twiddles[t], twiddles[t + 1]
    _put(spectrum, place, re * c - im * s, re * s + im * c)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _get(spectrum, place):  # type: ignore[no-untyped-def]
    return load(spectrum, place * _PAIR), load(spectrum, place * _PAIR + N_LANES)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _windowed(columns, column_samples, window, point):  # type: ignore[no-untyped-def]
    """Complex point ``point`` of every frame: windowed samples ``2 point`` and ``2 point + 1``."""
    s = 2 * point
    return (
        load(columns, column_samples[s]) * window[s],
        load(columns, column_samples[s + 1]) * window[s + 1],
    )


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _put8(spectrum, place, step, twiddles, t, x):  # type: ignore[no-untyped-def]
    _put(spectrum, place, x[0], x[1])
    _put_turned(spectrum, place + step, x[2], x[3], twiddles, t)
    _put_turned(spectrum, place + 2 * step, x[4], x[5], twiddles, t + 2)
    _put_turned(spectrum, place + 3 * step, x[6], x[7], twiddles, t + 4)
    _put_turned(spectrum, place + 4 * step, x[8], x[9], twiddles, t + 6)
    _put_turned(spectrum, place + 5 * step, x[10], x[11], twiddles, t + 8)
    _put_turned(spectrum, place + 6 * step, x[12], x[13], twiddles, t + 10)
    _put_turned(spectrum, place + 7 * step, x[14], x[15], twiddles, t + 12)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _first_pass(columns, column_samples, window, spectrum, n, twiddles):  # type: ignore[no-untyped-def]
    """Window the samples and take the first radix-8 pass over all ``n`` points."""
    step = n // 8
    for j in range(step):
        a0, a1 = _windowed(columns, column_samples, window, j)
        b0, b1 = _windowed(columns, column_samples, window, j + step)
        c0, c1 = _windowed(columns, column_samples, window, j + 2 * step)
        d0, d1 = _windowed(columns, column_samples, window, j + 3 * step)
        e0, e1 = _windowed(columns, column_samples, window, j + 4 * step)
        f0, f1 = _windowed(columns, column_samples, window, j + 5 * step)
        g0, g1 = _windowed(columns, column_samples, window, j + 6 * step)
        h0, h1 = _windowed(columns, column_samples, window, j + 7 * step)
        x = _dft8(a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1)
        _put8(spectrum, j, step, twiddles, 14 * j, x)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _dft8_at(spectrum, at, step):  # type: ignore[no-untyped-def]
    a0, a1 = _get(spectrum, at)
    b0, b1 = _get(spectrum, at + step)
    c0, c1 = _get(spectrum, at + 2 * step)
    d0, d1 = _get(spectrum, at + 3 * step)
    e0, e1 = _get(spectrum, at + 4 * step)
    f0, f1 = _get(spectrum, at + 5 * step)
    g0, g1 = _get(spectrum, at + 6 * step)
    h0, h1 = _get(spectrum, at + 7 * step)
    return _dft8(a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _dft4_at(spectrum, at, step):  # type: ignore[no-untyped-def]
    a0, a1 = _get(spectrum, at)
    b0, b1 = _get(spectrum, at + step)
    c0, c1 = _get(spectrum, at + 2 * step)
    d0, d1 = _get(spectrum, at + 3 * step)
    return _dft4(a0, a1, b0, b1, c0, c1, d0, d1)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _middle_pass(radix, spectrum, begin, end, m, twiddles, t):  # type: ignore[no-untyped-def]
    """Radix-8 or radix-4 pass, in place, over each ``m`` points from ``begin`` to ``end``."""
    step = m // radix
    for part in range(begin, end, m):
        for j in range(step):
            at = part + j
            if radix == 8:
                _put8(spectrum, at, step, twiddles, t + 14 * j, _dft8_at(spectrum, at, step))
            else:
                x = _dft4_at(spectrum, at, step)
                _put(spectrum, at, x[0], x[1])
                _put_turned(spectrum, at + step, x[2], x[3], twiddles, t + 6 * j)
                _put_turned(spectrum, at + 2 * step, x[4], x[5], twiddles, t + 6 * j + 2)
                _put_turned(spectrum, at + 3 * step, x[6], x[7], twiddles, t + 6 * j + 4)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _last_pass(radix, spectrum, begin, end):  # type: ignore[no-untyped-def]
    """The pass over neighbouring points, whose factors are all one."""
    for at in range(begin, end, radix):
        if radix == 8:
            x = _dft8_at(spectrum, at, 1)
            _put(spectrum, at, x[0], x[1])
            _put(spectrum, at + 1, x[2], x[3])
            _put(spectrum, at + 2, x[4], x[5])
            _put(spectrum, at + 3, x[6], x[7])
            _put(spectrum, at + 4, x[8], x[9])
            _put(spectrum, at + 5, x[10], x[11])
            _put(spectrum, at + 6, x[12], x[13])
            _put(spectrum, at + 7, x[14], x[15])
        else:
            y = _dft4_at(spectrum, at, 1)
            _put(spectrum, at, y[0], y[1])
            _put(spectrum, at + 1, y[2], y[3])
            _put(spectrum, at + 2, y[4], y[5])
            _put(spectrum, at + 3, y[6], y[7])


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _transpose_samples(source, base, hop, n_phases, n_columns, columns):  # type: ignore[no-untyped-def]
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


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _reflect(waveform, start, samples):  # type: ignore[no-untyped-def]
    """Fill ``samples`` with the reflected waveform from ``start`` on, which may lie outside it."""
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


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _untangle(spectrum, places, untangling, n, first, last, power):  # type: ignore[no-untyped-def]
    """Power of bins ``k`` and ``n - k`` of the real transform, where one of them is wanted.

    With ``Z`` the complex transform of even and odd samples, ``E = Z[k] + conj Z[n - k]`` and
    ``O = (Z[k] - conj Z[n - k]) / i`` are twice their transforms, and the bins are
    ``(E + w O) / 2`` and ``conj(E - w O) / 2`` with ``w = exp(-2 pi i k / n_fft)``.
    """
    for k in range(min(first, n - last), min(max(last, n - first), n // 2) + 1):
        ar, ai = _get(spectrum, places[k])
        br, bi = _get(spectrum, places[(n - k) % n])
        er, ei = ar + br, ai - bi
        our, oui = ai + bi, br - ar
        c, s = untangling[2 * k], untangling[2 * k + 1]
        tr, ti = our * c - oui * s, our * s + oui * c
        sr, si, dr, di = er + tr, ei + ti, er - tr, ei - ti
        store(power, k * N_LANES, sr * sr + si * si)
        store(power, (n - k) * N_LANES, dr * dr + di * di)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _decibels(power, coefficients):  # type: ignore[no-untyped-def]
    """``10 log10(max(power, floor))``; what is not finite stays so."""
    x = at_least(power, _FLOOR)
    f = mantissa(x) - _ONE
    series = spread(coefficients[0])
    for c in coefficients[1:]:
        series = series * f + spread(c)
    return exponent(x) * _DECIBELS_PER_OCTAVE + series * f + (power - power)


@njit(forceinline=True)  # type: ignore[untyped-decorator]
def _mel_bands(power, segment_ends, rising, falling, coefficients, decibels):  # type: ignore[no-untyped-def]
    """``(bins, L)`` power -> ``(F, L)`` decibels, one segment between mel edges after the other."""
    band = spread(_ZERO)  # what the previous segment's bins gave to the band that now falls
    for segment in range(len(segment_ends) - 1):
        up, down = spread(_ZERO), band
        for k in range(segment_ends[segment], segment_ends[segment + 1]):
            x = load(power, k * N_LANES)
            up = up + x * rising[k]
            down = down + x * falling[k]
        if segment > 0:
            store(decibels, (segment - 1) * N_LANES, _decibels(down, coefficients))
        band = up


LogMelFunction = Callable[..., None]


def _compiled(function: LogMelFunction) -> LogMelFunction:
    """Compile without the interpreter's lock; keep the machine code for later processes where possible."""
    try:
        return njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # Numba found no folder it may write to: neither the package's nor the user's
        return njit(nogil=True)(function)  # type: ignore[no-any-return]


@cache
def compiled_kernel(n_fft: int, radices: tuple[int, ...]) -> LogMelFunction:
    """The compiled function for one transform size; sizes and strides are constants in it."""
    n = n_fft // 2
    radix1, radix2, radix3 = (*radices[1:], 0, 0)[:3]
    m1 = n // 8
    m2 = m1 // radix1
    m3 = m2 // radix2 if radix2 else 0

    def log_mel(waveform, first_frame, last_frame, hop, result, work, tables, limits):  # type: ignore[no-untyped-def]
        """Write frames ``first_frame`` to ``last_frame`` of ``(S,)`` waveform to ``(T, F)`` result."""
        samples, columns, spectrum, power, decibels, rows = work
        column_samples, window, twiddles, starts, places, untangling, ends, rising, falling, coefs = tables
        n_columns, first_bin, last_bin = limits
        n_bands = result.shape[1]
        row_stride = len(rows) // N_LANES
        n_phases = min(hop, n_fft)
        for frame in range(first_frame, last_frame, N_LANES):
            base = frame * hop - n_fft // 2
            if base >= 0 and base + n_columns * hop <= len(waveform):
                _transpose_samples(waveform, base, hop, n_phases, n_columns, columns)
            else:
                _reflect(waveform, base, samples)
                _transpose_samples(samples, 0, hop, n_phases, n_columns, columns)
            _first_pass(columns, column_samples, window, spectrum, n, twiddles)
            for begin in range(0, n, m1):
                end = begin + m1
                if radix2 == 0:
                    _last_pass(radix1, spectrum, begin, end)
                else:
                    _middle_pass(radix1, spectrum, begin, end, m1, twiddles, starts[1])
                    if radix3 == 0:
                        _last_pass(radix2, spectrum, begin, end)
                    else:
                        _middle_pass(radix2, spectrum, begin, end, m2, twiddles, starts[2])
                        _last_pass(radix3, spectrum, begin, end)
            _untangle(spectrum, places, untangling, n, first_bin, last_bin, power)
            _mel_bands(power, ends, rising, falling, coefs, decibels)
            for band in range(0, row_stride, N_LANES):
                transpose_tile(decibels, band * N_LANES, N_LANES, rows, band, row_stride)
            for lane in range(min(N_LANES, last_frame - frame)):
                for band in range(n_bands):
                    result[frame + lane, band] = rows[lane * row_stride + band]

    return _compiled(log_mel)


class LogMelKernel:
    """``(S,)`` float32 waveform -> ``(T, F)`` float32 log-mel in dB, compiled, on the calling thread.

    One object may be called from many threads at once; each has its own workspace.
    """

    def __init__(self, frontend: FrontEnd) -> None:
        self.frontend = frontend
        plan = make_plan(frontend, N_LANES)
        self._plan = plan
        self._function = compiled_kernel(frontend.n_fft, plan.radices)
        self._tables = (
            plan.column_samples,
            plan.window,
            plan.twiddles,
            plan.twiddle_starts,
            plan.places,
            plan.untangling,
            plan.segment_ends,
            plan.rising,
            plan.falling,
            plan.decibel_polynomial,
        )
        self._limits = (plan.n_columns, plan.first_bin, plan.last_bin)
        self._local = threading.local()

    def __call__(self, waveform: FloatArray) -> FloatArray:
        """``(S,)`` waveform -> ``(T, F)`` log-mel in dB, ``T = S // hop_length + 1``; ``S >= 1``."""
        x = np.ascontiguousarray(waveform, np.float32)
        if x.ndim != 1 or len(x) == 0:
            raise ValueError(f"the waveform has shape {x.shape}; (S,) with at least one sample is needed")
        n_frames = self.frontend.n_frames(len(x))
        result = np.empty((n_frames, self.frontend.n_mels), np.float32)
        self._function(
            x, 0, n_frames, self.frontend.hop_length, result, self._workspace(), self._tables, self._limits
        )
        return result

    def _workspace(self) -> tuple[FloatArray, ...]:
        workspace: Any = getattr(self._local, "workspace", None)
        if workspace is None:
            workspace = self._local.workspace = tuple(make_workspace(self._plan))
        return workspace  # type: ignore[no-any-return]

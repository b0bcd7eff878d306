"""The complex transform of the kernel: radix-8 and radix-4 passes over vectors of lanes.

Compiled code: ``spectrum[place, re/im, lane]`` is flat, with ``_PAIR`` floats for one complex value of all
lanes.  Radix, sizes and steps are compile-time constants, so that branches and addresses are resolved by
the compiler.  See :mod:`pannsx.frontend.plan` for the tables.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pannsx.jit.simd import N_LANES, load, store

_SQRT_HALF = np.float32(np.sqrt(0.5))
_PAIR = 2 * N_LANES  # L real parts, then L imaginary ones


@njit(forceinline=True)
def _dft4(ar, ai, br, bi, cr, ci, dr, di):
    """Four complex points -> their discrete Fourier transform, in order."""
    er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
    gr, gi, hr, hi = br + dr, bi + di, bi - di, dr - br  # h = -i (b - d)
    return er + gr, ei + gi, fr + hr, fi + hi, er - gr, ei - gi, fr - hr, fi - hi


@njit(forceinline=True)
def _dft8(ar, ai, br, bi, cr, ci, dr, di, er, ei, fr, fi, gr, gi, hr, hi):
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


@njit(forceinline=True)
def _put(spectrum, place, re, im):
    store(spectrum, place * _PAIR, re)
    store(spectrum, place * _PAIR + N_LANES, im)


@njit(forceinline=True)
def _put_turned(spectrum, place, re, im, twiddles, t):
    """Store a complex vector times the factor at ``twiddles[t]``."""
    c, s = twiddles[t], twiddles[t + 1]
    _put(spectrum, place, re * c - im * s, re * s + im * c)


@njit(forceinline=True)
def _get(spectrum, place):
    return load(spectrum, place * _PAIR), load(spectrum, place * _PAIR + N_LANES)


@njit(forceinline=True)
def _windowed(columns, column_samples, window, point):
    """Complex point ``point`` of every frame: windowed samples ``2 point`` and ``2 point + 1``."""
    s = 2 * point
    return (
        load(columns, column_samples[s]) * window[s],
        load(columns, column_samples[s + 1]) * window[s + 1],
    )


@njit(forceinline=True)
def _put8(spectrum, place, step, twiddles, t, x):
    _put(spectrum, place, x[0], x[1])
    _put_turned(spectrum, place + step, x[2], x[3], twiddles, t)
    _put_turned(spectrum, place + 2 * step, x[4], x[5], twiddles, t + 2)
    _put_turned(spectrum, place + 3 * step, x[6], x[7], twiddles, t + 4)
    _put_turned(spectrum, place + 4 * step, x[8], x[9], twiddles, t + 6)
    _put_turned(spectrum, place + 5 * step, x[10], x[11], twiddles, t + 8)
    _put_turned(spectrum, place + 6 * step, x[12], x[13], twiddles, t + 10)
    _put_turned(spectrum, place + 7 * step, x[14], x[15], twiddles, t + 12)


@njit(forceinline=True)
def first_pass(columns, column_samples, window, spectrum, n, twiddles):
    """Window the samples and run the first radix-8 pass over all ``n`` points."""
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


@njit(forceinline=True)
def _dft8_at(spectrum, at, step):
    a0, a1 = _get(spectrum, at)
    b0, b1 = _get(spectrum, at + step)
    c0, c1 = _get(spectrum, at + 2 * step)
    d0, d1 = _get(spectrum, at + 3 * step)
    e0, e1 = _get(spectrum, at + 4 * step)
    f0, f1 = _get(spectrum, at + 5 * step)
    g0, g1 = _get(spectrum, at + 6 * step)
    h0, h1 = _get(spectrum, at + 7 * step)
    return _dft8(a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1)


@njit(forceinline=True)
def _dft4_at(spectrum, at, step):
    a0, a1 = _get(spectrum, at)
    b0, b1 = _get(spectrum, at + step)
    c0, c1 = _get(spectrum, at + 2 * step)
    d0, d1 = _get(spectrum, at + 3 * step)
    return _dft4(a0, a1, b0, b1, c0, c1, d0, d1)


@njit(forceinline=True)
def middle_pass(radix, spectrum, begin, end, m, twiddles, t):
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


@njit(forceinline=True)
def last_pass(radix, spectrum, begin, end):
    """The last pass, over neighbouring points; all its factors are one."""
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


@njit(forceinline=True)
def untangle(spectrum, places, untangling, n, first, last, power):
    """Power of bins ``k`` and ``n - k`` of the real transform, for each pair with a requested bin.

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

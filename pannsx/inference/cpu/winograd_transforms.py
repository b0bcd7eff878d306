"""The transforms of Winograd's F(4, 3) and F(4, 5): four outputs of a filter of three or five taps.

With the matrices of the paper (Lavin and Gray, arXiv 1509.09308), the outputs are ``At ((G g) * (Bt d))`` for
taps ``g`` and inputs ``d``: six products for three taps instead of the twelve of the direct sum, eight for
five taps instead of twenty. Each transform acts on vectors of channels. In two dimensions it is applied along
both.

The products are values of polynomials: at 0, 1, -1, 2, -2 and infinity, with five taps also at 1/2 and -1/2.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pannsx.jit.simd import load, store

N_INPUTS, N_OUTPUTS = 6, 4
"""Of a filter of three taps."""

N_INPUTS_OF_FIVE = 8
"""Of a filter of five taps, for as many outputs."""

G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""``(6, 3)``: of three taps."""

G_OF_FIVE = np.array(
    [
        [1, 0, 0, 0, 0],
        [-2 / 9, -2 / 9, -2 / 9, -2 / 9, -2 / 9],
        [-2 / 9, 2 / 9, -2 / 9, 2 / 9, -2 / 9],
        [1 / 90, 2 / 90, 4 / 90, 8 / 90, 16 / 90],
        [1 / 90, -2 / 90, 4 / 90, -8 / 90, 16 / 90],
        [32 / 45, 16 / 45, 8 / 45, 4 / 45, 2 / 45],
        [32 / 45, -16 / 45, 8 / 45, -4 / 45, 2 / 45],
        [0, 0, 0, 0, 1],
    ]
)
"""``(8, 5)``: of five taps."""

SOURCE = "inference/cpu/winograd_transforms.py"
"""What a compiled function that calls these passes to ``digest_of``, besides its own module."""

_TWO, _FOUR, _FIVE, _EIGHT = np.float32(2), np.float32(4), np.float32(5), np.float32(8)
_HALF, _QUARTER, _EIGHTH = np.float32(1 / 2), np.float32(1 / 4), np.float32(1 / 8)
_5_4, _5_2, _17_4, _21_4 = np.float32(5 / 4), np.float32(5 / 2), np.float32(17 / 4), np.float32(21 / 4)


@njit(forceinline=True)
def of_inputs(a, b, c, d, e, f):
    """``Bt`` times six vectors."""
    p, q = d - b * _FOUR, e - c * _FOUR
    r, s = (d - b) * _TWO, e - c
    return a * _FOUR - c * _FIVE + e, q + p, q - p, s + r, s - r, b * _FOUR - d * _FIVE + f


@njit(forceinline=True)
def to_outputs(a, b, c, d, e, f):
    """``At`` times six vectors."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + s * _TWO, p + r * _FOUR, q + s * _EIGHT + f


@njit(forceinline=True)
def _of_eight_inputs(a, b, c, d, e, f, g, h):
    """``Bt`` times eight vectors."""
    p, q = b - d * _17_4 + f, c - e * _17_4 + g
    r, s = b * _HALF - d * _5_2 + f * _TWO, c * _QUARTER - e * _5_4 + g
    t, u = b * _TWO - d * _5_2 + f * _HALF, c * _FOUR - e * _FIVE + g
    first, last = a - g + (e - c) * _21_4, h - b + (d - f) * _21_4
    return first, q + p, q - p, s + r, s - r, u + t, u - t, last


@njit(forceinline=True)
def _eight_to_outputs(a, b, c, d, e, f, g, h):
    """``At`` times eight vectors."""
    p, q, r, s, t, u = b + c, b - c, d + e, d - e, f + g, f - g
    return (
        a + p + r + t,
        q + s * _TWO + u * _HALF,
        p + r * _FOUR + t * _QUARTER,
        q + s * _EIGHT + u * _EIGHTH + h,
    )


@njit(forceinline=True)
def load_six(array, at, step):
    """Six vectors, ``step`` floats apart."""
    return (
        load(array, at),
        load(array, at + step),
        load(array, at + 2 * step),
        load(array, at + 3 * step),
        load(array, at + 4 * step),
        load(array, at + 5 * step),
    )


@njit(forceinline=True)
def transform_inputs(n, source, at, step, target, to, to_step):
    """``Bt`` times ``n`` vectors, six or eight, ``step`` floats apart -> as many, ``to_step`` apart."""
    if n == N_INPUTS:
        x = of_inputs(*load_six(source, at, step))
        store(target, to, x[0])
        store(target, to + to_step, x[1])
        store(target, to + 2 * to_step, x[2])
        store(target, to + 3 * to_step, x[3])
        store(target, to + 4 * to_step, x[4])
        store(target, to + 5 * to_step, x[5])
    else:
        y = _of_eight_inputs(
            *load_six(source, at, step), load(source, at + 6 * step), load(source, at + 7 * step)
        )
        store(target, to, y[0])
        store(target, to + to_step, y[1])
        store(target, to + 2 * to_step, y[2])
        store(target, to + 3 * to_step, y[3])
        store(target, to + 4 * to_step, y[4])
        store(target, to + 5 * to_step, y[5])
        store(target, to + 6 * to_step, y[6])
        store(target, to + 7 * to_step, y[7])


@njit(forceinline=True)
def outputs_at(n, array, at, step):
    """``At`` times ``n`` vectors, six or eight, ``step`` floats apart: four vectors."""
    if n == N_INPUTS:
        return to_outputs(*load_six(array, at, step))
    return _eight_to_outputs(
        *load_six(array, at, step), load(array, at + 6 * step), load(array, at + 7 * step)
    )

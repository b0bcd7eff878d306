"""The transforms of Winograd's F(4, 3): four outputs of a filter of three taps from six inputs.

With the matrices of the paper (Lavin and Gray, arXiv 1509.09308), the outputs are ``At ((G g) * (Bt d))`` for
taps ``g`` and inputs ``d``: six products instead of the twelve of the direct sum. Each transform acts on
vectors of channels. In two dimensions it is applied along both.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pannsx.jit.simd import load

N_INPUTS, N_OUTPUTS = 6, 4

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
"""``(6, 3)``: of the taps."""

SOURCE = "inference/cpu/winograd_transforms.py"
"""What a compiled function that calls these passes to ``digest_of``, besides its own module."""

_TWO, _FOUR, _FIVE, _EIGHT = np.float32(2), np.float32(4), np.float32(5), np.float32(8)


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

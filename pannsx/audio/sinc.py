"""Windowed sinc filters for sample rate conversion, as torchaudio defines them.

An output at time ``t`` (in source samples) is the sum over source samples ``n`` of
``c sinc(c (n - t)) w(c (n - t) / L)``: ``c`` is the cutoff as a share of the Nyquist frequency of the source,
``L`` the number of zero crossings on either side, ``w`` the window on [-1, 1].  In torchaudio the cutoff is
the lower of the two Nyquist frequencies times a rolloff, and the result has ``ceil(S to / from)`` samples.
torchaudio rounds the output times of a period to float32, which changes weights by up to 4e-6. This module
does the same, to give torchaudio's results.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

_WEIGHTS_AT_ONCE = 1 << 20


class Design(NamedTuple):
    """Parameters of a filter, independent of the rates.

    Attributes:
        n_crossings: zero crossings of the sinc on either side.
        rolloff: cutoff as a share of the lower Nyquist frequency.
        beta: parameter of a Kaiser window; None: the Hann window.
    """

    n_crossings: int
    rolloff: float
    beta: float | None


class WindowedSinc(NamedTuple):
    """A design for one pair of rates.

    Attributes:
        design: see :class:`Design`.
        cutoff: cutoff as a share of the source's Nyquist frequency.
    """

    design: Design
    cutoff: float

    @property
    def reach(self) -> int:
        """Source samples with weight on either side of an output sample."""
        return math.ceil(self.design.n_crossings / self.cutoff)

    def at(self, distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Distances of source samples from an output, of any shape, in source samples -> their weights."""
        crossings = distance * self.cutoff
        position = np.clip(crossings / self.design.n_crossings, -1, 1)
        if self.design.beta is None:
            window = np.cos(np.pi / 2 * position) ** 2
        else:
            window = np.i0(self.design.beta * np.sqrt(1 - position**2)) / np.i0(self.design.beta)
        inside = np.abs(position) < 1
        found: npt.NDArray[np.float64] = np.where(inside, self.cutoff * np.sinc(crossings) * window, 0.0)
        return found

    def phase_weights(self, up: int, down: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """``(up,)`` source sample at or before each output of a period, ``(up, 2 reach)`` weights around it.

        Column ``j`` weighs source sample ``base - reach + 1 + j``.
        """
        base, ahead = _times(np.arange(up, dtype=np.int64), up, down)
        taps = np.arange(1 - self.reach, self.reach + 1)
        return base, self.at(taps - ahead[:, None])

    def convert(
        self, samples: FloatArray, samples_start: int, up: int, down: int, first_out: int, stop_out: int
    ) -> FloatArray:
        """``(n,)`` -> ``(m,)``: :func:`pannsx.audio.polyphase.convert` without a bank, for unusual ratios."""
        taps = np.arange(1 - self.reach, self.reach + 1)
        out = np.empty(stop_out - first_out, np.float32)
        n_rows = max(1, _WEIGHTS_AT_ONCE // len(taps))
        for first in range(first_out, stop_out, n_rows):
            outputs = np.arange(first, min(first + n_rows, stop_out), dtype=np.int64)
            base, ahead = _times(outputs, up, down)
            index = base[:, None] + taps - samples_start
            known = (index >= 0) & (index < len(samples))
            around = np.where(known, samples[np.clip(index, 0, len(samples) - 1)], 0.0)
            weights = self.at(taps - ahead[:, None])
            out[first - first_out : first - first_out + len(outputs)] = np.einsum("ij,ij->i", weights, around)
        return out


def _times(
    outputs: npt.NDArray[np.int64], up: int, down: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """``(m,)`` outputs -> source sample at or before each, and the time since it, in source samples."""
    period, phase = np.divmod(outputs, up)
    base = phase * down // up
    time = down * (phase.astype(np.float32) / np.float32(up)).astype(np.float64)
    return period * down + base, time - base


DESIGNS = {
    "hann6": Design(6, 0.99, None),
    "kaiser64": Design(64, 0.9475937167399596, 14.769656459379492),
}
"""``hann6`` is the default of ``torchaudio.functional.resample``.  ``kaiser64`` has the parameters of
resampy's ``kaiser_best``; kadtk uses it, through torchaudio."""


def windowed_sinc(name: str, from_rate: int, to_rate: int) -> WindowedSinc:
    """The filter of this name in :data:`DESIGNS` for a pair of rates in Hz."""
    design = DESIGNS[name]
    return WindowedSinc(design, min(1.0, to_rate / from_rate) * design.rolloff)

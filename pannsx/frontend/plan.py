"""Tables of the compiled kernel, derived once per front end.

A real transform of ``n_fft`` samples is computed as a complex one of ``n = n_fft / 2`` points, even
samples as real and odd ones as imaginary parts, and untangled afterwards.  The complex transform is
a decimation in frequency: a first pass of radix 8, then one to three of radix 8 or 4 within each of
the eight parts.  Its output is in digit-reversed order, at no cost, as readers use a
table of places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pannsx.frontend.definition import hann_window, mel_edges_hz, mel_filters
from pannsx.frontend.settings import FrontEnd
from pannsx.types import FloatArray, IntArray

FIRST_RADIX = 8
DECIBEL_DEGREE = 9

_LATER_RADICES = {4: (4,), 8: (8,), 16: (4, 4), 32: (8, 4), 64: (8, 8), 128: (8, 4, 4), 256: (8, 8, 4)}


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and tables of one front end, for blocks of ``n_lanes`` frames.

    Attributes:
        frontend: the settings that everything else is derived from.
        radices: radix of each pass; their product is ``n_fft / 2``.
        column_samples: ``(n_fft,)`` place of sample ``s`` of frame 0 among the transposed samples.
        n_columns: width of the transposed samples, a multiple of ``n_lanes``.
        window: ``(n_fft,)`` periodic Hann window, halved (so the untangling needs no factor 1/2).
        twiddles: factors of all passes in order, ``(butterfly, output, re/im)`` each.
        twiddle_starts: start of each pass's factors.
        places: ``(n,)`` place of output ``k`` of the complex transform.
        untangling: ``(n / 2 + 1, 2)`` ``exp(-2 pi i k / n_fft)`` flattened.
        first_bin, last_bin: range of the bins with weight in a mel band.
        segment_ends: ``(F + 2,)`` segment ``s`` between two neighbouring mel edges holds the bins from
            ``segment_ends[s]`` up to ``segment_ends[s + 1]``.
        rising: ``(n + 1,)`` weight of a bin in the band that rises over its segment (band ``s``).
        falling: ``(n + 1,)`` weight of a bin in the band that falls over its segment (band ``s - 1``).
        decibel_polynomial: coefficients of ``10 log10(1 + f) / f``, highest power first, for a mantissa
            ``1 + f`` in [sqrt(1/2), sqrt(2)).
    """

    frontend: FrontEnd
    radices: tuple[int, ...]
    column_samples: IntArray
    n_columns: int
    window: FloatArray
    twiddles: FloatArray
    twiddle_starts: IntArray
    places: IntArray
    untangling: FloatArray
    first_bin: int
    last_bin: int
    segment_ends: IntArray
    rising: FloatArray
    falling: FloatArray
    decibel_polynomial: FloatArray


def make_plan(frontend: FrontEnd, n_lanes: int) -> Plan:
    """Derive the tables for ``frontend``."""
    n = frontend.n_fft // 2
    radices = (FIRST_RADIX, *_LATER_RADICES[n // FIRST_RADIX])
    twiddles, twiddle_starts = _twiddles(radices)
    n_shifts = (frontend.n_fft - 1) // frontend.hop_length + 1
    n_columns = -(-(n_lanes + n_shifts - 1) // n_lanes) * n_lanes
    shift, phase = np.divmod(np.arange(frontend.n_fft), frontend.hop_length)
    rising, falling, segment_ends = _mel_segments(frontend)
    weighed = np.flatnonzero(rising + falling)
    return Plan(
        frontend=frontend,
        radices=radices,
        column_samples=phase * n_columns + shift,
        n_columns=n_columns,
        window=(0.5 * hann_window(frontend.n_fft)).astype(np.float32),
        twiddles=twiddles,
        twiddle_starts=twiddle_starts,
        places=_places(radices),
        untangling=_as_pairs(np.exp(-2j * np.pi * np.arange(n // 2 + 1) / frontend.n_fft)),
        first_bin=int(weighed[0]) if len(weighed) else 0,
        last_bin=int(weighed[-1]) if len(weighed) else 0,
        segment_ends=segment_ends,
        rising=rising,
        falling=falling,
        decibel_polynomial=_decibel_polynomial(),
    )


def _as_pairs(values: npt.NDArray[np.complex128]) -> FloatArray:
    """Complex values of any shape -> flat float32, real and imaginary parts in turn."""
    return np.stack([values.real, values.imag], axis=-1).astype(np.float32).ravel()


def _twiddles(radices: tuple[int, ...]) -> tuple[FloatArray, IntArray]:
    """``exp(-2 pi i j k / m)`` for butterfly ``j``, output ``k >= 1``, of each pass over ``m`` points."""
    tables, starts = [], [0]
    m = int(np.prod(radices))
    for radix in radices:
        butterfly, output = np.arange(m // radix)[:, None], np.arange(1, radix)
        tables.append(_as_pairs(np.exp(-2j * np.pi * butterfly * output / m)))
        starts.append(starts[-1] + len(tables[-1]))
        m //= radix
    return np.concatenate(tables), np.array(starts[:-1], np.int64)


def _places(radices: tuple[int, ...]) -> IntArray:
    """``(n,)`` place of output ``k``: its lowest digit has the largest stride, and so on."""
    n = stride = int(np.prod(radices))
    remaining, places = np.arange(n), np.zeros(n, np.int64)
    for radix in radices:
        stride //= radix
        remaining, digit = np.divmod(remaining, radix)
        places += digit * stride
    return places


def _mel_segments(frontend: FrontEnd) -> tuple[FloatArray, FloatArray, IntArray]:
    """Weights by bin instead of by band: between two edges, one band rises and its neighbour falls."""
    filters = mel_filters(frontend)
    bins_hz = np.arange(len(filters)) * (frontend.sample_rate / frontend.n_fft)
    edges_hz = mel_edges_hz(frontend)
    segment = np.searchsorted(edges_hz, bins_hz, side="right") - 1
    inside = (segment >= 0) & (segment <= frontend.n_mels)
    bordered = np.pad(filters, ((0, 0), (1, 1)))  # column m + 1 is band m
    rows = np.arange(len(filters))
    at = np.clip(segment, 0, frontend.n_mels)
    rising = np.where(inside, bordered[rows, at + 1], 0).astype(np.float32)
    falling = np.where(inside, bordered[rows, at], 0).astype(np.float32)
    ends = np.searchsorted(segment, np.arange(frontend.n_mels + 2), side="left")
    return rising, falling, ends.astype(np.int64)


def _decibel_polynomial() -> FloatArray:
    """Chebyshev interpolation of ``10 log10(1 + f) / f``; in float64 its error is below 1e-7 dB."""

    def decibels_per_f(f: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        per_neper = 10 / np.log(10)
        divisor = np.where(f == 0, 1, f)
        return np.asarray(per_neper * np.where(f == 0, 1, np.log1p(f) / divisor))

    fit = np.polynomial.Chebyshev.interpolate(
        decibels_per_f, DECIBEL_DEGREE, domain=[np.sqrt(0.5) - 1, np.sqrt(2.0) - 1]
    )
    return np.asarray(fit.convert(kind=np.polynomial.Polynomial).coef[::-1], np.float32)

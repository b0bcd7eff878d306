"""The log-mel as matrix products in an ONNX graph, which every runtime computes, on every processor.

The transform of ``n_fft = P Q`` real samples takes two products, with small tables: samples ``Q p + q`` are
transformed over ``p``, multiplied by the twiddle factors and transformed over ``q`` (Cooley and Tukey, 1965).
One product with the whole table would take seven times the work for 1,024 samples, and 4 MB.
"""

from __future__ import annotations

import numpy as np

from pannsx.export.graph import Graph
from pannsx.frontend.definition import FLOOR, hann_window, mel_filters
from pannsx.frontend.settings import FrontEnd
from pannsx.types import FloatArray

_DECIBELS_OF_E = 10 / np.log(10)


def add_log_mel(graph: Graph, waveform: str, frontend: FrontEnd) -> str:
    """``(B, S)`` waveform, ``S > n_fft / 2`` -> ``(B, T, F)`` log-mel in dB, ``T = S // hop_length + 1``."""
    spectrum = _add_transform(graph, _add_frames(graph, waveform, frontend), frontend.n_fft)
    power = graph.add("Mul", spectrum, spectrum)
    mel = graph.add("MatMul", power, graph.weight(_mel_filters_of_parts(frontend)))
    floored = graph.add("Max", mel, graph.weight(FLOOR))
    return graph.add("Mul", graph.add("Log", floored), graph.weight(_DECIBELS_OF_E))


def factors(n_fft: int) -> tuple[int, int]:
    """``P`` and ``Q`` of a power of two, ``P`` the larger one if they differ."""
    exponent = n_fft.bit_length() - 1
    return 1 << (exponent + 1) // 2, 1 << exponent // 2


def _add_frames(graph: Graph, waveform: str, frontend: FrontEnd) -> str:
    """``(B, S)`` -> ``(B, T, P, Q)`` windowed frames, sample ``Q p + q`` at ``[p, q]``."""
    n_fft, hop, pad = frontend.n_fft, frontend.hop_length, frontend.n_fft // 2
    # Rows of a hop: frame t is rows t to t + n_rows - 1, without the last samples of the last one.
    n_rows = -(-n_fft // hop)
    length = graph.add("Slice", graph.add("Shape", waveform), graph.integers([1]), graph.integers([2]))
    n_frames = graph.add("Add", graph.add("Div", length, graph.integers([hop])), graph.integers([1]))
    reflected = graph.add("Pad", waveform, graph.integers([0, pad, 0, pad]), mode="reflect")
    after = graph.add("Pad", reflected, graph.integers([0, 0, 0, n_rows * hop]))
    end = graph.add("Mul", graph.add("Add", n_frames, graph.integers([n_rows - 1])), graph.integers([hop]))
    used = graph.add("Slice", after, graph.integers([0]), end, graph.integers([1]))
    rows = graph.add("Reshape", used, graph.integers([0, -1, hop]))
    shifted = [
        graph.add(
            "Slice",
            rows,
            graph.integers([shift]),
            graph.add("Add", n_frames, graph.integers([shift])),
            graph.integers([1]),
        )
        for shift in range(n_rows)
    ]
    joined = graph.add("Concat", *shifted, axis=2) if n_rows > 1 else shifted[0]
    frames = graph.add("Slice", joined, graph.integers([0]), graph.integers([n_fft]), graph.integers([2]))
    windowed = graph.add("Mul", frames, graph.weight(hann_window(n_fft)))
    return graph.add("Reshape", windowed, graph.integers([0, 0, *factors(n_fft)]))


def _add_transform(graph: Graph, frames: str, n_fft: int) -> str:
    """``(B, T, P, Q)`` -> ``(B, T, 2 Q (P / 2 + 1))``: real and imaginary parts, as `_bins` numbers them."""
    p, q = factors(n_fft)
    n_rows = p // 2 + 1  # of a real signal; the others are conjugates
    first = np.exp(-2j * np.pi * np.outer(np.arange(n_rows), np.arange(p)) / p)
    partial = graph.add("MatMul", graph.weight(np.vstack([first.real, first.imag])), frames)
    real, imaginary = graph.add_many("Split", 2, partial, axis=2)
    twiddles = np.exp(-2j * np.pi * np.outer(np.arange(n_rows), np.arange(q)) / n_fft)
    cosine, sine = graph.weight(twiddles.real), graph.weight(twiddles.imag)
    turned = graph.add(
        "Concat",
        graph.add("Sub", graph.add("Mul", real, cosine), graph.add("Mul", imaginary, sine)),
        graph.add("Add", graph.add("Mul", real, sine), graph.add("Mul", imaginary, cosine)),
        axis=3,
    )
    second = np.exp(-2j * np.pi * np.outer(np.arange(q), np.arange(q)) / q)
    blocks = np.block([[second.real, second.imag], [-second.imag, second.real]])
    spectrum = graph.add("MatMul", turned, graph.weight(blocks))
    return graph.add("Reshape", spectrum, graph.integers([0, 0, 2 * q * n_rows]))


def _bins(n_fft: int) -> np.ndarray:
    """``(P / 2 + 1, Q)`` the transform's bin at each place of the two products; -1 where it is repeated."""
    p, q = factors(n_fft)
    bins = np.arange(p // 2 + 1)[:, None] + p * np.arange(q)
    mirrored = np.minimum(bins, n_fft - bins)  # the power of bin k is that of bin n_fft - k
    found = np.full(mirrored.shape, -1)
    first_places = np.unique(mirrored, return_index=True)[1]
    found.flat[first_places] = mirrored.flat[first_places]
    return found


def _mel_filters_of_parts(frontend: FrontEnd) -> FloatArray:
    """``(2 Q (P / 2 + 1), F)`` weights of the squares of real and imaginary parts in each band."""
    bins = _bins(frontend.n_fft)
    filters = mel_filters(frontend)[bins]
    filters[bins < 0] = 0
    both = np.repeat(filters[:, None], 2, axis=1)  # (rows, parts, Q, F)
    return both.reshape(-1, frontend.n_mels).astype(np.float32)

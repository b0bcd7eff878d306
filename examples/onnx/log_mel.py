"""The log-mel of the networks in NumPy alone: to port to a phone, a browser or a microcontroller.

``log_mel_vectors.json`` holds sound and the answers that a port must give: see ``check`` below.

    python examples/onnx/log_mel.py examples/onnx/log_mel_vectors.json
"""

import json
import sys

import numpy as np


def mel(hz):
    """Slaney's mel scale: linear below 1,000 Hz (15 mel), then 27 steps for each factor of 6.4."""
    hz = np.asarray(hz, float)
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def hz(mels):
    """The inverse of ``mel``."""
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** (np.maximum(mels - 15, 0) / 27))


def mel_filters(sample_rate, n_fft, n_mels, fmin, fmax):
    """``(n_fft // 2 + 1, n_mels)``: triangles between neighbouring edges, each of unit area."""
    edges = hz(np.linspace(mel(fmin), mel(fmax), n_mels + 2))
    bins = np.arange(n_fft // 2 + 1)[:, None] * sample_rate / n_fft
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)


def log_mel(samples, sample_rate, n_fft, hop_length, n_mels, fmin, fmax):
    """``(S,)`` samples from -1 to 1 -> ``(S // hop_length + 1, n_mels)`` decibels.

    Frame ``t`` is centred on sample ``t * hop_length``; edges are reflected, the first sample not repeated.
    """
    padded = np.pad(samples, n_fft // 2, mode="reflect")
    starts = np.arange(len(samples) // hop_length + 1) * hop_length
    frames = padded[starts[:, None] + np.arange(n_fft)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)  # periodic: n_fft, not n_fft - 1
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    return 10 * np.log10(np.maximum(power @ mel_filters(sample_rate, n_fft, n_mels, fmin, fmax), 1e-10))


def check(path):
    """The largest difference in decibels from each entry of a file of vectors."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - nothing but NumPy and what is built in
        entries = json.load(file)["vectors"]
    for entry in entries:
        samples = np.array(entry["samples"]) / 32768
        difference = np.abs(log_mel(samples, **entry["settings"]) - np.array(entry["log_mel"])).max()
        print(f"{entry['settings']['sample_rate']} Hz: at most {difference:.5f} dB from the vectors")


if __name__ == "__main__":
    check(sys.argv[1])

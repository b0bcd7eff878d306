"""Compiles the kernels of the package, in processes of their own.

A process that has compiled keeps the compiler's memory, 150 MB and more; one that finds the machine code does
not. So these programs run before the tests' processes start: one each for `PARTS`, which take about as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from seeded_models import FRONT_END

from pannsx import AudioTagger
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.engine import Engine
from pannsx.models.settings import CnnSettings, ResNetSettings
from pannsx.models.zoo import ARCHITECTURES, build

TRUNKS = (
    CnnSettings((32, 1024), (2, 2)),
    CnnSettings((32, 32, 1024), (2, 2, 2), kernel=5),
    ResNetSettings("basic", (1, 1, 1, 1), (32, 32, 32, 32)),
)
"""They have all kinds of layers of the CNNs and ResNets; the bundled network and LeeNet11 have the others."""

N_FFT = [2**k for k in range(6, 13)]
"""Sizes of the transforms that the tests compute."""

SILENCE = np.zeros(44100, np.float32)


def spectra_and_bundled() -> None:
    """The resampler, log-mels, the bundled network, and events."""
    for n_fft in N_FFT:
        LogMelKernel(replace(FRONT_END, n_fft=n_fft))(SILENCE)
    AudioTagger(device="cpu").inference((44100, SILENCE)).events(threshold=0.5, median_s=1.0, top_k=1)
    AudioTagger(device="cpu", precision="int8").inference((44100, SILENCE))


def other_networks() -> None:
    """The layers of other networks."""
    for number, trunk in enumerate(TRUNKS):
        ARCHITECTURES[f"small {number}"] = replace(ARCHITECTURES["Cnn14"], trunk=trunk)
        model = build(f"small {number}", FRONT_END.sample_rate, FRONT_END, 1)
        Engine(model, device="cpu").run([SILENCE])
    Engine(build("LeeNet11", FRONT_END.sample_rate, None, 1), device="cpu").run([SILENCE])


PARTS: dict[str, Callable[[], None]] = {"bundled": spectra_and_bundled, "others": other_networks}


if __name__ == "__main__":
    PARTS[sys.argv[1]]()

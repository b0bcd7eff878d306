"""Compiles the kernels of the package, in a process of its own.

A process that has compiled keeps the compiler's memory, 150 MB and more; one that finds the machine code does
not. So this program runs before the tests' processes start.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from seeded_models import FRONT_END

from pannsx import AudioTagger
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.engine import Engine
from pannsx.models.settings import CnnSettings, ResNetSettings
from pannsx.models.zoo import ARCHITECTURES, build

TRUNKS = (CnnSettings((32, 1024), (2, 2)), ResNetSettings("basic", (1, 1, 1, 1), (32, 32, 32, 32)))
"""They have all kinds of layers of the CNNs and ResNets; the bundled MobileNet has the others."""

N_FFT = [2**k for k in range(6, 13)]
"""Sizes of the transforms that the tests compute."""


def main() -> None:
    """Compile all of them, or find them compiled."""
    silence = np.zeros(44100, np.float32)
    AudioTagger(device="cpu").inference((44100, silence)).events(threshold=0.5, median_s=1.0, top_k=1)
    for n_fft in N_FFT:
        LogMelKernel(replace(FRONT_END, n_fft=n_fft))(silence)
    for number, trunk in enumerate(TRUNKS):
        ARCHITECTURES[f"small {number}"] = replace(ARCHITECTURES["Cnn14"], trunk=trunk)
        model = build(f"small {number}", FRONT_END.sample_rate, FRONT_END, 1)
        Engine(model, device="cpu").run([silence])


if __name__ == "__main__":
    main()

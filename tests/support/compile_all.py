"""Compiles the kernels of the package, in processes of their own.

A process that has compiled keeps the compiler's memory, 150 MB and more; one that finds the machine code does
not. So these programs run before the tests' processes start: one each for `PARTS`, which take about as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

# What takes torch is imported inside the functions: tests/conftest.py reads `PARTS`, and has no torch.

N_FFT = [2**k for k in range(6, 13)]
"""Sizes of the transforms that the tests compute."""

N_SAMPLES = 44100


def spectra_and_bundled() -> None:
    """The resampler, log-mels, the bundled network, and events."""
    import numpy as np
    from seeded_models import FRONT_END

    from pannsx import AudioTagger
    from pannsx.frontend.numba_logmel import LogMelKernel

    silence = np.zeros(N_SAMPLES, np.float32)
    for n_fft in N_FFT:
        LogMelKernel(replace(FRONT_END, n_fft=n_fft))(silence)
    AudioTagger(device="cpu").inference((44100, silence)).events(threshold=0.5, median_s=1.0, top_k=1)
    AudioTagger(device="cpu", precision="int8").inference((44100, silence))


def other_networks() -> None:
    """The layers of other networks: these have all kinds of them that the bundled one does not have."""
    import numpy as np
    from seeded_models import FRONT_END

    from pannsx.inference.engine import Engine
    from pannsx.models.settings import CnnSettings, ResNetSettings
    from pannsx.models.zoo import ARCHITECTURES, build

    silence = np.zeros(N_SAMPLES, np.float32)
    trunks = (
        CnnSettings((32, 1024), (2, 2)),
        CnnSettings((32, 32, 1024), (2, 2, 2), kernel=5),
        ResNetSettings("basic", (1, 1, 1, 1), (32, 32, 32, 32)),
    )
    for number, trunk in enumerate(trunks):
        ARCHITECTURES[f"small {number}"] = replace(ARCHITECTURES["Cnn14"], trunk=trunk)
        model = build(f"small {number}", FRONT_END.sample_rate, FRONT_END, 1)
        Engine(model, device="cpu").run([silence])
    Engine(build("LeeNet11", FRONT_END.sample_rate, None, 1), device="cpu").run([silence])


PARTS: dict[str, Callable[[], None]] = {"bundled": spectra_and_bundled, "others": other_networks}
"""By the argument of the command line."""


if __name__ == "__main__":
    PARTS[sys.argv[1]]()

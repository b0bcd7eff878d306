"""Write a recording of any length in blocks, in a separate process, so that its memory is not measured.

python -m benchmarks.recordings PATH SECONDS
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100
BLOCK_S = 10
N_BLOCKS = 6  # different blocks, repeated in the recording


def blocks(duration_s: int) -> Iterator[NDArray[np.float32]]:
    """Blocks of ``(441000,)`` samples at 44.1 kHz: tones of limited length in noise."""
    rng = np.random.default_rng(0)
    time_s = np.arange(BLOCK_S * RATE) / RATE
    made = []
    for number in range(N_BLOCKS):
        tone = np.sin(2 * np.pi * (200 + 300 * number) * time_s) * np.sin(np.pi * time_s / 2) ** 2
        made.append((0.3 * tone + 0.003 * rng.standard_normal(len(tone))).astype(np.float32))
    for begin in range(0, duration_s, BLOCK_S):
        block = made[begin // BLOCK_S % N_BLOCKS]
        yield block[: (duration_s - begin) * RATE]


def write(path: Path, duration_s: int) -> None:
    """Write mono FLAC or Ogg Vorbis, by the extension of ``path``."""
    with soundfile.SoundFile(path, "w", RATE, channels=1) as file:
        for block in blocks(duration_s):
            file.write(block)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))

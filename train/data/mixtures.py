"""Clips mixed in pairs by a list, computed on reading: an earlier training set of the bundled checkpoint.

A folder holds ``mixtures.csv``, a row per mixture: ``clip_a, shift_a, gain_a, clip_b, shift_b, gain_b``. Both
clips at the chosen rate, cut or zero-padded to five seconds, are rolled by their shift (samples at 32 kHz),
multiplied by their gain, added and clipped to [-1, 1]; ``clip_b`` may be empty. Clips are named
``esc10/<file>`` or ``esc50/<class file>#<number>``, five-second parts of a file; their folders ``esc10``
and ``esc50_16k`` are next to this one. Mixtures have no labels: their targets come from a teacher
(:mod:`train.loop.distil`), with logits in the same order.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pannsx import audio, labels
from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest
from train.data.encoding import as_float, as_pcm
from train.data.packed import Clips
from train.data.targets import Targets

DURATION_S = 5.0
_SHIFTS_AT = 32000
_FOLDERS = {"esc10": "esc10", "esc50": "esc50_16k"}


class Mixtures(Clips):
    """Mixtures, with the interface of a :class:`train.data.store.Store`.

    Their clips are decoded once and kept in memory, 320 kB each.

    Attributes:
        sample_rate: in Hz.
        n_samples: length of every mixture.
        labels: AudioSet's.
        ids: the mixtures' numbers.
        targets: ``(N, K)``, all false.
        digest: SHA-256 of the list.

    Raises:
        OSError: the list cannot be read.
        AudioError: a clip cannot be read.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.folder = Path(folder).absolute()
        self.sample_rate = sample_rate
        self.n_samples = round(DURATION_S * sample_rate)
        self.labels: tuple[str, ...] = labels.audioset().names
        self.label_ids = labels.audioset().ids
        self.digest = file_digest(self.folder / "mixtures.csv", "sha256")
        with (self.folder / "mixtures.csv").open(encoding="utf-8", newline="") as file:
            self._rows = list(csv.DictReader(file))
        names = {row[column] for row in self._rows for column in ("clip_a", "clip_b")} - {""}
        with ThreadPoolExecutor() as pool:  # decoding and resampling release the interpreter's lock
            read = partial(read_clip, self.folder.parent, sample_rate=sample_rate)
            self._clips = dict(zip(names, pool.map(lambda name: as_pcm(read(name)), names), strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def ids(self) -> Sequence[str]:
        """Numbers from 0."""
        return [str(number) for number in range(len(self))]

    @property
    def targets(self) -> Targets:
        """``(N, K)``, all false: the targets are those of a teacher."""
        return Targets.none(len(self), len(self.labels))

    def read(self, index: int) -> NDArray[np.int16]:
        """``(n_samples,)`` of a mixture."""
        row = self._rows[index]
        mixed = np.zeros(self.n_samples, np.float32)
        for which in ("a", "b"):
            if row[f"clip_{which}"]:
                shift = round(int(row[f"shift_{which}"]) * self.sample_rate / _SHIFTS_AT)
                rolled = np.roll(self._clips[row[f"clip_{which}"]], shift)
                mixed += np.float32(row[f"gain_{which}"]) * as_float(rolled)
        return as_pcm(mixed.clip(-1.0, 1.0))


def read_clip(folder: Path, name: str, *, sample_rate: int) -> FloatArray:
    """``(n_samples,)`` of a clip by its name, cut or zero-padded at the end to five seconds.

    Args:
        folder: folder of ``esc10`` and ``esc50_16k``.
        name: name in the list.
        sample_rate: rate of the samples as read, in Hz.

    Raises:
        AudioError: the clip cannot be read.
    """
    data_set, _, rest = name.partition("/")
    file, _, number = rest.partition("#")
    part = audio.load(
        folder / _FOLDERS[data_set] / file,
        sample_rate,
        start_s=DURATION_S * int(number or 0),
        duration_s=DURATION_S,
    ).waveform[: round(DURATION_S * sample_rate)]
    return np.pad(part, (0, round(DURATION_S * sample_rate) - len(part)))

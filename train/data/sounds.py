"""Clips of any kind of source, for computation: ids and samples of equal length at one rate.

An index (``.npz``), a store, a bank (:mod:`train.data.banks`), a folder with ``mixtures.csv``, or any folder
of audio files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from pannsx import audio
from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.audio.resample import resample
from pannsx.errors import AudioError
from pannsx.types import FloatArray
from pannsx.weights.digests import file_digest
from train.data import banks
from train.data.encoding import as_float
from train.data.indexed import open_index
from train.data.mixtures import Mixtures
from train.data.packed import Clips


class Sounds(Protocol):
    """Clips to compute on.

    Attributes:
        n_samples: length of every clip as read; shorter clips are zero-padded.
        digest: digest of the clips.
    """

    n_samples: int
    digest: str

    @property
    def ids(self) -> Sequence[str]:
        """``N`` ids."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> FloatArray:
        """``(n_samples,)`` of a clip."""


def open_sounds(path: str | Path, sample_rate: int, *, duration_s: float = 10.0) -> Sounds:
    """The clips of a path, read at a sample rate.

    Args:
        path: an index, a store, a bank, a folder of mixtures or of audio files.
        sample_rate: rate of the samples as read, in Hz.
        duration_s: length of clips from audio files in seconds: longer ones are cut, shorter zero-padded.

    Raises:
        ValueError: the path holds no clips, or a list of clips is damaged.
        OSError, StoreError, AudioError: it cannot be read.
    """
    path = Path(path)
    if banks.is_bank(path):
        return Bank(path, sample_rate)
    if (path / "mixtures.csv").is_file():
        return _Packed(Mixtures(path, sample_rate), sample_rate)
    if path.is_dir() and not (path / "store.json").is_file() and not (path / "parts").is_dir():
        return AudioFiles(path, sample_rate, duration_s)
    return _Packed(open_index(path), sample_rate)


class _Packed:
    """Clips of stores and similar sources."""

    def __init__(self, clips: Clips, sample_rate: int) -> None:
        self._clips, self._sample_rate = clips, sample_rate
        self.n_samples = clips.n_samples * sample_rate // clips.sample_rate
        self.digest = _digest_of(clips)

    @property
    def ids(self) -> Sequence[str]:
        return self._clips.ids

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> FloatArray:
        pcm = self._clips.read(index)
        return resample(as_float(pcm), self._clips.sample_rate, self._sample_rate)


def _digest_of(clips: Clips) -> str:
    """The clips' own digest if they have one, else SHA-256 of ids, rate and length."""
    own = getattr(clips, "digest", None)
    if isinstance(own, str):
        return own
    digest = hashlib.sha256(f"{clips.sample_rate} {clips.n_samples}\n".encode())
    for clip_id in clips.ids:
        digest.update(f"{clip_id}\n".encode())
    return digest.hexdigest()


class Bank:
    """A bank of :mod:`train.pool`; a clip's id is ``<package>:<file>@<start in seconds>``.

    Attributes:
        n_samples: length of every clip at the chosen rate, zeros after its end.
        digest: SHA-256 of the bank's index.

    Raises:
        ValueError: a file or a column is missing, or the files do not match.
        OSError: a file cannot be read.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._pcm, _, rows = banks.read_clips(folder, ("package", "file", "start_s"))
        self.digest = file_digest(folder / "index.csv", "sha256")
        self.n_samples = self._pcm.shape[1] * sample_rate // banks.RATE
        self._ids = tuple(f"{row['package']}:{row['file']}@{row['start_s']}" for row in rows)

    @property
    def ids(self) -> Sequence[str]:
        """``N`` ids."""
        return self._ids

    def __len__(self) -> int:
        return len(self._pcm)

    def read(self, index: int) -> FloatArray:
        """``(n_samples,)`` of a clip."""
        return resample(as_float(np.asarray(self._pcm[index])), banks.RATE, self._sample_rate)


class AudioFiles:
    """The audio files below a folder; a clip's id is the path within the folder.

    Attributes:
        n_samples: length of every clip: longer files are cut, shorter ones zero-padded.
        digest: SHA-256 of paths and sizes.

    Raises:
        ValueError: there are no audio files.
    """

    def __init__(self, folder: Path, sample_rate: int, duration_s: float) -> None:
        self._folder, self._sample_rate, self._duration_s = folder, sample_rate, duration_s
        self.n_samples = round(duration_s * sample_rate)
        files = [
            file for file in folder.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
        ]
        self._ids = tuple(sorted(file.relative_to(folder).as_posix() for file in files))
        if not self._ids:
            raise ValueError(f"{folder} holds no audio files; give an index, a store, a bank or audio files")
        digest = hashlib.sha256(f"{duration_s}\n".encode())
        for name in self._ids:
            digest.update(f"{name}\t{(folder / name).stat().st_size}\n".encode())
        self.digest = digest.hexdigest()

    @property
    def ids(self) -> Sequence[str]:
        """``N`` ids."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, index: int) -> FloatArray:
        """``(n_samples,)`` of a file; AudioError if it cannot be read or is empty."""
        path = self._folder / self._ids[index]
        waveform = audio.load(path, self._sample_rate, duration_s=self._duration_s).waveform
        if not len(waveform):
            raise AudioError(f"{path} has no samples; remove it")
        return np.pad(waveform[: self.n_samples], (0, max(0, self.n_samples - len(waveform))))

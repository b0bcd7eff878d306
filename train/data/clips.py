"""From a clip of a source to the samples to pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pannsx import audio
from pannsx.audio.resample import output_length, resample
from pannsx.errors import AudioError
from pannsx.types import FloatArray
from train.data.encoding import as_float, as_pcm
from train.data.segments import Listing

SILENT_PEAK = 3
"""Largest sample, of 32,768, of a silent clip: dither only."""

PUBLISHED_RATE = 32000
"""Rate in Hz of the published packs; those at 16 and 8 kHz were decimated from it without a filter."""


class Clip(NamedTuple):
    """A clip of a source.

    Attributes:
        id: its id.
        targets: positions of its labels.
        audio: a file, the bytes of one, or samples ``(S,)``, int16 or floating-point.
        sample_rate: rate of samples, in Hz; files state their own.
        start_s: start of the clip in a file, in seconds.
        duration_s: its length; None: to the end.
    """

    id: str
    targets: tuple[int, ...]
    audio: Path | bytes | NDArray[np.int16] | FloatArray
    sample_rate: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None


class Chunk(Protocol):
    """The clips of one part, a worker's unit of work.  Kept small, as it is sent between processes."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def n_clips(self) -> int | None:
        """Number of clips, if known without reading."""

    def clips(self, listing: Listing) -> Iterator[Clip]:
        """The selected clips.

        Raises:
            OSError, ValueError: the chunk cannot be read, or not to its end.
        """


@dataclass(frozen=True)
class Wanted:
    """Format of packed clips.

    Attributes:
        sample_rate: in Hz.
        duration_s: longest clip in seconds; longer ones are cut.
        decimated: decimate from 32 kHz without an anti-alias filter, as published.
        variant: see :mod:`train.data.encoding`.
    """

    sample_rate: int = 32000
    duration_s: float = 10.0
    decimated: bool = False
    variant: str = "raw"

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or not 0 < self.duration_s < 3600:
            raise ValueError(
                f"cannot pack {self.duration_s} s at {self.sample_rate} Hz; both must be positive"
            )
        if self.decimated and PUBLISHED_RATE % self.sample_rate:
            raise ValueError(
                f"{PUBLISHED_RATE} Hz cannot be decimated to {self.sample_rate} Hz; use 16000 or 8000"
            )

    @property
    def n_samples(self) -> int:
        """Samples of the longest clip."""
        return round(self.duration_s * self.sample_rate)


def samples_of(clip: Clip, wanted: Wanted) -> NDArray[np.int16]:
    """``(n,)`` samples of a clip at ``wanted.sample_rate``, ``n`` at most ``wanted.n_samples``.

    Raises:
        AudioError: the clip is empty, damaged or not audio.
    """
    read_rate = PUBLISHED_RATE if wanted.decimated else wanted.sample_rate
    step = read_rate // wanted.sample_rate
    if isinstance(clip.audio, np.ndarray):
        pcm = _of_array(clip.audio, clip.sample_rate or read_rate, read_rate)
    else:
        longest = wanted.duration_s if clip.duration_s is None else min(clip.duration_s, wanted.duration_s)
        pcm = as_pcm(audio.load(clip.audio, read_rate, start_s=clip.start_s, duration_s=longest).waveform)
    pcm = pcm[::step][: wanted.n_samples]
    if not len(pcm):
        raise AudioError("it has no samples")
    return pcm


def is_silent(pcm: NDArray[np.int16]) -> bool:
    """Whether ``(n,)`` samples are silent, but for dither."""
    return int(np.abs(pcm.astype(np.int32)).max(initial=0)) <= SILENT_PEAK


def _of_array(samples: NDArray[np.int16] | FloatArray, rate: int, wanted_rate: int) -> NDArray[np.int16]:
    is_pcm = samples.dtype == np.int16
    if is_pcm and rate == wanted_rate:
        return np.asarray(samples, np.int16)  # already packed once: bit for bit the same
    waveform = as_float(np.asarray(samples, np.int16)) if is_pcm else samples.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise AudioError("it has samples that are not finite")
    converted = resample(waveform, rate, wanted_rate)
    return as_pcm(converted[: output_length(len(waveform), rate, wanted_rate)])

"""The interface of all decoders, and their common checks."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from pannsx.audio.guard import reading
from pannsx.errors import AudioError
from pannsx.types import FloatArray

MIN_SAMPLE_RATE = 100  # Hz; slow seismic and infrasound recorders
MAX_SAMPLE_RATE = 10_000_000  # Hz; far above the fastest hydrophone
BLOCK_FRAMES = 1 << 16  # frames decoded at a time
MAX_PLAUSIBLE = 32.0  # 30 dB beyond full scale; mixes that were never limited stay far below


class Reader(ABC):
    """An open source, at its own rate and with its own channels.

    A frame is one sample of every channel.

    Attributes:
        name: name of the source in messages.
        format: name of its format, such as ``"FLAC"``.
        sample_rate: frames per second, in Hz.
        n_channels: channels ``C``.
        n_frames: number of frames stated by the source, or None; exact after the end was read.
        duration_s: length in seconds, possibly approximate, or None.
        defect: reason why the source is incomplete, such as ``"its header announces 9.000 s"``, or None.
        state: an adjective for a source with this defect.
    """

    name: str
    format: str
    sample_rate: int
    n_channels: int
    n_frames: int | None = None
    defect: str | None = None
    state: str = "truncated"

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, if known, else None."""
        return None if self.n_frames is None else self.n_frames / self.sample_rate

    @abstractmethod
    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as blocks ``(n, C)``; fewer where the source ends.

        Raises:
            AudioError: the source cannot be decoded.
        """

    def check_whole(self, end: int) -> None:
        """Check a source that ended at frame ``end``, before the end of the requested part.

        Raises:
            AudioError: the source is truncated.
        """
        defect = self.defect
        if defect is None and self.n_frames is not None and end < self.n_frames:
            defect = f"its header announces {self.n_frames / self.sample_rate:.3f} s"
        if defect is not None:
            raise AudioError(
                f"{self.name} is {self.state}: {defect}, {end / self.sample_rate:.3f} s can be read; fetch "
                "or copy it again, or take what is there with a start_s and duration_s inside of it"
            )

    def close(self) -> None:  # noqa: B027 - most readers hold nothing
        """Close files."""


def blocks_of(reader: Reader, start: int, stop: int | None) -> Iterator[FloatArray]:
    """:meth:`Reader.read`, where any error in decoding is an AudioError that names the source."""
    blocks = reader.read(start, stop)
    while True:
        with reading(reader.name):
            block = next(blocks, None)
        if block is None:
            return
        yield block


def mono_blocks(reader: Reader, start: int, stop: int | None) -> Iterator[FloatArray]:
    """Frames ``[start, stop)`` of a reader as the mean over channels, in blocks ``(n,)``.

    Warns of samples that are far beyond full scale.

    Raises:
        AudioError: a sample is not finite; whatever :meth:`Reader.read` raises.
    """
    position = start
    warned = False
    for block in blocks_of(reader, start, stop):
        waveform = downmix(block)
        finite = np.isfinite(waveform)
        if not finite.all():
            first = int(np.argmin(finite))
            kind = "NaN" if np.isnan(block[first]).any() else "an infinite or far too large value"
            n_bad = int(len(finite) - np.count_nonzero(finite))
            raise AudioError(
                f"{reader.name} has {kind} at sample {position + first} "
                f"({(position + first) / reader.sample_rate:.3f} s), {n_bad} such samples in this block; "
                "replace them (numpy.nan_to_num) or cut them out"
            )
        if not warned and np.abs(waveform).max(initial=0) > MAX_PLAUSIBLE:
            warned = True
            place = position + int(np.argmax(np.abs(waveform)))
            warnings.warn(
                f"{reader.name} has the value {waveform[place - position]:.5g} at sample {place} "
                f"({place / reader.sample_rate:.3f} s); full scale of floating-point samples is 1: were they "
                "16-bit integers? divide them by 32768",
                stacklevel=2,
            )
        position += len(waveform)
        yield waveform


def downmix(frames: FloatArray) -> FloatArray:
    """``(n, C)`` frames -> ``(n,)`` mean over channels, summed in float64."""
    if frames.shape[1] == 1:
        return frames[:, 0]
    with np.errstate(
        invalid="ignore", over="ignore"
    ):  # infinities are reported with their position instead of a warning
        mean: FloatArray = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    return mean


def rate_given(source_rate: int | None, sample_rate: int | None) -> int | None:
    """The source's rate, given under either of its two names.

    Raises:
        ValueError: it was given under both.
    """
    if source_rate is not None and sample_rate is not None:
        raise ValueError(
            f"got source_rate={source_rate} and sample_rate={sample_rate}; both are the rate of the source "
            "here: give one of them"
        )
    return sample_rate if source_rate is None else source_rate


def check_rate(rate: Any, what: str) -> int:
    """A sample rate in Hz, as an int.

    Raises:
        AudioError: not a whole number, or out of range.
    """
    try:
        if isinstance(rate, (bool, np.bool_)):
            raise TypeError
        value = operator.index(rate)
    except TypeError:
        raise AudioError(
            f"{what} is {rate!r} ({type(rate).__name__}); a whole number of Hz such as 32000 is needed"
        ) from None
    if not MIN_SAMPLE_RATE <= value <= MAX_SAMPLE_RATE:
        raise AudioError(f"{what} is {value} Hz; {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz is supported")
    return value

"""The interface of all decoders, and their common checks."""

from __future__ import annotations

import math
import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from pannsx.audio.guard import reading
from pannsx.errors import AudioError
from pannsx.types import Channel, FloatArray

MIN_SAMPLE_RATE = 100  # Hz; slow seismic and infrasound recorders
MAX_SAMPLE_RATE = 10_000_000  # Hz; far above the fastest hydrophone
BLOCK_FRAMES = 1 << 16  # frames decoded at a time
MAX_PLAUSIBLE = 32.0  # 30 dB beyond full scale; mixes that were never limited stay far below
# A mean that is 40 dB below its channels is no accident of stereo; -80 dB of full scale is silence anyway.
_CANCELLED_SHARE, _LEAST_POWER = 1e-4, 1e-8
_MOST_CANCELLED_S = 1.0
_HALF = np.float32(0.5)


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
        remarks: what to warn of, as predicates of the source.
        channel: the channel to read, or ``"mean"``.
        salvage: read a defective source as far as possible, and warn.
        is_bounded: whether all samples are finite and within [-1, 1], as integers are.
        can_read_again: whether :meth:`again` has a reader, with samples of any part as in a full decoding.
        block_frames: the most frames to decode at a time, where the decoder leaves the choice.
    """

    name: str
    format: str
    sample_rate: int
    n_channels: int
    n_frames: int | None = None
    defect: str | None = None
    state: str = "truncated"
    remarks: tuple[str, ...] = ()
    channel: Channel = "mean"
    salvage: bool = False
    is_bounded: bool = False
    can_read_again: bool = False
    block_frames: int = BLOCK_FRAMES
    _warned_of_end: bool = False

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
            AudioError: the source is truncated; a warning with ``salvage``.
        """
        defect = self.defect
        if defect is None and self.n_frames is not None and end < self.n_frames:
            defect = f"its header announces {self._length(self.n_frames, end)}"
        if defect is None or self._warned_of_end:
            return
        message = f"{self.name} is {self.state}: {defect}, {self._length(end, self.n_frames)} can be read"
        if not self.salvage:
            raise AudioError(
                f"{message}; fetch or copy it again, or read it as far as it goes with salvage=True"
            )
        self.warn_of_end(f"{message}, and no more is used")

    def warn_of_end(self, message: str) -> None:
        """Warn, once, that the source was not read to its stated end."""
        if not self._warned_of_end:
            self._warned_of_end = True
            warnings.warn(message, stacklevel=3)

    def again(self) -> Reader | None:
        """Another reader of the same source, for another thread to read and close; None: not any more."""
        return None

    def close(self) -> None:  # noqa: B027 - most readers hold nothing
        """Close files."""

    def _length(self, n_frames: int, other: int | None) -> str:
        """A length in seconds, or in samples if it could not be told from the other one."""
        if other is not None and other != n_frames and abs(n_frames - other) < self.sample_rate / 1000:
            return f"{n_frames} samples"
        return f"{n_frames / self.sample_rate:.3f} s"


def blocks_of(reader: Reader, start: int, stop: int | None) -> Iterator[FloatArray]:
    """:meth:`Reader.read`, where any error in decoding is an AudioError that names the source.

    With ``reader.salvage``, an error after the first block is a warning and the end.
    """
    blocks = reader.read(start, stop)
    position = start
    while True:
        try:
            with reading(reader.name):
                block = next(blocks, None)
        except AudioError as error:
            if not reader.salvage or position == start:
                raise
            whole = "" if reader.duration_s is None else f" of {reader.duration_s:.3f} s"
            reader.warn_of_end(
                f"{reader.name} could be read to {position / reader.sample_rate:.3f} s{whole}, and no more "
                f"is used: {error}"
            )
            return
        if block is None:
            return
        position += len(block)
        yield block


class Watch:
    """Warns, once each, of samples that are probably not as they were meant."""

    def __init__(self) -> None:
        self._warned_of_scale = self._warned_of_cancelling = False
        self._n_cancelled = self._n_seen = 0

    def see(self, reader: Reader, block: FloatArray, waveform: FloatArray, position: int) -> None:
        """Look at frames ``(n, C)`` and the waveform ``(n,)`` made of them, which begin at ``position``."""
        self._n_seen += len(block)
        if not reader.is_bounded and max(-waveform.min(initial=0), waveform.max(initial=0)) > MAX_PLAUSIBLE:
            self.see_scale(reader, waveform, position)
        if reader.channel == "mean" and block.shape[1] > 1 and _cancels(reader, block, waveform):
            self.see_cancelling(reader, len(block))

    def see_scale(self, reader: Reader, waveform: FloatArray, position: int) -> None:
        """The waveform ``(n,)`` from ``position`` is far beyond full scale."""
        if self._warned_of_scale:
            return
        self._warned_of_scale = True
        first = int(np.argmax(np.abs(waveform)))
        place = position + first
        warnings.warn(
            f"{reader.name} has the value {waveform[first]:.5g} at sample {place} "
            f"({place / reader.sample_rate:.3f} s); full scale of floating-point samples is 1: were they "
            "16-bit integers? divide them by 32768",
            stacklevel=3,
        )

    def see_cancelling(self, reader: Reader, n_frames: int) -> None:
        """In further frames the channels cancel each other."""
        self._n_cancelled += n_frames
        if self._n_cancelled >= _MOST_CANCELLED_S * reader.sample_rate:
            self._warn_of_cancelling(reader)

    def finish(self, reader: Reader) -> None:
        """At the end of a source: warn also of one that is too short to be sure before."""
        if self._n_cancelled > 0.5 * self._n_seen:
            self._warn_of_cancelling(reader)

    def _warn_of_cancelling(self, reader: Reader) -> None:
        if self._warned_of_cancelling:
            return
        self._warned_of_cancelling = True
        warnings.warn(
            f"{reader.name} has channels that cancel each other (L = -R) for "
            f"{self._n_cancelled / reader.sample_rate:.3f} s or more, and their mean is silent: choose one "
            "with channel=0",
            stacklevel=3,
        )


def _cancels(reader: Reader, block: FloatArray, waveform: FloatArray) -> bool:
    """Whether sound in the channels ``(n, C)`` is gone in their mean ``(n,)``."""
    # Not a product of BLAS: its threads would go on spinning, on the cores of those that decode and compute.
    left = float(np.einsum("i,i->", waveform, waveform)) / len(waveform)
    if reader.is_bounded and left >= _CANCELLED_SHARE:
        return False  # the power is 1 at most
    power = float(np.einsum("ij,ij->", block, block)) / block.size
    return power > _LEAST_POWER and left < _CANCELLED_SHARE * power


def _is_finite(waveform: FloatArray) -> bool:
    return math.isfinite(waveform.min(initial=0)) and math.isfinite(waveform.max(initial=0))


def mono_blocks(
    reader: Reader, start: int, stop: int | None, watch: Watch | None = None
) -> Iterator[FloatArray]:
    """Frames ``[start, stop)`` of a reader as its channel, or the mean over channels, in blocks ``(n,)``.

    Warns of samples that are far beyond full scale, and of channels that cancel each other.

    Args:
        reader, start, stop: see :meth:`Reader.read`.
        watch: the observations of a stream that these frames continue; None: of a new one.

    Raises:
        AudioError: a sample is not finite; whatever :meth:`Reader.read` raises.
    """
    position = start
    watching = watch or Watch()
    for block in blocks_of(reader, start, stop):
        waveform = downmix(block, reader.channel)
        if not (reader.is_bounded or _is_finite(waveform)):
            finite = np.isfinite(waveform)
            first = int(np.argmin(finite))
            kind = "NaN" if np.isnan(block[first]).any() else "an infinite or far too large value"
            n_bad = int(len(finite) - np.count_nonzero(finite))
            raise AudioError(
                f"{reader.name} has {kind} at sample {position + first} "
                f"({(position + first) / reader.sample_rate:.3f} s), {n_bad} such samples in this block; "
                "replace them (numpy.nan_to_num) or cut them out"
            )
        watching.see(reader, block, waveform, position)
        position += len(waveform)
        yield waveform
    if watch is None:
        watching.finish(reader)


def downmix(frames: FloatArray, channel: Channel = "mean") -> FloatArray:
    """``(n, C)`` frames -> ``(n,)`` one channel, or the mean over channels, rounded once."""
    if frames.shape[1] == 1:
        return frames[:, 0]
    if channel != "mean":
        return np.ascontiguousarray(frames[:, channel])
    # Channel by channel: a sum along so short an axis takes several times as long.
    # Infinities are reported with their position instead of a warning.
    with np.errstate(invalid="ignore", over="ignore"):
        if frames.shape[1] == 2:
            halves = frames * _HALF  # exact
            mean: FloatArray = halves[:, 0] + halves[:, 1]
            return mean
        total = frames[:, 0].astype(np.float64)
        for each in range(1, frames.shape[1]):
            total += frames[:, each]
        total /= frames.shape[1]
        return total.astype(np.float32)


def check_channel(channel: Any, reader: Reader) -> Channel:
    """A channel of a reader by its number from 0, or ``"mean"``.

    Raises:
        AudioError: the reader has no such channel.
    """
    if isinstance(channel, str) and channel == "mean":
        return "mean"
    try:
        if isinstance(channel, (bool, np.bool_)):
            raise TypeError
        number = operator.index(channel)
    except TypeError:
        raise AudioError(
            f"channel is {channel!r}; 'mean' or a number is needed, 0 for the first or left channel"
        ) from None
    if not 0 <= number < reader.n_channels:
        known = "0" if reader.n_channels == 1 else f"0 to {reader.n_channels - 1}"
        plural = "s" * (reader.n_channels > 1)
        raise AudioError(
            f"{reader.name} has {reader.n_channels} channel{plural}, and channel is {number}; "
            f"give {known}, or 'mean'"
        )
    return number


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

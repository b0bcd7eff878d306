"""Decoding by PyAV (FFmpeg's libraries), an optional extra: M4A, AAC, MP4, WebM and some more.

AAC with noise substitution has new random noise in every decoding: there a part differs from the same part
of the whole by its noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from pannsx.audio.arrays import scale_to_unit
from pannsx.audio.formats import Format
from pannsx.audio.reader import Reader, check_rate
from pannsx.errors import AudioError
from pannsx.types import FloatArray

EXTRA = "pannsx[av]"

# Decoding after a seek settles within a few packets; a tenth of a second is four of AAC's.
_LEAD_IN_S = 0.1
# Packets are indivisible, and encoders round: a complete file misses its stated duration by less than this.
_SLACK_S = 0.15
# Only these state their length (for others it is estimated from the bit rate).
_SAY_LENGTH = ("mov", "matroska")
# Only these have time stamps with sample resolution, so that a seek is exact.
_EXACT_TIMES = ("mov",)


class PyavReader(Reader):
    """The first audio track of a container, decoded by FFmpeg.

    Raises:
        AudioError: PyAV is not installed, the file is damaged or truncated, or it has no audio.
    """

    def __init__(self, file: BinaryIO, found: Format, name: str, reason: str = "") -> None:
        av = _import_av(found, name, reason)
        self.name = name
        self._av = av
        self._file = file
        self._found = found
        self._container, self._stream = self._open()
        codec = self._stream.codec_context
        if codec is None:
            self.close()
            raise AudioError(f"{name} ({found.name}): FFmpeg has no decoder for its audio; convert it to WAV")
        self.format = f"{found.name} ({codec.name})"
        self.sample_rate = check_rate(codec.sample_rate, f"the sample rate of {name}")
        self.n_channels = codec.channels

    @property
    def duration_s(self) -> float | None:
        """Length in seconds: as stated by the container, exact after the end was read; None if unknown."""
        return super().duration_s if self.n_frames is not None else self._stated_duration_s()

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as float32 blocks ``(n, C)``."""
        try:
            yield from self._read(start, stop)
        except (self._av.error.FFmpegError, OSError) as error:
            raise AudioError(
                f"{self.name} ({self.format}) is truncated or damaged: {_reason(error)}; "
                "fetch or copy it again"
            ) from error

    def check_whole(self, end: int) -> None:
        """Compare the end of the track, frame ``end``, with the container's duration."""
        stated = self._stated_duration_s()
        if stated is not None and end / self.sample_rate < stated - _SLACK_S:
            self.defect = f"its header announces {stated:.3f} s"
        super().check_whole(end)

    def close(self) -> None:
        """Close FFmpeg's handles; the file itself stays open, as it is the caller's."""
        self._container.close()

    def _open(self) -> tuple[Any, Any]:
        self._file.seek(0)
        try:
            container = self._av.open(self._file, mode="r", metadata_errors="ignore")
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioError(
                f"{self.name} ({self._found.name}) is truncated or damaged: {_reason(error)}; "
                "fetch or copy it again"
            ) from error
        if not container.streams.audio:
            container.close()
            raise AudioError(f"{self.name} ({self._found.name}) has no audio track")
        return container, container.streams.audio[0]

    def _stated_duration_s(self) -> float | None:
        if not self._container.format.name.startswith(_SAY_LENGTH):
            return None
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        # A container's length is that of its longest track: it is valid if audio is the only one.
        if self._container.duration is not None and len(self._container.streams) == 1:
            return float(self._container.duration / self._av.time_base)
        return None

    def _read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        position = self._seek(start)
        for frame in self._container.decode(self._stream):
            if frame.sample_rate != self.sample_rate:
                raise AudioError(
                    f"{self.name} changes its sample rate from {self.sample_rate} to {frame.sample_rate} Hz; "
                    "convert it to one rate first"
                )
            if position is None:  # after a seek: the position is the frame's time stamp
                position = round(float((frame.pts - self._origin) * frame.time_base) * self.sample_rate)
            block = _frames(frame)
            first = max(0, start - position)
            last = len(block) if stop is None else min(len(block), stop - position)
            position += len(block)
            if first < last:
                yield block[first:last]
            if stop is not None and position >= stop:
                return
        if position is not None:
            self.n_frames = position

    def _seek(self, start: int) -> int | None:
        """Position of the next decoded frame; None after a seek, where its time stamp gives the position."""
        self._container.close()  # opening the file again is the most reliable way to rewind a decoder
        self._container, self._stream = self._open()
        before = start - int(_LEAD_IN_S * self.sample_rate)
        if before <= 0 or not self._container.format.name.startswith(_EXACT_TIMES):
            return 0
        first = next(self._container.decode(self._stream), None)
        if first is None or first.pts is None or self._stream.time_base is None:
            raise AudioError(f"{self.name} is empty: its audio track has no samples")
        self._origin = first.pts
        target = first.pts + int(before / self.sample_rate / self._stream.time_base)
        self._container.seek(target, stream=self._stream, backward=True)
        return None


def _frames(frame: Any) -> FloatArray:
    """A decoded frame of any sample format -> ``(n, C)`` in [-1, 1]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    return np.ascontiguousarray(scale_to_unit(samples).T)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _import_av(found: Format, name: str, reason: str) -> Any:
    try:
        import av
    except ImportError as error:
        because = f" ({reason})" if reason else ""
        raise AudioError(
            f"{name} is {found.name}, which needs the optional decoder PyAV{because}: "
            f"pip install '{EXTRA}', or convert the file to WAV or FLAC"
        ) from error
    return av

"""Decoding by PyAV (FFmpeg's libraries), the optional extra: M4A, AAC, MP4, WebM and some more.

AAC with noise substitution draws that noise anew in each decoding: there a part differs from the same part
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
# Packets are whole, and encoders round: a promised duration is missed by less than this in a whole file.
_SLACK_S = 0.15
# Only these say their length (others have it guessed from the bit rate).
_SAY_LENGTH = ("mov", "matroska")
# Only these have time stamps as fine as a sample, so that a seek ends where it should.
_EXACT_TIMES = ("mov",)


class PyavReader(Reader):
    """An audio track that FFmpeg decodes: the first one of the container.

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
            raise AudioError(
                f"{name} ({found.name}): FFmpeg knows no decoder for its audio; convert it to WAV"
            )
        self.format = f"{found.name} ({codec.name})"
        self.sample_rate = check_rate(codec.sample_rate, f"the sample rate of {name}")
        self.n_channels = codec.channels

    @property
    def duration_s(self) -> float | None:
        """Length in seconds: exact once the end was read, before as the container states it, else None."""
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
        """The track ended at frame ``end``: is that as far as the container states?"""
        stated = self._stated_duration_s()
        if stated is not None and end / self.sample_rate < stated - _SLACK_S:
            self.defect = f"its header announces {stated:.3f} s"
        super().check_whole(end)

    def close(self) -> None:
        """Let go of FFmpeg's handles; the file itself belongs to whoever opened it."""
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
        # A container's own length is that of its longest track: it counts if the audio is all there is.
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
            if position is None:  # after a seek: the frame says where it belongs
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
        """Where the next decoded frame begins; None after a seek, when its time stamp will tell."""
        self._container.close()  # decoders are rewound most surely by a fresh start
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

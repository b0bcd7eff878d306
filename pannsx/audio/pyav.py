"""Decoding by PyAV (FFmpeg's libraries), an optional extra: M4A, AAC, MP4, WebM and some more.

Where the time stamps of a container leave a gap, as recorders do in silence and where packets were lost,
silence is put in, so that times in the waveform are those of the recording.

AAC with noise substitution has new random noise in every decoding: there a part differs from the same part
of the whole by its noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pannsx.audio.arrays import scale_to_unit
from pannsx.audio.formats import CAF, MP4, Format
from pannsx.audio.reader import BLOCK_FRAMES, Reader, check_rate
from pannsx.audio.view import Checked
from pannsx.errors import AudioError
from pannsx.types import FloatArray

EXTRA = "pannsx[av]"

# Decoding after a seek settles within a few packets; a tenth of a second is four of AAC's.
_LEAD_IN_S = 0.1
# Packets are indivisible, and encoders round: a complete file misses its stated duration by less than this.
_SLACK_S = 0.15
_EXACT_SLACK_S = 0.005  # of codecs without loss: rounding of the stated duration
_EXACT_CODECS = ("pcm_", "flac", "alac", "wavpack", "tta", "ape")
# Only these state their length (for others it is estimated from the bit rate).
_SAY_LENGTH = ("mov", "matroska", "wv", "tta", "ape", "caf")
# Only these have time stamps with sample resolution, so that a seek is exact.
_EXACT_TIMES = ("mov",)
# Only these have time stamps of their own; in raw streams they are counted from the frames.
_HAVE_TIMES = ("mov", "matroska", "flv", "asf", "mpegts", "mpeg")
# In these, a long jump is the beginning of another recording.
_LONGEST_GAP_S = {"mpegts": 10.0, "mpeg": 10.0}
# Time stamps may be rounded to milliseconds, and those of live recordings jitter.
_SHORTEST_GAP_S = 0.05
_RESTART_S = 1.0
_MOST_SILENCE_S = 3600.0  # in a gap, if the container states no length


class PyavReader(Reader):
    """The first audio track of a container, decoded by FFmpeg.

    Args:
        checked: the file.
        found: its format.
        name: its name in messages.
        reason: why another decoder could not read it, or an empty string.

    Raises:
        AudioError: PyAV is not installed, the file is damaged or truncated, or it has no audio.
    """

    def __init__(self, checked: Checked, found: Format, name: str, reason: str = "") -> None:
        av = _import_av(found, name, reason, checked.defect)
        self.name = name
        self._av = av
        self._file = checked.file
        self._found = found
        self._because = f"{reason}; FFmpeg says: " if reason else ""
        self.defect, self.state = checked.defect, checked.state
        self._container, self._stream = self._open()
        codec = self._stream.codec_context
        if codec is None:
            self.close()
            raise AudioError(f"{name} ({found.name}): FFmpeg has no decoder for its audio; convert it to WAV")
        self.format = f"{found.name} ({codec.name})"
        self.sample_rate = check_rate(codec.sample_rate, f"the sample rate of {name}")
        self.n_channels = codec.channels
        self._stated_s = self._stated_duration_s()
        self._origin: int | None = None
        self._slack_s = _EXACT_SLACK_S if codec.name.startswith(_EXACT_CODECS) else _SLACK_S
        n_tracks = len(self._container.streams.audio)
        several = (f"has {n_tracks} audio tracks, of which the first is read",) if n_tracks > 1 else ()
        self.remarks = several if checked.remark is None else (checked.remark, *several)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds: as stated by the container, exact after the end was read; None if unknown."""
        return super().duration_s if self.n_frames is not None else self._stated_s

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as float32 blocks ``(n, C)``."""
        reached = start
        try:
            for block in self._read(start, stop):
                reached += len(block)
                yield block
        except self._av.error.FFmpegError as error:
            raise AudioError(
                f"{self.name} ({self.format}) is damaged near {reached / self.sample_rate:.3f} s: "
                f"{_reason(error)}; fetch or make it again, or read it as far as it goes with salvage=True"
            ) from error

    def check_whole(self, end: int) -> None:
        """Compare the end of the track, frame ``end``, with the container's duration."""
        if self._stated_s is not None:
            if end / self.sample_rate < self._stated_s - self._slack_s:
                self.defect = f"its header announces {self._stated_s:.3f} s"
            elif self._found == MP4:  # its tables list all of the sound, so no sound was cut off
                return
        super().check_whole(end)

    def close(self) -> None:
        """Close FFmpeg's handles; the file itself stays open, as it is the caller's."""
        self._container.close()

    def _open(self) -> tuple[Any, Any]:
        self._file.seek(0)
        try:
            container = self._av.open(self._file, mode="r", metadata_errors="ignore")
        except (self._av.error.FFmpegError, ValueError) as error:
            if self.defect is not None:
                raise AudioError(
                    f"{self.name} ({self._found.name}) is truncated or damaged: {self.defect}; fetch or copy "
                    "it again"
                ) from error
            raise AudioError(
                f"{self.name} ({self._found.name}) cannot be decoded: {self._because}{_reason(error)}; it is "
                "damaged, incomplete or of an unsupported kind: if other programs play it, convert it to WAV"
            ) from error
        if not container.streams.audio:
            container.close()
            raise AudioError(f"{self.name} ({self._found.name}) has no audio track")
        stream = container.streams.audio[0]
        if self._found == CAF and stream.codec_context is not None and stream.codec_context.name == "alac":
            # The last packet of ALAC is as short as its sound; FFmpeg would take the rest of it off again.
            stream.codec_context.flags2 |= self._av.codec.context.Flags2.skip_manual
        return container, stream

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
            block = _frames(frame)
            at = self._position(frame)
            if position is None:
                position = at or 0  # after a seek
            elif at is not None and (n_missing := self._gap(frame, position, at)):
                for n_silent in _pieces(n_missing):
                    silence = np.zeros((n_silent, block.shape[1]), np.float32)
                    yield from _within(silence, position, start, stop)
                    position += n_silent
            yield from _within(block, position, start, stop)
            position += len(block)
            if stop is not None and position >= stop:
                return
        if position is not None:
            self.n_frames = position

    def _position(self, frame: Any) -> int | None:
        """The first sample of a decoded frame by its time stamp, counted from the first frame; or None."""
        if frame.pts is None or not self._has_times:
            return None
        if self._origin is None:
            self._origin = frame.pts
        return round(float((frame.pts - self._origin) * frame.time_base) * self.sample_rate)

    def _gap(self, frame: Any, position: int, at: int) -> int:
        """How much silence belongs between ``position`` and a frame at ``at``, in samples.

        Time stamps that begin again, as in joined files, are counted from there.

        Raises:
            AudioError: the time stamp cannot be right.
        """
        n_missing = at - position
        longest_s = self._longest_gap_s
        if -_RESTART_S * self.sample_rate < n_missing < _SHORTEST_GAP_S * self.sample_rate:
            return 0
        if n_missing < 0 or (longest_s is not None and n_missing > longest_s * self.sample_rate):
            self._origin = frame.pts - round(position / self.sample_rate / frame.time_base)
            return 0
        most_s = position / self.sample_rate + _MOST_SILENCE_S
        if self._stated_s:
            most_s = self._stated_s + self._slack_s
        if at > most_s * self.sample_rate:
            raise AudioError(
                f"{self.name} ({self.format}) has a time stamp of {at / self.sample_rate:.3f} s after "
                f"{position / self.sample_rate:.3f} s of sound; it is damaged: convert it to WAV"
            )
        return n_missing

    def _seek(self, start: int) -> int | None:
        """Position of the next decoded frame; None after a seek, where its time stamp gives the position."""
        self._container.close()  # opening the file again is the most reliable way to rewind a decoder
        self._container, self._stream = self._open()
        kind = self._container.format.name
        self._has_times = kind.startswith(_HAVE_TIMES)
        self._longest_gap_s = _LONGEST_GAP_S.get(kind)
        self._origin = None
        before = start - int(_LEAD_IN_S * self.sample_rate)
        if before <= 0 or not kind.startswith(_EXACT_TIMES):
            return 0
        first = next(self._container.decode(self._stream), None)
        if first is None or first.pts is None or self._stream.time_base is None:
            raise AudioError(f"{self.name} is empty: its audio track has no samples")
        self._origin = first.pts
        target = first.pts + int(before / self.sample_rate / self._stream.time_base)
        self._container.seek(target, stream=self._stream, backward=True)
        return None


def _within(block: FloatArray, position: int, start: int, stop: int | None) -> Iterator[FloatArray]:
    """The part of a block at ``position`` that lies in ``[start, stop)``, if any."""
    first = max(0, start - position)
    last = len(block) if stop is None else min(len(block), stop - position)
    if first < last:
        yield block[first:last]


def _pieces(n_samples: int) -> Iterator[int]:
    """Lengths of blocks that together are ``n_samples`` long."""
    for first in range(0, n_samples, BLOCK_FRAMES):
        yield min(BLOCK_FRAMES, n_samples - first)


_SAMPLE_TYPES = {
    "u8": np.uint8, "s16": np.int16, "s32": np.int32, "s64": np.int64, "flt": np.float32, "dbl": np.float64,
}  # fmt: skip
"""Types of samples by FFmpeg's names of packed formats."""


def _frames(frame: Any) -> FloatArray:
    """A decoded frame of any sample format -> ``(n, C)`` in [-1, 1]."""
    n_channels = len(frame.layout.channels)
    dtype = _SAMPLE_TYPES[frame.format.packed.name]
    # Not to_ndarray: of eight channels, PyAV counts a ninth plane behind the list of planes, and reads where
    # it points.
    if frame.format.is_planar:
        planes = frame.planes[:n_channels]
        samples = np.stack([np.frombuffer(plane, dtype, frame.samples) for plane in planes], axis=1)
    else:
        samples = np.frombuffer(frame.planes[0], dtype, frame.samples * n_channels).reshape(-1, n_channels)
    return np.ascontiguousarray(scale_to_unit(samples))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _import_av(found: Format, name: str, reason: str, defect: str | None) -> Any:
    try:
        import av
    except ImportError as error:
        if reason and defect:
            raise AudioError(
                f"{name} ({found.name}) is truncated or damaged: {defect}; fetch or copy it again"
            ) from error
        if reason and found.decoders[0] == "soundfile":
            raise AudioError(
                f"{name} ({found.name}) cannot be decoded: {reason}; if other programs play it, the optional "
                f"decoder PyAV may read it: pip install '{EXTRA}', or convert it to WAV; otherwise it is "
                "damaged"
            ) from error
        raise AudioError(
            f"{name} is {found.name}, which needs the optional decoder PyAV: "
            f"pip install '{EXTRA}', or convert the file to WAV or FLAC"
        ) from error
    return av

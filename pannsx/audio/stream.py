"""A part of a source at a chosen rate, piece by piece and at bounded memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pannsx.audio.reader import Reader, Watch, mono_blocks
from pannsx.audio.resample import StreamResampler, output_length
from pannsx.errors import AudioError
from pannsx.types import FloatArray


class Part:
    """The samples ``[first, stop)`` of a reader's whole waveform at ``sample_rate``; ``stop`` may be None.

    Times are rounded to the nearest sample of ``sample_rate``.

    Raises:
        AudioError: a time is negative, not finite or not a number; the part has no sample or begins after the
            end (if the length is known); or the source is known to be truncated before the end of the part.
    """

    def __init__(self, reader: Reader, sample_rate: int, start_s: Any, duration_s: Any) -> None:
        self.reader = reader
        self.sample_rate = sample_rate
        self.first = round(seconds(start_s, "start_s") * sample_rate)
        self.stop: int | None = None
        if duration_s is not None:
            n_samples = round(seconds(duration_s, "duration_s") * sample_rate)
            if n_samples < 1:
                raise AudioError(
                    f"duration_s is {duration_s} s, less than one sample at {sample_rate} Hz; leave it out "
                    "to read to the end"
                )
            self.stop = self.first + n_samples
        self._start_s = start_s
        if reader.n_frames is not None:
            self._check_end(reader.n_frames, in_full=False)

    @property
    def n_samples(self) -> int | None:
        """Length of the part in samples, as the source states it, or None."""
        if self.reader.n_frames is None:
            return None
        return self._within(output_length(self.reader.n_frames, self.reader.sample_rate, self.sample_rate))

    @property
    def duration_s(self) -> float | None:
        """Length of the part in seconds, if known before its end is read, else None."""
        if self.n_samples is not None:
            return self.n_samples / self.sample_rate
        whole_s = self.reader.duration_s
        if whole_s is None:
            return None
        return self._within(round(whole_s * self.sample_rate)) / self.sample_rate

    def between(self, first: int, stop: int | None, reader: Reader) -> Part:
        """The samples ``[first, stop)`` of the whole, within this part, from another reader of its source."""
        other = copy.copy(self)
        other.first, other.stop, other.reader = first, stop, reader
        return other

    def pieces(self, watch: Watch | None = None) -> Iterator[FloatArray]:
        """The part as pieces ``(n,)`` of any length; ``watch``: what looks at its samples.

        Raises:
            AudioError: the source is empty, not finite, damaged or truncated, or ends before the part begins.
        """
        resampler = StreamResampler(
            self.reader.sample_rate, self.sample_rate, first_out=self.first, stop_out=self.stop
        )
        end = resampler.first_in
        n_read = n_out = 0
        for block in mono_blocks(self.reader, resampler.first_in, resampler.stop_in, watch):
            n_read += len(block)
            piece = resampler.push(block)
            n_out += len(piece)
            if len(piece):
                yield piece
        end += n_read
        if resampler.stop_in is not None and end >= resampler.stop_in:
            return
        # The source has ended: the position follows from the frames read, or else from the reader.
        if n_read == 0 and resampler.first_in > 0:
            if self.reader.n_frames is None:
                raise AudioError(self._after_end(None))
            end = self.reader.n_frames
        self._check_end(end, in_full=True)
        piece = resampler.finish()
        if len(piece):
            yield piece
        elif n_out == 0:
            raise AudioError(self._after_end(self.reader.duration_s))

    def _within(self, length: int) -> int:
        """Samples of the part in a whole of ``length`` samples."""
        stop = length if self.stop is None else min(self.stop, length)
        return max(0, stop - self.first)

    def _check_end(self, n_frames: int, *, in_full: bool) -> None:
        """Check a source of ``n_frames``; ``in_full``: the number is known from reading to the end."""
        length = output_length(n_frames, self.reader.sample_rate, self.sample_rate)
        if (in_full or self.reader.defect) and (self.stop is None or self.stop > length):
            self.reader.check_whole(n_frames)
        if length == 0:
            raise AudioError(
                f"{self.reader.name} is empty: it has no samples ({self.reader.format}, "
                f"{self.reader.sample_rate} Hz); record or export it again"
            )
        if self.first >= length:
            raise AudioError(self._after_end(n_frames / self.reader.sample_rate))

    def _after_end(self, duration_s: float | None) -> str:
        lasts = "ends before that" if duration_s is None else f"lasts {duration_s:.3f} s"
        return f"start_s is {self._start_s} s, and {self.reader.name} {lasts}; start earlier"


def regroup(pieces: Iterable[FloatArray], n_samples: int) -> Iterator[FloatArray]:
    """Pieces ``(n,)`` of any length -> blocks ``(n_samples,)``, the last one possibly shorter."""
    waiting: list[FloatArray] = []
    n_waiting = 0
    for piece in pieces:
        waiting.append(piece)
        n_waiting += len(piece)
        if n_waiting < n_samples:
            continue
        joined = np.concatenate(waiting)
        n_full = n_waiting - n_waiting % n_samples
        for start in range(0, n_full, n_samples):
            yield joined[start : start + n_samples]
        waiting = [joined[n_full:]] if n_full < n_waiting else []
        n_waiting -= n_full
    if n_waiting:
        yield np.concatenate(waiting)


def seconds(value: Any, what: str) -> float:
    """A time as a finite, non-negative number.

    Raises:
        AudioError: it is not.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise AudioError(f"{what} is {value!r}; a number of seconds is needed") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise AudioError(f"{what} is {value} s; finite, non-negative seconds are needed")
    return seconds

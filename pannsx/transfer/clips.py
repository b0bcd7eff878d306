"""The clips of a data set at one rate, decoded when they are needed.

As floats, although that takes twice the memory of 16 bits: a clip recorded at a lower rate has empty bands,
which rounding to 16 bits would fill with noise.  The log-mel shows it: a head would be trained on other
embeddings than those of :class:`pannsx.AudioTagger`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, overload

import numpy as np

from pannsx import audio
from pannsx.types import FloatArray, Source

Waveforms = Sequence[FloatArray]

KEPT_BYTES = 2**29
"""Bytes of decoded clips kept in memory; further clips are decoded again in every pass."""


class Readable(Protocol):
    """A clip: a source, or a part of one."""

    @property
    def source(self) -> Source:
        """A path, an array or another source of :func:`pannsx.audio.load`."""

    @property
    def source_rate(self) -> int | None:
        """The rate of an array, in Hz; None for a file, or at the rate that is wanted."""

    @property
    def start_s(self) -> float:
        """Start of the clip in the source, in seconds."""

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None: to the end."""


class Sound(NamedTuple):
    """A clip that is a whole source."""

    source: Source
    source_rate: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None


class Clips(Sequence[FloatArray]):
    """``N`` clips, ``(S_i,)`` each, at ``sample_rate`` Hz; a data set of any size, in bounded memory.

    Args:
        recordings: the clips.
        sample_rate: in Hz.
        kept_bytes: decoded clips kept in memory.

    Raises:
        AudioError: on access, a clip cannot be used; repair it or remove it from the data set.
    """

    def __init__(
        self, recordings: Sequence[Readable], sample_rate: int, *, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self.recordings, self.sample_rate = tuple(recordings), sample_rate
        self._left = kept_bytes
        self._kept: dict[int, FloatArray] = {}

    def __len__(self) -> int:
        return len(self.recordings)

    @overload
    def __getitem__(self, row: int) -> FloatArray: ...
    @overload
    def __getitem__(self, row: slice) -> Clips: ...
    def __getitem__(self, row: int | slice) -> FloatArray | Clips:
        if isinstance(row, slice):
            return Clips(self.recordings[row], self.sample_rate, kept_bytes=0)
        known = self._kept.get(row)
        return self._keep(row, self._read(self.recordings[row])) if known is None else known

    def __iter__(self) -> Iterator[FloatArray]:
        return self.of(range(len(self)))

    def of(self, rows: Sequence[int]) -> Iterator[FloatArray]:
        """The clips of some rows, in order, decoded some clips ahead in threads."""
        waiting: deque[Future[FloatArray]] = deque()
        # Decoding and resampling release the interpreter's lock.
        n_threads = os.cpu_count() or 1
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                for row in rows:
                    waiting.append(pool.submit(self.__getitem__, row))
                    if len(waiting) > 2 * n_threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _keep(self, row: int, waveform: FloatArray) -> FloatArray:
        if waveform.nbytes <= self._left:
            self._left -= waveform.nbytes
            self._kept[row] = waveform
        return waveform

    def _read(self, recording: Readable) -> FloatArray:
        return audio.load(
            recording.source,
            self.sample_rate,
            source_rate=recording.source_rate,
            start_s=recording.start_s,
            duration_s=recording.duration_s,
        ).waveform


def batch_of(waveforms: Waveforms, rows: Sequence[int], longest: int, rng: np.random.Generator) -> FloatArray:
    """Clips of some rows -> ``(B, S)``, zero-padded to the longest of them.

    Clips longer than ``longest`` samples are cut to a random part, new each time.
    """
    parts = [_part(waveform, longest, rng) for waveform in chosen(waveforms, rows)]
    batch = np.zeros((len(parts), max(map(len, parts))), np.float32)
    for row, part in zip(batch, parts, strict=True):
        row[: len(part)] = part
    return batch


def chosen(waveforms: Waveforms, rows: Sequence[int]) -> Iterator[FloatArray]:
    """The clips of some rows, in order; those of a data set are decoded ahead."""
    return waveforms.of(rows) if isinstance(waveforms, Clips) else (waveforms[row] for row in rows)


def _part(waveform: FloatArray, longest: int, rng: np.random.Generator) -> FloatArray:
    begin = int(rng.integers(max(0, len(waveform) - longest) + 1))
    return waveform[begin : begin + longest]

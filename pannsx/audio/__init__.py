"""Audio input: from a file, bytes, an array or a tensor to a mono float32 waveform at a chosen rate.

Three functions: :func:`load` for a whole waveform or a part of it, :func:`open_blocks` for one of any
length at bounded memory, :func:`info` for the properties of a source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np

from pannsx.audio.preparation import Preparation, av_bench
from pannsx.audio.reader import check_rate
from pannsx.audio.sections import Threads, read_at_once
from pannsx.audio.sources import open_reader
from pannsx.audio.stream import Part, regroup, seconds
from pannsx.errors import AudioError
from pannsx.types import Channel, FloatArray, Source

__all__ = [
    "Audio", "AudioInfo", "Blocks", "Preparation", "Source", "av_bench", "info", "load",
    "open_blocks",
]  # fmt: skip


class Audio(NamedTuple):
    """A waveform and its rate; unpacks as ``waveform, sample_rate = load(...)``.

    Attributes:
        waveform: float32 ``(S,)``, mono.  Full scale is 1; floating-point sources beyond it are not
            changed.
        sample_rate: samples per second, in Hz.
    """

    waveform: FloatArray
    sample_rate: int


class AudioInfo(NamedTuple):
    """Properties of a source as its header states them, without decoding.

    Attributes:
        sample_rate: frames per second, in Hz.
        n_channels: number of channels ``C``.
        duration_s: length in seconds, or None if the source does not state it.
        format: name of the format, such as ``"Ogg Opus"``.
    """

    sample_rate: int
    n_channels: int
    duration_s: float | None
    format: str


def load(
    source: Source,
    sample_rate: int | None = None,
    *,
    source_rate: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channel: Channel = "mean",
    salvage: bool = False,
) -> Audio:
    """Any source -> mono float32 waveform ``(S,)`` at ``sample_rate``.

    Channels are averaged, then the rate is converted (:mod:`pannsx.audio.resample`).  A part is read without
    decoding the rest, and equals that part of the whole.  Files that were joined one after another are read
    to the end of the last one.  A warning tells of channels whose mean is silent because they cancel each
    other, and of samples far beyond full scale.

    Args:
        source: see :data:`Source`.
        sample_rate: rate of the result in Hz; None: the source's own.
        source_rate: rate of an array or tensor, in Hz; None: ``sample_rate``.  Leave it out for files, which
            state their rate.
        start_s: start of the part, in seconds.
        duration_s: length of the part, in seconds; None, or more than there is: to the end.
        channel: number of the channel to read, from 0 (the first, or left); ``"mean"``: the mean of all.
        salvage: read a truncated or damaged source as far as possible, with a warning that says how far.

    Returns:
        The waveform, a fresh array, and its rate.

    Raises:
        AudioError: the source is missing, not audio, empty, not finite, truncated, damaged or wrongly shaped;
            a rate is unusable; ``start_s`` is after the end.  The message says which, and the remedy.
    """
    selection = Selection(source_rate, start_s, duration_s, channel, salvage)
    with selection.open(source, sample_rate) as blocks:
        return Audio(np.concatenate(list(blocks.pieces())), blocks.sample_rate)


def open_blocks(
    source: Source,
    sample_rate: int | None = None,
    *,
    source_rate: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    block_s: float = 10.0,
    channel: Channel = "mean",
    salvage: bool = False,
) -> Blocks:
    """Any source -> mono float32 blocks ``(block_s * sample_rate,)``, the last one shorter; bounded memory.

    The blocks, put together, are what :func:`load` returns; the arguments are the same.

    >>> with open_blocks("lecture.flac", 32000) as blocks:
    ...     peak = max(abs(block).max() for block in blocks)

    Args:
        source: see :data:`Source`.
        sample_rate: rate of the blocks in Hz; None: the source's own.
        source_rate: rate of an array or tensor, in Hz.
        start_s: start of the part, in seconds.
        duration_s: length of the part, in seconds; None: to the end.
        block_s: length of a block in seconds.
        channel, salvage: see :func:`load`.

    Raises:
        AudioError: as :func:`load`; errors in decoding are raised while the blocks are read.
    """
    return Selection(source_rate, start_s, duration_s, channel, salvage).open(source, sample_rate, block_s)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to read of a source: the arguments of :func:`load` that say so, for functions that pass them on.

    Attributes:
        source_rate: rate of an array or tensor, in Hz.
        start_s: start of the part, in seconds.
        duration_s: length of the part, in seconds; None: to the end.
        channel: number of the channel from 0, or ``"mean"``.
        salvage: whether to read a defective source as far as possible.
    """

    source_rate: int | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    channel: Channel = "mean"
    salvage: bool = False

    def open(
        self,
        source: Source,
        sample_rate: int | None = None,
        block_s: float = 10.0,
        *,
        threads: Threads | None = None,
    ) -> Blocks:
        """The selected part of a source in blocks, see :func:`open_blocks`; ``threads``: to read it on."""
        return Blocks(source, sample_rate, self, block_s, threads)


class Blocks:
    """An open source, an iterator over blocks ``(n,)`` of its waveform and a context manager; iterate once.

    Attributes:
        sample_rate: rate of the blocks, in Hz.
        duration_s: length of all blocks together in seconds, or None if the source does not state it.
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int | None,
        selection: Selection,
        block_s: float,
        threads: Threads | None = None,
    ) -> None:
        if sample_rate is not None:
            sample_rate = check_rate(sample_rate, "sample_rate")
        self._stack = ExitStack()
        whole = None
        if threads is not None and selection.source_rate is None and not selection.salvage:
            selected = (selection.start_s, selection.duration_s, selection.channel)
            whole = read_at_once(source, sample_rate, *selected, threads)
        if whole is not None:
            self.sample_rate, self.duration_s = whole.sample_rate, whole.duration_s
            self._pieces: Iterator[FloatArray] = iter(whole.pieces)
            self._block_samples = self._samples(block_s)
            return
        with ExitStack() as stack:
            reader = stack.enter_context(
                open_reader(
                    source,
                    source_rate=selection.source_rate,
                    wanted_rate=sample_rate,
                    channel=selection.channel,
                    salvage=selection.salvage,
                )
            )
            self.sample_rate = sample_rate or reader.sample_rate
            self._block_samples = self._samples(block_s)
            part = Part(reader, self.sample_rate, selection.start_s, selection.duration_s)
            self.duration_s = part.duration_s
            self._pieces = part.pieces()
            self._stack = stack.pop_all()

    def _samples(self, block_s: float) -> int:
        """Samples of a block."""
        n_samples = round(seconds(block_s, "block_s") * self.sample_rate)
        if n_samples < 1:
            raise AudioError(f"block_s is {block_s} s; it must be at least one sample")
        return n_samples

    def pieces(self) -> Iterator[FloatArray]:
        """The waveform in pieces ``(n,)`` of any length, as the decoder produces them."""
        return self._pieces

    def __iter__(self) -> Iterator[FloatArray]:
        return regroup(self._pieces, self._block_samples)

    def close(self) -> None:
        """Close the source; iteration ends."""
        self._pieces = iter(())
        self._stack.close()

    def __enter__(self) -> Blocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def info(source: Source, *, source_rate: int | None = None) -> AudioInfo:
    """Rate, channels, length and format of a source, from its header.

    Args:
        source: see :data:`Source`.
        source_rate: rate of an array or tensor, in Hz.

    Raises:
        AudioError: the source cannot be opened or is not audio, or is an array without ``source_rate``.
    """
    with open_reader(source, source_rate=source_rate) as reader:
        return AudioInfo(reader.sample_rate, reader.n_channels, reader.duration_s, reader.format)

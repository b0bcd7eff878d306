"""Input of a stream: blocks of any type and rate become samples at the model's rate, kept while needed."""

from __future__ import annotations

import numpy as np

from pannsx.audio.arrays import ArrayReader
from pannsx.audio.reader import Watch, check_rate, mono_blocks
from pannsx.audio.resample import StreamResampler
from pannsx.errors import AudioError
from pannsx.types import FloatArray, Source

_MOST_PIECES = 1000  # kept separately; more are joined, as each of many one-sample blocks costs memory


class Intake:
    """The latest samples of one stream.

    Args:
        sample_rate: rate of the samples, in Hz.
        source_rate: rate of the blocks; None: that given with the first block.

    Attributes:
        n_samples: samples at ``sample_rate`` produced so far, kept or not.
        source_rate: rate of the blocks, in Hz; None while unknown.
    """

    def __init__(self, sample_rate: int, source_rate: int | None) -> None:
        self.n_samples = 0
        self.source_rate = source_rate
        self._sample_rate = sample_rate
        self._n_source = 0
        self._resampler: StreamResampler | None = None
        self._pieces: list[FloatArray] = []
        self._held_from = 0
        self._watch = Watch()

    def take(self, block: Source, block_rate: int | None) -> None:
        """Add a block ``(n,)`` or ``(n, C)``.

        Raises:
            AudioError: the block cannot be used; no part of it was added.
        """
        rate = self._rate(block_rate)
        if _is_empty(block):
            return
        samples = self._checked(block, rate)
        if self._resampler is None:
            self._resampler = StreamResampler(rate, self._sample_rate)
            self.source_rate = rate
        self._n_source += len(samples)
        self._hold(self._resampler.push(samples))

    def finish(self) -> None:
        """End of the blocks: the resampling filter gives out its last samples."""
        if self._resampler is not None:
            self._hold(self._resampler.finish())

    def window(self, begin: int, stop: int) -> FloatArray:
        """Samples ``[begin, stop)``, counted from the beginning of the stream."""
        return self._joined()[begin - self._held_from : stop - self._held_from]

    def forget(self, begin: int) -> None:
        """Drop the samples before ``begin``."""
        self._pieces = [self._joined()[begin - self._held_from :].copy()]
        self._held_from = begin

    @property
    def delay_s(self) -> float:
        """Delay of a sample by the resampling filter, in seconds of sound."""
        rate = self.source_rate or self._sample_rate
        if rate == self._sample_rate:
            return 0.0
        return (StreamResampler(rate, self._sample_rate, stop_out=1).stop_in or 0) / rate

    def _rate(self, block_rate: int | None) -> int:
        if block_rate is None:
            return self.source_rate or self._sample_rate
        rate = check_rate(block_rate, "source_rate")
        if self.source_rate not in (None, rate):
            raise AudioError(
                f"the block has {rate} Hz and the stream {self.source_rate} Hz; a stream has one rate: "
                "close() it and reset() for another"
            )
        return rate

    def _checked(self, block: Source, rate: int) -> FloatArray:
        """A block ``(n,)`` or ``(n, C)`` of any type -> ``(n,)`` finite float32, a copy."""
        reader = ArrayReader(block, rate)
        reader.name = f"the block that begins at {self._n_source / rate:.3f} s of the stream"
        return np.concatenate(list(mono_blocks(reader, 0, None, self._watch)))

    def _hold(self, samples: FloatArray) -> None:
        if len(samples):
            self._pieces.append(samples.copy())  # a view would keep the whole block alive
            self.n_samples += len(samples)
        if len(self._pieces) > _MOST_PIECES:
            self._joined()

    def _joined(self) -> FloatArray:
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]


def _is_empty(block: Source) -> bool:
    """Whether this is an array or tensor ``(0,)`` or ``(0, C)``, as some recorders return."""
    shape = getattr(block, "shape", None)
    return shape is not None and len(shape) in (1, 2) and shape[0] == 0

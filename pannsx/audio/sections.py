"""A part of a file in sections that are decoded, mixed and converted at the same time, each on a thread.

Each section has a reader of its own. What only reading in order can tell rightly is left to it: where a
section meets an error, a defect or something to warn of, nothing of the sections is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol

from pannsx.audio.reader import Reader, Watch
from pannsx.audio.stream import Part
from pannsx.types import FloatArray

_FEWEST_SAMPLES = 1 << 15  # of a section: a second, whose reader takes less than a tenth of its time to open
_MOST_SAMPLES = 1 << 22  # of a part: 16 MB, which are kept at once
_BLOCK_FRAMES = 1 << 17  # more than in order: after each call the threads wait for the interpreter's lock


class Threads(Protocol):
    """A thread pool that runs ``share(0)`` to ``share(n - 1)`` in parallel."""

    @property
    def n(self) -> int:
        """Number of threads now."""

    def run(self, share: Callable[[int], None], n: int) -> None:
        """Run all shares and wait for them."""


def pieces_of(part: Part, threads: Threads | None) -> Iterator[FloatArray]:
    """The samples of a part as :meth:`Part.pieces` gives them; a short part of a file is read on ``threads``.

    Raises:
        AudioError: as :meth:`Part.pieces`.
    """
    if threads is not None:
        n_threads = threads.n
        sections = _sections(part, n_threads)
        if sections:
            threads.run(lambda i: sections[i].read() if i < len(sections) else None, n_threads)
            if all(section.is_whole for section in sections):
                for section in sections:
                    yield from section.pieces
                return
    yield from part.pieces()


class _Section:
    """The samples ``[first, stop)`` of a part, read by a reader of its own.

    Attributes:
        pieces: the samples that were read, in pieces ``(n,)``.
        is_whole: they are all, and there is nothing to tell of them.
    """

    def __init__(self, part: Part, first: int, stop: int | None) -> None:
        self.pieces: list[FloatArray] = []
        self.is_whole = False
        self._part, self._first, self._stop = part, first, stop

    def read(self) -> None:
        """Read all pieces."""
        try:
            reader = self._part.reader.again()
            if reader is None:
                return
            reader.block_frames = _BLOCK_FRAMES
            try:
                section = self._part.between(self._first, self._stop, reader)
                self.pieces.extend(section.pieces(_Scout()))
            finally:
                reader.close()
        except Exception:
            return  # reading in order raises it again, with the right place
        self.is_whole = True


class _RemarkableError(Exception):
    """There is something to tell of the samples."""


class _Scout(Watch):
    """Leaves what there is to tell to reading in order."""

    def see_scale(self, reader: Reader, waveform: FloatArray, position: int) -> NoReturn:
        raise _RemarkableError

    def see_cancelling(self, reader: Reader, n_frames: int) -> NoReturn:
        raise _RemarkableError


def _sections(part: Part, n_threads: int) -> list[_Section]:
    """Equal sections for as many threads as pay; none if the part is to be read in order."""
    n_samples = part.n_samples
    if n_samples is None or n_samples > _MOST_SAMPLES:
        return []
    if part.reader.salvage or not part.reader.can_read_again:
        return []
    n = min(n_threads, n_samples // _FEWEST_SAMPLES)
    if n < 2:
        return []
    bounds = [part.first + n_samples * i // n for i in range(n)]
    return [_Section(part, first, stop) for first, stop in zip(bounds, [*bounds[1:], part.stop], strict=True)]

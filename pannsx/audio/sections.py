"""A part of a file in sections that are decoded, mixed and converted at the same time, each on a thread.

Each section has a reader of its own. What only reading in order can tell rightly is left to it: where a
section meets an error, a defect or something to warn of, the part is read again from its beginning, and the
samples that were already given are left out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from threading import Thread
from typing import NoReturn

from pannsx.audio.reader import Reader, Watch
from pannsx.audio.stream import Part
from pannsx.types import FloatArray

_FEWEST_SAMPLES = 1 << 15  # of a section: a second, whose reader takes less than a tenth of its time to open
_MOST_SAMPLES = 1 << 22  # of a part: 16 MB are kept until the sections before them are read


def pieces_of(part: Part, n_threads: int) -> Generator[FloatArray, None, None]:
    """The samples of a part as :meth:`Part.pieces` gives them, read on up to ``n_threads`` threads.

    Raises:
        AudioError: as :meth:`Part.pieces`.
    """
    n_given = 0
    sections = _sections(part, n_threads)
    try:
        for section in sections[1:]:
            section.begin()
        for i, section in enumerate(sections):
            for piece in section.kept() if i else section.pieces():
                n_given += len(piece)
                yield piece
            if not section.is_whole:
                break
        else:
            if sections:
                return
    finally:
        for section in sections:
            section.end()
    for piece in part.pieces():
        n_known = min(n_given, len(piece))
        n_given -= n_known
        if n_known < len(piece):
            yield piece[n_known:]


class _Section:
    """The samples ``[first, stop)`` of a part, read by a reader of its own.

    Attributes:
        is_whole: all samples were read, and there was nothing to tell of them.
    """

    def __init__(self, part: Part, first: int, stop: int | None) -> None:
        self.is_whole = False
        self._part, self._first, self._stop = part, first, stop
        self._is_unwanted = False
        self._kept: list[FloatArray] = []
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Read all pieces on a thread."""
        thread = Thread(target=lambda: self._kept.extend(self.pieces()), name="pannsx-section", daemon=True)
        with suppress(RuntimeError):  # the system has no thread left; then the section is read in order
            thread.start()
            self._thread = thread

    def kept(self) -> list[FloatArray]:
        """The pieces read on the thread, when it has ended."""
        if self._thread is not None:
            self._thread.join()
        return self._kept

    def end(self) -> None:
        """End the thread, also early."""
        self._is_unwanted = True
        self.kept()

    def pieces(self) -> Iterator[FloatArray]:
        """The samples in pieces ``(n,)``, up to where there is something to tell of."""
        reader = None
        try:
            reader = self._part.reader.again()
            if reader is None:
                return
            for piece in self._part.between(self._first, self._stop, reader).pieces(_Scout()):
                if self._is_unwanted:
                    return
                yield piece
            self.is_whole = True
        except Exception:
            return  # reading in order raises it again, with the right place
        finally:
            if reader is not None:
                reader.close()


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

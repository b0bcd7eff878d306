"""A file of moderate length read at once, in sections, each on a thread.

Each section has a reader of its own; the file is checked while they decode, mix and convert. This is for
whole files with nothing to warn of: all others are left to reading in order, from their beginning.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import BinaryIO, NamedTuple, NoReturn, Protocol

from pannsx.audio.formats import FLAC, Format, sniff
from pannsx.audio.parts import is_plain
from pannsx.audio.reader import Reader, Watch, check_channel
from pannsx.audio.sndfile import EXACT_SEEK, SndfileReader
from pannsx.audio.sources import open_file
from pannsx.audio.stream import Part
from pannsx.audio.view import Checked
from pannsx.types import Channel, FloatArray, Source

_FEWEST_SAMPLES = 1 << 15  # of a section: a second, whose reader takes less than a tenth of its time to open
_MOST_SAMPLES = 1 << 22  # of a part: 16 MB, which are kept at once
_BLOCK_FRAMES = 1 << 17  # more than in order: after each call the threads wait for the interpreter's lock
_SHARE_OF_CHECK = {FLAC: 0.15}  # time to find all frames, of that to decode them


class Threads(Protocol):
    """A thread pool that runs ``share(0)`` to ``share(n - 1)`` in parallel."""

    @property
    def n(self) -> int:
        """Number of threads now."""

    def run(self, share: Callable[[int], None], n: int) -> None:
        """Run all shares and wait for them."""


class Whole(NamedTuple):
    """All samples of a part: in pieces ``(n,)``, at ``sample_rate`` in Hz, ``duration_s`` seconds long."""

    pieces: list[FloatArray]
    sample_rate: int
    duration_s: float | None


def read_at_once(
    source: Source,
    sample_rate: int | None,
    start_s: float,
    duration_s: float | None,
    channel: Channel,
    threads: Threads,
) -> Whole | None:
    """A part of a file, see :func:`pannsx.audio.load`; None: it is to be read in order.

    That is so for a long part, a lossy format, a source that is no path of a file, and whatever there is
    an error or a warning for.
    """
    n_threads = threads.n
    if n_threads < 2 or not isinstance(source, (str, os.PathLike)):
        return None
    if not os.path.isfile(source):  # noqa: PTH113 - a pipe, whose bytes come only once
        return None
    try:
        with ExitStack() as stack:
            file, name = open_file(source, stack)
            found = sniff(file)
            if found not in EXACT_SEEK:
                return None
            reader = SndfileReader(Checked(file), found, name)
            stack.callback(reader.close)
            reader.channel = check_channel(channel, reader)
            part = Part(reader, sample_rate or reader.sample_rate, start_s, duration_s)
            bounds = _bounds(part, n_threads, _SHARE_OF_CHECK.get(found, 0.0))
            if not bounds:
                return None
            sections = _Sections(part, bounds, file, found)
            threads.run(sections.read, n_threads)
            if not sections.are_whole:
                return None
            return Whole(
                [piece for pieces in sections.pieces for piece in pieces], part.sample_rate, part.duration_s
            )
    except Exception:
        return None  # reading in order raises it again, with the right place


class _Sections:
    """The sections of a part of a file, between ``bounds``.

    Attributes:
        pieces: the samples of each section, in pieces ``(n,)``.
    """

    def __init__(self, part: Part, bounds: list[int | None], file: BinaryIO, found: Format) -> None:
        self.pieces: list[list[FloatArray]] = [[] for _ in bounds[1:]]
        self._is_whole = [False for _ in bounds[1:]]
        self._part, self._bounds, self._file, self._found = part, bounds, file, found

    @property
    def are_whole(self) -> bool:
        """Whether all samples were read, and there is nothing to tell of them or of the file."""
        return all(self._is_whole)

    def read(self, i: int) -> None:
        """Read section ``i``, if there are so many; check the file before the first.

        Raises:
            Exception: whatever reading raises, or would warn of.
        """
        if i >= len(self.pieces):
            return
        reader: Reader | None = self._part.reader
        if i == 0 and not is_plain(self._file, self._found, self._part.reader.name):
            return
        if i > 0:
            reader = self._part.reader.again()
        if reader is None:
            return
        with closing(reader):
            reader.block_frames = _BLOCK_FRAMES
            section = self._part.between(self._bounds[i] or 0, self._bounds[i + 1], reader)
            self.pieces[i].extend(section.pieces(_Scout()))
        self._is_whole[i] = True


class _RemarkableError(Exception):
    """There is something to tell of the samples."""


class _Scout(Watch):
    """Leaves what there is to tell to reading in order."""

    def see_scale(self, reader: Reader, waveform: FloatArray, position: int) -> NoReturn:
        raise _RemarkableError

    def see_cancelling(self, reader: Reader, n_frames: int) -> NoReturn:
        raise _RemarkableError


def _bounds(part: Part, n_threads: int, share_of_check: float) -> list[int | None]:
    """First samples of sections for as many threads as pay, and the end of the part; empty: in order.

    The first section is shorter by what the check takes meanwhile, a share of the whole.
    """
    n_samples = part.n_samples
    if n_samples is None or n_samples > _MOST_SAMPLES or not part.reader.can_read_again:
        return []
    n = min(n_threads, n_samples // _FEWEST_SAMPLES)
    if n < 2:
        return []
    each = (1 + share_of_check) / n
    later = [part.first + round(n_samples * (i * each - share_of_check)) for i in range(1, n)]
    return [part.first, *later, part.stop]

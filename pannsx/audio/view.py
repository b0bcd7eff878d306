"""Stretches of a file as a file of their own, and buffered access to its bytes."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO, NamedTuple

_BUFFER_BYTES = 1 << 16
_SEARCH_BYTES = 1 << 20


class View(io.RawIOBase):
    """A read-only view of a file: ``prefix``, then the file from byte ``skip``, or stretches of it.

    Args:
        file: the file.
        prefix: bytes in front.
        skip: the first byte of the file.
        runs: first byte and end of the stretches of the file, in order; None: all from ``skip``.
    """

    def __init__(
        self,
        file: BinaryIO,
        prefix: bytes,
        skip: int,
        *,
        runs: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self._file = file
        self._prefix = prefix
        self._runs = [(skip, file_size(file))] if runs is None else list(runs)
        ends = accumulate((stop - start for start, stop in self._runs), initial=len(prefix))
        self._starts = list(ends)  # of the runs in the view; the last one is the end of the view
        self._position = 0
        self._size = self._starts[-1]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Position in the view, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, as in any file; the new position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        """Fill the buffer as far as possible; number of bytes."""
        wanted = len(buffer)
        data = self._prefix[self._position : self._position + wanted]
        while len(data) < wanted:
            position = self._position + len(data)
            run = bisect_right(self._starts, position) - 1
            if run >= len(self._runs):
                break
            within = position - self._starts[run]
            start, stop = self._runs[run]
            self._file.seek(start + within)
            piece = self._file.read(min(wanted - len(data), stop - start - within))
            if not piece:
                break
            data += piece
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Checked(NamedTuple):
    """A file to decode, its header repaired if necessary.

    Attributes:
        file: the file, or a view of one.
        defect: reason why it is incomplete, or None.
        n_frames: its length, if counted here.
        state: an adjective for a file with this defect.
        sequential: whether its decoder cannot seek in it.
        remark: something to warn of, as a predicate of the file.
        is_open_ended: whether its header states no length, so that all that follows was taken for sound.
    """

    file: BinaryIO
    defect: str | None = None
    n_frames: int | None = None
    state: str = "truncated"
    sequential: bool = False
    remark: str | None = None
    is_open_ended: bool = False


def file_size(file: BinaryIO) -> int:
    """Size of a seekable file in bytes."""
    file.seek(0, io.SEEK_END)
    return file.tell()


class Window:
    """Random access to the bytes of a file through a buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file_size(file)
        self._start, self._bytes = 0, b""

    def at(self, position: int, n_bytes: int) -> bytes:
        """``n_bytes`` from a position; fewer at the end."""
        first = position - self._start
        if not 0 <= first <= len(self._bytes) - n_bytes:
            self._file.seek(position)
            self._start, self._bytes, first = position, self._file.read(max(_BUFFER_BYTES, n_bytes)), 0
        return self._bytes[first : first + n_bytes]

    def find(self, pattern: bytes, position: int) -> int:
        """The first place of a pattern from a position; the file's size if there is none."""
        while position < self.size:
            piece = self.at(position, min(_SEARCH_BYTES, self.size - position))
            found = piece.find(pattern)
            if found >= 0:
                return position + found
            if len(piece) < len(pattern):
                break
            position += len(piece) - len(pattern) + 1
        return self.size

    def next_sync(self, position: int, end: int) -> int:
        """The first byte from a position that is 0xFF; ``end`` if there is none before."""
        while position < end:
            piece = self.at(position, min(4096, end - position))
            found = piece.find(b"\xff")
            if found >= 0:
                return position + found
            if not piece:
                return end
            position += len(piece)
        return end

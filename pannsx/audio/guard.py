"""Errors of systems, file objects and decoders as :class:`AudioError`, with their cause."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from pannsx.errors import AudioError

Answer = TypeVar("Answer")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Within it, any error in reading the source ``name`` becomes an AudioError with that error as its cause.

    A disk, a network share, another library's file object and a decoder can each raise errors of any class.
    Whatever they raise concerns one source, and must not end the work on the others.
    """
    try:
        yield
    except (AudioError, MemoryError, ImportError):
        raise
    except OSError as error:
        raise AudioError(
            f"cannot read {name}: {error.strerror or error}; check the disk, card or network share it is on"
        ) from error
    except Exception as error:
        raise AudioError(
            f"cannot read {name}: {type(error).__name__}: {error}; give the bytes of the file, or convert it "
            "to WAV"
        ) from error


class GuardedFile:
    """A file for a decoder in C, which cannot pass an exception on: the first one is kept for `check`.

    Without it, an error in reading would be the end of the file to libsndfile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the error kept since the last call, if any."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; none after an error."""
        try:
            return self._file.read(size)
        except BaseException as error:
            return self._keep(error, b"")

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer unless the file ends; number of bytes, 0 after an error."""
        view = memoryview(buffer)
        filled = 0
        try:
            while filled < len(view):
                # A raw file may give less than it is asked for before its end.
                data = self._file.read(len(view) - filled)
                if not data:
                    break
                view[filled : filled + len(data)] = data
                filled += len(data)
        except BaseException as error:
            return self._keep(error, 0)
        return filled

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position; -1 after an error."""
        try:
            return self._file.seek(offset, whence)
        except BaseException as error:
            return self._keep(error, -1)

    def tell(self) -> int:
        """Position in bytes; -1 after an error."""
        try:
            return self._file.tell()
        except BaseException as error:
            return self._keep(error, -1)

    def _keep(self, error: BaseException, answer: Answer) -> Answer:
        self._error = self._error or error
        return answer

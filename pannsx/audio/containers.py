"""What containers promise: whether a file is all there, and repairs of headers that were never finished.

libsndfile reads as many samples as a cut file has and says nothing; here the sizes that the header of
a WAV or AIFF file states, and the end mark of an Ogg stream, are held against the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pannsx.errors import AudioError

_OGG_HEADER_BYTES = 27
_LONGEST_OGG_PAGE = _OGG_HEADER_BYTES + 255 + 255 * 255
_END_OF_STREAM = 4
_MAX_CHUNKS = 10_000

# Sizes that programs write when they stream to a pipe and cannot know the length; a few kilobytes of
# header may have been taken off.  2**31 - 1 is SoX's, 2**32 - 1 is FFmpeg's.
_UNKNOWN_SIZES = (range(0x7FFF_E000, 0x8000_1000), range(0xFFFF_E000, 0x1_0000_0000))


class View(io.RawIOBase):
    """A file with its beginning replaced: ``prefix``, then the file from byte ``skip`` on. Read-only."""

    def __init__(self, file: BinaryIO, prefix: bytes, skip: int) -> None:
        self._file = file
        self._prefix = prefix
        self._skip = skip
        self._position = 0
        self._size = len(prefix) + file_size(file) - skip

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
        """Move as in any file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        """Fill the buffer as far as the view goes; number of bytes."""
        wanted = len(buffer)
        data = self._prefix[self._position : self._position + wanted]
        if len(data) < wanted:
            self._file.seek(self._skip + self._position + len(data) - len(self._prefix))
            data += self._file.read(wanted - len(data))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Checked(NamedTuple):
    """A file to decode, possibly with its header mended, and what is missing of it, if anything."""

    file: BinaryIO
    defect: str | None = None


def file_size(file: BinaryIO) -> int:
    """Bytes of a file that can seek."""
    return file.seek(0, io.SEEK_END)


def check_iff(file: BinaryIO, name: str) -> Checked:
    """A WAV (RIFF, RIFX, RF64) or AIFF file: is the chunk of samples as long as the header says?

    Sizes that mean "unknown" are accepted, and a size of zero that a recorder never came to fill in is
    mended.

    Raises:
        AudioError: the file ends before its samples begin.
    """
    size = file_size(file)
    file.seek(0)
    magic = file.read(4)
    wide_size = None
    for identifier, start, length in _chunks(file, "<" if magic in (b"RIFF", b"RF64", b"BW64") else ">"):
        if identifier == b"ds64" and length >= 16:
            file.seek(start + 8)
            wide_size = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if identifier not in (b"data", b"SSND"):
            continue
        if length == 0 and identifier == b"data" and size > start and _is_unfinished(file, size):
            file.seek(0)
            header = file.read(start)
            return Checked(View(file, header[:-4] + b"\xff\xff\xff\xff", start))  # type: ignore[arg-type]
        if length == 0xFFFF_FFFF and wide_size is not None:
            length = wide_size
        elif any(length in unknown for unknown in _UNKNOWN_SIZES):
            return Checked(file)
        if start + length > size:
            return Checked(file, f"its header announces {length} bytes of samples and {size - start} follow")
        return Checked(file)
    raise AudioError(
        f"{name} has a header but no samples: it is truncated or damaged ({size} bytes); "
        "fetch or copy it again"
    )


def check_ogg(file: BinaryIO) -> Checked:
    """An Ogg file: is its last page whole, and marked as the last?"""
    size = file_size(file)
    tail_start = max(0, size - _LONGEST_OGG_PAGE - _OGG_HEADER_BYTES)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    page = tail[at:]
    if at < 0 or len(page) < _OGG_HEADER_BYTES:
        return Checked(file, "it ends within a page")
    n_segments = page[26]
    lacing = page[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + n_segments]
    if len(lacing) < n_segments or len(page) < _OGG_HEADER_BYTES + n_segments + sum(lacing):
        return Checked(file, "it ends within a page")
    if not page[5] & _END_OF_STREAM:
        return Checked(file, "its last page is not marked as the end of the stream")
    return Checked(file)


def _chunks(file: BinaryIO, byte_order: str) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, first byte and stated length of the chunks of a RIFF or IFF file."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        identifier, length = struct.unpack(f"{byte_order}4sI", header)
        yield identifier, position + 8, length
        position += 8 + length + (length & 1)


def _is_unfinished(file: BinaryIO, size: int) -> bool:
    """Whether a RIFF file's own size is one that nobody came to fill in."""
    file.seek(4)
    stated = struct.unpack("<I", file.read(4))[0]
    return stated + 8 < size or any(stated in unknown for unknown in _UNKNOWN_SIZES)

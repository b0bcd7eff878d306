"""Completeness of a file by its container, and repair of unfinished headers.

libsndfile reads a truncated file without an error. Therefore the sizes in the headers of WAV, AIFF and
similar formats, and the end mark of an Ogg stream, are compared with the file here.
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

# Sizes that programs write to a pipe, where the length is unknown; a few kilobytes of header may have been
# subtracted.  2**31 - 1 is SoX's, 2**32 - 1 is FFmpeg's.
_UNKNOWN_SIZES = (
    range(0x7FFF_E000, 0x8000_1000),
    range(0xFFFF_E000, 0x1_0000_0000),
    range(0xFFFF_FFFF_FFFF_E000, 0x1_0000_0000_0000_0000),  # CAF's -1
)


class _Layout(NamedTuple):
    """Chunk layout of a family of containers: identifier, size and content, in sequence."""

    first_chunk: int
    identifier_bytes: int
    size: str  # as a format of struct
    size_counts_header: bool
    alignment: int


_LITTLE = _Layout(12, 4, "<I", False, 2)
_BIG = _Layout(12, 4, ">I", False, 2)
_LAYOUTS = {
    b"RIFF": _LITTLE,
    b"RF64": _LITTLE,
    b"BW64": _LITTLE,
    b"RIFX": _BIG,
    b"FORM": _BIG,
    b"caff": _Layout(8, 4, ">Q", False, 1),
    b"riff": _Layout(40, 16, "<Q", True, 8),  # Wave64
}


class View(io.RawIOBase):
    """A read-only view of a file with a new beginning: ``prefix``, then the file from byte ``skip``."""

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
        """Move to a position, as in any file; the new position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        """Fill the buffer as far as possible; number of bytes."""
        wanted = len(buffer)
        data = self._prefix[self._position : self._position + wanted]
        if len(data) < wanted:
            self._file.seek(self._skip + self._position + len(data) - len(self._prefix))
            data += self._file.read(wanted - len(data))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Checked(NamedTuple):
    """A file to decode, its header repaired if necessary, and its defect, if any."""

    file: BinaryIO
    defect: str | None = None


def file_size(file: BinaryIO) -> int:
    """Size of a seekable file in bytes."""
    file.seek(0, io.SEEK_END)
    return file.tell()


def is_unknown(n_bytes: int) -> bool:
    """Whether a header's size means "unknown"."""
    return any(n_bytes in sizes for sizes in _UNKNOWN_SIZES)


def check_chunks(file: BinaryIO, name: str) -> Checked:
    """A WAV, RF64, Wave64, AIFF or CAF file: is the chunk of samples as long as its header states?

    Sizes that mean "unknown" are accepted; a WAV size of zero, left by an interrupted recorder, is repaired.

    Raises:
        AudioError: the file ends before its samples begin.
    """
    size = file_size(file)
    file.seek(0)
    magic = file.read(4)
    wide_length = None
    for identifier, start, length in _chunks(file, _LAYOUTS[magic], size):
        if identifier == b"ds64" and length >= 16:
            file.seek(start + 8)
            wide_length = int.from_bytes(file.read(8), "little")
        if identifier[:4] not in (b"data", b"SSND"):
            continue
        if length == 0 and magic == b"RIFF" and size > start and _is_unfinished(file, size):
            file.seek(0)
            header = file.read(start)
            return Checked(View(file, header[:-4] + b"\xff\xff\xff\xff", start))  # type: ignore[arg-type]
        if length == 0xFFFF_FFFF and wide_length is not None:
            length = wide_length
        return _against_size(file, length, start, size)
    raise AudioError(
        f"{name} has a header but no samples: it is truncated or damaged ({size} bytes); "
        "fetch or copy it again"
    )


def check_au(file: BinaryIO) -> Checked:
    """An AU file: does it have as many bytes of samples as its header states?"""
    file.seek(4)
    header = file.read(8).ljust(8, b"\0")
    start, length = struct.unpack(">II", header)
    return _against_size(file, length, start, file_size(file))


def check_ogg(file: BinaryIO) -> Checked:
    """An Ogg file: is its last page complete and marked as the last?"""
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


def _against_size(file: BinaryIO, length: int, start: int, size: int) -> Checked:
    if is_unknown(length) or start + length <= size:
        return Checked(file)
    return Checked(file, f"its header announces {length} bytes of samples and {max(0, size - start)} follow")


def _chunks(file: BinaryIO, layout: _Layout, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, first byte and stated length of the content of all chunks of a file."""
    header_bytes = layout.identifier_bytes + struct.calcsize(layout.size)
    position = layout.first_chunk
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(header_bytes)
        if len(header) < header_bytes:
            return
        (length,) = struct.unpack(layout.size, header[layout.identifier_bytes :])
        if layout.size_counts_header:
            length = max(0, length - header_bytes)
        yield header[: layout.identifier_bytes], position + header_bytes, length
        position += header_bytes + length
        if position >= size:  # systems refuse a seek far beyond the end
            return
        position += -position % layout.alignment


def _is_unfinished(file: BinaryIO, size: int) -> bool:
    """Whether a RIFF file's size field was never filled in."""
    file.seek(4)
    stated = struct.unpack("<I", file.read(4))[0]
    return stated + 8 < size or is_unknown(stated)

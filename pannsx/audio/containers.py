"""Completeness of a file by its container, and repair of unfinished headers.

libsndfile reads a truncated file without an error. Therefore the sizes in the headers of WAV, AIFF and
similar formats, and the end mark of an Ogg stream, are compared with the file here.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
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


_WRAP = 1 << 32  # sizes of 32 bits count modulo this
_FEW_BYTES = 8  # less than a chunk
_MOST_PADDING = 1 << 16  # the largest blocks of usual disks
# Chunks that may follow the samples in WAV, AIFF and CAF.
_METADATA = (
    b"LIST", b"list", b"id3 ", b"ID3 ", b"bext", b"cue ", b"JUNK", b"junk", b"PAD ", b"FLLR", b"fact",
    b"smpl", b"inst", b"iXML", b"axml", b"_PMX", b"PEAK", b"levl", b"cart", b"afsp", b"NAME", b"AUTH",
    b"(c) ", b"ANNO", b"COMT", b"MARK", b"INST", b"MIDI", b"APPL", b"AESD", b"CHAN", b"info", b"strg",
    b"mark", b"regn", b"peak", b"pakt", b"uuid", b"free", b"chan",
)  # fmt: skip


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
    """A file to decode, its header repaired if necessary, its defect, and its length if counted here.

    ``state`` is an adjective for a file with this defect.
    """

    file: BinaryIO
    defect: str | None = None
    n_frames: int | None = None
    state: str = "truncated"


def file_size(file: BinaryIO) -> int:
    """Size of a seekable file in bytes."""
    file.seek(0, io.SEEK_END)
    return file.tell()


def is_unknown(n_bytes: int) -> bool:
    """Whether a header's size means "unknown"."""
    return any(n_bytes in sizes for sizes in _UNKNOWN_SIZES)


def check_chunks(file: BinaryIO, name: str) -> Checked:
    """A WAV, RF64, Wave64, AIFF or CAF file: is the chunk of samples as long as its header states?

    Sizes that mean "unknown" are accepted.  A WAV size of zero, left by an interrupted recorder, is repaired,
    and so is one of 32 bits that is too small for the file: it wrapped round, or the length was unknown.

    Raises:
        AudioError: the file ends before its samples begin.
    """
    size = file_size(file)
    file.seek(0)
    magic = file.read(4)
    layout = _LAYOUTS[magic]
    wide_length = None
    for identifier, start, length in _chunks(file, layout, layout.first_chunk, size):
        if identifier == b"ds64" and length >= 16:
            file.seek(start + 8)
            wide_length = int.from_bytes(file.read(8), "little")
        if identifier[:4] not in (b"data", b"SSND"):
            continue
        if length == 0 and magic == b"RIFF" and size > start and _is_unfinished(file, size):
            return Checked(_as_rf64(file, start, size - start))
        if length == 0xFFFF_FFFF and wide_length is not None:
            length = wide_length
        if start + length > size:
            return _against_size(file, length, start, size)
        if _is_explained(file, layout, start + length, size):
            return Checked(file)
        follow = size - start
        if magic == b"RIFF" and is_unknown(length):
            return Checked(_as_rf64(file, start, follow))
        if magic == b"RIFF" and follow - length >= _WRAP:
            n_wraps = (follow - length) // _WRAP
            return Checked(_as_rf64(file, start, length + n_wraps * _WRAP))
        return _more_than_stated(file, start, length, size)
    raise AudioError(
        f"{name} has a header but no samples: it is truncated or damaged ({size} bytes); "
        "fetch or copy it again"
    )


def check_au(file: BinaryIO) -> Checked:
    """An AU file: does it have as many bytes of samples as its header states?"""
    file.seek(4)
    header = file.read(8).ljust(8, b"\0")
    start, length = struct.unpack(">II", header)
    size = file_size(file)
    if not is_unknown(length) and start + length < size and not _is_padding(file, start + length, size):
        return _more_than_stated(file, start, length, size)
    return _against_size(file, length, start, size)


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


def _more_than_stated(file: BinaryIO, start: int, length: int, size: int) -> Checked:
    """A view of the stated part alone, as libsndfile would stumble over the rest."""
    defect = f"its header announces {length} bytes of samples and {size - start} follow"
    view = View(file, b"", 0, runs=[(0, start + length)])
    return Checked(view, defect, state="longer than its header states")  # type: ignore[arg-type]


def _as_rf64(file: BinaryIO, start: int, n_bytes: int) -> BinaryIO:
    """A view of a RIFF file, whose samples begin at ``start``, with their length in 64 bits."""
    file.seek(12)
    chunks = file.read(start - 20)  # all between the file's header and that of the samples
    sizes = b"ds64" + struct.pack("<IQQQI", 28, start + n_bytes + 28, n_bytes, 0, 0)
    header = b"RF64\xff\xff\xff\xffWAVE" + sizes + chunks + b"data\xff\xff\xff\xff"
    return View(file, header, start, runs=[(start, start + n_bytes)])  # type: ignore[return-value]


def _is_explained(file: BinaryIO, layout: _Layout, position: int, size: int) -> bool:
    """Whether bytes after the samples are chunks, a tag or padding, and neither samples nor another file."""
    if _is_padding(file, position, size):
        return True
    for first in (position + -position % layout.alignment, position):  # some writers leave out the padding
        for n_before, (identifier, start, length) in enumerate(_chunks(file, layout, first, size)):
            name = identifier[:4]
            if name in _LAYOUTS or name in (b"data", b"SSND"):
                return False
            if not (name.isascii() and name.decode("ascii").isprintable()):
                if n_before:
                    return True
                break
            if start + length > size:
                if n_before or name in _METADATA:  # the file may be cut within what is no sound
                    return True
                break
        else:
            return True
    return False


def _is_padding(file: BinaryIO, position: int, size: int) -> bool:
    """Whether the rest of a file is a few bytes, zeros up to the end of a disk block, or a tag of MP3's."""
    if size - position < _FEW_BYTES:
        return True
    file.seek(position)
    rest = file.read(_MOST_PADDING + 1)
    return (len(rest) <= _MOST_PADDING and not any(rest)) or rest.startswith((b"TAG", b"ID3", b"APETAGEX"))


def _chunks(file: BinaryIO, layout: _Layout, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Identifier, first byte and stated length of the content of all chunks from a position of a file."""
    header_bytes = layout.identifier_bytes + struct.calcsize(layout.size)
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

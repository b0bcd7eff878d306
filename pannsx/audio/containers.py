"""Completeness of a file by its container, and repair of unfinished headers.

libsndfile reads a truncated file without an error. Therefore the sizes in the headers of WAV, AIFF and
similar formats are compared with the file here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pannsx.audio.view import Checked, View, file_size
from pannsx.errors import AudioError

_MAX_CHUNKS = 10_000

# Sizes that programs write to a pipe, where the length is unknown; a few kilobytes of header may have been
# subtracted.  2**31 - 1 is SoX's, 2**32 - 1 is FFmpeg's.
_UNKNOWN_SIZES = (
    range(0x7EFF_F000, 0x7F00_1000),  # SoX's in AIFF
    range(0x7FFF_E000, 0x8000_1000),
    range(0xFFFF_E000, 0x1_0000_0000),
    range(0xFFFF_FFFF_FFFF_E000, 0x1_0000_0000_0000_0000),  # CAF's -1
)


_UNKNOWN = 0xFFFF_FFFF
_WRAP = 1 << 32  # sizes of 32 bits count modulo this
_PACKET_TABLE_HEAD = 24
_FEW_BYTES = 8  # less than a chunk
_MOST_PADDING = 1 << 16  # the largest blocks of usual disks
# Chunks that may follow the samples in WAV, AIFF and CAF.
METADATA = (
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
            return Checked(_as_rf64(file, start, size - start), is_open_ended=True)
        if length == _UNKNOWN and wide_length is not None:
            length = wide_length
        if start + length > size:
            if is_unknown(length):
                return Checked(file, is_open_ended=True)
            return _against_size(file, length, start, size)
        if _is_explained(file, layout, start + length, size):
            return Checked(file)
        follow = size - start
        if magic == b"RIFF" and is_unknown(length):
            return Checked(_as_rf64(file, start, follow), is_open_ended=True)
        if magic == b"RIFF" and follow - length >= _WRAP:
            n_wraps = (follow - length) // _WRAP
            return Checked(_as_rf64(file, start, length + n_wraps * _WRAP))
        return _more_than_stated(file, start, length, size)
    raise AudioError(
        f"{name} has a header but no samples: it is truncated or damaged ({size} bytes); "
        "fetch or copy it again"
    )


def caf_defect(file: BinaryIO) -> str | None:
    """The defect of a CAF file whose table of packets describes other bytes than those of its samples."""
    size = file_size(file)
    layout = _LAYOUTS[b"caff"]
    n_bytes, table = None, b""
    for identifier, start, length in _chunks(file, layout, layout.first_chunk, size):
        if identifier == b"data":
            n_bytes = (size - start if is_unknown(length) else length) - 4  # after the count of edits
        if identifier == b"pakt":
            file.seek(start)
            table = file.read(min(length, size - start))
    if n_bytes is None or len(table) < _PACKET_TABLE_HEAD:
        return None
    n_packets = int.from_bytes(table[:8], "big")
    sizes = _variable_integers(table[_PACKET_TABLE_HEAD:])
    # Packets of one size have no entries; those of varying duration have two.
    if not sizes or len(sizes) == 2 * n_packets or (len(sizes) == n_packets and sum(sizes) == n_bytes):
        return None
    if len(sizes) != n_packets:
        return f"its header announces {n_packets} packets, and its table has {len(sizes)}"
    return f"its table of packets announces {sum(sizes)} bytes of samples and {n_bytes} follow"


def _variable_integers(data: bytes) -> list[int]:
    """Integers of seven bits a byte; the highest bit says that another byte follows."""
    found, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            found.append(value)
            value = 0
    return found


class WavSamples(NamedTuple):
    """The chunk of samples of a WAV file: its first byte, stated length, and the format tag."""

    start: int
    length: int
    kind: int


def wav_samples(file: BinaryIO) -> WavSamples | None:
    """The chunk of samples of a WAV file, or None without one."""
    size = file_size(file)
    file.seek(0)
    layout = _LAYOUTS[file.read(4)]
    kind = 0
    for identifier, start, length in _chunks(file, layout, layout.first_chunk, size):
        if identifier == b"fmt ":
            file.seek(start)
            kind = int.from_bytes(file.read(2), "big" if layout is _BIG else "little")
        if identifier == b"data":
            return WavSamples(start, length, kind)
    return None


def check_au(file: BinaryIO) -> Checked:
    """An AU file: does it have as many bytes of samples as its header states?"""
    file.seek(4)
    header = file.read(8).ljust(8, b"\0")
    start, length = struct.unpack(">II", header)
    size = file_size(file)
    if is_unknown(length) and (length == _UNKNOWN or start + length >= size):
        return Checked(file, is_open_ended=True)
    if start + length < size and not _is_padding(file, start + length, size):
        return _more_than_stated(file, start, length, size)
    return _against_size(file, length, start, size)


def _against_size(file: BinaryIO, length: int, start: int, size: int) -> Checked:
    if start + length <= size:
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
                if n_before or name in METADATA:  # the file may be cut within metadata
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

"""FLAC: its frames are found and counted, and a header that states another length is replaced.

libFLAC believes the number of samples in the header, and stops there.  A stream that another program cut out
of a longer one without decoding keeps the header, and the frame numbers, of the longer one.

Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np

from pannsx.audio.formats import id3_length
from pannsx.audio.view import Checked, View, Window

_MAGIC = b"fLaC"
_INFO_BYTES = 34
_INFO_HEAD = 8  # the magic and the header of the block
_LONGEST_HEADER = 16
_LONGEST_FRAME = 1 << 17  # in streams whose header states none
_PIECE_BYTES = 1 << 20
_SCAN_BYTES = 1 << 16  # at a time: they stay in the cache, and so does what is computed of them
_FEW_BYTES = 64 << 20  # smaller files are searched as a whole, larger ones at some places first
_N_PLACES = 16
_FILE_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_BLOCK_SIZES = {1: 192} | {i: 576 << i - 2 for i in range(2, 6)} | {i: 256 << i - 8 for i in range(8, 16)}
_TOTAL_MASK = (1 << 36) - 1
_ID3V1_BYTES = 128


def _table(polynomial: int, n_bits: int) -> tuple[int, ...]:
    """Remainders of all bytes, for a checksum of ``n_bits`` with the highest bit first."""
    table = []
    for byte in range(256):
        value = byte << n_bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> n_bits - 1 else 0)
            value &= (1 << n_bits) - 1
        table.append(value)
    return tuple(table)


_CRC_8, _CRC_16 = _table(0x07, 8), _table(0x8005, 16)


class _Frame(NamedTuple):
    """A frame's place, its number (of the frame, or of its first sample) and its number of samples."""

    start: int
    number: int
    counts_samples: bool
    n_samples: int

    @property
    def next_number(self) -> int:
        """The number of the frame after it."""
        return self.number + (self.n_samples if self.counts_samples else 1)


@dataclass
class _Stream:
    """A stream of a file: where its frames begin, its header of 34 bytes, and its frames so far."""

    begin: int
    info: bytes
    first: _Frame | None = None
    last: _Frame | None = None
    n_samples: int = 0
    stop: int = 0
    defect: str | None = None
    stray: _Frame | None = None

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return int.from_bytes(self.info[10:13], "big") >> 4

    @property
    def n_stated(self) -> int:
        """Number of samples that the header states; 0: unknown."""
        return int.from_bytes(self.info[10:18], "big") & _TOTAL_MASK

    def info_of(self, n_samples: int) -> bytes:
        """The beginning of a file with this stream's header, of another length and without a digest."""
        rest = int.from_bytes(self.info[10:18], "big") & ~_TOTAL_MASK
        length = rest | (n_samples if n_samples <= _TOTAL_MASK else 0)
        return _MAGIC + b"\x80\0\0\x22" + self.info[:10] + length.to_bytes(8, "big") + bytes(16)

    def add(self, frame: _Frame) -> None:
        """Add the next frame; one out of order counts once another one follows it."""
        if self.last is None or frame.number == self.last.next_number:
            self._append(frame)
        elif self.stray is not None and frame.number == self.stray.next_number:
            missed, self.stray = self.stray, None
            self.defect = self.defect or f"frames before its byte {missed.start} are missing or damaged"
            self._append(missed)
            self._append(frame)
        else:
            self.stray = frame

    def _append(self, frame: _Frame) -> None:
        self.first = self.first or frame
        self.last, self.stray = frame, None
        self.n_samples += frame.n_samples


def flac_streams(file: BinaryIO) -> list[Checked]:
    """The streams of a FLAC file, which are several if files were joined.

    A file that states its length rightly is given back as it is.
    """
    window = Window(file)
    start = id3_length(window.at(0, 10))
    if window.size < start + _INFO_HEAD + _INFO_BYTES:
        return [Checked(file, "it ends within its header")]
    if window.size > _FEW_BYTES and _looks_whole(window, _opened(window, start)):
        return [Checked(file)]
    streams = list(_streams(window, start))
    if len(streams) == 1 and streams[0].n_samples == streams[0].n_stated and streams[0].defect is None:
        first = streams[0].first
        if first is None or (first.number == 0 and first.start == streams[0].begin):
            return [Checked(file)]
    return [_checked(file, window, stream) for stream in streams]


def _checked(file: BinaryIO, window: Window, stream: _Stream) -> Checked:
    if stream.first is None:
        return Checked(file)
    runs = [(stream.first.start, stream.stop)]
    view = View(file, stream.info_of(stream.n_samples), 0, runs=runs)
    is_part = stream.first.number > 0  # cut out of a longer stream
    checked = Checked(view, n_frames=stream.n_samples, sequential=is_part)  # type: ignore[arg-type]
    if stream.first.start != stream.begin and stream.defect is None:
        stream.defect = f"no frame begins at its byte {stream.begin}, the next one at {stream.first.start}"
    if stream.defect is not None:
        return checked._replace(defect=stream.defect, state="damaged")
    if stream.n_stated == stream.n_samples or _is_whole_at_end(window, stream):
        if stream.n_stated <= stream.n_samples or is_part:
            return checked
        remark = (
            f"states {stream.n_stated / stream.sample_rate:.3f} s in its header and has "
            f"{stream.n_samples / stream.sample_rate:.3f} s, its last frame being whole: it was cut without "
            "a new header, or its end is missing"
        )
        return checked._replace(remark=remark)
    defect = "it ends within a frame"
    if stream.n_stated > stream.n_samples and not is_part:
        defect = f"its header announces {stream.n_stated / stream.sample_rate:.3f} s"
    return checked._replace(defect=defect)


def _streams(window: Window, start: int) -> Iterator[_Stream]:
    """All streams of a file with their frames."""
    stream = _opened(window, start)
    for position in _candidates(window, stream.begin, window.size):
        if position < stream.begin:
            continue
        head = window.at(position, _LONGEST_HEADER)
        if head.startswith(_MAGIC):
            stream.stop = position
            yield stream
            stream = _opened(window, position)
        elif frame := _frame(head, position):
            stream.add(frame)
    stream.stop = window.size - _tag_bytes(window)
    if stream.stray is not None and stream.last is not None and stream.stray.number > stream.last.number:
        alone = _Stream(stream.stray.start, stream.info, last=stream.stray, stop=stream.stop)
        if _is_whole_at_end(window, alone):
            stream.defect = stream.defect or f"frames before its byte {stream.stray.start} are missing"
    yield stream


def _opened(window: Window, start: int) -> _Stream:
    return _Stream(_after_metadata(window, start), window.at(start + _INFO_HEAD, _INFO_BYTES))


def _looks_whole(window: Window, stream: _Stream) -> bool:
    """Whether frames at several places are in order, and the last one ends where the header states."""
    begin = stream.begin
    longest = int.from_bytes(stream.info[7:10], "big") or _LONGEST_FRAME
    step = (window.size - begin) // _N_PLACES
    n_before = -1
    for place in range(begin, window.size - longest, step):
        frame = next(_frames(window, place, min(place + 2 * longest, window.size)), None)
        if frame is None or frame.number <= n_before or (place == begin and frame.number != 0):
            return False
        n_before = frame.number
    last = None
    for frame in _frames(window, max(begin, window.size - 2 * longest), window.size):
        last = frame
    if last is None or last.number < n_before:
        return False
    block = int.from_bytes(stream.info[2:4], "big")
    before = last.number if last.counts_samples else last.number * block
    return before + last.n_samples == stream.n_stated


def _frames(window: Window, start: int, stop: int) -> Iterator[_Frame]:
    for position in _candidates(window, start, stop):
        frame = _frame(window.at(position, _LONGEST_HEADER), position)
        if frame is not None:
            yield frame


def _candidates(window: Window, start: int, stop: int) -> Iterator[int]:
    """Places where a frame or a file may begin."""
    position = start
    while position < stop:
        piece = window.at(position, min(_PIECE_BYTES, stop - position))
        is_end = position + len(piece) >= stop
        # What begins in the last bytes is found whole in the next piece.
        n_sure = len(piece) if is_end else len(piece) - _INFO_HEAD
        found = _syncs(piece)
        if _has_magic(piece):
            found = sorted(found + [match.start() for match in _FILE_START.finditer(piece)])
        yield from (position + start for start in found if start < n_sure)
        if is_end:
            return
        position += n_sure


def _syncs(piece: bytes) -> list[int]:
    """Places of a frame's first bytes, 0xFFF8 or 0xFFF9; an expression takes three times as long."""
    data = np.frombuffer(piece, np.uint8)
    found: list[int] = []
    for start in range(0, len(data), _SCAN_BYTES):
        second = data[start + 1 : start + 1 + _SCAN_BYTES]
        places = np.flatnonzero(data[start : start + len(second)] == 0xFF)
        found += (start + places[second[places] & 0xFE == 0xF8]).tolist()
    return found


def _has_magic(piece: bytes) -> bool:
    """Whether a file may begin in it, four bytes at a time; an expression takes three times as long."""
    magic = np.frombuffer(_MAGIC, np.uint32)
    return any(
        bool((np.frombuffer(piece, np.uint32, (len(piece) - start) // 4, start) == magic).any())
        for start in range(min(4, len(piece)))
    )


def _frame(head: bytes, start: int) -> _Frame | None:
    """The frame whose header these bytes begin with; None if they do not."""
    if len(head) < 6 or head[3] & 1 or head[3] >> 4 > 10 or head[3] >> 1 & 7 == 3:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    if size_code == 0 or rate_code == 15:
        return None
    n_more = 0  # bytes of the number after the first one, as in UTF-8
    first = head[4]
    if first >= 0xC0:
        n_more = f"{first:08b}".find("0") - 1 if first != 0xFF else 7
        if n_more > 6:
            return None
    elif first >= 0x80:
        return None
    number = first & (0x7F >> n_more) if n_more else first
    for byte in head[5 : 5 + n_more]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    end = 5 + n_more
    n_samples = _BLOCK_SIZES.get(size_code, 0)
    if size_code in (6, 7):
        n_bytes = size_code - 5
        n_samples = int.from_bytes(head[end : end + n_bytes], "big") + 1
        end += n_bytes
    end += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(head) <= end or _remainder(head[: end + 1], _CRC_8, 8) != 0:
        return None
    return _Frame(start, number, bool(head[1] & 1), n_samples)


def _remainder(data: bytes, table: tuple[int, ...], n_bits: int) -> int:
    """Remainder of the checksum: 0 for data that end with their checksum, also before more zeros."""
    value = 0
    if n_bits == 8:
        for byte in data:
            value = table[value ^ byte]
        return value
    for byte in data:
        value = (value << 8 ^ table[value >> 8 ^ byte]) & 0xFFFF
    return value


def _is_whole_at_end(window: Window, stream: _Stream) -> bool:
    """Whether a stream ends with the checksum of its last frame."""
    if stream.last is None or stream.stop - stream.last.start > _PIECE_BYTES:
        return False
    return _remainder(window.at(stream.last.start, stream.stop - stream.last.start), _CRC_16, 16) == 0


def _after_metadata(window: Window, start: int) -> int:
    """The byte after the blocks of metadata."""
    position = start + len(_MAGIC)
    while position < window.size:
        head = window.at(position, 4)
        if len(head) < 4 or head[0] & 0x7F == 0x7F:  # 127 is the beginning of a frame
            break
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return min(position, window.size)


def _tag_bytes(window: Window) -> int:
    """Length of the ID3v1 tag at the end of a file; 0 without one."""
    tail = window.at(window.size - _ID3V1_BYTES, _ID3V1_BYTES) if window.size >= _ID3V1_BYTES else b""
    return _ID3V1_BYTES if tail.startswith(b"TAG") else 0

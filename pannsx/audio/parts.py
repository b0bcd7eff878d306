"""The files within a file: several that were joined one after another, each checked and repaired.

Decoders stop at the end of the first one, without an error.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from pannsx.audio.containers import caf_defect, check_au, check_chunks, is_unknown, wav_samples
from pannsx.audio.flac import flac_streams
from pannsx.audio.formats import (
    ADTS,
    AIFF,
    AMR,
    APE,
    ASF,
    AU,
    AVI,
    CAF,
    DSF,
    FLAC,
    FLV,
    MP3,
    MP4,
    OGG,
    TTA,
    WAV,
    WAVE64,
    WAVPACK,
    Format,
    id3_length,
)  # fmt: skip
from pannsx.audio.mp3 import check_mp3
from pannsx.audio.ogg import ogg_streams
from pannsx.audio.view import Checked, View, Window, file_size


class _Beginning(NamedTuple):
    """The beginning of a file, long enough not to appear by accident in another one."""

    magics: tuple[bytes, ...]
    rest: re.Pattern[bytes]


def _beginning(magics: bytes, rest: bytes) -> _Beginning:
    return _Beginning(tuple(magics.split(b"|")), re.compile(rest, re.DOTALL))


_BEGINNINGS = {
    FLV: _beginning(b"FLV\x01", rb"[\x01\x04\x05]\0\0\0\x09\0\0\0\0"),
    ASF: _beginning(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", rb"\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),
    TTA: _beginning(b"TTA1", rb"[\x01-\x03]\0[\x01-\x10]\0"),
    APE: _beginning(b"MAC ", rb"..\0\0\x34\0\0\0"),
    DSF: _beginning(b"DSD \x1c", rb"\0\0\0\0\0\0\0"),
    WAVPACK: _beginning(b"wvpk", rb".{4}[\x02-\x10]\x04"),
    AMR: _beginning(b"#!AMR", rb"(?:-WB)?\n"),
}
# The same for formats whose headers state their length, searched where something follows it.
_CHUNKED = {
    WAV: _beginning(b"RIFF|RIFX|RF64|BW64", rb".{4}WAVE(?:fmt |JUNK|junk|bext|LIST|fact|ds64)"),
    AIFF: _beginning(b"FORM", rb".{4}AIF[FC](?:FVER|COMM)"),
    CAF: _beginning(b"caff\0\x01", rb"\0[\0\x01]desc\0\0\0\0\0\0\0\x20"),
    WAVE64: _beginning(b"riff\x2e\x91\xcf\x11", rb"\xa5\xd6\x28\xdb\x04\xc1\x00\x00"),
    AU: _beginning(b".snd\0\0", rb".{6}\0\0\0[\x01-\x1b]\0.{3}\0\0\0[\x01-\x40]"),
}
_LONGEST_BEGINNING = 32
_PIECE_BYTES = 1 << 20
_MOST_SEARCHED = 1 << 28  # bytes of a file of unknown length that are searched for another file
_TTA_HEADER_BYTES = 18
_WAVPACK_HEADER_BYTES = 32
_WAVPACK_INITIAL = 0x800  # flag of the first of the blocks of one time
_ASF_PROPERTIES = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65"
_ASF_HEADER_BYTES = 1 << 16
_AVI_SLACK = 8
_MPEG_IN_WAV = (0x50, 0x55)  # format tags of layers I and II, and of layer III
_UNKNOWN_32 = 0xFFFF_FFFF


def unwrapped(file: BinaryIO, found: Format, name: str) -> tuple[BinaryIO, Format, Checked | None]:
    """A file without its wrapper: a tag in front, or a WAV header around MPEG audio.

    Returns:
        the file or a view of it, its format, and the check of the WAV file if there was one around it.

    Raises:
        AudioError: the WAV file has no samples.
    """
    if found != MP3:
        window = Window(file)
        n_bytes = id3_length(window.at(0, 10))
        if 0 < n_bytes < window.size and found not in (FLAC, ADTS):
            file = View(file, b"", n_bytes)  # type: ignore[assignment]
    if found != WAV:
        return file, found, None
    chunk = wav_samples(file)
    if chunk is None or chunk.kind not in _MPEG_IN_WAV:
        return file, found, None
    around = check_chunks(file, name)
    size = file_size(file)
    unknown = chunk.length == 0 or is_unknown(chunk.length)
    stop = size if unknown else min(size, chunk.start + chunk.length)
    return View(file, b"", 0, runs=[(chunk.start, stop)]), MP3, around  # type: ignore[return-value]


def is_plain(file: BinaryIO, found: Format, name: str) -> bool:
    """Whether a file of a known format can be decoded as it is, with nothing missing, too much or repaired.

    Raises:
        AudioError: as :func:`unwrapped` and :func:`parts_of`.
    """
    inside, kind, around = unwrapped(file, found, name)
    return (
        inside is file and kind == found and around is None and parts_of(file, found, name) == [Checked(file)]
    )


def parts_of(file: BinaryIO, found: Format, name: str) -> list[Checked]:
    """The files to decode, in order: the file or its repaired view; several if files were joined.

    Raises:
        AudioError: the file has no samples, or its kind of audio changes within it.
    """
    if found in _CHUNKED:
        return _chunked_parts(file, found, name)
    if found == MP3:
        return [check_mp3(file, name)]
    several: dict[Format, Callable[[BinaryIO], list[Checked]]] = {OGG: ogg_streams, FLAC: flac_streams}
    if found in several:
        return several[found](file)
    window = Window(file)
    defect: str | None = None
    if found == MP4:
        starts, defect = _mp4_starts(window)
    elif found in _BEGINNINGS:
        starts = [0, *_starts(window, _BEGINNINGS[found])]
    else:
        starts = [0]
    if found == AVI:
        defect = _avi_defect(window)
    elif found == ASF and len(starts) == 1:
        defect = _asf_defect(window)
    if len(starts) == 1:
        return [Checked(file, defect)]
    runs = zip(starts, [*starts[1:], window.size], strict=True)
    parts = [Checked(View(file, b"", 0, runs=[run])) for run in runs]  # type: ignore[arg-type]
    return [*parts[:-1], parts[-1]._replace(defect=defect)]


def _chunked_parts(file: BinaryIO, found: Format, name: str) -> list[Checked]:
    """A WAV, AIFF, AU or similar file, or several where the bytes after the first one begin another one."""
    checked = check_au(file) if found == AU else check_chunks(file, name)
    window = Window(file)
    n_stated = window.size if checked.state == "truncated" else file_size(checked.file)
    if n_stated < window.size or (checked.is_open_ended and window.size < _MOST_SEARCHED):
        starts = [0, *_starts(window, _CHUNKED[found], n_stated if n_stated < window.size else 1)]
        if len(starts) > 1:
            runs = zip(starts, [*starts[1:], window.size], strict=True)
            views = [View(file, b"", 0, runs=[run]) for run in runs]
            return [each for view in views for each in _chunked_parts(view, found, name)]  # type: ignore[arg-type]
    if found == CAF and checked.defect is None and (defect := caf_defect(file)):
        checked = checked._replace(defect=defect, state="damaged")
    return [checked]


def _starts(window: Window, beginning: _Beginning, first: int = 1) -> Iterator[int]:
    """Places from byte ``first`` where a file begins."""
    position = first
    while position < window.size:
        piece = window.at(position, min(_PIECE_BYTES, window.size - position))
        is_end = position + len(piece) >= window.size
        n_sure = len(piece) if is_end else len(piece) - _LONGEST_BEGINNING
        for magic in beginning.magics:  # much faster to find than an expression
            place = piece.find(magic)
            while 0 <= place < n_sure:
                if beginning.rest.match(piece, place + len(magic)) and _is_file(window, position + place):
                    yield position + place
                place = piece.find(magic, place + 1)
        if is_end:
            return
        position += n_sure


def _is_file(window: Window, start: int) -> bool:
    """Whether a beginning is that of a file, by a checksum or by the samples before it, if it states them."""
    header = window.at(start, _WAVPACK_HEADER_BYTES)
    if header.startswith(b"TTA1"):
        stated = int.from_bytes(header[_TTA_HEADER_BYTES : _TTA_HEADER_BYTES + 4], "little")
        return zlib.crc32(header[:_TTA_HEADER_BYTES]) == stated
    if header.startswith(b"wvpk") and len(header) == _WAVPACK_HEADER_BYTES:
        n_before = int.from_bytes(header[16:20], "little") + (header[10] << 32)
        is_initial = int.from_bytes(header[24:28], "little") & _WAVPACK_INITIAL
        return n_before == 0 and bool(is_initial) and any(header[20:24])
    return True


def _mp4_starts(window: Window) -> tuple[list[int], str | None]:
    """First bytes of the files in an MP4 file, and the defect of a box that the file cuts."""
    starts = [0]
    position = 0
    has_index = False
    while position + 8 <= window.size:
        head = window.at(position, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if kind == b"ftyp" and has_index:
            starts.append(position)
            has_index = False
        has_index |= kind == b"moov"
        if length == 0:  # to the end of the file
            break
        if length < 8 or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind):
            break
        if position + length > window.size:
            box = kind.decode("latin-1")
            follow = window.size - position
            return starts, f"its part {box!r} announces {length} bytes and {follow} follow"
        position += length
    return starts, None


def _avi_defect(window: Window) -> str | None:
    """The defect of an AVI file that ends before the end that its header states."""
    length = int.from_bytes(window.at(4, 4), "little")
    if length in (0, _UNKNOWN_32) or 8 + length <= window.size + _AVI_SLACK:
        return None
    return f"its header announces {length} bytes and {window.size - 8} follow"


def _asf_defect(window: Window) -> str | None:
    """The defect of a WMA file that ends before the end that its header states."""
    head = window.at(0, min(_ASF_HEADER_BYTES, window.size))
    at = head.find(_ASF_PROPERTIES)
    properties = head[at + 24 : at + 24 + 68]
    if at < 0 or len(properties) < 68 or properties[64] & 1:  # a live stream states no length
        return None
    length = int.from_bytes(properties[16:24], "little")
    if length <= window.size:
        return None
    return f"its header announces {length} bytes and has {window.size}"

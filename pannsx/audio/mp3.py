"""MP3 files without a stated length: their frames are counted, and the count is put in front.

Without a Xing, Info or VBRI header, libsndfile estimates the length from the first frame's bit rate and
reads no further: a file of variable bit rate would silently lose its end.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from pannsx.audio.containers import Checked, View, file_size
from pannsx.audio.formats import id3_length, is_mpeg_audio

_BUFFER_BYTES = 1 << 16
_LAYER_III = 1
_BIT_RATES_MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, layer III
_BIT_RATES_MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_SAMPLE_RATES = (44_100, 48_000, 32_000)  # Hz of MPEG-1; half of it in MPEG-2, a quarter in MPEG-2.5
_MPEG_1, _MPEG_2 = 3, 2


def check_mp3(file: BinaryIO) -> Checked:
    """An MP3 file that states its length, or a view of it with a length header added.

    Files of other layers, of free bit rate, or with anything but a frame after their tag are not changed.
    """
    size = file_size(file)
    file.seek(0)
    start = id3_length(file.read(10))
    file.seek(start)
    first = file.read(4096)
    length = frame_length(first[:4])
    if length == 0 or _says_length(first):
        return Checked(file)
    n_frames, cut = _count_frames(file, start, size)
    view = View(file, _length_header(first[:4], n_frames), start)
    return Checked(view, "it ends within a frame" if cut else None)  # type: ignore[arg-type]


def frame_length(header: bytes) -> int:
    """Length in bytes of the layer III frame with this four-byte header; 0 if unknown."""
    if not is_mpeg_audio(header) or header[1] >> 1 & 3 != _LAYER_III or header[2] >> 4 == 0:
        return 0
    version = header[1] >> 3 & 3
    bit_rates = _BIT_RATES_MPEG_1 if version == _MPEG_1 else _BIT_RATES_MPEG_2
    rate = _SAMPLE_RATES[header[2] >> 2 & 3] // {_MPEG_1: 1, _MPEG_2: 2}.get(version, 4)
    samples_per_bit = 144 if version == _MPEG_1 else 72
    padding = header[2] >> 1 & 1
    return samples_per_bit * 1000 * bit_rates[header[2] >> 4] // rate + padding


def _side_length(header: bytes) -> int:
    """Length in bytes of the side information after the header; the length header follows it."""
    mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == _MPEG_1:
        return 17 if mono else 32
    return 9 if mono else 17


def _says_length(frame: bytes) -> bool:
    at = 4 + _side_length(frame)
    if frame[at : at + 4] in (b"Xing", b"Info"):
        return bool(frame[at + 7 : at + 8] > b"\0" and frame[at + 7] & 1)  # flag: a frame count follows
    return frame[36:40] == b"VBRI"


def _count_frames(file: BinaryIO, start: int, size: int) -> tuple[int, bool]:
    """Number of complete frames from byte ``start``, and whether the file ends within one."""
    n_frames = 0
    position = start
    buffer, buffer_start = b"", start
    while position + 4 <= size:
        if not buffer_start <= position <= buffer_start + len(buffer) - 4:
            file.seek(position)
            buffer, buffer_start = file.read(_BUFFER_BYTES), position
            if len(buffer) < 4:
                break
        at = position - buffer_start
        length = frame_length(buffer[at : at + 4])
        if length == 0:
            if buffer[at : at + 3] == b"TAG" or buffer[at : at + 8] == b"APETAGEX":
                return n_frames, False
            position += 1  # not part of a frame: look for the next one
            continue
        if position + length > size:
            return n_frames, True
        n_frames += 1
        position += length
    return n_frames, False


def _length_header(header: bytes, n_frames: int) -> bytes:
    """A silent frame of the same type, with the number of following frames."""
    plain = bytes((header[0], header[1] | 1, header[2] & 0x0F, header[3]))  # | 1: no checksum
    for bit_rate in range(1, 15):
        candidate = bytes((*plain[:2], plain[2] | bit_rate << 4, plain[3]))
        body = bytes(_side_length(candidate)) + b"Xing" + struct.pack(">II", 1, n_frames)
        if frame_length(candidate) >= 4 + len(body):
            return (candidate + body).ljust(frame_length(candidate), b"\0")
    return b""

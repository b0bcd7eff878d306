"""MPEG audio: its frames are found and counted, and a header that states another length is replaced.

libsndfile believes the count in a Xing, Info or VBRI header, or estimates the length from the first frame's
bit rate, and reads no further: joined files and files of variable bit rate would silently lose their end.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from pannsx.audio.formats import id3_length, is_mpeg_audio
from pannsx.audio.view import Checked, View, Window
from pannsx.errors import AudioError

_LAYER_III, _LAYER_II, _LAYER_I = 1, 2, 3
_MPEG_1, _MPEG_2 = 3, 2
_SAMPLE_RATES = (44_100, 48_000, 32_000)  # Hz of MPEG-1; half of it in MPEG-2, a quarter in MPEG-2.5
_LSF_BIT_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {  # kbit/s by "is MPEG-1" and layer
    (True, _LAYER_I): tuple(range(0, 449, 32)),
    (True, _LAYER_II): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_III): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_I): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_II): _LSF_BIT_RATES,
    (False, _LAYER_III): _LSF_BIT_RATES,
}
# So many headers, each where the one before says, are no accident in other bytes.
_SURE_FRAMES = 4
_SEARCH_BYTES = 1 << 20  # bytes of other data in front of the first frame
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
_TAG_BYTES = 128  # an ID3v1 tag
_EMPTY_TAG_BYTES = 10  # ID3v2


class _Frames(NamedTuple):
    """The frames of a file.

    Attributes:
        runs: first byte and end of all stretches of adjacent frames.
        n_frames: number of complete frames.
        cut: whether the file ends within a frame.
    """

    runs: list[tuple[int, int]]
    n_frames: int
    cut: bool


def check_mp3(file: BinaryIO, name: str) -> Checked:
    """An MPEG audio file that states its length rightly, or a view of its frames with their count in front.

    Files of free bit rate are not changed.

    Raises:
        AudioError: the sample rate changes between frames.
    """
    window = Window(file)
    after_tag = _skip_tag(window, 0)
    start = _first_frame(window, after_tag, after_tag + _SEARCH_BYTES)
    if start is None:
        return Checked(file)
    header = window.at(start, 4)
    frames = _find_frames(window, start, name)
    if frames.n_frames == 0:
        return Checked(file, "it ends within its first frame")
    cut = "it ends within a frame" if frames.cut else None
    if header[1] >> 1 & 3 != _LAYER_III:
        # Only layer III has a length header: frames are added for libsndfile to estimate enough.
        n_bytes = sum(stop - first for first, stop in frames.runs)
        longest = frame_length(header) + 4  # padding is at most one slot of four bytes
        missing = longest * (frames.n_frames + _SURE_FRAMES) - n_bytes
        added = [(start, start + frame_length(header))] * max(0, -(-missing // frame_length(header)))
        view = View(file, b"", start, runs=[*frames.runs, *added])
        return Checked(view, cut, n_frames=frames.n_frames * _n_samples(header))  # type: ignore[arg-type]
    stated = _stated_frames(window.at(start, frame_length(header)))
    if stated is not None:
        n_frames = max(0, frames.n_frames - 1)  # the frame with the header has no sound
        if stated.usable and stated.n_frames >= n_frames:
            tag_bytes = id3_length(window.at(0, 10))
            # libsndfile refuses an empty tag (ten bytes).
            in_place = start == tag_bytes != _EMPTY_TAG_BYTES and len(frames.runs) == 1
            whole = file if in_place else View(file, b"", start, runs=frames.runs)
            return Checked(whole)  # type: ignore[arg-type]
        if stated.n_frames > n_frames:
            cut = f"its header announces {stated.n_frames} frames and {n_frames} follow"
        first_run = (start + frame_length(header), frames.runs[0][1])
        frames = frames._replace(runs=[first_run, *frames.runs[1:]], n_frames=n_frames)
    view = View(file, _length_header(header, frames.n_frames), start, runs=frames.runs)
    return Checked(view, cut)  # type: ignore[arg-type]


def has_frames(file: BinaryIO) -> bool:
    """Whether frames of MPEG audio begin within the first megabyte."""
    return _first_frame(Window(file), 0, _SEARCH_BYTES) is not None


def frame_length(header: bytes) -> int:
    """Length in bytes of the frame with this four-byte header; 0 if unknown."""
    if not is_mpeg_audio(header) or header[2] >> 4 == 0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bits = 1000 * _BIT_RATES[version == _MPEG_1, layer][header[2] >> 4]
    padding = header[2] >> 1 & 1
    if layer == _LAYER_I:
        return (12 * bits // _sample_rate(header) + padding) * 4
    return _n_samples(header) // 8 * bits // _sample_rate(header) + padding


def _sample_rate(header: bytes) -> int:
    version = header[1] >> 3 & 3
    return _SAMPLE_RATES[header[2] >> 2 & 3] // {_MPEG_1: 1, _MPEG_2: 2}.get(version, 4)


def _n_samples(header: bytes) -> int:
    """Samples of every channel in the frame with this header."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    if layer == _LAYER_I:
        return 384
    return 576 if layer == _LAYER_III and version != _MPEG_1 else 1152


def _kind(header: bytes) -> tuple[int, int, bool]:
    """What all frames of one stream share: version and layer, sample rate, and whether it is mono."""
    return header[1] & 0x1E, header[2] & 0x0C, header[3] >> 6 == 3


def _describe(header: bytes) -> str:
    layer = {_LAYER_I: "I", _LAYER_II: "II", _LAYER_III: "III"}[header[1] >> 1 & 3]
    return f"{_sample_rate(header)} Hz {'mono' if header[3] >> 6 == 3 else 'stereo'} of layer {layer}"


def _skip_tag(window: Window, position: int) -> int:
    """The byte after the ID3v2 tags at a position, as far as their stated lengths are right."""
    while length := id3_length(window.at(position, 10)):
        end = position + length
        # A tag that states too great a length would hide frames: they go on past its stated end.
        hidden = _first_frame(window, position + 10, min(end, window.size))
        if end > window.size or (hidden is not None and _reaches(window, hidden, end)):
            return position + 10 if hidden is None else hidden
        position = end
    return position


def _reaches(window: Window, position: int, end: int) -> bool:
    """Whether adjacent frames lead from a position to ``end`` or beyond."""
    while position < end:
        length = frame_length(window.at(position, 4))
        if length == 0:
            return False
        position += length
    return True


def _first_frame(window: Window, start: int, end: int) -> int | None:
    """The first byte from ``start`` where frames begin; None if none does before ``end``."""
    position = start
    end = min(end, window.size)
    while (position := window.next_sync(position, end)) < end:
        if _is_stream(window, position, at_start=position == start):
            return position
        position += 1
    return None


def _is_stream(window: Window, start: int, *, at_start: bool) -> bool:
    """Whether several frames of one kind follow each other; fewer are enough if the file ends with them."""
    kind = _kind(window.at(start, 4).ljust(4, b"\0"))  # no frame at all in the last three bytes
    position = start
    for n_seen in range(_SURE_FRAMES):
        header = window.at(position, 4)
        length = frame_length(header)
        if length == 0 or _kind(header) != kind:
            at_end = position >= window.size or window.at(position, 8).startswith(_TAGS)
            return n_seen >= (1 if at_start else 2) and at_end
        position += length
    return True


def _tag_length(window: Window, position: int) -> int:
    """Length in bytes of the ID3v1, ID3v2 or APE tag at a position; 0 if there is none."""
    head = window.at(position, 32)
    if head[:3] == b"TAG":
        return _TAG_BYTES
    if head[:8] == b"APETAGEX" and len(head) == 32:
        (length,) = struct.unpack_from("<I", head, 12)
        is_header = head[23] & 0x20
        return 32 + (length if is_header else 0)
    return _skip_tag(window, position) - position


def _find_frames(window: Window, start: int, name: str) -> _Frames:
    """All frames from byte ``start``; bytes between them that are no frames are left out."""
    runs: list[tuple[int, int]] = []
    n_frames = 0
    first = window.at(start, 4)
    kind = _kind(first)
    lengths: dict[bytes, int] = {}
    position: int | None = start
    while position is not None:
        run_start = position
        while position + 4 <= window.size:
            header = window.at(position, 4)
            length = lengths.get(header[1:], -1) if header[0] == 0xFF else 0
            if length < 0:
                length = frame_length(header) if _kind(header) == kind else 0
                lengths[header[1:]] = length
            if length == 0:
                break
            if position + length > window.size:
                return _Frames([*runs, (run_start, position)], n_frames, cut=True)
            n_frames += 1
            position += length
        runs.append((run_start, position))
        resume = position + _tag_length(window, position)
        position = _first_frame(window, resume, window.size)
        if position is not None and _kind(header := window.at(position, 4)) != kind:
            raise AudioError(
                f"{name} changes from {_describe(first)} to {_describe(header)} after {n_frames} frames; "
                "convert its parts to one format first"
            )
    return _Frames(runs, n_frames, cut=False)


class _Stated(NamedTuple):
    """What a length header states; ``usable``: libsndfile understands it."""

    n_frames: int
    usable: bool


def _stated_frames(frame: bytes) -> _Stated | None:
    """The number of frames after this one, if it is a length header."""
    at = 4 + _side_length(frame)
    if frame[at : at + 4] in (b"Xing", b"Info"):
        # mpg123 takes a frame with other bits set for one of sound.
        has_count = len(frame) >= at + 12 and frame[at + 7] & 1 and not any(frame[4:at])
        return _Stated(int.from_bytes(frame[at + 8 : at + 12], "big") if has_count else 0, bool(has_count))
    if frame[36:40] == b"VBRI":
        return _Stated(int.from_bytes(frame[50:54], "big"), usable=False)
    return None


def _side_length(header: bytes) -> int:
    """Length in bytes of the side information after the header; the length header follows it."""
    mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == _MPEG_1:
        return 17 if mono else 32
    return 9 if mono else 17


def _length_header(header: bytes, n_frames: int) -> bytes:
    """A silent frame of the same type, with the number of following frames."""
    plain = bytes((header[0], header[1] | 1, header[2] & 0x0F, header[3]))  # | 1: no checksum
    for bit_rate in range(1, 15):
        candidate = bytes((*plain[:2], plain[2] | bit_rate << 4, plain[3]))
        body = bytes(_side_length(candidate)) + b"Xing" + struct.pack(">II", 1, n_frames)
        if frame_length(candidate) >= 4 + len(body):
            return (candidate + body).ljust(frame_length(candidate), b"\0")
    return b""

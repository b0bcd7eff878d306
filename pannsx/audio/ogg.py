"""Ogg: the streams that a file has one after another, and whether their pages are all there.

libsndfile reads the first stream of a file and stops, and passes over damaged and missing pages in silence.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from pannsx.audio.view import Checked, View, Window

_HEADER_BYTES = 27
_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags
_MAGIC = b"OggS\0"
# The beginning of the first packet of each kind of audio.
_AUDIO = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"CELT    ", b"PCM     ")
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    """A page: its place, header fields, and the beginning of its content."""

    start: int
    stop: int
    flags: int
    position: int  # granule position: samples to its end, by the codec's count
    serial: int
    number: int
    is_whole: bool
    head: bytes


@dataclass
class _Stream:
    """The pages of one logical stream."""

    is_audio: bool
    runs: list[tuple[int, int]] = field(default_factory=list)
    last: _Page | None = None
    has_sound: bool = False
    defect: str | None = None

    def add(self, page: _Page) -> None:
        """Add the next page, and note its defect."""
        if self.runs and self.runs[-1][1] == page.start:
            self.runs[-1] = (self.runs[-1][0], page.stop)
        else:
            self.runs.append((page.start, page.stop))
        if self.defect is None and not page.is_whole:
            self.defect = f"its page at byte {page.start} has a wrong checksum"
        # Live streams begin with saved headers, and go on with the page of that moment.
        elif self.defect is None and self.has_sound and self.last is not None:
            n_missing = page.number - self.last.number - 1
            if n_missing:
                self.defect = (
                    f"its page {page.number} at byte {page.start} follows page {self.last.number}, so that "
                    "pages are missing"
                )
        self.has_sound |= page.position not in (0, -1)
        self.last = page


def ogg_streams(file: BinaryIO) -> list[Checked]:
    """The first audio stream of each link of an Ogg file: files joined one after another are links.

    A file of one whole link with one stream is given back as it is.
    """
    window = Window(file)
    links: list[dict[int, _Stream]] = []
    after_first = False
    end = 0
    for page in _pages(window):
        if page.flags & _FIRST_PAGE:
            if not after_first:
                links.append({})
            links[-1].setdefault(page.serial, _Stream(page.head.startswith(_AUDIO)))
        after_first = bool(page.flags & _FIRST_PAGE)
        if links and page.serial in links[-1]:
            links[-1][page.serial].add(page)
            end = page.stop
    if not links:
        return [Checked(file, "it ends within its first page")]
    found = [_checked(file, link, is_last=link is links[-1]) for link in links]
    rest = window.at(end, min(window.size - end, len(_MAGIC)))
    if rest and _MAGIC.startswith(rest):
        found[-1] = found[-1]._replace(defect="it ends within a page", state="truncated")
    # In a cut file, libsndfile finds no length; a view of its complete pages has one.
    if len(found) == 1 and len(links[0]) == 1 and found[0].defect is None:
        return [found[0]._replace(file=file)]
    return found


def _checked(file: BinaryIO, link: dict[int, _Stream], *, is_last: bool) -> Checked:
    streams = list(link.values())
    stream = next((stream for stream in streams if stream.is_audio), streams[0])
    view = View(file, b"", 0, runs=stream.runs)
    if stream.defect is not None:
        return Checked(view, stream.defect, state="damaged")  # type: ignore[arg-type]
    is_ended = stream.last is not None and bool(stream.last.flags & _LAST_PAGE)
    if is_last and not is_ended:
        return Checked(view, "its last page is not marked as the end of the stream")  # type: ignore[arg-type]
    return Checked(view)  # type: ignore[arg-type]


def _pages(window: Window) -> Iterator[_Page]:
    """All complete pages, also those after bytes that belong to none."""
    position = 0
    while position + _HEADER_BYTES <= window.size:
        header = window.at(position, _HEADER_BYTES)
        if not header.startswith(_MAGIC):
            position = window.find(_MAGIC, position + 1)
            continue
        n_segments = header[26]
        lacing = window.at(position + _HEADER_BYTES, n_segments)
        n_bytes = _HEADER_BYTES + n_segments + sum(lacing)
        page = window.at(position, n_bytes)
        if len(lacing) < n_segments or len(page) < n_bytes:
            # Cut here; or the header is damaged, and other pages follow.
            position = window.find(_MAGIC, position + 1)
            continue
        body = _HEADER_BYTES + n_segments
        yield _Page(
            position,
            position + n_bytes,
            flags=header[5],
            position=int.from_bytes(header[6:14], "little", signed=True),
            serial=int.from_bytes(header[14:18], "little"),
            number=int.from_bytes(header[18:22], "little"),
            is_whole=_checksum(page) == int.from_bytes(header[22:26], "little"),
            head=page[body : body + 16],
        )
        position += n_bytes


def _checksum(page: bytes) -> int:
    """The checksum of a page: that of zlib with the bits of every byte in the other order."""
    plain = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(plain.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")

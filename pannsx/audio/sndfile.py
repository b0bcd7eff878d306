"""Decoding by libsndfile: WAV, FLAC, AIFF, Ogg Vorbis and Opus, MP3, and some rarer formats."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

from pannsx.audio.formats import AIFF, AU, CAF, FLAC, WAV, WAVE64, Format
from pannsx.audio.guard import GuardedFile
from pannsx.audio.reader import Reader, check_rate
from pannsx.audio.view import Checked
from pannsx.errors import AudioError
from pannsx.types import FloatArray

_UNKNOWN_LENGTH = 1 << 60  # libsndfile reports 2**63 - 1 for an unknown length
EXACT_SEEK = (WAV, AIFF, FLAC, AU, CAF, WAVE64)
_INTEGERS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")
# Lossy decoders restart after a seek; two of Vorbis' longest blocks, more than MP3 and Opus need.
_LEAD_IN_FRAMES = 16_384


# A block that cannot be decoded is lost whole: with salvage, as little as possible.
_SALVAGED_FRAMES = 512


class UnsupportedCodecError(AudioError):
    """libsndfile cannot decode a file; another decoder may."""


class SndfileReader(Reader):
    """An audio file in a format that libsndfile reads.

    Raises:
        UnsupportedCodecError: libsndfile cannot decode this file.
    """

    def __init__(self, checked: Checked, found: Format, name: str) -> None:
        import soundfile

        self.name = name
        self._source = (checked, found)
        self._guard = GuardedFile(checked.file)
        # libsndfile reads a file on disk by itself; other file objects it calls for every few kilobytes, and
        # each call waits for the interpreter's lock.
        place = _own_place(checked.file)
        if place is None:
            checked.file.seek(0)
        try:
            self._sound = _sequential()(self._guard if place is None else place)
        except soundfile.LibsndfileError as error:
            self._guard.check()
            reason = error.error_string.rstrip(".")
            raise UnsupportedCodecError(f"libsndfile says: {reason}") from error
        self._guard.check()
        kind = {"VORBIS": " Vorbis", "OPUS": " Opus"}.get(self._sound.subtype, "")
        self.format = found.name + kind
        self.sample_rate = check_rate(self._sound.samplerate, f"the sample rate of {name}")
        self.n_channels = self._sound.channels
        known = 0 <= self._sound.frames < _UNKNOWN_LENGTH
        stated = self._sound.frames if known else None
        self.n_frames = stated if checked.n_frames is None else checked.n_frames
        self._counted = checked.n_frames  # libsndfile may go on to frames that are not in the file
        self.defect, self.state = checked.defect, checked.state
        self.remarks = () if checked.remark is None else (checked.remark,)
        self._lead_in = 0 if found in EXACT_SEEK else _LEAD_IN_FRAMES
        # libsndfile cannot seek in a FLAC stream of unknown length, GSM 6.10, G.721 and NMS ADPCM.
        self._sequential = checked.sequential or not (known and self._sound.can_seek)
        self.can_read_again = place is not None and found in EXACT_SEEK and not self._sequential
        self.is_bounded = self._sound.subtype in _INTEGERS

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as float32 blocks ``(n, C)``."""
        if self.n_frames is not None and start >= self.n_frames:
            return
        if self._counted is not None:
            stop = self._counted if stop is None else min(stop, self._counted)
        position = self._seek(start)
        most = _SALVAGED_FRAMES if self.salvage else self.block_frames
        while stop is None or position < stop:
            wanted = most if stop is None else min(most, stop - position)
            block = self._read_block(wanted, position)
            if len(block) == 0:
                self.n_frames = max(position, self.n_frames or 0)
                return
            before = max(0, start - position)
            position += len(block)
            if before < len(block):
                yield block[before:]

    def again(self) -> SndfileReader | None:
        """Another reader of the same file on disk, if it has not been replaced since."""
        other = SndfileReader(*self._source, self.name)
        if not other.can_read_again:
            other.close()
            return None
        other.channel, other.salvage = self.channel, self.salvage
        return other

    def close(self) -> None:
        """Close libsndfile's handle; the file itself stays open, as it is the caller's."""
        self._sound.close()

    def _seek(self, start: int) -> int:
        """Go to a frame at or before ``start``; from ``start``, samples are those of a full decoding."""
        import soundfile

        target = 0 if self._sequential else max(0, start - self._lead_in)
        if target == 0 and self._sequential:
            return 0
        try:
            self._sound.seek(target)
        except soundfile.LibsndfileError as error:
            self._guard.check()
            raise self._damaged(target, error) from error
        self._guard.check()
        return target

    def _read_block(self, n_frames: int, position: int) -> FloatArray:
        import soundfile

        try:
            block: FloatArray = self._sound.read(n_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            self._guard.check()
            raise self._damaged(position, error) from error
        self._guard.check()
        return block

    def _damaged(self, position: int, error: Any) -> AudioError:
        return AudioError(
            f"{self.name} ({self.format}) is damaged near {position / self.sample_rate:.3f} s: "
            f"{error.error_string.rstrip('.') or 'it cannot be decoded'}; fetch or make it again, or read it "
            "as far as it goes with salvage=True"
        )


@cache
def _sequential() -> type[Any]:
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc, unused-ignore]
        """Reads sequentially, without seeking.

        soundfile calls tell and seek around every read of a seekable file. That costs time, loses the
        first samples of a lossy codec's block, and fails if the length is unknown.
        """

        @property
        def can_seek(self) -> bool:
            return bool(super().seekable())

        def seekable(self) -> bool:
            return False

    return Sequential


def _own_place(file: BinaryIO) -> int | str | None:
    """A new descriptor or the path of a file on disk; None for other sources, or if it is not at its path.

    Given a path, libsndfile would also look for macOS's companion ``._name`` and stumble over it; but on
    Windows, its C library does not know Python's descriptors.  The file may have been removed or replaced
    since, or lie within another one, such as a member of an archive, with the outer file's name.
    """
    if not (isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO)):
        return None
    if not isinstance(file.name, (str, bytes)):
        return None
    path = os.fsdecode(file.name)
    try:
        if os.name != "posix":
            is_same = os.path.samestat(os.fstat(file.fileno()), os.stat(path))  # noqa: PTH116
            folder, name = os.path.split(path)
            return path if is_same and not os.path.exists(os.path.join(folder, f"._{name}")) else None  # noqa: PTH110, PTH118
        # Without O_NONBLOCK, a pipe that has taken the file's place would wait for a writer.
        descriptor = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if os.path.samestat(os.fstat(file.fileno()), os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    return None

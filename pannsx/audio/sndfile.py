"""Decoding by libsndfile: WAV, FLAC, AIFF, Ogg Vorbis and Opus, MP3, and some rarer formats."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from pannsx.audio.containers import Checked, check_au, check_chunks, check_ogg
from pannsx.audio.formats import AIFF, AU, CAF, FLAC, MP3, OGG, WAV, WAVE64, Format
from pannsx.audio.guard import GuardedFile
from pannsx.audio.mp3 import check_mp3
from pannsx.audio.reader import BLOCK_FRAMES, Reader, check_rate
from pannsx.errors import AudioError
from pannsx.types import FloatArray

_UNKNOWN_LENGTH = 1 << 60  # libsndfile reports 2**63 - 1 for an unknown length
_EXACT_SEEK = (WAV, AIFF, FLAC, AU, CAF, WAVE64)
# Lossy decoders restart after a seek; two of Vorbis' longest blocks, more than MP3 and Opus need.
_LEAD_IN_FRAMES = 16_384


class UnsupportedCodecError(AudioError):
    """libsndfile supports the container but not its codec; another decoder may."""


class SndfileReader(Reader):
    """An audio file in a format that libsndfile reads.

    Raises:
        UnsupportedCodecError: libsndfile cannot decode this file, although it looks complete.
        AudioError: the file is damaged or truncated.
    """

    def __init__(self, file: BinaryIO, found: Format, name: str) -> None:
        import soundfile

        self.name = name
        checked = _check(file, found, name)
        checked.file.seek(0)
        self._guard = GuardedFile(checked.file)
        try:
            self._sound = _open(checked.file, self._guard)
        except soundfile.LibsndfileError as error:
            self._guard.check()
            reason = error.error_string.rstrip(".")
            if checked.defect or "pyav" not in found.decoders:
                what = checked.defect or reason
                raise AudioError(
                    f"{name} ({found.name}) is truncated or damaged: {what}; fetch or copy it again"
                ) from error
            raise UnsupportedCodecError(f"{name} ({found.name}): libsndfile says: {reason}") from error
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
        self._lead_in = 0 if found in _EXACT_SEEK else _LEAD_IN_FRAMES
        # libsndfile cannot seek in a FLAC stream of unknown length, GSM 6.10, G.721 and NMS ADPCM.
        self._sequential = not (known and self._sound.can_seek)

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as float32 blocks ``(n, C)``."""
        if self.n_frames is not None and start >= self.n_frames:
            return
        if self._counted is not None:
            stop = self._counted if stop is None else min(stop, self._counted)
        position = self._seek(start)
        while stop is None or position < stop:
            wanted = BLOCK_FRAMES if stop is None else min(BLOCK_FRAMES, stop - position)
            block = self._read_block(wanted, position)
            if len(block) == 0:
                self.n_frames = max(position, self.n_frames or 0)
                return
            before = max(0, start - position)
            position += len(block)
            if before < len(block):
                yield block[before:]

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
            f"{self.name} ({self.format}) is truncated or damaged near {position / self.sample_rate:.3f} s: "
            f"{error.error_string.rstrip('.')}; fetch or copy it again, or take the part before it "
            "with duration_s"
        )


def _check(file: BinaryIO, found: Format, name: str) -> Checked:
    if found in (WAV, AIFF, CAF, WAVE64):
        return check_chunks(file, name)
    if found == AU:
        return check_au(file)
    if found == OGG:
        return check_ogg(file)
    if found == MP3:
        return check_mp3(file, name)
    return Checked(file)


def _open(file: BinaryIO, guard: GuardedFile) -> Any:
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

    # libsndfile reads a file on disk by itself; other file objects it calls for every few kilobytes, and
    # each call waits for the interpreter's lock.
    # Not one within another file, such as a member of an archive or a decompressed file: its name and
    # descriptor are those of the outer file.
    if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO) and _is_at_its_path(file):
        return Sequential(os.fsencode(file.name) if os.name == "posix" else os.fsdecode(file.name))
    return Sequential(guard)


def _is_at_its_path(file: io.BufferedReader) -> bool:
    """Whether an open file is still the one at its path, not removed or replaced since."""
    if not isinstance(file.name, (str, bytes)):  # a descriptor
        return False
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))  # noqa: PTH116
    except OSError:
        return False

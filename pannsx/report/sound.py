"""The recording of a result: the part that is read, and a small copy of it for a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias

import numpy as np
import soundfile

from pannsx.audio import Blocks, Selection, info
from pannsx.types import Source

Player: TypeAlias = Literal["embed", "link", "none"]
Codec: TypeAlias = Literal["opus", "mp3"]

_PRINTED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")


class Sound(NamedTuple):
    """A source as :func:`pannsx.audio.open_blocks` takes it, and the part that is read."""

    source: Source
    selection: Selection = Selection()

    def blocks(self, sample_rate: int | None) -> Blocks:
        """Its mono blocks at a rate; None: at its own."""
        return self.selection.open(self.source, sample_rate)

    @property
    def path(self) -> Path | None:
        """The file, if the source is one."""
        return Path(os.fsdecode(self.source)) if isinstance(self.source, (str, os.PathLike)) else None

    @property
    def name(self) -> str | None:
        """The file's name as text; bytes that are not UTF-8 are escaped."""
        return None if self.path is None else printable(self.path.name)


def sound_of(audio: Source | None, selection: Selection) -> Sound | None:
    """The recording of a result, if it is given."""
    return None if audio is None else Sound(audio, selection)


class _Encoding(NamedTuple):
    """How a codec is written: media type, libsndfile's names and settings, and the rates to choose from."""

    media_type: str
    container: str
    subtype: str
    compression_level: float
    bitrate_mode: str | None
    rates: tuple[int, ...]


# The levels are about 40 kbit/s for Opus and 48 for MP3: twenty minutes stay below 10 MB as text in a page.
_ENCODINGS: dict[Codec, _Encoding] = {
    "opus": _Encoding(
        "audio/ogg; codecs=opus", "OGG", "OPUS", 0.85, None, (8_000, 12_000, 16_000, 24_000, 48_000)
    ),
    "mp3": _Encoding("audio/mpeg", "MP3", "MPEG_LAYER_III", 0.95, "CONSTANT", (32_000, 44_100, 48_000)),
}
CODECS: tuple[Codec, ...] = tuple(_ENCODINGS)


def media_type(codec: Codec) -> str:
    """The media type of a codec's files."""
    return _ENCODINGS[codec].media_type


def encode(sound: Sound, file: IO[bytes], codec: Codec, *, gain: float = 1.0) -> int:
    """Write the sound, mono, to an open file; returns the rate in Hz. Memory does not grow with its length.

    Args:
        sound: what to write.
        file: a file that can seek.
        codec: ``"opus"`` (in Ogg) or ``"mp3"``.
        gain: factor of all samples.

    Raises:
        AudioError: the source cannot be read.
        OSError: the codec is missing in this libsndfile, or the file cannot be written.
    """
    how = _ENCODINGS[codec]
    own_rate = info(sound.source, source_rate=sound.selection.source_rate).sample_rate
    rate = next((each for each in how.rates if each >= own_rate), how.rates[-1])
    if how.subtype not in soundfile.available_subtypes(how.container):
        raise OSError(
            f"this system's libsndfile {soundfile.__libsndfile_version__} cannot write {codec}; take another "
            "codec, no audio, or a link to the file"
        )
    try:
        with (
            sound.blocks(rate) as blocks,
            soundfile.SoundFile(
                file,
                "w",
                rate,
                1,
                how.subtype,
                format=how.container,
                compression_level=how.compression_level,
                bitrate_mode=how.bitrate_mode,
            ) as written,
        ):
            for block in blocks:  # libsndfile crashes if minutes of Ogg are written at once
                written.write(np.clip(block * np.float32(gain), -1, 1))
    except soundfile.LibsndfileError as error:
        raise OSError(f"cannot write the audio of the page as {codec}: {error}") from error
    return rate


def link_to(sound: Sound, page: Path) -> str:
    """The address of the sound's file as seen from a page.

    Raises:
        ValueError: the source is not a file.
    """
    if sound.path is None:
        raise ValueError("only a file can be linked; embed the audio, or leave it out")
    return relative_address(sound.path, page.parent)


def relative_address(path: Path, folder: Path) -> str:
    """A path as an address relative to a folder; absolute where there is no way, as between Windows' drives.

    All but letters, digits and ``-._~/`` is percent-encoded, so that no name can be taken for anything else.
    """
    try:
        relative = os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:
        return path.absolute().as_uri()
    return "".join(
        chr(byte) if byte in _PRINTED else f"%{byte:02X}" for byte in os.fsencode(Path(relative).as_posix())
    )


def printable(text: str) -> str:
    """The text with invalid UTF-8 escaped: Linux allows file names that are not text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    """ValueError for a value that is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; use {' or '.join(map(repr, choices))}")

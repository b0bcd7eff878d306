"""The format of a file, by its first bytes, never by its name.

Only recognised files reach a decoder.  This keeps text, playlists and the many raw or exotic formats away
from libraries that would guess their format (or fetch the entries of a playlist).
"""

from __future__ import annotations

from typing import BinaryIO, Literal, NamedTuple

Decoder = Literal["soundfile", "pyav"]

_HEAD_BYTES = 512


class Format(NamedTuple):
    """A recognised format: its name, and the decoders to try, in this order."""

    name: str
    decoders: tuple[Decoder, ...]


_PYAV: tuple[Decoder, ...] = ("pyav",)
_BOTH: tuple[Decoder, ...] = ("soundfile", "pyav")  # libsndfile may not support its codec

FLAC = Format("FLAC", _BOTH)
MP3 = Format("MP3", _BOTH)
OGG = Format("Ogg", _BOTH)
WAV = Format("WAV", _BOTH)
AIFF = Format("AIFF", _BOTH)
AU = Format("AU", _BOTH)
CAF = Format("CAF", _BOTH)
WAVE64 = Format("Wave64", _BOTH)
ADTS = Format("AAC (ADTS)", _PYAV)
MP4 = Format("MP4/M4A", _PYAV)
MATROSKA = Format("WebM/Matroska", _PYAV)
AVI = Format("AVI", _PYAV)
ASF = Format("WMA/ASF", _PYAV)
AMR = Format("AMR", _PYAV)
FLV = Format("FLV", _PYAV)
APE = Format("Monkey's Audio", _PYAV)
WAVPACK = Format("WavPack", _PYAV)
TTA = Format("True Audio", _PYAV)
DSF = Format("DSF", _PYAV)

# Extensions that a search of a folder includes. A file given by name may have any: its content decides.
AUDIO_SUFFIXES = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".dsf", ".flac", ".flv",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpc", ".mpga", ".nist", ".oga", ".ogg",
    ".opus", ".rf64", ".snd", ".sph", ".tta", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv",
})  # fmt: skip

# Offset, bytes expected there, and their meaning.
_SIGNATURES: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (4, b"ftyp", MP4),
    (4, b"moov", MP4),
    (4, b"mdat", MP4),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"riff\x2e\x91\xcf\x11", WAVE64),
    (0, b".snd", AU),
    (0, b"caff", CAF),
    (0, b"NIST_1A", Format("NIST SPHERE", _BOTH)),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (0, b"#!AMR", AMR),
    (0, b"FLV\x01", FLV),
    (0, b"MAC ", APE),
    (0, b"wvpk", WAVPACK),
    (0, b"TTA1", TTA),
    (0, b"MPCK", Format("Musepack", _PYAV)),
    (0, b"MP+", Format("Musepack", _PYAV)),
    (0, b"DSD ", DSF),
    (0, b"\x0b\x77", Format("AC-3", _PYAV)),
    (0, b"\x00\x00\x01\xba", Format("MPEG program stream", _PYAV)),
)

_NOT_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"MThd", "MIDI, which has notes but no sound; render it first"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"\x93NUMPY", "a NumPy array file; give the array itself: numpy.load(path)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
)
_TAR_MAGIC_AT = 257


def sniff(file: BinaryIO) -> Format | None:
    """The format of a seekable file, or None if its first bytes are unknown."""
    head = _head(file, 0)
    start = id3_length(head)
    if start:  # MP3, AAC and FLAC may begin with a tag
        head = _head(file, start)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        if head[8:12] == b"WAVE":
            return WAV
        return AVI if head[8:12] == b"AVI " else None
    if head[:4] == b"FORM":
        return AIFF if head[8:12] in (b"AIFF", b"AIFC") else None
    for offset, signature, found in _SIGNATURES:
        if head.startswith(signature, offset):
            return found
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return ADTS
    if is_mpeg_audio(head) or start:
        return MP3
    if len(head) > 188 and head[0] == head[188] == 0x47:
        return Format("MPEG transport stream", _PYAV)
    return None


def id3_length(head: bytes) -> int:
    """Length in bytes of the ID3v2 tag at the beginning of a file; 0 without one."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)


def is_mpeg_audio(head: bytes) -> bool:
    """Whether these bytes begin with the header of an MPEG audio frame (layer I, II or III)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer != 0 and bit_rate != 15 and sample_rate != 3


def may_hide_frames(file: BinaryIO) -> bool:
    """Whether a file without a known beginning may be a stream with something in front, and no archive."""
    head = _head(file, 0)
    return bool(head) and not _other_content(head)


def _other_content(head: bytes) -> str | None:
    """Description of content that is known and not audio."""
    if head.startswith(b"ustar", _TAR_MAGIC_AT):
        return "a tar archive; unpack it first"
    return next((text for signature, text in _NOT_AUDIO if head.startswith(signature)), None)


def describe_unknown(file: BinaryIO) -> str:
    """Description of a file without known audio, as the end of a sentence."""
    head = _head(file, 0)
    if not head:
        return "an empty file (0 bytes)"
    if known := _other_content(head):
        return known
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:  # the last character may be incomplete
        text = head[: error.start].decode("utf-8") if error.start > _HEAD_BYTES - 4 else ""
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        return "an HTML page, perhaps an error page in place of a download"
    if text and all(character.isprintable() or character.isspace() for character in text):
        return f"text (it begins {text[:20]!r})"
    return f"no known audio format (it begins {head[:8].hex(' ')})"


def _head(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(_HEAD_BYTES)

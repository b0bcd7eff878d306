"""Uncompressed audio from a pipe: raw samples, or WAV, with or without a length in its header."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.audio.arrays import scale_to_unit
from pannsx.audio.containers import METADATA, is_unknown
from pannsx.audio.reader import downmix
from pannsx.errors import AudioError
from pannsx.types import FloatArray

# Keys are ffmpeg's names of raw formats. Samples of three bytes are widened to four.
ENCODINGS = {
    "s16le": "<i2", "s24le": "<i4", "s32le": "<i4", "f32le": "<f4", "f64le": "<f8",
    "s16be": ">i2", "s32be": ">i4", "f32be": ">f4", "u8": "u1", "mulaw": "u1", "alaw": "u1",
}  # fmt: skip

_READ_BYTES = 1 << 16
_MOST_METADATA = 1 << 20  # bytes of an unknown chunk after the samples
_INTEGER, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WAV_ENCODINGS = {
    (_INTEGER, 8): "u8", (_INTEGER, 16): "s16le", (_INTEGER, 24): "s24le", (_INTEGER, 32): "s32le",
    (_FLOAT, 32): "f32le", (_FLOAT, 64): "f64le", (_A_LAW, 8): "alaw", (_MU_LAW, 8): "mulaw",
}  # fmt: skip


class PcmFormat(NamedTuple):
    """Layout of the samples.

    Attributes:
        sample_rate: in Hz.
        n_channels: channels ``C``, interleaved.
        encoding: a key of ``ENCODINGS``.
        n_bytes: length of the samples, or None if they last until the end of the pipe.
    """

    sample_rate: int
    n_channels: int
    encoding: str
    n_bytes: int | None = None


def read_wav_header(pipe: BinaryIO) -> PcmFormat:
    """Read a WAV header up to the first sample -> the layout of the samples.

    Raises:
        AudioError: the data is not WAV, is damaged, or is not PCM, A-law or mu-law.
    """
    riff = _exactly(pipe, 12)
    if riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
        raise AudioError(
            f"the pipe does not hold WAV: it begins with {riff[:4]!r}. Convert it with ffmpeg "
            "(ffmpeg -i ... -f wav - | pannsx stream -), or give --rate if it holds raw samples"
        )
    found: PcmFormat | None = None
    while True:
        name, size = struct.unpack("<4sI", _exactly(pipe, 8))
        if name == b"data":
            if found is None:
                raise AudioError("the pipe's WAV has no fmt chunk before its samples; it is damaged")
            # In a pipe, 0 also means unknown: the program could not seek back to fill it in.
            to_the_end = size == 0 or is_unknown(size) or riff[:4] == b"RF64"
            return found._replace(n_bytes=None if to_the_end else size)
        chunk = _exactly(pipe, size + size % 2)
        if name == b"fmt ":
            found = _parse_format(chunk)


def _parse_format(chunk: bytes) -> PcmFormat:
    if len(chunk) < 16:
        raise AudioError(
            f"the pipe's WAV has a fmt chunk of {len(chunk)} bytes, and at least 16 are needed; it is damaged"
        )
    kind, n_channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    encoding = _WAV_ENCODINGS.get((kind, bits))
    if encoding is None or n_channels < 1:
        raise AudioError(
            f"the pipe's WAV has format {kind} with {bits} bits and {n_channels} channels; PCM of 8, 16, 24 "
            "or 32 bits, floating point, A-law or mu-law is needed: ffmpeg -i ... -f wav -c:a pcm_s16le -"
        )
    return PcmFormat(rate, n_channels, encoding)


def read_blocks(pipe: BinaryIO, pcm: PcmFormat) -> Iterator[FloatArray]:
    """Mono blocks ``(n,)`` of any length, as soon as they arrive; an incomplete last frame is left out.

    Samples beyond the stated length are read too, with a warning, and so is another WAV file of the same
    layout.

    Raises:
        AudioError: the pipe ends before the length that its header states, after all blocks; or a file of
            another layout follows.
    """
    frame_bytes = pcm.n_channels * (
        3 if pcm.encoding == "s24le" else np.dtype(ENCODINGS[pcm.encoding]).itemsize
    )
    waiting = after = b""
    n_stated = n_left = pcm.n_bytes
    while n_left is None or n_left > 0:
        # read1 returns as soon as it has some bytes; read would wait for all of them.
        fresh = after or pipe.read1(_READ_BYTES)  # type: ignore[attr-defined]
        if not fresh:
            if n_left is not None and n_stated is not None:
                raise AudioError(
                    f"the pipe's header announces {n_stated} bytes of samples, and the pipe ended after "
                    f"{n_stated - n_left}; did the program before pannsx fail?"
                )
            return
        after = b""
        if n_left is not None:
            fresh, after = fresh[:n_left], fresh[n_left:]
            n_left -= len(fresh)
        waiting += fresh
        n_whole = len(waiting) // frame_bytes * frame_bytes
        if n_whole:
            frames = _samples(waiting[:n_whole], pcm.encoding).reshape(-1, pcm.n_channels)
            yield downmix(scale_to_unit(frames))
            waiting = waiting[n_whole:]
        if n_left == 0:
            after, n_left = _what_follows(_Prefixed(after, pipe), pcm)
            n_stated = n_left


class _Prefixed:
    """A pipe, some bytes of which have been read already."""

    def __init__(self, prefix: bytes, pipe: BinaryIO) -> None:
        self.prefix = prefix
        self._pipe = pipe

    def read(self, n_bytes: int) -> bytes:
        """So many bytes, or all that are left."""
        found, self.prefix = self.prefix[:n_bytes], self.prefix[n_bytes:]
        return found + self._pipe.read(n_bytes - len(found)) if len(found) < n_bytes else found


def _what_follows(pipe: _Prefixed, pcm: PcmFormat) -> tuple[bytes, int | None]:
    """What comes after the stated samples: bytes of samples, and how many in all; 0: nothing.

    Raises:
        AudioError: a WAV file of another layout.
    """
    if pcm.n_bytes is not None and pcm.n_bytes % 2:
        pipe.read(1)
    while True:
        head = pipe.read(8)
        if len(head) < 8:
            return b"", 0
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"RIFF", b"RF64"):
            found = read_wav_header(_Prefixed(head + pipe.prefix, pipe._pipe))  # type: ignore[arg-type]
            if found[:3] != pcm[:3]:
                raise AudioError(f"the pipe goes on with another WAV file, {found[:3]} after {pcm[:3]}")
            return b"", found.n_bytes
        is_name = name.isascii() and name.decode().isprintable()
        if name not in METADATA and not (is_name and size < _MOST_METADATA):
            warnings.warn(
                f"the pipe's header announces {pcm.n_bytes} bytes of samples and more follow; they are read",
                stacklevel=3,
            )
            return head + pipe.prefix, None
        pipe.read(size + size % 2)


def _samples(raw: bytes, encoding: str) -> npt.NDArray[Any]:
    if encoding in ("mulaw", "alaw"):
        return _law(encoding)[np.frombuffer(raw, np.uint8)]
    if encoding != "s24le":
        return np.frombuffer(raw, ENCODINGS[encoding])
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return wide.reshape(-1).view("<i4")


@cache
def _law(encoding: str) -> npt.NDArray[np.int16]:
    """``(256,)`` the 16-bit sample of every byte.  Source: ITU-T G.711, tables 1 and 2."""
    codes = np.arange(256)
    if encoding == "mulaw":
        codes = ~codes & 0xFF
        size = (((codes & 15) << 3) + 0x84 << (codes >> 4 & 7)) - 0x84
        return np.where(codes & 0x80, -size, size).astype(np.int16)
    codes ^= 0x55
    step, exponent = (codes & 15) << 4, codes >> 4 & 7
    size = np.where(exponent == 0, step + 8, step + 0x108 << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, size, -size).astype(np.int16)


def _exactly(pipe: BinaryIO, n_bytes: int) -> bytes:
    found = pipe.read(n_bytes)
    if len(found) < n_bytes:
        raise AudioError(
            "the pipe ends before the first sample; did the program before pannsx fail?"
            if found
            else "the pipe is empty; did the program before pannsx fail?"
        )
    return found

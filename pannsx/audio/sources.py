"""From any source (path, bytes, file object, array, tensor) to an open reader."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pannsx.audio.arrays import ArrayReader, is_tensor
from pannsx.audio.formats import MP3, Format, describe_unknown, may_hide_frames, sniff
from pannsx.audio.guard import reading
from pannsx.audio.joined import JoinedReader
from pannsx.audio.mp3 import has_frames
from pannsx.audio.objects import Sound, opened
from pannsx.audio.parts import parts_of, unwrapped
from pannsx.audio.pyav import PyavReader
from pannsx.audio.reader import Reader, check_channel, check_rate
from pannsx.audio.sndfile import SndfileReader, UnsupportedCodecError
from pannsx.audio.view import Checked
from pannsx.errors import AudioError
from pannsx.types import Channel, Source

_SPOOL_BYTES = 32 << 20  # a stream without seek is kept in memory up to this size, then on disk
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # at least two letters: "C:/" is a drive


@contextmanager
def open_reader(
    source: Source,
    *,
    source_rate: int | None = None,
    wanted_rate: int | None = None,
    channel: Channel = "mean",
    salvage: bool = False,
) -> Iterator[Reader]:
    """The reader of a source, closed at the end, together with the file if it was opened here.

    Args:
        source: see :data:`Source`.
        source_rate: rate of an array or tensor, in Hz; None: ``wanted_rate``.
        wanted_rate: the rate that the caller will convert to, if any.
        channel, salvage: see :func:`pannsx.audio.load`.

    Raises:
        AudioError: the source cannot be opened or is not audio, or its rate is missing or contradicted.
    """
    if source_rate is not None:
        source_rate = check_rate(source_rate, "source_rate")
    with reading(f"the {type(source).__name__}"):
        source = opened(source)
    if isinstance(source, Sound):
        if source_rate not in (None, source.sample_rate):
            raise AudioError(
                f"the sound has a sample rate of {source.sample_rate} Hz, and source_rate is {source_rate} "
                "Hz; leave source_rate out: a pair, a dict or an AudioSegment states its rate"
            )
        source_rate = check_rate(source.sample_rate, "the sample rate of the sound")
        source = source.samples
    if isinstance(source, np.ndarray) or is_tensor(source):
        rate = source_rate or wanted_rate
        if rate is None:
            raise AudioError("an array has no sample rate; give it: source_rate=44100 (or its actual rate)")
        reader: Reader = ArrayReader(source, rate)
        reader.channel = check_channel(channel, reader)
        yield reader
        return
    with ExitStack() as stack:
        file, name = open_file(source, stack)
        with reading(name):
            reader = _open_decoder(file, name)
        stack.callback(reader.close)
        if source_rate is not None and source_rate != reader.sample_rate:
            raise AudioError(
                f"{name} has a sample rate of {reader.sample_rate} Hz, and source_rate is {source_rate} Hz; "
                "a rate is needed for arrays only: leave it out for files"
            )
        reader.channel, reader.salvage = check_channel(channel, reader), salvage
        for remark in reader.remarks:
            warnings.warn(f"{name} {remark}", stacklevel=3)
        yield reader


def file_name(source: Source) -> str | None:
    """The path of a source as it was given, the name of an open file, or None."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


def _open_decoder(file: BinaryIO, name: str) -> Reader:
    found = sniff(file)
    if found is None and may_hide_frames(file) and has_frames(file):
        found = MP3
    if found is None:
        raise AudioError(
            f"{name} is not audio: it is {describe_unknown(file)}; give WAV, FLAC, AIFF, Ogg, MP3, or with "
            "pannsx[av] M4A, MP4 or WebM"
        )
    file, found, around = unwrapped(file, found, name)
    parts = parts_of(file, found, name)
    if around is not None and around.defect is not None and parts[-1].defect is None:
        parts[-1] = parts[-1]._replace(defect=around.defect, state=around.state)
    if len(parts) == 1:
        return _open_part(parts[0], found, name)
    openers = [
        partial(_open_part, part, found, f"{name} (file {i} of {len(parts)} in it)")
        for i, part in enumerate(parts, 1)
    ]
    return JoinedReader(openers, name)


def _open_part(checked: Checked, found: Format, name: str) -> Reader:
    """A reader by the first decoder that can decode it."""
    reason = ""
    if "soundfile" in found.decoders:
        try:
            return SndfileReader(checked, found, name)
        except UnsupportedCodecError as error:
            reason = str(error)
    return PyavReader(checked, found, name, reason)


def open_file(source: Any, stack: ExitStack) -> tuple[BinaryIO, str]:
    """A seekable binary file, and its name for messages."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return _seekable(stack.enter_context(_open_path(path)), stack, repr(path)), repr(path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), f"the source of {memoryview(source).nbytes} bytes"
    if not hasattr(source, "read"):
        raise AudioError(
            f"cannot read audio from {type(source).__name__}; give a path, the bytes of a file, a binary "
            "file object, a NumPy array (samples,) or (samples, channels), a torch tensor, a pair "
            "(rate, array), or an audio dict of Hugging Face datasets"
        )
    known = getattr(source, "name", None)  # None or a number: of a temporary file
    name = f"the file object {known!r}" if isinstance(known, (str, bytes)) else "the file object"
    if isinstance(source, io.TextIOBase):
        raise AudioError(f"{name} is open as text; open it in binary mode: open(path, 'rb')")
    return _seekable(source, stack, name), name


def _open_path(path: str) -> BinaryIO:
    if _URL.match(path):
        raise AudioError(
            f"{path!r} is a URL; fetch it first and give the bytes: urllib.request.urlopen(url).read()"
        )
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        where = "" if Path(path).is_absolute() else f" in {os.fspath(Path.cwd())!r}"
        raise AudioError(f"there is no file {path!r}{where}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        # Windows raises PermissionError for a folder, hence this test afterwards.
        if not isinstance(error, ValueError) and Path(path).is_dir():
            raise AudioError(f"{path!r} is a folder; give the audio files in it one by one") from error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AudioError(f"cannot open {path!r}: {reason}") from error


def _is_seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except AttributeError:  # no such method, or that of a member of a tar archive in a pipe, which fails
        return False


def _seekable(file: Any, stack: ExitStack, name: str) -> BinaryIO:
    """The file, at its beginning; without seek, a copy of the rest of it."""
    try:
        if _is_seekable(file):
            file.seek(0)
            seekable: BinaryIO = file
            return seekable
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115
        shutil.copyfileobj(file, spool)
    except Exception as error:  # closed, gone, text instead of bytes, or an error of its own
        raise AudioError(f"cannot read {name}: {error}; give a binary file object that is open") from error
    spool.seek(0)
    return spool  # type: ignore[return-value]

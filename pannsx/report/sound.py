"""The recording inside a page: the file itself if browsers play its format, else converted to FLAC."""

from __future__ import annotations

import io
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import soundfile

from pannsx.audio import load
from pannsx.audio.formats import PLAYED_TYPES
from pannsx.report.picture import data_uri
from pannsx.types import Source


def playable(source: Source, source_rate: int | None = None) -> str:
    """A source as :func:`pannsx.audio.load` takes it -> a data URI for ``<audio src>``.

    Raises:
        AudioError: the source needs decoding, which fails.
    """
    if isinstance(source, (str, PathLike)):
        path = Path(fspath(source))
        kind = PLAYED_TYPES.get(path.suffix.lower())
        if kind is not None and path.is_file():
            return data_uri(path.read_bytes(), kind)
    audio = load(source, source_rate if _is_array(source) else None)
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio.waveform, -1, 1), audio.sample_rate, format="FLAC", subtype="PCM_16")
    return data_uri(file.getvalue(), "audio/flac")


def _is_array(source: Source) -> bool:
    return hasattr(source, "shape")

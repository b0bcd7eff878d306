"""The sources of a call: one or several, and errors that name the one they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from os import PathLike
from typing import cast

import numpy as np

from pannsx.audio.objects import is_pair
from pannsx.errors import AudioError
from pannsx.types import Source

_MOST_CHANNELS_AT_A_GLANCE = 32


def is_one(sources: Iterable[Source]) -> bool:
    """Whether this is known to be a single source, so that errors need no number."""
    return isinstance(sources, Sized) and len(sources) == 1


def at_source(number: int, source: Source, error: AudioError) -> AudioError:
    """The error with the number and name of its source among several."""
    name = repr(str(source)) if isinstance(source, (str, PathLike)) else type(source).__name__
    named = AudioError(f"source {number} ({name}): {error}")
    named.__cause__ = error
    return named


def as_sources(audio_in: Source | Sequence[Source]) -> tuple[list[Source], bool]:
    """One source or several -> a list, and whether there were several.

    Several are a list or tuple of sources (but a pair of a rate and an array is one), or a 2-D array or
    tensor ``(N, S)`` of equally long waveforms.

    Raises:
        AudioError: nothing, numbers instead of sources, or a 2-D array that is apparently
            ``(samples, channels)``.
    """
    if is_pair(audio_in):
        return [cast(Source, audio_in)], False
    if isinstance(audio_in, (list, tuple)):
        if not audio_in:
            raise AudioError("the list of sources is empty; give at least one path or waveform")
        if isinstance(audio_in[0], (int, float, np.number)):
            raise AudioError(
                f"got a {type(audio_in).__name__} of numbers; one waveform is a NumPy array: "
                "use numpy.asarray(samples, dtype=numpy.float32)"
            )
        return list(audio_in), True
    shape = getattr(audio_in, "shape", None)
    if shape is None or len(shape) != 2:
        return [cast(Source, audio_in)], False
    n, n_samples = shape
    if n > n_samples and n_samples <= _MOST_CHANNELS_AT_A_GLANCE:
        raise AudioError(
            f"the array has shape ({n}, {n_samples}), which looks like (samples, channels); a 2-D array is a "
            "batch (N, samples). For one stereo source give [array] (a list of one: it is mixed down), "
            "or array.mean(axis=1)"
        )
    if n == 0:
        raise AudioError("the batch has shape (0, ...); give at least one waveform")
    return list(cast("Sequence[Source]", audio_in)), True

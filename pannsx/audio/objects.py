"""Audio in the objects of other libraries, recognised without importing them.

Hugging Face datasets give ``{"array", "sampling_rate"}`` or a decoder of torchcodec, Gradio gives
``(rate, array)``, soundfile and librosa give ``(array, rate)``, pydub gives an ``AudioSegment``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.errors import AudioError


class Sound(NamedTuple):
    """Samples ``(S,)`` or ``(S, C)`` with their rate."""

    samples: Any
    sample_rate: int


def is_pair(source: object) -> bool:
    """Whether this is a rate and an array or tensor, in either order, and no list of sources."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    return any(_is_rate(source[i]) and hasattr(source[1 - i], "shape") for i in (0, 1))


def opened(source: Any) -> Any:
    """The samples with their rate of another library's object, or the file it stands for; else the source.

    Raises:
        AudioError: an object of a known kind, but not usable.
    """
    if is_pair(source):
        rate, samples = source if _is_rate(source[0]) else source[::-1]
        return Sound(samples, int(rate))
    if isinstance(source, Mapping):
        return _of_mapping(source)
    if hasattr(source, "get_all_samples"):  # torchcodec's AudioDecoder
        found = source.get_all_samples()
        return Sound(found.data.T, int(found.sample_rate))  # (C, S)
    if all(hasattr(source, name) for name in ("frame_rate", "sample_width", "channels", "raw_data")):
        return Sound(_of_segment(source), int(source.frame_rate))
    return source


def _of_mapping(source: Mapping[str, Any]) -> Any:
    """An item of a column of audio in Hugging Face datasets, decoded or not."""
    if source.get("array") is not None and source.get("sampling_rate") is not None:
        samples = source["array"]
        samples = samples if hasattr(samples, "shape") else np.asarray(samples)
        if len(samples.shape) == 2 and samples.shape[0] < samples.shape[1]:
            samples = samples.T  # datasets has (C, S)
        return Sound(samples, int(source["sampling_rate"]))
    for name in ("bytes", "path"):
        if isinstance(source.get(name), (bytes, str, os.PathLike)):
            return source[name]
    keys = ", ".join(map(repr, source)) or "no keys"
    hint = "; give its column of audio, such as row['audio']" if "audio" in source else ""
    raise AudioError(
        f"the dict has {keys}; 'array' and 'sampling_rate', or 'bytes' or 'path' are needed, as in a column "
        f"of audio of Hugging Face datasets{hint}"
    )


def _of_segment(segment: Any) -> npt.NDArray[Any]:
    """The samples ``(S, C)`` of a pydub ``AudioSegment``."""
    raw, width = segment.raw_data, segment.sample_width
    if width not in (1, 2, 4):
        raise AudioError(
            f"the AudioSegment has samples of {width} bytes; 1, 2 or 4 are supported: call its "
            "set_sample_width(2)"
        )
    samples = np.frombuffer(raw, f"<i{width}")  # pydub's single bytes are signed
    return samples.reshape(-1, segment.channels)


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)

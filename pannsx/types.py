"""Types shared by many signatures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, Union

if TYPE_CHECKING:  # paths do not need NumPy, arrays do not need torch
    import numpy as np
    import numpy.typing as npt
    import torch

FloatArray: TypeAlias = "npt.NDArray[np.float32]"

DoubleArray: TypeAlias = "npt.NDArray[np.float64]"

IntArray: TypeAlias = "npt.NDArray[np.int64]"

PathLike: TypeAlias = str | os.PathLike[str]

Channel: TypeAlias = int | Literal["mean"]
"""A channel by its number from 0 (the first, or left), or the mean of all channels."""

FrameSource: TypeAlias = Literal["native", "local_pooling"]
"""``"native"``: the network was trained through its frames (the DecisionLevel models); ``"local_pooling"``:
its clip head is applied to each frame and its neighbours."""


class BinaryFile(Protocol):
    """A file object opened in binary mode."""

    def read(self, n: int = ..., /) -> bytes:
        """At most ``n`` bytes; without ``n``, all that remain."""


Source: TypeAlias = Union[
    PathLike, bytes, bytearray, memoryview, BinaryFile, "npt.NDArray[Any]", "torch.Tensor",
    Mapping[str, Any], "tuple[int, npt.NDArray[Any]]", "tuple[npt.NDArray[Any], int]",
]  # fmt: skip
"""A path (``str`` or ``os.PathLike``); the bytes of a file; a binary file object, read from its
beginning if it can seek; a NumPy array ``(S,)`` or ``(S, C)`` of any integer or floating-point type; or a
torch tensor of these shapes, on any device.  Also sounds that state their rate: a pair ``(rate, array)`` or
``(array, rate)``, as Gradio and soundfile give them; the audio of Hugging Face datasets, as a dict or a
decoder of torchcodec; a pydub ``AudioSegment``."""

OnProgress: TypeAlias = Callable[[int, float], None]
"""Called with the number of a source, from 0, and the seconds of it that are done."""

"""The part of :class:`pannsx.TaggingResult` that a report reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pannsx.types import FloatArray


class Result(Protocol):
    """Probabilities of one source; see :class:`pannsx.TaggingResult`, a module above this one."""

    @property
    def framewise(self) -> FloatArray | None:
        """``(T', K)`` probability of each class in each frame."""

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""

    @property
    def offset_s(self) -> float:
        """Centre of the first frame, in seconds."""

    @property
    def labels(self) -> tuple[str, ...]:
        """``K`` names."""

    @property
    def duration_s(self) -> float:
        """Length of the source, in seconds."""

    @property
    def frame_source(self) -> str:
        """``"native"`` or ``"local_pooling"``."""

    def top(self, k: int) -> Sequence[tuple[str, float]]:
        """The ``k`` most probable labels with their probabilities, most probable first."""

"""The parts of :class:`pannsx.TaggingResult` that a report reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pannsx.events import OperatingPoints
from pannsx.types import FloatArray


class Grid(Protocol):
    """Times and labels of frames; see :class:`pannsx.results.OnGrid`, a module above this one."""

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
    def label_ids(self) -> tuple[str, ...] | None:
        """``K`` machine ids, or None."""

    @property
    def frame_source(self) -> str:
        """``"native"`` or ``"local_pooling"``."""

    @property
    def model(self) -> str | None:
        """Name of the checkpoint, or None."""


class Result(Grid, Protocol):
    """What is said of a whole recording; see :class:`pannsx.TaggingResult`."""

    @property
    def duration_s(self) -> float:
        """Length of the source, in seconds."""

    @property
    def framewise(self) -> FloatArray | None:
        """``(T', K)`` probability of each class in each frame, or None."""

    @property
    def operating_points(self) -> OperatingPoints | None:
        """Calibrated thresholds of the checkpoint, or None."""

    def top(self, k: int) -> Sequence[tuple[str, float]]:
        """The ``k`` most probable labels with their probabilities, most probable first."""

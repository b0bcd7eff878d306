"""Times of frames and classes of columns, shared by all results with frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.labels import LabelSet
from pannsx.types import FloatArray, FrameSource


@dataclass(frozen=True)
class FrameGrid:
    """Times of the frames of a result, and classes of their columns.

    Attributes:
        hop_s: seconds from one frame to the next.
        offset_s: centre of the first frame, in seconds.
        labels: ``K`` names, in the order of the last axis.
        frame_source: ``"native"`` if the network was trained through its frames (the DecisionLevel models);
            ``"local_pooling"`` if its clip head is applied to each frame and its neighbours.
        label_ids: ``K`` machine ids of the labels, such as AudioSet's ``/m/09x0r``, or None.
        model: name of the checkpoint, or None.
    """

    hop_s: float
    offset_s: float
    labels: tuple[str, ...] = field(repr=False)
    frame_source: FrameSource
    label_ids: tuple[str, ...] | None = field(default=None, repr=False)
    model: str | None = None

    def times_s(self, n_frames: int, first: int = 0) -> npt.NDArray[np.float64]:
        """``(n_frames,)`` centres of the frames in seconds, starting at frame ``first``."""
        return self.offset_s + self.hop_s * (first + np.arange(n_frames, dtype=np.float64))

    @cached_property
    def label_set(self) -> LabelSet:
        """The labels with their ids."""
        return LabelSet(self.labels, self.label_ids)

    def mids(self) -> dict[str, str]:
        """The machine ids by label; empty if there are none."""
        return dict(zip(self.labels, self.label_ids or (), strict=bool(self.label_ids)))


class OnGrid:
    """Base of results with frames: the fields of their :class:`FrameGrid`."""

    grid: FrameGrid

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.grid.hop_s

    @property
    def offset_s(self) -> float:
        """Centre of frame 0, in seconds."""
        return self.grid.offset_s

    @property
    def labels(self) -> tuple[str, ...]:
        """``K`` names, in the order of the last axis."""
        return self.grid.labels

    @property
    def label_ids(self) -> tuple[str, ...] | None:
        """``K`` machine ids, such as AudioSet's ``/m/09x0r``, or None."""
        return self.grid.label_ids

    @property
    def model(self) -> str | None:
        """Name of the checkpoint, or None."""
        return self.grid.model

    @property
    def frame_source(self) -> FrameSource:
        """``"native"`` or ``"local_pooling"``: see :class:`FrameGrid`."""
        return self.grid.frame_source


class FrameEmbeddings(NamedTuple):
    """Embeddings of one source over time: ``embeddings (T', D)`` and ``times_s (T',)`` of their centres."""

    embeddings: FloatArray
    times_s: npt.NDArray[np.float64]

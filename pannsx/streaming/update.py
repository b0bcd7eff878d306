"""Output of a stream: final frames and finished events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pannsx.events import Event
from pannsx.results import FrameGrid, OnGrid
from pannsx.tags import Tag, top_tags
from pannsx.types import FloatArray


@dataclass(frozen=True, eq=False)
class StreamUpdate(OnGrid):
    """The ``n`` frames of one step, and the clip outputs of their window.

    Attributes:
        framewise: ``(n, K)`` probability of each class in each of these frames.
        first_frame: number of the first of them, counted from the beginning of the stream.
        events: if requested, the events that became final with this step; they ended some time before these
            frames.
        clipwise: ``(K,)`` probability of each class in the whole window.
        embedding: ``(D,)`` embedding of the window.
        window_s: begin and end of the window, in seconds from the beginning of the stream.
        grid: times and labels of the frames, as in :class:`pannsx.results.TaggingResult`.
    """

    framewise: FloatArray
    first_frame: int
    events: tuple[Event, ...]
    clipwise: FloatArray
    embedding: FloatArray = field(repr=False)
    window_s: tuple[float, float]
    grid: FrameGrid

    @property
    def frame_times(self) -> npt.NDArray[np.float64]:
        """``(n,)`` centre of each frame, in seconds from the beginning of the stream."""
        return self.grid.times_s(len(self.framewise), self.first_frame)

    @property
    def start_s(self) -> float:
        """Begin of the frames in seconds: half a hop before the first centre, but not before 0."""
        return max(0.0, self.offset_s + self.hop_s * (self.first_frame - 0.5))

    @property
    def stop_s(self) -> float:
        """End of the frames in seconds: half a hop after the last centre."""
        return self.offset_s + self.hop_s * (self.first_frame + len(self.framewise) - 0.5)

    def top(
        self,
        k: int = 5,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        leaves: bool = False,
    ) -> list[Tag]:
        """The ``k`` most probable tags of these frames, by maximum over the frames.

        The other arguments are those of :meth:`pannsx.results.TaggingResult.top`.
        """
        highest = self.framewise.max(axis=0, initial=0.0)
        return top_tags(highest, self.grid.label_set, k, threshold=threshold, classes=classes, leaves=leaves)

    def __repr__(self) -> str:
        tags = ", ".join(f"{tag.label} {tag.probability:.3f}" for tag in self.top(3))
        n = len(self.framewise)
        return f"<StreamUpdate {self.start_s:.2f} to {self.stop_s:.2f} s, {n} frames: {tags}>"

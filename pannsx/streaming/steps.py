"""Windows of samples for the next frames: the arithmetic of receptive fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pannsx.models.structure import Network


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a stream, of a few frames each.

    Attributes:
        hop_samples: samples from one frame to the next.
        before: frames by which a window begins earlier, as context of its first new frame.
        past_start: samples that frame ``n`` needs past ``n * hop_samples``.
        advance: frames per step.
    """

    hop_samples: int
    before: int
    past_start: int
    advance: int

    @classmethod
    def of(cls, model: Network, step_s: float) -> Steps:
        """Steps of ``step_s`` seconds, rounded down to whole frames, at least one."""
        seen = model.receptive_field
        return cls(
            hop_samples=seen.hop_samples,
            before=math.ceil(max(0, -seen.first) / seen.hop_samples),
            past_start=seen.last + 1,
            advance=max(1, int(step_s * model.sample_rate / seen.hop_samples)),
        )

    def first_window_frame(self, frame: int) -> int:
        """First frame of the window whose first new frame is ``frame``."""
        return max(0, frame - self.before)

    def stop(self, frame: int) -> int:
        """Number of samples needed before a step can begin with this frame."""
        return (frame + self.advance - 1) * self.hop_samples + self.past_start

    @property
    def window_samples(self) -> int:
        """Length of a step's window, once the stream is that long."""
        return (self.before + self.advance - 1) * self.hop_samples + self.past_start

"""Which samples the network hears for which frames: the arithmetic of receptive fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pannsx.models import Pann


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a stream, of a few frames each.

    Attributes:
        hop_samples: samples from one frame to the next.
        before: frames to begin earlier, so that the first new frame has all of its past.
        past_start: samples past the place of a frame (``n * hop_samples``) that it needs.
        advance: frames of a step.
    """

    hop_samples: int
    before: int
    past_start: int
    advance: int

    @classmethod
    def of(cls, model: Pann, step_s: float) -> Steps:
        """Steps of ``step_s`` seconds, rounded down to whole frames, one at least."""
        seen = model.receptive_field
        return cls(
            hop_samples=seen.hop_samples,
            before=math.ceil(max(0, -seen.first) / seen.hop_samples),
            past_start=seen.last + 1,
            advance=max(1, int(step_s * model.sample_rate / seen.hop_samples)),
        )

    def first_window_frame(self, frame: int) -> int:
        """The frame that a window begins with whose first new frame is this one."""
        return max(0, frame - self.before)

    def stop(self, frame: int) -> int:
        """Samples that must have been heard before a step can begin with this frame."""
        return (frame + self.advance - 1) * self.hop_samples + self.past_start

    @property
    def window_samples(self) -> int:
        """Length of the window of a step, once there is that much sound."""
        return (self.before + self.advance - 1) * self.hop_samples + self.past_start

"""Windows of long audio: their positions, the part that each stands for, and joining their outputs.

A window advances by whole trunk frames, so that the frames of all windows are on one grid and
times do not drift.  The last window starts earlier, again by whole frames, to have full length:
the end of a file has as much context as its middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from pannsx.types import FloatArray

Combination = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Length and advance of the windows of one model.

    Attributes:
        window_samples: length ``S`` of a full window.
        hop_samples: samples between two trunk frames.
        advance_frames: trunk frames between the starts of two windows.
    """

    window_samples: int
    hop_samples: int
    advance_frames: int

    @property
    def advance_samples(self) -> int:
        """Samples between the starts of two windows."""
        return self.advance_frames * self.hop_samples


def plan_windows(
    *, sample_rate: int, hop_samples: int, min_samples: int, window_s: float, overlap_s: float
) -> WindowPlan:
    """Windows of ``window_s`` seconds that share at least ``overlap_s`` seconds with their neighbours.

    Without a requested overlap, windows still share the remainder of a whole number of frames.

    Raises:
        ValueError: the window is shorter than a frame or than the model's shortest input, or the
            overlap leaves no room to advance.
    """
    if not np.isfinite(window_s) or not np.isfinite(overlap_s) or overlap_s < 0:
        raise ValueError(
            f"window_s is {window_s} and overlap_s {overlap_s}; finite, non-negative seconds are needed"
        )
    window_samples = round(window_s * sample_rate)
    least = max(min_samples, hop_samples)
    if window_samples < least:
        raise ValueError(
            f"window_s is {window_s} s; this model needs at least {least / sample_rate:.3f} s "
            "(its shortest input, and one frame)"
        )
    room = window_samples - round(overlap_s * sample_rate)
    if room < hop_samples:
        raise ValueError(
            f"overlap_s is {overlap_s} s of a window of {window_s} s; it must leave at least one frame "
            f"of {hop_samples / sample_rate:.3f} s to advance by"
        )
    # A window of min_samples gives one frame, and every further hop one more.
    frames_in_window = 1 + (window_samples - min_samples) // hop_samples
    return WindowPlan(window_samples, hop_samples, min(frames_in_window, room // hop_samples))


@dataclass(frozen=True, slots=True)
class Window:
    """``waveform (S,)``, starting at trunk frame ``start_frame`` of the source."""

    start_frame: int
    waveform: FloatArray


def slide(blocks: Iterable[FloatArray], plan: WindowPlan) -> Iterator[Window]:
    """Blocks of samples ``(n,)`` of any length -> windows; holds at most two windows of samples.

    Audio no longer than a window is one window of its own length.
    """
    held: FloatArray = np.zeros(0, np.float32)  # from the start of the window before the next one
    held_start = 0  # in frames
    start = 0
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else np.asarray(block, np.float32)
        while len(held) - (start - held_start) * plan.hop_samples > plan.window_samples:
            begin = (start - held_start) * plan.hop_samples
            yield Window(start, held[begin : begin + plan.window_samples])
            held, held_start = held[begin:], start
            start += plan.advance_frames
    if len(held) == 0:
        return
    spare = plan.window_samples - (len(held) - (start - held_start) * plan.hop_samples)
    drawn_back = min(spare // plan.hop_samples, start - held_start)
    start -= drawn_back
    yield Window(start, held[(start - held_start) * plan.hop_samples :])


@dataclass(frozen=True, slots=True)
class Extent:
    """Extent of a window: its first frame, its number of frames, its number of samples."""

    start_frame: int
    n_frames: int
    n_samples: int


def border_between(left_stop: int, right_start: int) -> int:
    """The frame at which the right of two windows takes over: the middle of their overlap."""
    return (left_stop + right_start) // 2


def borders(extents: Sequence[Extent]) -> list[int]:
    """``n`` windows -> ``n + 1`` frames; window ``i`` stands for ``borders[i]`` to ``borders[i + 1]``."""
    between = [
        border_between(left.start_frame + left.n_frames, right.start_frame)
        for left, right in pairwise(extents)
    ]
    last = extents[-1]
    return [0, *between, max(last.start_frame + last.n_frames, between[-1] if between else 0)]


def stitch_frames(parts: Sequence[FloatArray], extents: Sequence[Extent]) -> FloatArray:
    """``(T'_i, K)`` of each window -> ``(T', K)``, each frame from the window that stands for it."""
    edges = borders(extents)
    kept = [
        part[begin - extent.start_frame : end - extent.start_frame]
        for part, extent, begin, end in zip(parts, extents, edges[:-1], edges[1:], strict=True)
    ]
    return np.concatenate(kept)


def combine(
    parts: Sequence[FloatArray], extents: Sequence[Extent], how: Combination, hop_samples: int
) -> FloatArray:
    """``(K,)`` of each window -> ``(K,)`` of the whole.

    ``"mean"`` weights a window by the samples it stands for; ``"max"`` takes the maximum of each entry.
    """
    stacked = np.stack(parts)
    if len(parts) == 1:
        return np.asarray(stacked[0])
    if how == "max":
        return np.asarray(stacked.max(axis=0))
    return np.asarray(shares(extents, hop_samples) @ stacked.astype(np.float64), np.float32)


def combine_logits(
    parts: Sequence[FloatArray], extents: Sequence[Extent], how: Combination, hop_samples: int
) -> FloatArray:
    """``(K,)`` logits of each window -> ``(K,)`` logits of the probability that :func:`combine` makes.

    From the logarithms of ``p`` and ``1 - p``, so that nothing is lost where float32 rounds ``p`` to 0 or 1.
    """
    stacked = np.stack(parts)
    if len(parts) == 1 or how == "max":
        return np.asarray(stacked.max(axis=0))
    parts_of = shares(extents, hop_samples)
    heard, logits = parts_of > 0, stacked.astype(np.float64)
    log_share = np.log(parts_of[heard])[:, None]
    log_p, log_not_p = (
        np.logaddexp.reduce(log_share - np.logaddexp(0.0, side), axis=0)
        for side in (-logits[heard], logits[heard])
    )
    return np.asarray(log_p - log_not_p, np.float32)


def shares(extents: Sequence[Extent], hop_samples: int) -> npt.NDArray[np.float64]:
    """Share of the whole that each window answers for, ``(n,)``."""
    edges = np.array(borders(extents), np.float64) * hop_samples
    edges[-1] = extents[-1].start_frame * hop_samples + extents[-1].n_samples
    weights = np.maximum(np.diff(edges), 0)
    return np.asarray(weights / weights.sum())

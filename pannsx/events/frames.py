"""Begin and end of frames: ``n`` scores have ``n + 1`` edges."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_MOST_BEYOND_S = 0.5  # sound after the last frame: the remainder of whole frames, and padding


def check_hop(hop_s: float) -> float:
    """A valid hop in seconds; otherwise ValueError."""
    if not math.isfinite(hop_s) or hop_s <= 0:
        raise ValueError(f"hop_s is {hop_s}; a finite number of seconds above 0 is needed")
    return float(hop_s)


def edges_at(
    frames: npt.NDArray[np.int64], hop_s: float, offset_s: float | None = None
) -> npt.NDArray[np.float64]:
    """``(n,)`` frame numbers -> ``(n,)`` begin of the frames in seconds."""
    offset_s = hop_s / 2 if offset_s is None else offset_s
    edges = np.maximum(0.0, offset_s + hop_s * (frames - 0.5))
    return np.where(frames == 0, 0.0, edges)


def check_duration(n_frames: int, hop_s: float, duration_s: float, offset_s: float | None = None) -> None:
    """ValueError if audio of ``duration_s`` seconds cannot have ``n_frames`` frames."""
    if not math.isfinite(duration_s) or duration_s < 0:
        raise ValueError(f"duration_s is {duration_s}; the seconds of the audio are needed")
    end_s = float(edges_at(np.array([n_frames]), hop_s, offset_s)[0])
    if n_frames and duration_s - end_s > max(2 * hop_s, _MOST_BEYOND_S):
        raise ValueError(
            f"{n_frames} frames {hop_s:.4g} s apart end at {end_s:.3f} s, and the audio at {duration_s:.3f} "
            f"s: they are not frames of this audio, or not {hop_s:.4g} s apart"
        )


def frame_edges(
    n_frames: int, hop_s: float, *, offset_s: float | None = None, duration_s: float | None = None
) -> npt.NDArray[np.float64]:
    """``n`` frames -> ``(n + 1,)`` times in seconds; frame ``i`` lasts from ``edges[i]`` to ``edges[i + 1]``.

    Edges are halfway between the centres of frames; the first is 0, the last the end of the audio, and none
    is later.

    Args:
        n_frames: number of frames.
        hop_s: seconds from one frame to the next.
        offset_s: centre of the first frame in seconds; None: half a hop, so that edge ``i`` is ``i * hop_s``.
        duration_s: length of the audio in seconds; None: half a hop after the centre of the last frame.

    Raises:
        ValueError: an invalid time, or frames that end so early that they cannot belong to this audio.
    """
    hop_s = check_hop(hop_s)
    if offset_s is not None and not math.isfinite(offset_s):
        raise ValueError(f"offset_s is {offset_s}; a finite number of seconds is needed")
    edges = edges_at(np.arange(n_frames + 1), hop_s, offset_s)
    if duration_s is not None and n_frames:
        check_duration(n_frames, hop_s, duration_s, offset_s)
        edges = np.minimum(edges, duration_s)
        edges[-1] = duration_s
    return edges

"""Features of a source at a level of the network: pooled over time within each window, then over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pannsx.errors import did_you_mean
from pannsx.inference.windows import Combination, Extent, combine, combine_logits, shares
from pannsx.types import FloatArray

if TYPE_CHECKING:
    from pannsx.inference.engine import Engine, Wanted

Pooling = Literal["clip", "mean", "max", "mean_std"]
"""``clip``: as the network pools; ``mean``, ``max``, ``mean_std`` (mean, then deviation): over all frames."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of :meth:`pannsx.models.Pann.forward_features`, and its pooling over time.

    Raises:
        ValueError: an unknown pooling.
    """

    name: str = "fc1"
    pooling: Pooling = "clip"

    def __post_init__(self) -> None:
        known = get_args(Pooling)
        if self.pooling not in known:
            hint = did_you_mean(self.pooling, known) if isinstance(self.pooling, str) else ""
            raise ValueError(f"pooling is {self.pooling!r}{hint}; use one of {', '.join(known)}")

    @property
    def n_statistics(self) -> int:
        """Number of values for each channel."""
        return 2 if self.pooling == "mean_std" else 1


class LevelRunner:
    """``(S_i,)`` waveforms of one group -> ``(n_statistics, n)`` of each, in place of a whole answer.

    Args:
        engine: runs the network.
        level: how far, and the pooling over the frames of a window. The second statistic of ``mean_std`` is
            the variance.
    """

    def __init__(self, engine: Engine, level: Level) -> None:
        self._engine = engine
        self._level = level

    def group_of(self, n_samples: int) -> int:
        """As the engine's; maps of blocks are those of the torch module, which takes one length at a time."""
        from pannsx.inference.engine import HEAD_LEVELS

        return self._engine.group_of(n_samples) if self._level.name in HEAD_LEVELS else n_samples

    def is_full(self, lengths: Sequence[int]) -> bool:
        """As the engine's."""
        return self._engine.is_full(lengths)

    def run_batch(self, waveforms: Sequence[FloatArray], wanted: Wanted) -> list[FloatArray]:
        """Run the waveforms as far as the level."""
        pooling = self._level.pooling
        frames = self._engine.run_level(waveforms, self._level.name, clip=pooling == "clip")
        if pooling == "clip":
            return frames
        return [_statistics(each, pooling) for each in frames]


def _statistics(frames: FloatArray, pooling: Pooling) -> FloatArray:
    """``(T, n)`` -> ``(n_statistics, n)``."""
    if pooling == "max":
        return np.asarray(frames.max(axis=0, keepdims=True))
    if pooling == "mean":
        return np.asarray(frames.mean(axis=0, keepdims=True, dtype=np.float64), np.float32)
    exact = frames.astype(np.float64)
    return np.asarray(np.stack([exact.mean(axis=0), exact.var(axis=0)]), np.float32)


def joined(
    windows: Sequence[FloatArray], extents: Sequence[Extent], level: Level, how: Combination, hop_samples: int
) -> FloatArray:
    """``(n_statistics, n)`` of each window -> ``(n_statistics * n,)`` of the source.

    Means are weighted by time, a variance is that of all frames together, and ``clip`` is combined as ``how``
    says.
    """
    first = [window[0] for window in windows]
    if level.pooling == "clip":
        of_windows = combine_logits if level.name == "logits" else combine
        return of_windows(first, extents, how, hop_samples)
    if level.pooling != "mean_std":
        return combine(first, extents, "max" if level.pooling == "max" else "mean", hop_samples)
    weights = shares(extents, hop_samples)
    stacked = np.stack(windows).astype(np.float64)
    means, variances = stacked[:, 0], stacked[:, 1]
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    return np.concatenate([mean, np.sqrt(variance)]).astype(np.float32)

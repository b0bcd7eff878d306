"""What a tagger returns: plain arrays with their labels and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.errors import did_you_mean

FloatArray = npt.NDArray[np.float32]
FrameSource = Literal["native", "local_pooling"]

_SHOWN = 5


class Tag(NamedTuple):
    """A label and its probability."""

    label: str
    probability: float


def _top(clipwise: FloatArray, labels: tuple[str, ...], k: int) -> list[Tag]:
    if k < 1:
        raise ValueError(f"k is {k}; ask for at least one tag")
    order = np.argsort(-clipwise, kind="stable")[:k]
    return [Tag(labels[i], float(clipwise[i])) for i in order]


@dataclass(frozen=True, eq=False)
class TaggingResult:
    """The answer for one source.

    Attributes:
        clipwise: ``(K,)`` probability of each class in the whole source.
        embedding: ``(D,)`` the layer before the classifier.
        framewise: ``(T', K)`` probability of each class in each frame; None if it was not asked for.
        hop_s: seconds from one frame to the next.
        offset_s: centre of the first frame, in seconds.
        labels: ``K`` names, in the order of the last axis.
        duration_s: length of the source that was read, in seconds.
        frame_source: ``"native"`` where the network was trained to answer by frame (the DecisionLevel
            models); ``"local_pooling"`` where its clip head was applied to each frame's surroundings.
    """

    clipwise: FloatArray
    embedding: FloatArray
    framewise: FloatArray | None
    hop_s: float
    offset_s: float
    labels: tuple[str, ...] = field(repr=False)
    duration_s: float
    frame_source: FrameSource

    def top(self, k: int = _SHOWN) -> list[Tag]:
        """The ``k`` most probable tags, most probable first."""
        return _top(self.clipwise, self.labels, k)

    def probability(self, label: str) -> float:
        """Probability of one class by its name.

        Raises:
            ValueError: no such label.
        """
        if label not in self.labels:
            raise ValueError(f"unknown label {label!r}{did_you_mean(label, self.labels)}")
        return float(self.clipwise[self.labels.index(label)])

    @property
    def frame_times(self) -> npt.NDArray[np.float64]:
        """``(T',)`` centre of each frame, in seconds."""
        if self.framewise is None:
            raise ValueError("there are no frames: the inference was asked for with framewise=False")
        return self.offset_s + self.hop_s * np.arange(len(self.framewise), dtype=np.float64)

    def __repr__(self) -> str:
        tags = ", ".join(f"{tag.label} {tag.probability:.3f}" for tag in self.top(3))
        frames = "no frames" if self.framewise is None else f"{len(self.framewise)} frames"
        return f"<TaggingResult {self.duration_s:.2f} s, {frames}: {tags}>"


@dataclass(frozen=True, eq=False)
class BatchResult:
    """The answers for several sources; ``batch[i]`` is the :class:`TaggingResult` of source ``i``.

    Attributes:
        clipwise: ``(N, K)`` probabilities.
        embedding: ``(N, D)`` embeddings.
        framewise: ``N`` arrays ``(T'_i, K)``, as long as their sources; None if not asked for.
        hop_s, offset_s, labels, frame_source: as in :class:`TaggingResult`.
        durations_s: ``N`` lengths in seconds.
    """

    clipwise: FloatArray
    embedding: FloatArray
    framewise: tuple[FloatArray, ...] | None
    hop_s: float
    offset_s: float
    labels: tuple[str, ...] = field(repr=False)
    durations_s: tuple[float, ...]
    frame_source: FrameSource

    def __len__(self) -> int:
        return len(self.clipwise)

    def __getitem__(self, i: int) -> TaggingResult:
        return TaggingResult(
            clipwise=self.clipwise[i],
            embedding=self.embedding[i],
            framewise=None if self.framewise is None else self.framewise[i],
            hop_s=self.hop_s,
            offset_s=self.offset_s,
            labels=self.labels,
            duration_s=self.durations_s[i],
            frame_source=self.frame_source,
        )

    def __iter__(self) -> Iterator[TaggingResult]:
        return (self[i] for i in range(len(self)))

    def top(self, k: int = _SHOWN) -> list[list[Tag]]:
        """The ``k`` most probable tags of each source."""
        return [_top(clipwise, self.labels, k) for clipwise in self.clipwise]

    def __repr__(self) -> str:
        return (
            f"<BatchResult of {len(self)}: clipwise {self.clipwise.shape}, embedding {self.embedding.shape}>"
        )


class FrameEmbeddings(NamedTuple):
    """Embeddings of one source over time: ``embeddings (T', D)`` and ``times_s (T',)`` of their centres."""

    embeddings: FloatArray
    times_s: npt.NDArray[np.float64]

"""The results for several sources, as arrays and one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pannsx.results.grid import FrameGrid, OnGrid
from pannsx.results.tagging import N_TAGS, TaggingResult
from pannsx.table import data_frame
from pannsx.tags import Tag, top_tags
from pannsx.types import FloatArray

if TYPE_CHECKING:
    from pandas import DataFrame

    from pannsx.events.operating_points import OperatingPoints


@dataclass(frozen=True, eq=False)
class BatchResult(OnGrid):
    """The results for several sources; ``batch[i]`` is the :class:`TaggingResult` of source ``i``.

    Attributes:
        clipwise: ``(N, K)`` probabilities.
        logits: ``(N, K)`` float32; ``clipwise`` is their sigmoid.
        embedding: ``(N, D)`` embeddings.
        framewise: ``N`` arrays ``(T'_i, K)``, one per source; None with ``framewise=False``.
        grid, operating_points: as in :class:`TaggingResult`.
        durations_s: ``N`` lengths in seconds.
        files: ``N`` paths or names, None for a source without one; None: of no source.
        clipwise_max: ``N`` arrays ``(K,)`` as in :class:`TaggingResult`, None for a source of one window;
            None: every source is of one.
        tasks: the results of further heads, by task, as in :class:`TaggingResult`.
    """

    clipwise: FloatArray
    logits: FloatArray = field(repr=False)
    embedding: FloatArray
    framewise: tuple[FloatArray, ...] | None
    grid: FrameGrid
    durations_s: tuple[float, ...]
    operating_points: OperatingPoints | None = field(default=None, repr=False)
    files: tuple[str | None, ...] | None = field(default=None, repr=False)
    clipwise_max: tuple[FloatArray | None, ...] | None = field(default=None, repr=False)
    tasks: Mapping[str, BatchResult] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.clipwise)

    def __getitem__(self, i: int) -> TaggingResult:
        return TaggingResult(
            clipwise=self.clipwise[i],
            logits=self.logits[i],
            embedding=self.embedding[i],
            framewise=None if self.framewise is None else self.framewise[i],
            grid=self.grid,
            duration_s=self.durations_s[i],
            operating_points=self.operating_points,
            file=None if self.files is None else self.files[i],
            clipwise_max=None if self.clipwise_max is None else self.clipwise_max[i],
            tasks={name: batch[i] for name, batch in self.tasks.items()},
        )

    def __iter__(self) -> Iterator[TaggingResult]:
        return (self[i] for i in range(len(self)))

    def top(
        self,
        k: int = N_TAGS,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        leaves: bool = False,
    ) -> list[list[Tag]]:
        """The ``k`` most probable tags of each source: see :meth:`TaggingResult.top`."""
        return [
            top_tags(clipwise, self.grid.label_set, k, threshold=threshold, classes=classes, leaves=leaves)
            for clipwise in self.clipwise
        ]

    def to_pandas(
        self,
        top: int | None = None,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        leaves: bool = False,
    ) -> DataFrame:
        """The tables of all sources below each other: see :meth:`TaggingResult.to_pandas`.

        >>> table = AudioTagger().inference(["dog.wav", "rain.flac"]).to_pandas(top=1)
        """
        return data_frame(row for result in self for row in result._rows(top, threshold, classes, leaves))

    def __repr__(self) -> str:
        return (
            f"<BatchResult of {len(self)}: clipwise {self.clipwise.shape}, embedding {self.embedding.shape}>"
        )

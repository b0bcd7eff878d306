"""`FeatureExtractor`: embeddings of audio, for classifiers, search and clustering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from pannsx.audio.reader import rate_given
from pannsx.inference.pipeline import OpenNetwork, WindowSettings, as_sources, open_pipeline
from pannsx.inference.windows import Combination
from pannsx.results import FrameEmbeddings
from pannsx.types import Channel, FloatArray, OnProgress, PathLike, Source

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.weights.record import Checkpoint


class FeatureExtractor:
    """Turns audio into the embeddings of a pretrained network: the layer before its classifier.

    >>> FeatureExtractor().extract(["dog.wav", "rain.flac"]).shape
    (2, 1024)

    Arguments and errors are those of :class:`pannsx.AudioTagger`; ``combine`` is how the embeddings of the
    windows of long audio are combined: ``"mean"``, weighted by time, or ``"max"``.
    """

    def __init__(
        self,
        model: str | OpenNetwork | None = None,
        *,
        checkpoint: PathLike | None = None,
        prefix: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        progress: bool = True,
        window_s: float = 10.0,
        overlap_s: float = 0.0,
        combine: Combination = "mean",
        batch_size: int | None = None,
        low_memory: bool = False,
    ) -> None:
        self._pipeline = open_pipeline(
            model,
            WindowSettings(window_s, overlap_s, combine_embedding=combine),
            checkpoint=checkpoint,
            prefix=prefix,
            device=device,
            precision=precision,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
            batch_size=batch_size,
            low_memory=low_memory,
        )

    @property
    def embedding_size(self) -> int:
        """``D``."""
        return self._pipeline.embedding_size

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz; audio of other rates is resampled to it."""
        return self._pipeline.sample_rate

    @property
    def hop_s(self) -> float:
        """Seconds from one frame embedding to the next."""
        return self._pipeline.grid.hop_s

    @property
    def record(self) -> Checkpoint:
        """The manifest's record of the checkpoint: origin, licence, scores."""
        return self._pipeline.record

    def extract(
        self,
        sources: Source | Sequence[Source],
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FloatArray:
        """Sources as in :meth:`pannsx.AudioTagger.inference` -> ``(N, D)`` embeddings; one source: ``N = 1``.

        Args:
            sources, source_rate, start_s, duration_s, channel, salvage, sample_rate, on_progress: as in
                :meth:`pannsx.AudioTagger.inference`.

        Raises:
            AudioError: a source is unreadable, empty, not finite or of a wrong shape.
            ValueError: both ``source_rate`` and ``sample_rate`` are given.
        """
        listed, _ = as_sources(sources)
        analyses = self._pipeline.analyse(
            listed,
            source_rate=rate_given(source_rate, sample_rate),
            start_s=start_s,
            duration_s=duration_s,
            channel=channel,
            salvage=salvage,
            on_progress=on_progress,
        )
        return np.stack([analysis.answer.embedding for analysis in analyses])

    @overload  # text is a sequence of texts, too, and comes under this one
    def extract_frames(  # type: ignore[overload-overlap]
        self,
        sources: Source,
        source_rate: int | None = ...,
        *,
        start_s: float = ...,
        duration_s: float | None = ...,
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> FrameEmbeddings: ...

    @overload
    def extract_frames(
        self,
        sources: Sequence[Source],
        source_rate: int | None = ...,
        *,
        start_s: float = ...,
        duration_s: float | None = ...,
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> list[FrameEmbeddings]: ...

    def extract_frames(
        self,
        sources: Source | Sequence[Source],
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FrameEmbeddings | list[FrameEmbeddings]:
        """One source -> :class:`FrameEmbeddings` ``(T', D)`` with ``(T',)`` centres in seconds.

        Several sources give a list of them. A frame's embedding is the clip head's, from the maximum and
        mean over the frame and its two neighbours (as the DecisionLevel models pool).

        Raises:
            AudioError, ValueError: as :meth:`extract`; the arguments are the same.
        """
        listed, several = as_sources(sources)
        found = []
        for analysis in self._pipeline.analyse(
            listed,
            source_rate=rate_given(source_rate, sample_rate),
            start_s=start_s,
            duration_s=duration_s,
            channel=channel,
            salvage=salvage,
            frame_embeddings=True,
            on_progress=on_progress,
        ):
            frames = analysis.answer.frame_embeddings
            if frames is None:
                raise RuntimeError("the engine returned no frame embeddings")
            found.append(FrameEmbeddings(frames, self._pipeline.grid.times_s(len(frames))))
        return found if several else found[0]

    def __repr__(self) -> str:
        engine = self._pipeline.engine
        return f"<FeatureExtractor {self.record.name} on {engine.device}: D = {self.embedding_size}>"

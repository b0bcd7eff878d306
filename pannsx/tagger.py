"""`AudioTagger`: which of the AudioSet classes are in a sound, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike as OsPathLike
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from pannsx.audio.reader import rate_given
from pannsx.events.operating_points import OperatingPoints
from pannsx.inference.fine_frames import FrameReader
from pannsx.inference.pipeline import Analysis, OpenNetwork, WindowSettings, as_sources, open_pipeline
from pannsx.inference.windows import Combination
from pannsx.results import BatchResult, TaggingResult
from pannsx.types import PathLike, Source

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.weights.record import Checkpoint


class AudioTagger:
    """Tags audio with a pretrained audio neural network.

    >>> tagger = AudioTagger("Cnn14")
    >>> tagger.inference("street.mp3").top(3)

    Args:
        model: a name from ``pannsx.list_models()``; its weights are fetched on first use and checked.
            None is the checkpoint that comes with the package, ``MobileNetV1_distilled``. Or an open
            ``AudioTagger``, ``FeatureExtractor`` or ``StreamTagger``: weights and device are then shared.
        checkpoint: weights on disk: with a model name any file of that architecture, without one a
            file that has its record (``.json``) beside it.
        device: ``"auto"`` (CUDA where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or
            ``"mps"``.
        precision: ``"float32"`` (TF32 off), ``"bfloat16"``, or on an accelerator ``"float16"``.
        cache_dir: a folder that is searched for weights first, as ``pannsx fetch --to`` makes it, and that
            downloads go to.
        allow_unverified: take weights whose published record has no digest; theirs is noted and held to.
        progress: show a progress bar while weights are fetched.
        window_s: audio longer than this many seconds is processed in windows of this length.
        overlap_s: seconds that neighbouring windows share at least.
        combine_clipwise: how windows give one ``clipwise``: ``"mean"`` (weighted by the time each window
            answers for) or ``"max"``.
        combine_embedding: the same for ``embedding``.
        batch_size: windows in one pass; None chooses by device.
        low_memory: on the CPU, keep to the weights as they are, without the copies laid out for speed:
            for ``Cnn14`` 0.4 GB less, and less than half as fast.

    Raises:
        ValueError: an unknown model, device, precision or impossible window, operating points beside the
            checkpoint that are not its own, or weights or device given with a network that is open.
        WeightsError: the weights cannot be had or trusted.

    A tagger may be called from several threads, pickled, and used in forked or spawned workers.
    """

    def __init__(
        self,
        model: str | OpenNetwork | None = None,
        *,
        checkpoint: PathLike | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        progress: bool = True,
        window_s: float = 10.0,
        overlap_s: float = 0.0,
        combine_clipwise: Combination = "mean",
        combine_embedding: Combination = "mean",
        batch_size: int | None = None,
        low_memory: bool = False,
    ) -> None:
        self._pipeline = open_pipeline(
            model,
            WindowSettings(window_s, overlap_s, combine_clipwise, combine_embedding),
            checkpoint=checkpoint,
            device=device,
            precision=precision,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
            batch_size=batch_size,
            low_memory=low_memory,
        )
        self._operating_points = self._pipeline.operating_points  # now, so that wrong ones are an error here

    @property
    def labels(self) -> tuple[str, ...]:
        """``K`` names of the classes, in the order of the results."""
        return self._pipeline.grid.labels

    @property
    def sample_rate(self) -> int:
        """Samples per second the model works at; other rates are resampled to it."""
        return self._pipeline.sample_rate

    @property
    def hop_s(self) -> float:
        """Seconds from one frame of ``framewise`` to the next."""
        return self._pipeline.grid.hop_s

    @property
    def embedding_size(self) -> int:
        """``D``."""
        return self._pipeline.embedding_size

    @property
    def record(self) -> Checkpoint:
        """The manifest's record of the checkpoint: origin, licence, scores."""
        return self._pipeline.record

    @property
    def operating_points(self) -> OperatingPoints | None:
        """Calibrated thresholds that lie beside the checkpoint, or None; events go by them."""
        return self._operating_points

    @property
    def device(self) -> str:
        """Where the network runs."""
        return str(self._pipeline.engine.device)

    @overload  # text is a sequence of texts, too, and comes under this one
    def inference(  # type: ignore[overload-overlap]
        self,
        audio: Source,
        source_rate: int | None = ...,
        *,
        framewise: bool = ...,
        hop_s: float | None = ...,
        start_s: float = ...,
        duration_s: float | None = ...,
        sample_rate: int | None = ...,
    ) -> TaggingResult: ...

    @overload
    def inference(
        self,
        audio: Sequence[Source],
        source_rate: int | None = ...,
        *,
        framewise: bool = ...,
        hop_s: float | None = ...,
        start_s: float = ...,
        duration_s: float | None = ...,
        sample_rate: int | None = ...,
    ) -> BatchResult: ...

    def inference(
        self,
        audio: Source | Sequence[Source],
        source_rate: int | None = None,
        *,
        framewise: bool = True,
        hop_s: float | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        sample_rate: int | None = None,
    ) -> TaggingResult | BatchResult:
        """Tag one source, or several.

        >>> result = AudioTagger().inference("street.mp3", hop_s=0.04)  # eight times the frames and the work

        Args:
            audio: a path, ``bytes``, a binary file object, an array or tensor ``(S,)``; or several: a list
                of these (where an array may also be ``(samples, channels)``), or an array ``(N, S)``.
            source_rate: the rate of arrays, in Hz; without it they are taken to be at the model's rate
                (``tagger.sample_rate``). Files say their own rate.
            framewise: whether to compute and keep the probabilities by frame, the largest part of a result.
            hop_s: seconds from frame to frame, 0.02 to 1; None is the network's own (``tagger.hop_s``). The
                network hears the sound once more for each frame between two of its own; ``clipwise`` and
                ``embedding`` are of the first time.
            start_s: where to begin, in seconds.
            duration_s: how much to read, in seconds; None is all.
            sample_rate: another name for ``source_rate``.

        Returns:
            a `TaggingResult` for one source, a `BatchResult` for several. Each source in a batch gets what
            it would get alone.

        Raises:
            AudioError: a source is unreadable, empty, not finite or wrongly shaped.
            ValueError: a hop outside these bounds or without frames, or both ``source_rate`` and
                ``sample_rate``.
        """
        sources, several = as_sources(audio)
        rate = rate_given(source_rate, sample_rate)
        results = list(self._results(sources, rate, framewise, hop_s, start_s, duration_s))
        return _batch(results) if several else results[0]

    def iter_inference(
        self,
        sources: Iterable[Source],
        source_rate: int | None = None,
        *,
        framewise: bool = False,
        hop_s: float | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        sample_rate: int | None = None,
    ) -> Iterator[TaggingResult]:
        """Results in the order of ``sources``, each as soon as it is there: for large collections.

        >>> for result in AudioTagger().iter_inference(["dog.wav", "rain.flac"]):
        ...     print(result.top(1))

        Args:
            sources: any number of what :meth:`inference` takes as one; taken from an iterator a little ahead.
            source_rate, framewise, hop_s, start_s, duration_s, sample_rate: as in :meth:`inference`.

        Raises:
            AudioError: as :meth:`inference`; the sources before it have been answered by then.
            ValueError: as :meth:`inference`, or a single source.
        """
        several = not (
            isinstance(sources, (str, OsPathLike, bytes, bytearray, memoryview)) or hasattr(sources, "read")
        )
        if hasattr(sources, "shape"):
            sources, several = as_sources(cast(Source, sources))
        if not several:
            raise ValueError("iter_inference takes several sources, got one; give [source], or use inference")
        rate = rate_given(source_rate, sample_rate)
        return self._results(sources, rate, framewise, hop_s, start_s, duration_s)

    def _results(
        self,
        sources: Iterable[Source],
        source_rate: int | None,
        framewise: bool,
        hop_s: float | None,
        start_s: float,
        duration_s: float | None,
    ) -> Iterator[TaggingResult]:
        if hop_s is not None:
            if not framewise:
                raise ValueError(
                    f"hop_s={hop_s} is of frames, and framewise=False wants none; give one of them"
                )
            reader = FrameReader(self, hop_s)
            return reader.tag_each(sources, source_rate, start_s=start_s, duration_s=duration_s)
        analyses = self._pipeline.analyse(
            sources, source_rate=source_rate, start_s=start_s, duration_s=duration_s, framewise=framewise
        )
        return (self._result(analysis) for analysis in analyses)

    def _result(self, analysis: Analysis) -> TaggingResult:
        answer = analysis.answer
        return TaggingResult(
            clipwise=answer.clipwise,
            logits=answer.logits,
            embedding=answer.embedding,
            framewise=answer.framewise,
            grid=self._pipeline.grid,
            duration_s=analysis.duration_s,
            operating_points=self._operating_points,
        )

    def __repr__(self) -> str:
        record = self._pipeline.record
        return (
            f"<AudioTagger {record.name} on {self.device}: {len(self.labels)} classes, "
            f"{self.sample_rate} Hz, frames of {self.hop_s:.3g} s>"
        )


def _batch(results: Sequence[TaggingResult]) -> BatchResult:
    """The results of one call as one."""
    first = results[0]
    framewise = tuple(result.framewise for result in results if result.framewise is not None)
    return BatchResult(
        clipwise=np.stack([result.clipwise for result in results]),
        logits=np.stack([result.logits for result in results]),
        embedding=np.stack([result.embedding for result in results]),
        framewise=framewise or None,
        grid=first.grid,
        durations_s=tuple(result.duration_s for result in results),
        operating_points=first.operating_points,
    )

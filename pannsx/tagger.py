"""`AudioTagger`: the classes in a recording, and their times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from os import PathLike as OsPathLike
from typing import TYPE_CHECKING, cast, overload

import numpy as np

from pannsx.audio import Selection
from pannsx.audio.objects import is_pair
from pannsx.audio.reader import rate_given
from pannsx.events.operating_points import OperatingPoints
from pannsx.inference.cpu.explanation import Explanation
from pannsx.inference.fine_frames import FrameReader
from pannsx.inference.pipeline import Analysis, OpenNetwork, WindowSettings, open_pipeline
from pannsx.inference.sources import as_sources
from pannsx.inference.tasks import by_task, grid_of
from pannsx.inference.windows import Combination
from pannsx.results import BatchResult, TaggingResult
from pannsx.types import Channel, OnProgress, PathLike, Source

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.weights.record import Checkpoint


class AudioTagger:
    """Tags audio with a pretrained audio neural network.

    >>> tagger = AudioTagger("Cnn14")
    >>> tagger.inference("street.mp3").top(3)

    Args:
        model: a name from ``pannsx.list_models()``; its weights are downloaded on first use and verified.
            None: the bundled checkpoint, ``MobileNetV1_distilled``. Or the path of a checkpoint of your own:
            a file of weights with its record (``.json``) next to it, the record, or their folder. Or a
            repository of the Hub with a checkpoint of pannsx, ``owner/name`` or ``owner/name@revision``. Or
            an open ``AudioTagger``, ``FeatureExtractor`` or ``StreamTagger``: weights and device are then
            shared.
        checkpoint: weights on disk: with a name from ``pannsx.list_models()`` any file of that architecture,
            without one a checkpoint of your own.
        prefix: with ``checkpoint``, prefix of the network's keys in a file with other parts, such as
            ``"encoder."``; None: it is found if the file holds one network alone.
        device: ``"auto"`` (CUDA if available, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or
            ``"mps"``.
        precision: ``"float32"`` (TF32 off), ``"bfloat16"``, or on an accelerator ``"float16"``. On the CPU,
            ``"bfloat16"`` rounds where this processor is faster so, and never in a MobileNet.
        cache_dir: folder that is searched for weights first, such as one of ``pannsx fetch --to``, and the
            destination of downloads.
        allow_unverified: accept weights that have no published digest; the digest of the first download is
            recorded and checked from then on.
        progress: show a progress bar for downloads.
        window_s: audio longer than this many seconds is processed in windows of this length.
        overlap_s: minimum overlap of neighbouring windows in seconds.
        combine_clipwise: how to combine the windows' ``clipwise``: ``"mean"`` (weighted by the time that each
            window stands for) or ``"max"``.
        combine_embedding: the same for ``embedding``.
        batch_size: windows per pass; None: by device.
        low_memory: on the CPU, run the torch module instead of the prepared form, several times as slowly.
            ``Cnn14`` takes 0.4 GB less; small networks take more, because of torch itself.
        heads: checkpoints of other tasks, trained on this network while it was frozen, such as deltas of
            ``pannsx finetune --adapt head``: a list, each named as a ``model``, or a mapping from names of
            your own. The network runs once; ``result.tasks["urban"]`` is the result of a task. With neither
            ``model`` nor ``checkpoint``, the network is the base of the first head. Objects that share such a
            network, such as a ``StreamTagger``, have the classes of all tasks, named like ``urban/siren``,
            without calibrated thresholds.

    Raises:
        ValueError: an unknown model, device or precision, an invalid window, an operating-points file next
            to the checkpoint that belongs to another one, or weights or device given with an open network.
        WeightsError: the weights cannot be obtained or trusted, or a head is of another network.

    A tagger may be called from several threads, pickled, and used in forked or spawned workers.
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
        combine_clipwise: Combination = "mean",
        combine_embedding: Combination = "mean",
        batch_size: int | None = None,
        low_memory: bool = False,
        heads: Mapping[str, PathLike] | Sequence[PathLike] | None = None,
    ) -> None:
        self._pipeline = open_pipeline(
            model,
            WindowSettings(window_s, overlap_s, combine_clipwise, combine_embedding),
            checkpoint=checkpoint,
            prefix=prefix,
            device=device,
            precision=precision,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
            batch_size=batch_size,
            low_memory=low_memory,
            heads=heads,
        )
        tasks = self._pipeline.tasks
        # Read now, so that errors are raised here.
        self._operating_points = (
            self._pipeline.operating_points if tasks is None else tasks.own.operating_points
        )
        self._grid = self._pipeline.grid if tasks is None else grid_of(tasks.own, self._pipeline.grid)

    @property
    def labels(self) -> tuple[str, ...]:
        """``K`` names of the classes, in the order of the results."""
        return self._grid.labels

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """The classes of further heads, by task; empty without ``heads``."""
        tasks = self._pipeline.tasks
        return {} if tasks is None else {name: task.labels.names for name, task in tasks.others.items()}

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz; audio of other rates is resampled to it."""
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
        tasks = self._pipeline.tasks
        return self._pipeline.record if tasks is None else tasks.own.record

    @property
    def operating_points(self) -> OperatingPoints | None:
        """Calibrated thresholds from next to the checkpoint, the default of events, or None."""
        return self._operating_points

    @property
    def device(self) -> str:
        """The network's device."""
        return str(self._pipeline.engine.device)

    @overload  # a str is also a sequence of str; it belongs to this overload
    def inference(  # type: ignore[overload-overlap]
        self,
        audio: Source,
        source_rate: int | None = ...,
        *,
        framewise: bool = ...,
        hop_s: float | None = ...,
        start_s: float = ...,
        duration_s: float | None = ...,
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
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
        channel: Channel = ...,
        salvage: bool = ...,
        sample_rate: int | None = ...,
        on_progress: OnProgress | None = ...,
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
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> TaggingResult | BatchResult:
        """Tag one source, or several.

        >>> result = AudioTagger().inference("street.mp3", hop_s=0.04)  # eight times the frames and the work

        Args:
            audio: a path, ``bytes``, a binary file object, an array or tensor ``(S,)``; or several: a list
                of these (in it, an array may also be ``(samples, channels)``), or an array ``(N, S)``.
            source_rate: rate of arrays, in Hz; None: the model's rate (``tagger.sample_rate``). Files state
                their own rate.
            framewise: whether to compute and keep the framewise probabilities, the largest part of a result.
            hop_s: seconds from frame to frame, 0.02 to 1; None: the network's own (``tagger.hop_s``). A
                shorter hop needs a further pass of the network for each frame between two of its own;
                ``clipwise`` and ``embedding`` are those of the first pass.
            start_s: start of the part to read, in seconds.
            duration_s: length of the part, in seconds; None: to the end.
            channel: number of the channel to use, from 0 (the first, or left); ``"mean"``: the mean of all.
            salvage: use a truncated or damaged source as far as it can be read, with a warning.
            sample_rate: another name for ``source_rate``.
            on_progress: called while a long source is processed, with the source's number from 0 and the
                seconds of it that are done.

        Returns:
            a `TaggingResult` for one source, a `BatchResult` for several. The result of a source does not
            depend on the others in the batch.

        Raises:
            AudioError: a source is unreadable, empty, not finite or of a wrong shape.
            ValueError: a hop outside these bounds or without frames, or both ``source_rate`` and
                ``sample_rate``.
        """
        sources, several = as_sources(audio)
        rate = rate_given(source_rate, sample_rate)
        selection = Selection(rate, start_s, duration_s, channel, salvage)
        results = list(self._results(sources, selection, framewise, hop_s, on_progress))
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
        channel: Channel = "mean",
        salvage: bool = False,
        sample_rate: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[TaggingResult]:
        """Results in the order of ``sources``, one by one as they are computed: for large collections.

        >>> for result in AudioTagger().iter_inference(["dog.wav", "rain.flac"]):
        ...     print(result.top(1))

        Args:
            sources: any number of single sources of :meth:`inference`; an iterator is read slightly ahead.
            source_rate, framewise, hop_s, start_s, duration_s, channel, salvage, sample_rate, on_progress:
                as in :meth:`inference`.

        Raises:
            AudioError: as :meth:`inference`, after the results of all sources before it.
            ValueError: as :meth:`inference`, or a single source.
        """
        several = not (
            isinstance(sources, (str, OsPathLike, bytes, bytearray, memoryview, Mapping))
            or hasattr(sources, "read")
            or is_pair(sources)
        )
        if hasattr(sources, "shape"):
            sources, several = as_sources(cast(Source, sources))
        if not several:
            raise ValueError("iter_inference takes several sources, got one; give [source], or use inference")
        rate = rate_given(source_rate, sample_rate)
        selection = Selection(rate, start_s, duration_s, channel, salvage)
        return self._results(sources, selection, framewise, hop_s, on_progress)

    def _results(
        self,
        sources: Iterable[Source],
        selection: Selection,
        framewise: bool,
        hop_s: float | None,
        on_progress: OnProgress | None,
    ) -> Iterator[TaggingResult]:
        if hop_s is not None:
            if not framewise:
                raise ValueError(
                    f"hop_s={hop_s} needs frames, but framewise is False; leave out hop_s, "
                    "or give framewise=True"
                )
            reader = FrameReader(self, hop_s)
            tagged = reader.tag_each(sources, **asdict(selection), on_progress=on_progress)
            return map(self._by_task, tagged)
        analyses = self._pipeline.analyse(
            sources, **asdict(selection), framewise=framewise, on_progress=on_progress
        )
        return (self._result(analysis) for analysis in analyses)

    def _result(self, analysis: Analysis) -> TaggingResult:
        answer = analysis.answer
        result = TaggingResult(
            clipwise=answer.clipwise,
            logits=answer.logits,
            embedding=answer.embedding,
            framewise=answer.framewise,
            grid=self._pipeline.grid,
            duration_s=analysis.duration_s,
            operating_points=self._operating_points,
            file=analysis.file,
            clipwise_max=analysis.clipwise_max,
        )
        return self._by_task(result)

    def _by_task(self, result: TaggingResult) -> TaggingResult:
        tasks = self._pipeline.tasks
        return result if tasks is None else by_task(result, tasks)

    def explain(self, duration_s: float = 10.0) -> Explanation:
        """How the network is computed on this CPU: each layer's form, matrix product, time and GFLOP/s.

        A few passes over noise of ``duration_s`` are timed. ``print(tagger.explain())`` shows a table. The
        environment variable ``PANNSX_PRODUCT`` (``own`` or ``numpy``), set before the tagger is made, chooses
        the products of rows.

        Raises:
            ValueError: ``duration_s`` is not positive, or the network runs as a torch module: on a GPU, or
                with ``low_memory``.
        """
        if not 0 < duration_s < np.inf:
            raise ValueError(f"duration_s is {duration_s}; a positive number of seconds is needed")
        n_samples = max(1, round(duration_s * self.sample_rate))
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, n_samples).astype(np.float32)
        steps = self._pipeline.engine.explain(noise)
        return Explanation(f"{self.record.name}, {duration_s:g} s", steps)

    def __repr__(self) -> str:
        tasks = f" and the tasks {', '.join(self.tasks)}" if self.tasks else ""
        return (
            f"<AudioTagger {self.record.name} on {self.device}: {len(self.labels)} classes{tasks}, "
            f"{self.sample_rate} Hz, frames of {self.hop_s:.3g} s>"
        )


def _batch(results: Sequence[TaggingResult]) -> BatchResult:
    """The results of one call as a `BatchResult`."""
    first = results[0]
    framewise = tuple(result.framewise for result in results if result.framewise is not None)
    greatest = [result.clipwise_max for result in results]
    return BatchResult(
        clipwise=np.stack([result.clipwise for result in results]),
        logits=np.stack([result.logits for result in results]),
        embedding=np.stack([result.embedding for result in results]),
        framewise=framewise or None,
        grid=first.grid,
        durations_s=tuple(result.duration_s for result in results),
        operating_points=first.operating_points,
        files=tuple(result.file for result in results),
        clipwise_max=tuple(greatest) if any(each is not None for each in greatest) else None,
        tasks={name: _batch([result.tasks[name] for result in results]) for name in first.tasks},
    )

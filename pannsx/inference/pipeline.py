"""From sources to results: reading, windows, batches across sources, and joining per source."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, get_args

from pannsx.audio import Selection
from pannsx.audio.sources import file_name
from pannsx.errors import AudioError
from pannsx.events.operating_points import OperatingPoints
from pannsx.inference.batcher import Batcher, Runner
from pannsx.inference.engine import Answer, Engine, Precision, Wanted
from pannsx.inference.levels import Level, LevelRunner, joined
from pannsx.inference.prefetch import prefetch
from pannsx.inference.sources import at_source, is_one
from pannsx.inference.windows import (
    Combination,
    Extent,
    Window,
    WindowPlan,
    combine,
    combine_logits,
    plan_windows,
    slide,
    stitch_frames,
)
from pannsx.results import FrameGrid
from pannsx.types import Channel, FloatArray, OnProgress, PathLike, Source
from pannsx.weights.heads import Heads, Tasks, open_with_heads
from pannsx.weights.loading import LoadedCheckpoint, OpenedCheckpoint
from pannsx.weights.local import digest_of_weights
from pannsx.weights.operating_points import points_of

if TYPE_CHECKING:
    import torch

_BATCHES_AHEAD = 2  # batches of windows read while the network is busy
_OF_ONE_WINDOW = 3  # items of one source of one window: the window, its end, and the end of all
_WAITING_BATCHES = 4  # how many batches of odd-length windows may be buffered

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Division of sources into windows, and combination of the windows' outputs; times in seconds."""

    window_s: float = 10.0
    overlap_s: float = 0.0
    combine_clipwise: Combination = "mean"
    combine_embedding: Combination = "mean"

    def __post_init__(self) -> None:
        for name in ("combine_clipwise", "combine_embedding"):
            if getattr(self, name) not in get_args(Combination):
                raise ValueError(f"{name} is {getattr(self, name)!r}; use 'mean' or 'max'")


@dataclass(frozen=True, slots=True)
class Analysis:
    """Outputs for one source: the joined :class:`~pannsx.inference.engine.Answer`, its length and name.

    ``clipwise_max`` is the greatest probability of each class in any window; None if there is only one.
    """

    answer: Answer
    duration_s: float
    file: str | None
    clipwise_max: FloatArray | None = None


@dataclass(slots=True)
class _Collected(Generic[Found]):
    """Outputs of the windows of one source so far."""

    file: str | None
    answers: dict[int, Found] = field(default_factory=dict)
    windows: list[tuple[int, int]] = field(default_factory=list)  # start frame, samples
    n_samples: int = 0


class OpenNetwork(Protocol):
    """An object with an open network: an ``AudioTagger``, ``FeatureExtractor`` or ``StreamTagger``."""

    _pipeline: Pipeline


class Pipeline:
    """Inference with a checkpoint, for sources of any kind and length.

    Args:
        checkpoint: the loaded checkpoint.
        device, precision, batch_size, low_memory: see :class:`pannsx.inference.engine.Engine`.
        settings: settings of the windows.
        path: the caller's file of weights, with its operating points next to it.
        tasks: of a network with several heads.
    """

    def __init__(
        self,
        checkpoint: LoadedCheckpoint | OpenedCheckpoint,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        batch_size: int | None = None,
        low_memory: bool = False,
        settings: WindowSettings | None = None,
        path: PathLike | None = None,
        tasks: Tasks | None = None,
    ) -> None:
        self.tasks = tasks
        self.record = checkpoint.record
        self.origin = checkpoint.origin
        self._path = None if path is None else Path(path).absolute()
        self.engine = Engine(
            checkpoint.model,
            device=device,
            precision=precision,
            batch_size=batch_size,
            low_memory=low_memory,
        )
        model = self.engine.network
        self.sample_rate = model.sample_rate
        self.grid = FrameGrid(
            hop_s=model.grid.hop_samples / model.sample_rate,
            offset_s=model.grid.offset_samples / model.sample_rate,
            labels=checkpoint.labels.names,
            frame_source=model.frame_source,
            label_ids=checkpoint.labels.ids,
            model=checkpoint.record.name,
        )
        self.embedding_size = model.embedding_size
        self._set(settings or WindowSettings())

    def _set(self, settings: WindowSettings) -> None:
        model = self.engine.network
        self.settings = settings
        self.plan: WindowPlan = plan_windows(
            sample_rate=model.sample_rate,
            hop_samples=model.grid.hop_samples,
            min_samples=model.min_samples,
            window_s=settings.window_s,
            overlap_s=settings.overlap_s,
        )

    def with_settings(self, settings: WindowSettings) -> Pipeline:
        """The same network with other window settings."""
        other = copy.copy(self)
        other._set(settings)
        return other

    @cached_property
    def weights_digest(self) -> str | None:
        """Digest of the file of weights, or None if it is neither published nor found again."""
        given = self._path if self.record.folder is None else None
        return digest_of_weights(self.record, given=given)

    @cached_property
    def operating_points(self) -> OperatingPoints | None:
        """Calibrated thresholds from next to the checkpoint, or None.

        Raises:
            ValueError: the file belongs to another checkpoint, or has other classes.
        """
        return points_of(self.record, self.grid.labels, self._path)

    def analyse(
        self,
        sources: Iterable[Source],
        *,
        source_rate: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        framewise: bool = False,
        frame_embeddings: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Analysis]:
        """Outputs in the order of ``sources``, each as soon as it and those before it are complete.

        ``on_progress`` is called as windows are answered.

        Raises:
            AudioError: a source cannot be used; with several sources the message names it. All results
                before it are yielded first.
        """
        selection = Selection(source_rate, start_s, duration_s, channel, salvage)
        wanted = Wanted(framewise, frame_embeddings)
        for collected in self._each(sources, self.engine, wanted, selection, on_progress):
            yield self._join(collected)

    def features(
        self,
        sources: Iterable[Source],
        level: Level,
        selection: Selection,
        on_progress: OnProgress | None = None,
    ) -> Iterator[FloatArray]:
        """``(n,)`` features of each source at a level of the network, as :meth:`analyse` yields its outputs.

        Raises:
            AudioError: as :meth:`analyse`.
        """
        runner = LevelRunner(self.engine, level)
        for collected in self._each(sources, runner, Wanted(False), selection, on_progress):
            windows = [collected.answers[i] for i in range(len(collected.windows))]
            how = self.settings.combine_embedding
            yield joined(windows, self._extents(collected), level, how, self.plan.hop_samples)

    def _each(
        self,
        sources: Iterable[Source],
        runner: Runner[Found],
        wanted: Wanted,
        selection: Selection,
        on_progress: OnProgress | None,
    ) -> Iterator[_Collected[Found]]:
        """The outputs of all windows of each source, in the order of the sources."""
        collected: dict[int, _Collected[Found]] = {}
        batcher: Batcher[tuple[int, int], Found] = Batcher(
            runner,
            wanted,
            max_waiting_samples=_WAITING_BATCHES * self.engine.batch_size * self.plan.window_samples,
        )
        complete: set[int] = set()
        next_out = 0

        def take(answered: list[tuple[tuple[int, int], Found]]) -> None:
            for (source, number), answer in answered:
                collected[source].answers[number] = answer
                if on_progress is not None:
                    start_frame, n_samples = collected[source].windows[number]
                    done = start_frame * self.plan.hop_samples + n_samples
                    on_progress(source, done / self.sample_rate)

        failure: AudioError | None = None
        files: list[str | None] = []
        windows = self._windows_of(sources, files, selection)
        for i, window in prefetch(windows, _BATCHES_AHEAD * self.engine.batch_size, n_first=_OF_ONE_WINDOW):
            if isinstance(window, AudioError):
                failure = window
            elif window is not None:
                number = self._collect(window, collected.setdefault(i, _Collected(files[i])))
                take(batcher.push((i, number), window.waveform))
            else:
                complete.add(i)
                while next_out in complete and _is_answered(collected[next_out]):
                    yield collected.pop(next_out)
                    next_out += 1
        take(batcher.finish())
        while next_out in complete:
            yield collected.pop(next_out)
            next_out += 1
        if failure is not None:
            raise failure

    def _windows_of(
        self, sources: Iterable[Source], files: list[str | None], selection: Selection
    ) -> Generator[tuple[int, Window | AudioError | None], None, None]:
        """The windows of each source with its number, then None; or an error as the last item.

        The name of a source is added to ``files`` before its windows.
        """
        alone = is_one(sources)
        # Of several, the next is decoded while the network is busy.
        threads = self.engine.workers if alone else None
        for i, source in enumerate(sources):
            files.append(file_name(source))
            try:
                with selection.open(source, self.sample_rate, threads=threads) as blocks:
                    for window in slide(blocks, self.plan):
                        yield i, window
            except AudioError as error:
                yield i, error if alone else at_source(i, source, error)
                return
            yield i, None

    def _collect(self, window: Window, collected: _Collected[Found]) -> int:
        """Record a window of a source; its number."""
        n_samples = len(window.waveform)
        collected.windows.append((window.start_frame, n_samples))
        collected.n_samples = window.start_frame * self.plan.hop_samples + n_samples
        return len(collected.windows) - 1

    def _join(self, collected: _Collected[Answer]) -> Analysis:
        """Outputs of all windows of a source -> its :class:`Analysis`."""
        answers = [collected.answers[i] for i in range(len(collected.windows))]
        duration_s = collected.n_samples / self.sample_rate
        if len(answers) == 1:
            return Analysis(answers[0], duration_s, collected.file)
        extents = self._extents(collected)
        hop = self.plan.hop_samples

        def stitched(parts: list[FloatArray | None]) -> FloatArray | None:
            present = [part for part in parts if part is not None]
            return stitch_frames(present, extents) if present else None

        joined = Answer(
            combine([a.clipwise for a in answers], extents, self.settings.combine_clipwise, hop),
            combine([a.embedding for a in answers], extents, self.settings.combine_embedding, hop),
            stitched([a.framewise for a in answers]),
            stitched([a.frame_embeddings for a in answers]),
            combine_logits([a.logits for a in answers], extents, self.settings.combine_clipwise, hop),
        )
        greatest = combine([a.clipwise for a in answers], extents, "max", hop)
        return Analysis(joined, duration_s, collected.file, greatest)

    def _extents(self, collected: _Collected[Found]) -> list[Extent]:
        n_frames = self.engine.network.n_frames
        return [Extent(start, n_frames(n_samples), n_samples) for start, n_samples in collected.windows]


def open_pipeline(
    model: str | OpenNetwork | None,
    settings: WindowSettings | None = None,
    *,
    checkpoint: PathLike | None = None,
    prefix: str | None = None,
    device: str | torch.device = "auto",
    precision: Precision = "float32",
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
    batch_size: int | None = None,
    low_memory: bool = False,
    heads: Heads | None = None,
) -> Pipeline:
    """The pipeline of a model by its name or file, or of an open network.

    Args:
        model: see :class:`pannsx.AudioTagger`, as for the arguments after ``settings``.
        settings: settings of the windows; None: the default, or those of the open network.

    Raises:
        ValueError, WeightsError: as :class:`pannsx.AudioTagger`.
    """
    if model is None or isinstance(model, str):
        opened, tasks = open_with_heads(
            model,
            heads,
            checkpoint=checkpoint,
            prefix=prefix,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
        )
        return Pipeline(
            opened,
            device=device,
            precision=precision,
            batch_size=batch_size,
            low_memory=low_memory,
            settings=settings,
            path=checkpoint if tasks is None else None,
            tasks=tasks,
        )
    if not isinstance(getattr(model, "_pipeline", None), Pipeline):
        raise ValueError(
            f"model is {model!r}; give a name of pannsx.list_models(), None for the bundled checkpoint, or "
            "an open AudioTagger, FeatureExtractor or StreamTagger"
        )
    chosen = {
        "checkpoint": checkpoint is not None,
        "prefix": prefix is not None,
        "device": device != "auto",
        "precision": precision != "float32",
        "cache_dir": cache_dir is not None,
        "allow_unverified": allow_unverified,
        "batch_size": batch_size is not None,
        "low_memory": low_memory,
        "heads": heads is not None,
    }
    if any(chosen.values()):
        raise ValueError(
            f"{', '.join(f'{name}=' for name in chosen if chosen[name])} cannot be given with an open "
            f"{type(model).__name__}: its network is shared as it is; leave them out, or give a model's name"
        )
    return model._pipeline if settings is None else model._pipeline.with_settings(settings)


def _is_answered(collected: _Collected[Found]) -> bool:
    return len(collected.answers) == len(collected.windows)

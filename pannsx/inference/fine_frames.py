"""Frames at a chosen hop, for any architecture, and at bounded memory for sources of any length.

A network has a frame every ``H`` seconds, 0.32 for Cnn14. More frames come from further passes over shifted
audio: ``n`` windows, each ``H / n`` after the one before, give ``n`` interleaved sets of frames, together one
every ``H / n`` seconds. Each is an output of the network for its time, without interpolation; the cost is
``n`` times the work. ``n`` is the smallest number with frames at most the requested hop apart.

If the two differ, or the requested hop is longer than the network's own, a frame is the mean of those in its
time, weighted by their overlap with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from pannsx.audio import Selection
from pannsx.audio.sources import file_name
from pannsx.errors import AudioError
from pannsx.inference.engine import Answer, Wanted
from pannsx.inference.pipeline import OpenNetwork, Pipeline
from pannsx.inference.prefetch import prefetch
from pannsx.inference.sources import at_source, is_one
from pannsx.inference.windows import Extent, Window, border_between, combine, combine_logits, slide
from pannsx.results import OnGrid, TaggingResult
from pannsx.types import Channel, FloatArray, OnProgress, Source

SHORTEST_HOP_S = 0.02
LONGEST_HOP_S = 1.0
_SAME = 1e-9  # of a frame: hops that differ by less are equal
_PASSES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Position:
    """State for resuming a source after a :class:`FrameBlock`.

    Attributes:
        window_frame: first frame of the next window, in the network's frames.
        n_frames: number of frames returned so far.
        n_fine: number of frames before averaging so far.
        rest: ``(m, K)`` the last of them, which belong to the next mean.
    """

    window_frame: int
    n_frames: int
    n_fine: int
    rest: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class FrameBlock:
    """Some frames of a source.

    Attributes:
        framewise: ``(n, K)`` probabilities; ``n`` may be 0.
        first_frame: number of the first of them.
        duration_s: length of the source in seconds in the last block; None before, as it is unknown.
        heard: the network's clip outputs for the windows of these frames.
        position: state for resuming after them.
    """

    framewise: FloatArray
    first_frame: int
    duration_s: float | None
    heard: tuple[tuple[Extent, Answer], ...]
    position: Position


class _Heard(NamedTuple):
    """The frames of one window, ``(n, K)`` starting at frame ``start``, before averaging."""

    window: Window
    start: int
    framewise: FloatArray
    whole: Answer


class FrameReader(OnGrid):
    """Reads sources as frames ``hop_s`` apart.

    Args:
        tagger: tagger with the network and window settings.
        hop_s: seconds from frame to frame, 0.02 to 1; None: the network's own hop.

    Raises:
        ValueError: a hop outside these bounds, or windows too short for it.

    Attributes:
        grid: times and labels of the frames.
        n_passes: number of passes of the network.
    """

    def __init__(self, tagger: OpenNetwork, hop_s: float | None = None) -> None:
        self._pipeline: Pipeline = tagger._pipeline
        own_hop_s = self._pipeline.grid.hop_s
        if hop_s is None:
            hop_s = own_hop_s
        elif not (math.isfinite(hop_s) and SHORTEST_HOP_S <= hop_s <= LONGEST_HOP_S):
            raise ValueError(f"hop_s is {hop_s}; {SHORTEST_HOP_S} to {LONGEST_HOP_S} s is possible")
        self.n_passes = max(1, math.ceil(own_hop_s / hop_s - _SAME))
        fine_hop_s = own_hop_s / self.n_passes
        self._ratio = hop_s / fine_hop_s
        if abs(self._ratio - 1) < _SAME:
            self._ratio = 1.0
        offset_s = self._pipeline.grid.offset_s + (hop_s - fine_hop_s) / 2
        self.grid = replace(self._pipeline.grid, hop_s=float(hop_s), offset_s=offset_s)
        plan = self._pipeline.plan
        self._shifts = [round(i * plan.hop_samples / self.n_passes) for i in range(self.n_passes)]
        # One piece of audio contains the windows of all passes; it advances like a window.
        self._plan = replace(plan, window_samples=plan.window_samples + self._shifts[-1])

    def blocks(
        self,
        source: Source,
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        position: Position | None = None,
    ) -> Iterator[FrameBlock]:
        """The frames of a source, block by block; memory does not grow with its length.

        Args:
            source: as for ``AudioTagger.inference``.
            source_rate: the rate of an array, in Hz.
            start_s: start of the part, in seconds.
            duration_s: length of the part, in seconds; None: to the end.
            channel, salvage: as for ``AudioTagger.inference``.
            position: resume after an earlier block of the same source, ``start_s`` and ``duration_s``.

        Raises:
            AudioError: the source cannot be used.
        """
        at = position or Position(0, 0, 0, np.zeros((0, len(self.labels)), np.float32))
        skipped_s = at.window_frame * self._pipeline.grid.hop_s
        left_s = None if duration_s is None else duration_s - skipped_s
        selection = Selection(source_rate, start_s + skipped_s, left_s, channel, salvage)
        windows = self._windows(source, selection, at.window_frame)
        bins = _Bins(self._ratio, at)
        held: _Heard | None = None
        n_given = at.n_fine
        for new in self._heard(windows):
            if held is not None:
                border = border_between(held.start + len(held.framewise), new.start)
                fine = held.framewise[max(0, n_given - held.start) : max(0, border - held.start)]
                n_given += len(fine)
                yield self._block(held, bins.push(fine), bins, new.window.start_frame, n_given, None)
            held = new
        if held is None:
            return
        fine = held.framewise[max(0, n_given - held.start) :]
        last = np.concatenate([bins.push(fine), bins.finish()])
        end = held.window.start_frame * self._plan.hop_samples + len(held.window.waveform)
        length_s = end / self._pipeline.sample_rate
        yield self._block(held, last, bins, held.window.start_frame, n_given + len(fine), length_s)

    def tag(
        self,
        source: Source,
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        on_progress: Callable[[float], None] | None = None,
        on_frames: Callable[[FloatArray], None] | None = None,
    ) -> TaggingResult:
        """All frames of one source, and its tags; arguments and errors as for :meth:`blocks`.

        ``clipwise`` and ``embedding`` are those of the first pass, independent of the hop.

        Args:
            source, source_rate, start_s, duration_s, channel, salvage: as for :meth:`blocks`.
            on_progress: called with the seconds that are done.
            on_frames: takes the frames ``(n, K)``, block by block, in place of the result's ``framewise``,
                which is then None: for recordings whose frames do not fit in memory.
        """
        frames: list[FloatArray] = []
        take = frames.append if on_frames is None else on_frames
        extents: list[Extent] = []
        answers: list[Answer] = []
        length_s = 0.0
        selection = Selection(source_rate, start_s, duration_s, channel, salvage)
        for block in self.blocks(source, **asdict(selection)):
            take(block.framewise)
            length_s = block.duration_s or 0.0
            for extent, answer in block.heard:
                extents.append(extent)
                answers.append(answer._replace(framewise=None))
            if on_progress is not None:
                on_progress((block.first_frame + len(block.framewise)) * self.hop_s)
        pipeline = self._pipeline
        settings, hop_samples = pipeline.settings, self._plan.hop_samples
        return TaggingResult(
            clipwise=combine([a.clipwise for a in answers], extents, settings.combine_clipwise, hop_samples),
            logits=combine_logits(
                [a.logits for a in answers], extents, settings.combine_clipwise, hop_samples
            ),
            embedding=combine(
                [a.embedding for a in answers], extents, settings.combine_embedding, hop_samples
            ),
            framewise=np.concatenate(frames) if on_frames is None else None,
            grid=self.grid,
            duration_s=length_s,
            operating_points=pipeline.operating_points,
            file=file_name(source),
            clipwise_max=(
                combine([a.clipwise for a in answers], extents, "max", hop_samples)
                if len(answers) > 1
                else None
            ),
        )

    def tag_each(
        self,
        sources: Iterable[Source],
        source_rate: int | None = None,
        *,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Iterator[TaggingResult]:
        """As :meth:`tag`, source by source; with several sources, errors name the one concerned."""
        alone = is_one(sources)
        selection = Selection(source_rate, start_s, duration_s, channel, salvage)
        for i, source in enumerate(sources):
            try:
                result = self.tag(
                    source,
                    **asdict(selection),
                    on_progress=None if on_progress is None else partial(on_progress, i),
                )
            except AudioError as error:
                if alone:
                    raise
                raise at_source(i, source, error) from error
            yield result

    def _block(
        self,
        held: _Heard,
        framewise: FloatArray,
        bins: _Bins,
        next_window: int,
        n_fine: int,
        duration_s: float | None,
    ) -> FrameBlock:
        n_samples = len(held.window.waveform)
        extent = Extent(held.window.start_frame, self._pipeline.engine.network.n_frames(n_samples), n_samples)
        position = Position(next_window, bins.n_out, n_fine, bins.rest)
        first = bins.n_out - len(framewise)
        return FrameBlock(framewise, first, duration_s, ((extent, held.whole),), position)

    def _windows(
        self,
        source: Source,
        selection: Selection,
        first_frame: int,
    ) -> Generator[tuple[Window, bool], None, None]:
        """The pieces of audio, each with whether it is the last."""
        before: Window | None = None
        with selection.open(source, self._pipeline.sample_rate) as blocks:
            for window in slide(blocks, self._plan):
                if before is not None:
                    yield before, False
                before = Window(first_frame + window.start_frame, window.waveform)
        if before is not None:
            yield before, True

    def _heard(self, windows: Generator[tuple[Window, bool], None, None]) -> Iterator[_Heard]:
        """The frames of each piece of audio, computed in batches of pieces."""
        n_together = max(1, self._pipeline.engine.batch_size // self.n_passes)
        ahead = prefetch(windows, _PASSES_AHEAD * n_together)
        while batch := list(islice(ahead, n_together)):
            passes = [self._passes(window.waveform, is_last) for window, is_last in batch]
            waveforms = [waveform for each in passes for waveform in each]
            answers = iter(self._pipeline.engine.run(waveforms, Wanted(framewise=True)))
            for (window, _), each in zip(batch, passes, strict=True):
                found = list(islice(answers, len(each)))
                yield _Heard(window, window.start_frame * self.n_passes, _interleaved(found), found[0])

    def _passes(self, waveform: FloatArray, is_last: bool) -> list[FloatArray]:
        """The windows of all passes in a piece of audio; those of the last piece extend to its end."""
        n = len(waveform)
        least = self._pipeline.engine.network.min_samples
        length = n if is_last else n - self._shifts[-1]
        # A window too short for a frame would only be padded to one.
        return [waveform[s : s + length] for i, s in enumerate(self._shifts) if i == 0 or n - s >= least]


def _interleaved(answers: list[Answer]) -> FloatArray:
    """``(T'_i, K)`` frames of each pass -> ``(sum of T'_i, K)``, by time."""
    combs = [answer.framewise for answer in answers if answer.framewise is not None]
    n_frames = len(combs[0])
    # A later pass has less audio, so that it has as many frames or one less.
    numbers = [np.arange(len(comb)) * len(combs) + i for i, comb in enumerate(combs)]
    order = np.argsort(np.concatenate(numbers), kind="stable")
    return combs[0] if len(combs) == 1 else np.concatenate(combs)[order][: n_frames * len(combs)]


class _Bins:
    """Means over ``ratio`` frames each, not a whole number, for frames that come in pieces."""

    def __init__(self, ratio: float, at: Position) -> None:
        self._ratio = ratio
        self.n_out = at.n_frames
        self.rest = at.rest
        self._first = at.n_fine - len(at.rest)  # number of the first frame of the rest

    def push(self, frames: FloatArray) -> FloatArray:
        """``(n, K)`` frames -> ``(m, K)`` complete means."""
        if self._ratio == 1.0:
            self.n_out += len(frames)
            return frames
        rows = np.concatenate([self.rest, frames])
        stop = math.floor((self._first + len(rows)) / self._ratio + _SAME)
        found = self._means(rows, stop)
        self.n_out = stop
        keep = min(len(rows), math.floor(stop * self._ratio + _SAME) - self._first)
        self.rest, self._first = rows[keep:].copy(), self._first + keep
        return found

    def finish(self) -> FloatArray:
        """``(m, K)``: the mean over the remaining frames, one or none."""
        stop = math.ceil((self._first + len(self.rest)) / self._ratio - _SAME)
        if self._ratio == 1.0 or stop <= self.n_out or not len(self.rest):
            return self.rest[:0]
        found = self._means(self.rest, stop)
        self.n_out = stop
        return found

    def _means(self, rows: FloatArray, stop: int) -> FloatArray:
        """``(n, K)`` rows -> means ``n_out`` to ``stop``."""
        if stop <= self.n_out:
            return rows[:0]
        edges = np.clip(np.arange(self.n_out, stop + 1) * self._ratio - self._first, 0, len(rows))
        whole = np.minimum((edges + _SAME).astype(np.int64), len(rows) - 1)
        sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)])
        integral = sums[whole] + (edges - whole)[:, None] * rows[whole]
        means = np.diff(integral, axis=0) / np.diff(edges)[:, None]
        return np.asarray(np.clip(means, 0, 1), np.float32)

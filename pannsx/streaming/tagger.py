"""`StreamTagger`: tags and events of live sound, as soon as they are final."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pannsx.audio.reader import check_rate, rate_given
from pannsx.events import EventDetector, EventSettings
from pannsx.inference.engine import Answer, Wanted
from pannsx.inference.pipeline import OpenNetwork, open_pipeline
from pannsx.streaming.intake import Intake
from pannsx.streaming.steps import Steps
from pannsx.streaming.update import StreamUpdate
from pannsx.types import FloatArray, PathLike, Source

if TYPE_CHECKING:
    import torch

    from pannsx.inference.engine import Precision
    from pannsx.weights.record import Checkpoint


DEFAULT_STEP_S = 1.0


class StreamTagger:
    """Tags live sound, in blocks of any size and rate.

    >>> stream = StreamTagger(source_rate=44_100)
    >>> with open_blocks("street.mp3", 44_100, block_s=0.1) as blocks:
    ...     for block in blocks:
    ...         for update in stream.push(block):
    ...             print(update.stop_s, update.top(3))
    >>> rest = stream.close()

    Every ``step_s`` seconds the network runs on the window that its next frames depend on. Within rounding,
    their probabilities equal those of the whole recording in one piece. Memory is that of one window, and the
    cost of a block does not depend on the length of the stream.

    Args:
        model: as for :class:`pannsx.AudioTagger`, None for the bundled checkpoint, or an ``AudioTagger``,
            ``FeatureExtractor`` or ``StreamTagger``, whose weights and device are then shared: load the
            weights once for many streams.
        source_rate: rate of the blocks, in Hz; ``sample_rate`` is another name for it. None: the rate
            given with the first block; blocks without a rate are assumed to be at the model's.
        step_s: seconds of sound between two runs of the network, rounded down to whole frames, at least one.
            A shorter step means less delay and more computation, as every step runs a whole window.
        events: settings of event detection; without a threshold, the operating points of a calibrated
            checkpoint apply. None: no events.
        checkpoint, prefix, device, precision, cache_dir, allow_unverified, progress, low_memory: as in
            :class:`pannsx.AudioTagger`; not together with an open one.

    Raises:
        ValueError: an unknown model or class, a missing device, an invalid step or threshold.
        AudioError: an invalid rate.
        WeightsError: the weights cannot be obtained or trusted.

    One stream is one sequence of blocks: push them from one thread at a time.
    """

    def __init__(
        self,
        model: str | OpenNetwork | None = None,
        *,
        source_rate: int | None = None,
        step_s: float = DEFAULT_STEP_S,
        events: EventSettings | None = None,
        checkpoint: PathLike | None = None,
        prefix: str | None = None,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        progress: bool = True,
        low_memory: bool = False,
        sample_rate: int | None = None,
    ) -> None:
        if not math.isfinite(step_s) or step_s <= 0:
            raise ValueError(f"step_s is {step_s}; a finite number of seconds above 0 is needed")
        source_rate = rate_given(source_rate, sample_rate)
        if source_rate is not None:
            source_rate = check_rate(source_rate, "source_rate")
        self._pipeline = open_pipeline(
            model,
            checkpoint=checkpoint,
            prefix=prefix,
            device=device,
            precision=precision,
            cache_dir=cache_dir,
            allow_unverified=allow_unverified,
            progress=progress,
            low_memory=low_memory,
        )
        self._model = self._pipeline.engine.network
        self._steps = Steps.of(self._model, step_s)
        self._given_rate = source_rate
        self._detector: EventDetector | None = None
        if events is not None:
            if events.threshold is None:
                events = replace(events, threshold=self._pipeline.operating_points)
            self._detector = EventDetector(
                self._pipeline.grid.label_set, self.hop_s, events, offset_s=self._pipeline.grid.offset_s
            )
        self.reset()

    def reset(self) -> None:
        """Discard the stream: the next block begins a new one, at time 0."""
        self._intake = Intake(self.sample_rate, self._given_rate)
        self._next_frame = 0
        self._closed = False
        if self._detector is not None:
            self._detector.reset()

    def push(
        self, block: Source, source_rate: int | None = None, *, sample_rate: int | None = None
    ) -> list[StreamUpdate]:
        """The next samples ``(n,)``, or ``(n, C)`` with ``n >= C`` -> updates with the frames now final.

        Args:
            block: NumPy array or torch tensor of any length, also empty, and any number type accepted by
                :mod:`pannsx.audio`; channels are averaged. It is copied.
            source_rate: its rate in Hz; ``sample_rate`` is another name for it. None: the stream's.

        Returns:
            an update for each step of the network, in order; most short blocks complete none.

        Raises:
            AudioError: the block has a sample that is not finite, a wrong shape, or a rate other than the
                stream's. The block is then ignored, and the stream can go on.
            ValueError: the stream is closed.
        """
        if self._closed:
            raise ValueError("the stream is closed; reset() begins a new one")
        self._intake.take(block, rate_given(source_rate, sample_rate))
        return self._take_steps()

    def close(self) -> list[StreamUpdate]:
        """End of the stream -> the pending frames and events, as at the end of a file.

        A second call returns an empty list; :meth:`reset` begins a new stream.
        """
        if self._closed:
            return []
        self._closed = True
        self._intake.finish()
        n_samples = self._intake.n_samples
        if n_samples == 0:
            return []
        updates = self._take_steps()
        n_left = self._model.n_frames(n_samples) - self._next_frame
        if n_left > 0 or self._detector is not None:
            updates += self._answered([self._next_frame], [n_samples], n_left)
        if self._detector is not None:
            # An event may last until the end of the sound, shortly after the end of the last frame.
            waiting = tuple(self._detector.close(n_samples / self.sample_rate))
            updates[-1] = replace(updates[-1], events=updates[-1].events + waiting)
        self._intake = Intake(self.sample_rate, self._intake.source_rate)
        return updates

    def _take_steps(self) -> list[StreamUpdate]:
        """Run all steps whose samples are complete, in batches."""
        updates: list[StreamUpdate] = []
        steps, engine = self._steps, self._pipeline.engine
        while self._intake.n_samples >= steps.stop(self._next_frame):
            firsts: list[int] = []
            frame = self._next_frame
            while len(firsts) < engine.batch_size and self._intake.n_samples >= steps.stop(frame):
                firsts.append(frame)
                frame += steps.advance
            updates += self._answered(firsts, [steps.stop(first) for first in firsts], steps.advance)
        if updates:
            self._intake.forget(steps.first_window_frame(self._next_frame) * steps.hop_samples)
        return updates

    def _answered(self, firsts: list[int], stops: list[int], n_frames: int) -> list[StreamUpdate]:
        """Updates of ``n_frames`` frames each, starting at ``firsts``, with samples up to ``stops``."""
        windows = [self._window(first, stop) for first, stop in zip(firsts, stops, strict=True)]
        answers = self._pipeline.engine.run(windows, Wanted())
        self._next_frame = firsts[-1] + n_frames
        return [
            self._update(answer, first, stop, n_frames)
            for answer, first, stop in zip(answers, firsts, stops, strict=True)
        ]

    def _window(self, frame: int, stop: int) -> FloatArray:
        """The samples ``(S,)``, up to ``stop``, that frame ``frame`` and later ones depend on."""
        return self._intake.window(self._steps.first_window_frame(frame) * self._steps.hop_samples, stop)

    def _update(self, answer: Answer, frame: int, stop: int, n_frames: int) -> StreamUpdate:
        begin = self._steps.first_window_frame(frame)
        if answer.framewise is None:
            raise RuntimeError("the engine returned no frames")
        framewise = answer.framewise[frame - begin : frame - begin + n_frames].copy()
        return StreamUpdate(
            framewise=framewise,
            first_frame=frame,
            events=tuple(self._detector.push(framewise)) if self._detector is not None else (),
            clipwise=answer.clipwise,
            embedding=answer.embedding,
            window_s=(begin * self.hop_s, stop / self.sample_rate),
            grid=self._pipeline.grid,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """``K`` names of the classes, in the order of the updates."""
        return self._pipeline.grid.labels

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz; blocks of another rate are resampled to it."""
        return self._pipeline.sample_rate

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self._pipeline.grid.hop_s

    @property
    def record(self) -> Checkpoint:
        """The manifest's record of the checkpoint: origin, licence, scores."""
        return self._pipeline.record

    @property
    def step_s(self) -> float:
        """Seconds of sound between two updates."""
        return self._steps.advance * self.hop_s

    @property
    def window_s(self) -> float:
        """Length of an update's window in seconds, once the stream is that long."""
        return self._steps.window_samples / self.sample_rate

    @property
    def latency_s(self) -> float:
        """Upper bound, in seconds of audio, from a frame's centre to its output.

        It is the sum of the context after the first frame of a step, the other frames of the step, and the
        reach of the resampling filter. The length of a block and the computing time come on top.
        """
        grid, steps = self._model.grid, self._steps
        waits = (steps.advance - 1) * steps.hop_samples + steps.past_start - grid.offset_samples
        return waits / self.sample_rate + self._intake.delay_s

    @property
    def event_latency_s(self) -> float:
        """Upper bound, in seconds of audio, from an event's end to its output.

        Raises:
            ValueError: the stream does not detect events.
        """
        if self._detector is None:
            raise ValueError("the stream does not detect events; give events=pannsx.events.EventSettings()")
        return self.latency_s + self._detector.latency_s

    def __repr__(self) -> str:
        return (
            f"<StreamTagger {self.record.name}: every {self.step_s:.3g} s a window of {self.window_s:.3g} s, "
            f"latency {self.latency_s:.3g} s>"
        )

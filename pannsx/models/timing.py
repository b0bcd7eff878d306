"""Times and receptive fields of frames, composed layer by layer.

A few numbers describe the action of a layer on the time axis. A path of such layers defines the hop between
frames, centre and receptive field of the first, the number of frames of an input, and the shortest input.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeLayer:
    """One layer along time.

    Attributes:
        stride: input steps between neighbouring outputs.
        centre: centre of output 0 in input steps, possibly between two.
        reach: input steps that output 0 needs; output ``n`` needs ``n * stride + reach``.
        first: first input step that output 0 sees; negative where it is padding.
        last: last input step that output 0 sees; an input may end before it.
    """

    stride: int
    centre: float
    reach: int
    first: int
    last: int


def pooling(size: int) -> TimeLayer:
    """Pooling over ``size`` steps without overlap or padding."""
    return TimeLayer(size, (size - 1) / 2, size, 0, size - 1)


def strided(kernel: int, stride: int, padding: int) -> TimeLayer:
    """Convolution or pooling of ``kernel`` steps every ``stride``, ``padding`` steps added at both ends."""
    return TimeLayer(stride, (kernel - 1) / 2 - padding, kernel - 2 * padding, -padding, kernel - 1 - padding)


def same(kernel: int, dilation: int = 1) -> TimeLayer:
    """Convolution of an odd ``kernel``, padded to as many outputs as inputs."""
    radius = dilation * (kernel // 2)
    return TimeLayer(1, 0.0, 1, -radius, radius)


def centred_stft(hop_length: int, n_fft: int = 1) -> TimeLayer:
    """Frames centred on samples 0, hop, 2 hop, ...: ``S // hop + 1`` of them, so output 0 needs nothing."""
    return TimeLayer(hop_length, 0.0, 0, -(n_fft // 2), (n_fft - 1) // 2)


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """Times of a model's frames: frame ``n`` is centred on sample ``offset_samples + n * hop_samples``.

    Attributes:
        hop_samples: samples between the centres of neighbouring frames.
        offset_samples: centre of frame 0 in samples; may lie between two, or before the first.
    """

    hop_samples: int = 1
    offset_samples: float = 0.0

    def through(self, layer: TimeLayer) -> TimeGrid:
        """The grid of a layer's outputs, given the grid of its inputs."""
        return TimeGrid(
            self.hop_samples * layer.stride, self.offset_samples + self.hop_samples * layer.centre
        )

    def centre_samples(self, frame: int) -> float:
        """Centre of a frame, in samples."""
        return self.offset_samples + frame * self.hop_samples


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The samples that a frame depends on: frame ``n`` on ``n * hop_samples`` plus ``first`` to ``last``.

    Both ends are included. Samples outside the input are padding.

    Attributes:
        hop_samples: samples between neighbouring frames.
        first: first sample that frame 0 sees; negative, as the field extends to both sides.
        last: last sample that frame 0 sees.
    """

    hop_samples: int = 1
    first: int = 0
    last: int = 0

    def through(self, layer: TimeLayer) -> ReceptiveField:
        """The field of a layer's outputs, given the field of its inputs."""
        return ReceptiveField(
            self.hop_samples * layer.stride,
            self.first + self.hop_samples * layer.first,
            self.last + self.hop_samples * layer.last,
        )

    def samples_of(self, frame: int) -> range:
        """The samples that a frame depends on; some may lie before sample 0."""
        start = frame * self.hop_samples
        return range(start + self.first, start + self.last + 1)


def receptive_field(paths: Iterable[Iterable[TimeLayer]]) -> ReceptiveField:
    """The receptive field of a frame where paths from the samples are joined."""
    fields = []
    for path in paths:
        field = ReceptiveField()
        for layer in path:
            field = field.through(layer)
        fields.append(field)
    return ReceptiveField(
        fields[0].hop_samples, min(field.first for field in fields), max(field.last for field in fields)
    )


def grid_of(path: Iterable[TimeLayer]) -> TimeGrid:
    """The grid at the end of a path from the samples."""
    grid = TimeGrid()
    for layer in path:
        grid = grid.through(layer)
    return grid


def n_outputs(path: Iterable[TimeLayer], n_inputs: int) -> int:
    """Number of frames at the end of a path for ``n_inputs`` samples; 0 if the input is too short."""
    n = n_inputs
    for layer in path:
        n = max(0, (n - layer.reach) // layer.stride + 1)
    return n


def shortest_input(path: Sequence[TimeLayer]) -> int:
    """The smallest number of samples with one frame at the end of a path."""
    n = 1
    for layer in reversed(path):
        n = max(1, (n - 1) * layer.stride + layer.reach)
    return n


class FrameTimes:
    """The times of a network's frames.

    Args:
        paths: layers from the samples to the features, one path for each representation; the first defines
            the times.
        after: further layers that a frame's output depends on.

    Attributes:
        grid: times of its frames.
        receptive_field: range of samples that a frame depends on.
        min_samples: shortest input in samples; shorter ones are zero-padded at the end.
    """

    def __init__(self, paths: Sequence[Sequence[TimeLayer]], after: Sequence[TimeLayer]) -> None:
        self._paths = tuple(tuple(path) for path in paths)
        self.grid = grid_of(self._paths[0])
        self.receptive_field = receptive_field((*path, *after) for path in self._paths)
        self.min_samples = max(shortest_input(path) for path in self._paths)

    def n_frames(self, n_samples: int) -> int:
        """Number ``T'`` of frames of a waveform of ``n_samples`` samples, zero-padded if necessary."""
        padded = max(n_samples, self.min_samples)
        return min(n_outputs(path, padded) for path in self._paths)

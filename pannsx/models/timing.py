"""Where frames lie in time, composed layer by layer.

Every layer that changes the time axis is three numbers; a path of such layers says how many samples
lie between frames, where the first one is centred, how many frames an input gives and which input is
the shortest that gives one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeLayer:
    """One layer along time.

    Attributes:
        stride: input steps between neighbouring outputs.
        centre: input step (possibly between two) on which output 0 is centred.
        reach: input steps that output 0 needs; output ``n`` needs ``n * stride + reach``.
    """

    stride: int
    centre: float
    reach: int


def pooling(size: int) -> TimeLayer:
    """Pooling over ``size`` steps without overlap or padding."""
    return TimeLayer(size, (size - 1) / 2, size)


def strided(kernel: int, stride: int, padding: int) -> TimeLayer:
    """Convolution or pooling of ``kernel`` steps every ``stride``, ``padding`` steps added at both ends."""
    return TimeLayer(stride, (kernel - 1) / 2 - padding, kernel - 2 * padding)


def centred_stft(hop_length: int) -> TimeLayer:
    """Frames centred on samples 0, hop, 2 hop, ...: ``S // hop + 1`` of them, so output 0 needs nothing."""
    return TimeLayer(hop_length, 0.0, 0)


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


def grid_of(path: Iterable[TimeLayer]) -> TimeGrid:
    """The grid at the end of a path that starts from samples."""
    grid = TimeGrid()
    for layer in path:
        grid = grid.through(layer)
    return grid


def n_outputs(path: Iterable[TimeLayer], n_inputs: int) -> int:
    """Number of frames that ``n_inputs`` samples give at the end of a path; none or fewer is 0."""
    n = n_inputs
    for layer in path:
        n = max(0, (n - layer.reach) // layer.stride + 1)
    return n


def shortest_input(path: Sequence[TimeLayer]) -> int:
    """The fewest samples that give one frame at the end of a path."""
    n = 1
    for layer in reversed(path):
        n = max(1, (n - 1) * layer.stride + layer.reach)
    return n

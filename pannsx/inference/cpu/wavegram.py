"""The stem of the networks on wavegrams, prepared: layers over time in strips, then two layers on planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from pannsx.inference.cpu.direct import ShallowConvolution
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.planes import Plane, Planes
from pannsx.inference.cpu.time_layers import LayersInStrips
from pannsx.inference.cpu.time_plan import Layers
from pannsx.inference.cpu.time_strips import MAXIMUM
from pannsx.inference.cpu.winograd import WinogradConvolution
from pannsx.inference.cpu.workers import Workers
from pannsx.jit.simd import N_LANES
from pannsx.models.raw_settings import WavegramSettings
from pannsx.models.timing import n_outputs
from pannsx.types import FloatArray

Folded = tuple[FloatArray, FloatArray]  # weight (C', C, taps) and bias (C',)


class PreparedWavegram:
    """``(S,)`` waveforms -> their :class:`Wavegrams`, like the original stem.

    Args:
        settings: those of the stem.
        tensors: those of the network.
        workers: the threads to compute on.
    """

    def __init__(self, settings: WavegramSettings, tensors: Tensors, workers: Workers) -> None:
        self.settings = settings
        self._workers = workers
        self._over_time = LayersInStrips(_layers(settings, tensors), workers)
        name = settings.last
        self._first = ShallowConvolution(*tensors.folded(f"{name}.conv1", f"{name}.bn1"))
        self._second = WinogradConvolution(
            *tensors.folded(f"{name}.conv2", f"{name}.bn2"), pool=True, over_bands=False
        )
        self._planes = Planes()

    def __call__(self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]) -> tuple[Wavegrams]:
        """``log_mels`` are left alone."""
        return (Wavegrams(self, waveforms),)

    def alone(self, waveform: FloatArray, target: Plane) -> None:
        """Compute a wavegram into a plane, outside of a task that leads; see :class:`Workers`."""
        self._workers.lead(lambda: self.fill([waveform], target, 0))

    def fill(self, waveforms: Sequence[FloatArray], target: Plane, begin: int) -> None:
        """Compute the wavegrams of some waveforms into channels of a plane, those from ``begin`` on."""
        n_bands, per_band = self.settings.n_bands, self.settings.per_band
        maps = self._over_time([waveform[None] for waveform in waveforms])
        heights = tuple(len(each) for each in maps)
        source = self._planes.get("over time", heights, n_bands, per_band)
        for inside, each in zip(source.items(), maps, strict=True):
            inside[...] = each.reshape(len(each), -1, per_band)[:, :n_bands]
        middle = self._planes.get("first", heights, n_bands, self.settings.channels)
        self._first(source, middle, self._workers)
        self._second(middle, target, self._workers, begin=begin)


class Wavegrams(Sequence[FloatArray]):
    """Wavegrams ``(C, T, F)`` of waveforms ``(S,)``, not computed before a plane or an array takes them.

    Attributes:
        channels, width: ``C`` and ``F``.
        heights: ``T`` of each.
    """

    def __init__(self, stem: PreparedWavegram, waveforms: Sequence[FloatArray]) -> None:
        self._stem, self._waveforms = stem, waveforms
        self.channels, self.width = stem.settings.channels, stem.settings.n_bands
        layers = stem.settings.time_layers
        self.heights = tuple(n_outputs(layers, len(waveform)) for waveform in waveforms)

    def fill(self, target: Plane, begin: int) -> None:
        """Compute them into channels of a plane, those from ``begin`` on, as far as it reaches."""
        self._stem.fill(self._waveforms, target, begin)

    def __len__(self) -> int:
        return len(self.heights)

    @overload
    def __getitem__(self, index: int) -> FloatArray: ...

    @overload
    def __getitem__(self, index: slice) -> Wavegrams: ...

    def __getitem__(self, index: int | slice) -> FloatArray | Wavegrams:
        """Computed at each call, for trunks that are no prepared CNN."""
        if isinstance(index, slice):
            return Wavegrams(self._stem, self._waveforms[index])
        plane = Planes().get("alone", (self.heights[index],), self.width, self.channels)
        self._stem.alone(self._waveforms[index], plane)
        wavegram: FloatArray = plane.items()[0].transpose(2, 0, 1)
        return wavegram


def _layers(settings: WavegramSettings, tensors: Tensors) -> Layers:
    """Those over time; the channels of the last map are those of band after band, then zeros."""
    layers = Layers()
    folded = tensors.folded("pre_conv0", "pre_bn0")
    layers.convolution(folded, stride=settings.stride, padding=settings.taps // 2)
    *others, last = settings.blocks
    for block in (*others, last):
        first, second = (tensors.folded(f"{block.name}.conv{i}", f"{block.name}.bn{i}") for i in (1, 2))
        if block == last:
            second = _band_by_band(second, settings.n_bands)
        layers.convolution(_in_whole_vectors(first), padding=1)
        layers.convolution(_in_whole_vectors(second), dilation=2, padding=2)
        layers.pooling(MAXIMUM, settings.pool)
        layers.end()
    return layers


def _band_by_band(folded: Folded, n_bands: int) -> Folded:
    """The channels of a band are ``n_bands`` apart in the original."""
    weight, bias = folded
    order = np.arange(len(bias)).reshape(-1, n_bands).T.reshape(-1)
    return weight[order], bias[order]


def _in_whole_vectors(folded: Folded) -> Folded:
    """Channels in and out filled up with zeros."""
    weight, bias = folded
    n_out, n_in = (-(-n // N_LANES) * N_LANES for n in weight.shape[:2])
    filled = np.zeros((n_out, n_in, weight.shape[2]), np.float32)
    filled[: len(bias), : weight.shape[1]] = weight
    return filled, np.pad(bias, (0, n_out - len(bias)))

"""The convolutions that Winograd's form does not suit: of one channel, and of a great many."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pannsx.compiling import compiled, digest_of
from pannsx.lanes import N_LANES, at_least, load, store
from pannsx.prepared.planes import Plane
from pannsx.prepared.workers import Workers, shares

FloatArray = npt.NDArray[np.float32]

_ZERO = np.float32(0)


@cache
def _from_one_channel() -> Callable[..., Any]:
    sources = digest_of("lanes.py", "prepared/direct.py")

    def convolve(
        source, source_row, source_image, weight, bias, first, last, height, width, target, row, image
    ):
        """Rows ``first`` to ``last`` (of all items) of one channel -> ``len(bias)`` channels, rectified."""
        _ = sources
        channels = len(bias)
        for r in range(first, last):
            item, y = divmod(r, height)
            for c in range(0, channels, N_LANES):
                b = load(bias, c)
                w0, w1, w2 = load(weight, c), load(weight, c + channels), load(weight, c + 2 * channels)
                w3, w4, w5 = (
                    load(weight, c + 3 * channels),
                    load(weight, c + 4 * channels),
                    load(weight, c + 5 * channels),
                )
                w6, w7, w8 = (
                    load(weight, c + 6 * channels),
                    load(weight, c + 7 * channels),
                    load(weight, c + 8 * channels),
                )
                for x in range(width):
                    a = item * source_image + y * source_row + x
                    total = b + w0 * source[a] + w1 * source[a + 1] + w2 * source[a + 2]
                    a += source_row
                    total = total + w3 * source[a] + w4 * source[a + 1] + w5 * source[a + 2]
                    a += source_row
                    total = total + w6 * source[a] + w7 * source[a + 1] + w8 * source[a + 2]
                    store(
                        target, item * image + (y + 1) * row + (x + 1) * channels + c, at_least(total, _ZERO)
                    )

    return compiled(convolve)


class FirstConvolution:
    """A 3 x 3 convolution of one channel with bias, rectified: bound by writing its output."""

    pool = False

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self._weight: FloatArray = weight.float().permute(2, 3, 1, 0).contiguous().numpy().reshape(-1)
        self._bias: FloatArray = bias.float().numpy()

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill ``target`` from ``source``, which has one channel."""
        ranges = list(shares(source.batch * source.height, workers.n))

        def share(i: int) -> None:
            _from_one_channel()(
                source.cells.reshape(-1), source.row, source.image, self._weight, self._bias, *ranges[i],
                source.height, source.width, target.cells.reshape(-1), target.row, target.image,
            )  # fmt: skip

        workers.run(share)


class ProductConvolution:
    """A 3 x 3 convolution with bias, rectified, as one matrix product over its ``9 C`` inputs.

    For the deep layers, whose planes are a few dozen cells and whose weights are many megabytes: the
    product reads them once, in order.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, pool: bool, n_parts: int) -> None:
        self.out_channels, self.in_channels = weight.shape[:2]
        self.pool = pool
        by_input = weight.float().permute(2, 3, 1, 0).reshape(-1, self.out_channels)
        self._parts = [
            (begin, end, by_input[:, begin:end].contiguous())
            for begin, end in shares(self.out_channels, n_parts)
        ]
        self._bias = bias.float()

    def __call__(self, source: Plane, target: Plane, workers: Workers) -> None:
        """Fill the first ``out_channels`` channels of ``target``, as far as it reaches, from ``source``."""
        b, h, w, c = source.batch, source.height, source.width, self.in_channels
        around = torch.from_numpy(source.cells).as_strided(
            (b, h, w, 3, 3 * c), (source.image, source.row, c, source.row, 1)
        )
        inputs = around.reshape(b * h * w, 9 * c)
        inside = target.inside

        def share(i: int) -> None:
            with torch.inference_mode():
                for begin, end, weights in self._parts[i :: workers.n]:
                    out = torch.addmm(self._bias[begin:end], inputs, weights).relu_().view(b, h, w, -1)
                    if self.pool:
                        out = functional.avg_pool2d(out.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
                    inside[..., begin:end] = out[:, : target.height, : target.width]

        workers.run(share)

"""A linear map with bias on the rows of a matrix, by threads of ours: 1 x 1 convolutions and dense layers."""

from __future__ import annotations

import torch
from torch import Tensor

from pannsx.prepared.workers import Workers, shares

FEW_ROWS = 512
"""With fewer, the weights are what must be read, and threads share a product by its columns."""


class Product:
    """``(n, C)`` rows -> ``(n, C')``.

    Args:
        weight: ``(C', C)``, with axes of size one after these or not.
        bias: ``(C',)``.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.out_channels = len(weight)
        self._weight = weight.detach().flatten(1).T.float().contiguous()
        self._bias = bias.detach().float()

    def rows(self, inputs: Tensor, out: Tensor) -> None:
        """``(n, C)`` -> ``out`` ``(n, C')``, on the calling thread."""
        torch.addmm(self._bias, inputs, self._weight, out=out)

    def columns(self, inputs: Tensor, out: Tensor, begin: int, end: int) -> None:
        """Columns ``begin`` to ``end`` of ``out``, on the calling thread."""
        torch.addmm(self._bias[begin:end], inputs, self._weight[:, begin:end], out=out[:, begin:end])

    def __call__(self, inputs: Tensor, workers: Workers, out: Tensor | None = None) -> Tensor:
        """``(n, C)`` -> ``(n, C')``, on all threads."""
        result = torch.empty(len(inputs), self.out_channels) if out is None else out
        few = len(inputs) < FEW_ROWS
        ranges = list(shares(self.out_channels if few else len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            with torch.inference_mode():
                if few:
                    self.columns(inputs, result, first, last)
                else:
                    self.rows(inputs[first:last], result[first:last])

        workers.run(share)
        return result

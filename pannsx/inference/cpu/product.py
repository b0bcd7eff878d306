"""A linear map with bias on the rows of a matrix, in parallel: 1 x 1 convolutions and dense layers."""

from __future__ import annotations

import torch
from torch import Tensor

from pannsx.inference.cpu.workers import Workers, even_ranges

FEW_ROWS = 512
"""With fewer rows, reading the weights takes the time, and threads divide a product by its columns."""


def affine(bias: Tensor, inputs: Tensor, weights: Tensor, out: Tensor) -> None:
    """``(n, C)`` -> ``out (n, C')``: ``bias + inputs @ weights``, product in the weights' dtype."""
    if weights.dtype == torch.float32:
        torch.addmm(bias, inputs, weights, out=out)
    else:
        torch.add(torch.mm(inputs.to(weights.dtype), weights), bias, out=out)


def accumulate(inputs: Tensor, weights: Tensor, out: Tensor) -> None:
    """Add ``inputs @ weights`` to ``out (n, C')``, in the same dtypes."""
    if weights.dtype == torch.float32:
        out.addmm_(inputs, weights)
    else:
        out += torch.mm(inputs.to(weights.dtype), weights)


class Product:
    """``(n, C)`` rows -> ``(n, C')``.

    Args:
        weight: ``(C', C)``, optionally with trailing axes of size one.
        bias: ``(C',)``.
        dtype: float32, or bfloat16 to round inputs, weights and products.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.out_channels = len(weight)
        self._weight = weight.detach().flatten(1).T.to(dtype).contiguous()
        self._bias = bias.detach().float()

    def rows(self, inputs: Tensor, out: Tensor) -> None:
        """``(n, C)`` -> ``out`` ``(n, C')``, on the calling thread."""
        affine(self._bias, inputs, self._weight, out)

    def columns(self, inputs: Tensor, out: Tensor, begin: int, end: int) -> None:
        """Columns ``begin`` to ``end`` of ``out``, on the calling thread."""
        affine(self._bias[begin:end], inputs, self._weight[:, begin:end], out[:, begin:end])

    def __call__(self, inputs: Tensor, workers: Workers, out: Tensor | None = None) -> Tensor:
        """``(n, C)`` -> ``(n, C')``, on all threads."""
        result = torch.empty(len(inputs), self.out_channels) if out is None else out
        few = len(inputs) < FEW_ROWS
        ranges = list(even_ranges(self.out_channels if few else len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            with torch.inference_mode():
                if few:
                    self.columns(inputs, result, first, last)
                else:
                    self.rows(inputs[first:last], result[first:last])

        workers.run(share)
        return result

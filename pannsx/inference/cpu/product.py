"""The matrix products of the prepared networks: the one place where a library or kernel computes them.

A right factor is laid out once, when a network is prepared (:func:`factor`), and then multiplied on the
calling thread. Threads divide a product by its rows, or by its columns where rows are few (:class:`Product`).
The same product is used whether or not the host program has torch, so that results do not depend on it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.types import FloatArray

FEW_ROWS = 512
"""With fewer rows, reading the weights takes the time, and threads divide a product by its columns."""


class Factor(Protocol):
    """The right factor ``(C, C')`` of products. All arrays are float32; rows are contiguous."""

    def multiply(
        self,
        inputs: FloatArray,
        out: FloatArray,
        bias: FloatArray | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        """``(n, C)`` -> ``out (n, end - begin)``: columns ``begin`` to ``end``, plus those of ``bias``."""

    def accumulate(self, inputs: FloatArray, out: FloatArray) -> None:
        """Add the product with ``inputs (n, C)`` to ``out (n, C')``."""


def factor(weights: FloatArray, *, bfloat16: bool = False) -> Factor:
    """The factor ``weights (C, C')``; with ``bfloat16``, inputs, weights and products are rounded to it."""
    if bfloat16:
        from pannsx.inference.cpu.bfloat16 import RoundedFactor

        return RoundedFactor(weights)
    return _PlainFactor(weights)


class _PlainFactor:
    """The factor as it is, multiplied by NumPy."""

    def __init__(self, weights: FloatArray) -> None:
        self._weights = np.ascontiguousarray(weights, np.float32)

    def multiply(
        self,
        inputs: FloatArray,
        out: FloatArray,
        bias: FloatArray | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        np.matmul(inputs, self._weights[:, begin:end], out=out)
        if bias is not None:
            out += bias[begin:end]

    def accumulate(self, inputs: FloatArray, out: FloatArray) -> None:
        out += np.matmul(inputs, self._weights)


def multiply_each(inputs: FloatArray, weights: FloatArray, out: FloatArray) -> None:
    """``(k, n, C)`` times ``(k, C, C')`` -> ``out (k, n, C')``: ``k`` products, one a Winograd cell."""
    np.matmul(inputs, weights, out=out)


class Product:
    """A linear map with bias, ``(n, C)`` rows -> ``(n, C')``: a 1 x 1 convolution or a dense layer.

    Args:
        weight: ``(C', C)``, optionally with trailing axes of size one.
        bias: ``(C',)``; None: zeros.
        bfloat16: round inputs, weights and products to bfloat16.
    """

    def __init__(self, weight: FloatArray, bias: FloatArray | None, *, bfloat16: bool = False) -> None:
        self.out_channels = len(weight)
        self._factor = factor(weight.reshape(len(weight), -1).T, bfloat16=bfloat16)
        self._bias = None if bias is None else np.ascontiguousarray(bias, np.float32)

    def rows(self, inputs: FloatArray, out: FloatArray) -> None:
        """``(n, C)`` -> ``out`` ``(n, C')``, on the calling thread."""
        self._factor.multiply(inputs, out, self._bias)

    def columns(self, inputs: FloatArray, out: FloatArray, begin: int, end: int) -> None:
        """Columns ``begin`` to ``end`` of ``out``, on the calling thread."""
        self._factor.multiply(inputs, out[:, begin:end], self._bias, begin=begin, end=end)

    def __call__(self, inputs: FloatArray, workers: Workers, out: FloatArray | None = None) -> FloatArray:
        """``(n, C)`` -> ``(n, C')``, on all threads."""
        result = np.empty((len(inputs), self.out_channels), np.float32) if out is None else out
        few = len(inputs) < FEW_ROWS
        ranges = list(even_ranges(self.out_channels if few else len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            if few:
                self.columns(inputs, result, first, last)
            else:
                self.rows(inputs[first:last], result[first:last])

        workers.run(share)
        return result

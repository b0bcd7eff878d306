"""The matrix products of the prepared networks: the one place where a library or kernel computes them.

A right factor is laid out once, when a network is prepared (:func:`factor`), and then multiplied on the
calling thread. Threads divide a product by its rows, or by its columns where rows are few (:class:`Product`).

Products are those of :mod:`pannsx.jit.matrix`, on the weights packed once. If NumPy's library is Apple's
Accelerate, they are NumPy's: it uses a matrix unit without public instructions. ``PANNSX_PRODUCT=own`` or
``numpy``, read when a network is prepared, overrides that. The rule does not depend on torch in the host
program, so results do not either; no library's threads are set.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Literal, Protocol, cast, get_args

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pannsx.inference.cpu.workers import Workers, even_ranges
from pannsx.jit.matrix import PANEL, packed, padded, product
from pannsx.types import FloatArray

FEW_ROWS = 512
"""With fewer rows, reading the weights takes the time, and threads divide a product by its columns."""

LEAST_SHARED = 2 * 1024 * 1024
"""Below as many multiply-adds, 150 microseconds of reading weights, another thread comes too late to help."""

Kind = Literal["own", "numpy"]

_INFINITY = np.float32(np.inf)


class Factor(Protocol):
    """The right factor ``(C, C')`` of products. All arrays are float32; rows are contiguous.

    Attributes:
        name: whose product it is: ``own``, ``numpy`` or ``torch bfloat16``.
        shape: ``(C, C')``.
    """

    name: str
    shape: tuple[int, int]

    def multiply(
        self,
        inputs: FloatArray,
        out: FloatArray,
        bias: FloatArray | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        cap: float | None = None,
    ) -> None:
        """``(n, C)`` -> ``out (n, end - begin)``: columns ``begin`` to ``end``, plus those of ``bias``.

        ``begin`` is a multiple of ``COLUMNS``. Outputs are clipped to 0 and ``cap``; None leaves them.
        """

    def accumulate(
        self, inputs: FloatArray, out: FloatArray, bias: FloatArray | None = None, *, cap: float | None = None
    ) -> None:
        """Add the product with ``inputs (n, C)``, and the bias, to ``out (n, C')``."""


COLUMNS = PANEL
"""Parts of a factor begin at multiples of as many columns."""


def product_kind() -> Kind:
    """Whose products a network takes that is prepared now: by the rule above, or as ``PANNSX_PRODUCT`` says.

    Raises:
        ValueError: the variable has another value.
    """
    given = os.environ.get("PANNSX_PRODUCT", "").lower()
    if not given:
        return "numpy" if _has_accelerate() else "own"
    if given not in get_args(Kind):
        raise ValueError(f"PANNSX_PRODUCT={given!r}: it must be one of {', '.join(get_args(Kind))}, or unset")
    return cast(Kind, given)


@cache
def _has_accelerate() -> bool:
    dependencies = np.show_config(mode="dicts")["Build Dependencies"]
    return "accelerate" in str(dependencies.get("blas", {}).get("name", "")).lower()


def factor(weights: FloatArray, *, bfloat16: bool = False) -> Factor:
    """The factor ``weights (C, C')``; with ``bfloat16``, inputs, weights and products are rounded to it."""
    if bfloat16:
        from pannsx.inference.cpu.bfloat16 import RoundedFactor

        return RoundedFactor(weights)
    return OwnFactor(weights) if product_kind() == "own" else NumpyFactor(weights)


class OwnFactor:
    """The factor packed into panels."""

    name = "own"

    def __init__(self, weights: FloatArray) -> None:
        self._set(weights.shape, packed(weights))

    @classmethod
    def of_panels(cls, shape: tuple[int, int], panels: FloatArray) -> OwnFactor:
        """The factor ``(C, C')`` whose panels are there already."""
        self = cls.__new__(cls)
        self._set(shape, panels)
        return self

    def _set(self, shape: tuple[int, int], panels: FloatArray) -> None:
        self.shape = shape
        self._panels = panels
        self._zeros = padded(np.zeros(shape[1], np.float32))

    def multiply(
        self,
        inputs: FloatArray,
        out: FloatArray,
        bias: FloatArray | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        cap: float | None = None,
    ) -> None:
        """See the protocol."""
        self._run(inputs, out, bias, begin, end, cap=cap, adds=False)

    def accumulate(
        self, inputs: FloatArray, out: FloatArray, bias: FloatArray | None = None, *, cap: float | None = None
    ) -> None:
        """See the protocol."""
        self._run(inputs, out, bias, 0, None, cap=cap, adds=True)

    def _run(
        self, inputs: FloatArray, out: FloatArray, bias: FloatArray | None, begin: int, end: int | None, *,
        cap: float | None, adds: bool,
    ) -> None:  # fmt: skip
        k, n = self.shape
        last = n if end is None else end
        if begin % PANEL or inputs.shape[1] != k or out.shape != (len(inputs), last - begin):
            raise ValueError(
                f"{inputs.shape} times columns {begin} to {last} of {self.shape} -> {out.shape}: the shapes "
                f"must fit, and the first column must be a multiple of {PANEL}"
            )
        a, a_step = _rows(inputs)
        c, c_step = _rows(out)
        product()(
            a, 0, a_step, len(inputs), 1, 0, k,
            self._panels, begin * k, 0, k * PANEL, last - begin, c, 0, c_step,
            self._zeros if bias is None else padded(bias), begin,
            -_INFINITY if cap is None else np.float32(0), _INFINITY if cap is None else np.float32(cap),
            0 if adds else -1,
        )  # fmt: skip


def _rows(matrix: FloatArray) -> tuple[FloatArray, int]:
    """A matrix with contiguous rows -> its memory from the first to the last number, and the rows' stride."""
    m, n = matrix.shape
    if matrix.flags.c_contiguous:
        return matrix.reshape(-1), n
    stride, between = matrix.strides
    if between != matrix.itemsize or stride < 0:
        raise ValueError(f"rows must be contiguous and in order; the strides are {matrix.strides} bytes")
    step = stride // matrix.itemsize
    return as_strided(matrix, ((m - 1) * step + n if m else 0,), (matrix.itemsize,)), step


class NumpyFactor:
    """The factor as it is, multiplied by NumPy."""

    name = "numpy"

    def __init__(self, weights: FloatArray) -> None:
        self.shape: tuple[int, int] = weights.shape
        self._weights = np.ascontiguousarray(weights, np.float32)

    def multiply(
        self,
        inputs: FloatArray,
        out: FloatArray,
        bias: FloatArray | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        cap: float | None = None,
    ) -> None:
        """See the protocol."""
        self._products(inputs, begin, end, out)
        _finish(out, None if bias is None else bias[begin:end], cap)

    def accumulate(
        self, inputs: FloatArray, out: FloatArray, bias: FloatArray | None = None, *, cap: float | None = None
    ) -> None:
        """See the protocol."""
        out += self._products(inputs)
        _finish(out, bias, cap)

    def _products(
        self, inputs: FloatArray, begin: int = 0, end: int | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        return np.matmul(inputs, self._weights[:, begin:end], out=out)


def _finish(out: FloatArray, bias: FloatArray | None, cap: float | None) -> None:
    if bias is not None:
        out += bias
    if cap is not None:
        np.clip(out, 0, cap, out=out)


class Product:
    """A linear map with bias, ``(n, C)`` rows -> ``(n, C')``: a 1 x 1 convolution or a dense layer.

    Args:
        weight: ``(C', C)``, optionally with trailing axes of size one.
        bias: ``(C',)``; None: zeros.
        bfloat16: round inputs, weights and products to bfloat16.
        cap: clip outputs to 0 and ``cap``; None leaves them.
    """

    def __init__(
        self,
        weight: FloatArray,
        bias: FloatArray | None,
        *,
        bfloat16: bool = False,
        cap: float | None = None,
    ) -> None:
        self.out_channels = len(weight)
        self.factor = factor(weight.reshape(len(weight), -1).T, bfloat16=bfloat16)
        self._bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
        self._cap = cap

    @classmethod
    def of(cls, factor: Factor, bias: FloatArray | None, *, cap: float | None) -> Product:
        """The map by a factor that is there already."""
        self = cls.__new__(cls)
        self.out_channels, self.factor, self._bias, self._cap = factor.shape[1], factor, bias, cap
        return self

    def rows(self, inputs: FloatArray, out: FloatArray) -> None:
        """``(n, C)`` -> ``out`` ``(n, C')``, on the calling thread."""
        self.factor.multiply(inputs, out, self._bias, cap=self._cap)

    def columns(self, inputs: FloatArray, out: FloatArray, begin: int, end: int) -> None:
        """Columns ``begin``, a multiple of ``COLUMNS``, to ``end`` of ``out``, on the calling thread."""
        self.factor.multiply(inputs, out[:, begin:end], self._bias, begin=begin, end=end, cap=self._cap)

    def __call__(self, inputs: FloatArray, workers: Workers, out: FloatArray | None = None) -> FloatArray:
        """``(n, C)`` -> ``(n, C')``, on all threads."""
        result = np.empty((len(inputs), self.out_channels), np.float32) if out is None else out
        n_in, n_out = self.factor.shape
        few = len(inputs) < FEW_ROWS
        is_shared = len(inputs) * n_in * n_out >= LEAST_SHARED
        ranges = list(even_ranges(-(-self.out_channels // COLUMNS) if few else len(inputs), workers.n))

        def share(i: int) -> None:
            first, last = ranges[i]
            if first == last:
                return
            if few:
                self.columns(inputs, result, first * COLUMNS, min(last * COLUMNS, self.out_channels))
            else:
                self.rows(inputs[first:last], result[first:last])

        n_operations = 2 * len(inputs) * n_in * n_out
        with workers.step(
            f"{n_in} -> {n_out}, {len(inputs)} rows", n_operations, form="rows", product=self.factor.name
        ):
            if is_shared:
                workers.run(share)
            else:
                self.rows(inputs, result)
        return result

"""Products rounded to bfloat16, by torch, and whether they are faster on this processor."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import torch

from pannsx.inference.cpu.product import NumpyFactor, factor
from pannsx.inference.cpu.workers import Workers
from pannsx.types import FloatArray

_ROUNDS = 5


class RoundedFactor(NumpyFactor):
    """A :class:`~pannsx.inference.cpu.product.Factor` in bfloat16."""

    name = "torch bfloat16"

    def __init__(self, weights: FloatArray) -> None:
        self.shape = weights.shape
        self._rounded = torch.from_numpy(np.ascontiguousarray(weights, np.float32)).to(torch.bfloat16)

    def _products(
        self, inputs: FloatArray, begin: int = 0, end: int | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        with torch.inference_mode():
            rounded = torch.from_numpy(inputs).to(torch.bfloat16)
            found: FloatArray = torch.mm(rounded, self._rounded[:, begin:end]).float().numpy()
        if out is not None:
            out[...] = found
        return found


@cache
def is_quicker() -> bool:
    """Whether a product of typical size takes less time in bfloat16, measured once in a process.

    bfloat16 instructions do not guarantee a speed-up: on some processors they are slower than float32.
    """
    inputs, weights = np.ones((128, 2048), np.float32), np.ones((2048, 512), np.float32)
    out = np.empty((128, 512), np.float32)
    took = [float("inf"), float("inf")]
    candidates = (factor(weights, bfloat16=True), factor(weights))

    def measure(_: int) -> None:
        for _ in range(_ROUNDS):
            for i, candidate in enumerate(candidates):
                begin = time.perf_counter()
                candidate.multiply(inputs, out)
                took[i] = min(took[i], time.perf_counter() - begin)

    one = Workers(with_torch=True)
    one.run(lambda i: measure(i) if i == 0 else None)
    rounded, exact = took
    return rounded < exact

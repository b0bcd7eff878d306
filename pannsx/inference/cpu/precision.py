"""The dtype of matrix products."""

from __future__ import annotations

import time
from functools import cache

import torch

from pannsx.inference.cpu.workers import Workers

_ROUNDS = 5


def product_type(*, allow_bfloat16: bool) -> torch.dtype:
    """bfloat16 if rounding is allowed and this processor is faster with it, else float32."""
    return torch.bfloat16 if allow_bfloat16 and bfloat16_is_quicker() else torch.float32


@cache
def bfloat16_is_quicker() -> bool:
    """Whether a product of typical size takes less time in bfloat16, measured once in a process.

    bfloat16 instructions do not guarantee a speed-up: on some processors they are slower than float32.
    """
    inputs, weights = torch.ones(128, 2048).float(), torch.ones(2048, 512).float()
    took = {torch.float32: float("inf"), torch.bfloat16: float("inf")}

    def measure(_: int) -> None:
        with torch.inference_mode():
            for _ in range(_ROUNDS):
                for dtype in took:
                    a, b = inputs.to(dtype), weights.to(dtype)
                    begin = time.perf_counter()
                    torch.mm(a, b)
                    took[dtype] = min(took[dtype], time.perf_counter() - begin)

    one = Workers()
    one.run(lambda i: measure(i) if i == 0 else None)
    return took[torch.bfloat16] < took[torch.float32]

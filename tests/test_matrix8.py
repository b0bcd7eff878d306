"""Products of bytes: exactly the sums of whole numbers, at every edge of a tile, and as machine code."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from pannsx.jit import matrix8
from pannsx.jit.matrix import PANEL, TILE_ROWS, padded
from pannsx.jit.matrix8 import BYTES, MOST, packed, product
from pannsx.jit.simd import N_LANES

UNTOUCHED = np.float32(-777)
ROUNDING = 4e-7  # of the sum's and the bias's magnitude: one product and one sum in float32

pytestmark = pytest.mark.skipif(
    matrix8.FEATURE is None, reason="this processor has no products of bytes (VNNI)"
)
examples = settings(max_examples=40, deadline=None, derandomize=True)


def multiplied(
    rows: np.ndarray, weights: np.ndarray, scale: np.ndarray, bias: np.ndarray, c: np.ndarray, *,
    floor: float = -np.inf, cap: float = np.inf,
) -> None:  # fmt: skip
    """``rows (m, K)`` of uint8, ``weights (K, n)`` of int8, ``c`` contiguous with rows of ``n`` or more."""
    m, k = rows.shape
    ints, flat = np.ascontiguousarray(rows).reshape(-1).view(np.int32), c.reshape(-1)
    product()(
        ints, 0, k // BYTES, m, k // BYTES, packed(weights), 0, weights.shape[1], flat, 0, c.shape[1],
        padded(scale), 0, padded(bias), 0, np.float32(floor), np.float32(cap),
    )  # fmt: skip


@examples
@given(
    m=st.integers(1, 3 * TILE_ROWS), k=st.integers(1, 40), n=st.integers(1, 3 * PANEL // N_LANES),
    clips=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_product(m: int, k: int, n: int, clips: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, n = BYTES * k, N_LANES * n
    rows = rng.integers(0, MOST + 1, (m, k)).astype(np.uint8)
    weights = rng.integers(-127, 128, (k, n)).astype(np.int8)
    scale, bias = rng.random(n).astype(np.float32), rng.standard_normal(n).astype(np.float32)
    c = np.full((m, n + 3), UNTOUCHED)
    floor, cap = (0.0, 900.0) if clips else (-np.inf, np.inf)
    multiplied(rows, weights, scale, bias, c, floor=floor, cap=cap)
    sums = rows.astype(np.int64) @ weights.astype(np.int64)
    exact = sums * scale.astype(np.float64) + bias
    size = np.abs(sums) * scale.astype(np.float64) + np.abs(bias)
    assert np.all(np.abs(c[:, :n] - np.clip(exact, floor, cap)) <= ROUNDING * size)
    assert np.all(c[:, n:] == UNTOUCHED), "written past a row's end"


def test_the_greatest_numbers_do_not_saturate() -> None:
    """As sums of pairs in 16 bits would."""
    k = 4096
    rows = np.full((TILE_ROWS + 1, k), MOST, np.uint8)
    weights = np.full((k, N_LANES), 127, np.int8)
    weights[:, 1] = -127
    c = np.empty((len(rows), N_LANES), np.float32)
    multiplied(rows, weights, np.ones(N_LANES, np.float32), np.zeros(N_LANES, np.float32), c)
    assert np.all(c[:, 0] == MOST * 127 * k)
    assert np.all(c[:, 1] == -MOST * 127 * k)


def test_many_rows_are_cut_into_blocks() -> None:
    k = 1024
    m = 2 * (matrix8._BLOCK_INTS // (k // BYTES)) + 5
    rng = np.random.default_rng(0)
    rows = rng.integers(0, MOST + 1, (m, k)).astype(np.uint8)
    weights = rng.integers(-127, 128, (k, N_LANES)).astype(np.int8)
    c = np.empty((m, N_LANES), np.float32)
    multiplied(rows, weights, np.full(N_LANES, 2**-10, np.float32), np.zeros(N_LANES, np.float32), c)
    np.testing.assert_allclose(c, rows.astype(np.int64) @ weights.astype(np.int64) / 1024, rtol=ROUNDING)


def test_the_sums_of_a_tile_stay_in_registers() -> None:
    """No vector goes to the stack in the loop over K."""
    function = njit(product().py_func)
    number, ints, array = np.float32(0), np.zeros(2 * PANEL, np.int32), np.zeros(2 * PANEL, np.float32)
    function(ints, 0, 1, 1, 1, ints, 0, PANEL, array, 0, PANEL, array, 0, array, 0, number, number)
    (assembly,) = function.inspect_asm().values()
    blocks = [block.split("\n") for block in re.split(r"\n(?=\.?\w+:)", assembly)]
    steps = [block for block in blocks if sum("vpdpbusd" in line for line in block) >= TILE_ROWS]
    assert steps, "the loop was not found"
    spilled = [line for block in steps for line in block if "(%rsp" in line and re.search(r"%[xyz]mm", line)]
    assert spilled == []

"""Matrix products on vectors: against float64, at every edge of a tile, and as machine code."""

from __future__ import annotations

import platform
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannsx.jit import matrix
from pannsx.jit.matrix import PANEL, TILE_ROWS, TILE_VECTORS, packed, padded, product
from pannsx.jit.simd import N_LANES

ROUNDING = 4e-7  # of the sum of the magnitudes of a result's products: float32 has 6e-8, sums add to it
INFINITY = np.float32(np.inf)
UNTOUCHED = np.float32(-777)

examples = settings(max_examples=40, deadline=None, derandomize=True)


def multiplied(
    rows: np.ndarray, weights: np.ndarray, bias: np.ndarray, c: np.ndarray, *,
    floor: float = -np.inf, cap: float = np.inf, adds: bool = False,
) -> None:  # fmt: skip
    """``rows (m, K)`` contiguous, ``c`` a view whose rows may be wider than ``n``."""
    m, k = rows.shape
    n = weights.shape[1]
    flat = c.base.reshape(-1) if c.base is not None else c.reshape(-1)
    product()(
        rows.reshape(-1), 0, k, m, 1, 0, k, packed(weights), 0, 0, k * PANEL, n,
        flat, 0, c.strides[0] // 4, padded(bias), 0, np.float32(floor), np.float32(cap), 0 if adds else -1,
    )  # fmt: skip


@examples
@given(
    m=st.integers(1, 3 * TILE_ROWS), k=st.integers(1, 70), n=st.integers(1, 3 * PANEL), adds=st.booleans(),
    clips=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_product(m: int, k: int, n: int, adds: bool, clips: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, weights = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
    bias = rng.standard_normal(n).astype(np.float32)
    memory = np.full((m, n + 3), UNTOUCHED)
    memory[:, :n] = before = rng.standard_normal((m, n)).astype(np.float32)
    floor, cap = (-0.5, 0.75) if clips else (-np.inf, np.inf)
    multiplied(rows, weights, bias, memory[:, :n], floor=floor, cap=cap, adds=adds)
    exact = rows.astype(np.float64) @ weights + bias + (before if adds else 0)
    size = np.abs(rows).astype(np.float64) @ np.abs(weights) + 2
    assert np.all(np.abs(memory[:, :n] - np.clip(exact, floor, cap)) <= ROUNDING * size)
    assert np.all(memory[:, n:] == UNTOUCHED), "written past a row's end"


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("n", [50, 4 * PANEL, 9 * PANEL + N_LANES + 5])
@pytest.mark.parametrize("k", [1, 7, 2 * matrix._LONGEST_SUM + 5])
def test_a_row_does_not_depend_on_the_others(k: int, n: int, adds: bool) -> None:
    """One row, and two, take several panels at a time; bit for bit as a tile."""
    rng = np.random.default_rng(k + n)
    m = TILE_ROWS + 3
    rows, weights, before = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n))
    )
    bias = rng.standard_normal(n).astype(np.float32)
    together = before.copy()
    multiplied(rows, weights, bias, together, floor=-0.5, cap=60, adds=adds)
    exact = rows.astype(np.float64) @ weights + bias + (before if adds else 0)
    size = np.abs(rows).astype(np.float64) @ np.abs(weights) + 2
    assert np.all(np.abs(together - np.clip(exact, -0.5, 60)) <= ROUNDING * size)
    for begin, end in ((0, 1), (m - 1, m), (3, 5), (2, 5)):
        some = before[begin:end].copy()
        multiplied(rows[begin:end], weights, bias, some, floor=-0.5, cap=60, adds=adds)
        np.testing.assert_array_equal(some, together[begin:end])


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("k", [3, matrix._LONGEST_SUM // 2 + 1, 2 * matrix._LONGEST_SUM + 5])
def test_segments_of_a_row(k: int, adds: bool) -> None:
    """Rows that overlap, of three segments each, in sums of one part and of several."""
    rng = np.random.default_rng(k)
    m, n, step, apart = TILE_ROWS + 1, 20, 2, k + 7
    source = rng.standard_normal(2 * apart + (m - 1) * step + k).astype(np.float32)
    weights = rng.standard_normal((3, k, n)).astype(np.float32)
    c = np.ones((m, n), np.float32)
    product()(
        source, 0, step, m, 3, apart, k, packed(weights.reshape(3 * k, n)), 0, k, 3 * k * PANEL, n,
        c.reshape(-1), 0, n, padded(np.full(n, 2, np.float32)), 0, np.float32(0), INFINITY, 0 if adds else -1,
    )  # fmt: skip
    rows = np.stack(
        [[source[r * step + s * apart :][:k] for s in range(3)] for r in range(m)]
    ).astype(np.float64)  # fmt: skip
    exact = np.maximum(np.einsum("rsk,skn->rn", rows, weights) + 2 + adds, 0)
    size = np.einsum("rsk,skn->rn", np.abs(rows), np.abs(weights))
    assert np.all(np.abs(c - exact) <= ROUNDING * size)


def test_nan_is_kept() -> None:
    rows = np.array([[np.nan], [2.0]], np.float32)
    c = np.empty((2, 1), np.float32)
    multiplied(rows, np.ones((1, 1), np.float32), np.zeros(1, np.float32), c, floor=0, cap=1)
    np.testing.assert_array_equal(c[:, 0], np.array([np.nan, 1], np.float32))


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_the_sums_of_a_tile_stay_in_registers() -> None:
    """No vector goes to the stack in the loop over K."""
    from numba import njit

    function = njit(product().py_func)
    number, array = np.float32(0), np.zeros(2 * PANEL, np.float32)
    function(
        array, 0, 1, 1, 1, 0, 1, array, 0, 0, PANEL, PANEL, array, 0, PANEL, array, 0, number, number, -1
    )
    (assembly,) = function.inspect_asm().values()
    blocks = [block.split("\n") for block in re.split(r"\n(?=\.?\w+:)", assembly)]
    steps = [
        block for block in blocks
        if sum("vfmadd" in line for line in block) >= TILE_ROWS * TILE_VECTORS
    ]  # fmt: skip
    assert steps, "the loop was not found; a processor without fused multiply-adds?"
    spilled = [line for block in steps for line in block if "(%rsp" in line and re.search(r"%[xyz]mm", line)]
    assert spilled == []

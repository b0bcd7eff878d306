"""LeeNets on our own products against their torch modules in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_models import seeded_checkpoint

from pannsx.inference.cpu import leenet
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.leenet import LeeNetInStrips
from pannsx.inference.cpu.network import PreparedNetwork
from pannsx.inference.cpu.traced import TracedTrunk
from pannsx.inference.cpu.workers import Workers
from pannsx.models.settings import LeeNetSettings
from pannsx.models.trunks import LeeNet

ROUNDING = 1e-5  # of the largest output: nine layers of sums of at most 240 terms, in float32
LENGTHS = ((1,), (2, 2), (4,), (700,), (1003, 1003), (9000,), (640, 31, 5))

SHALLOW = LeeNetSettings((16, 16, 32), (False, True, True), n_convs=1, dropout=0.0)
DEEP = LeeNetSettings((16, 48, 80), (False, True, False), n_convs=2, dropout=0.1)
ALWAYS_POOLED = LeeNetSettings((32, 16), (True, True), n_convs=1, dropout=0.0)


@pytest.fixture(autouse=True)
def _new_plans() -> Iterator[None]:
    """Plans depend on the sizes that tests change."""
    leenet.make_plan.cache_clear()
    yield
    leenet.make_plan.cache_clear()


def seeded_trunk(settings: LeeNetSettings) -> LeeNet:
    generator = torch.Generator().manual_seed(1)
    trunk = LeeNet(settings).eval()
    for name, tensor in trunk.state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5
            tensor.copy_(1 + drawn.abs() if name.endswith("var") else drawn)
    return trunk


@pytest.mark.parametrize("cut", ["whole", "strips", "channels"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("settings", [SHALLOW, DEEP, ALWAYS_POOLED])
def test_a_leenet_as_torch_computes_it(
    settings: LeeNetSettings, n_threads: int, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "n", n_threads)
    monkeypatch.setattr(leenet, "_STRIP_FLOATS", 2000 if cut == "strips" else 10**6)
    monkeypatch.setattr(leenet, "_LONG_WEIGHTS", 3 * 16 * 16 if cut == "channels" else 10**9)
    trunk = seeded_trunk(settings)
    arrays = {name: tensor.numpy() for name, tensor in trunk.state_dict().items()}
    prepared = LeeNetInStrips(settings, Tensors(arrays), Workers())
    exact = LeeNet(settings).eval().double()
    exact.load_state_dict(trunk.state_dict())
    rng = np.random.default_rng(2)
    for lengths in LENGTHS:
        prepared._memory.fill(np.nan)  # what is left of another input must not be read
        items = [rng.standard_normal((1, length)).astype(np.float32) for length in lengths]
        for item, found in zip(items, prepared(items), strict=True):
            with torch.inference_mode():
                expected = exact(torch.from_numpy(item)[None].double())[0].T.numpy()
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()


def test_a_strip_does_not_depend_on_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = seeded_trunk(DEEP)
    arrays = {name: tensor.numpy() for name, tensor in trunk.state_dict().items()}
    prepared = LeeNetInStrips(DEEP, Tensors(arrays), Workers())
    item = np.random.default_rng(3).standard_normal((1, 5000)).astype(np.float32)
    whole = prepared([item])[0].copy()
    leenet.make_plan.cache_clear()
    monkeypatch.setattr(leenet, "_STRIP_FLOATS", 2000)
    np.testing.assert_array_equal(prepared([item])[0], whole)


def test_a_network_takes_this_form_where_products_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeded_checkpoint("LeeNet11").model
    monkeypatch.setenv("PANNSX_PRODUCT", "own")
    assert isinstance(PreparedNetwork(model, Workers())._trunk, LeeNetInStrips)
    assert isinstance(PreparedNetwork(model, Workers(), bfloat16=True)._trunk, TracedTrunk)
    monkeypatch.setenv("PANNSX_PRODUCT", "numpy")
    assert isinstance(PreparedNetwork(model, Workers())._trunk, TracedTrunk)


def test_its_steps_name_their_layers() -> None:
    prepared = PreparedNetwork(seeded_checkpoint("LeeNet11").model, Workers())
    steps = prepared.explain([np.zeros(32_000, np.float32)], [])
    assert steps[0].layer == "1 -> 64, 3, by 3; 64 -> 64, 3; maximum of 3"
    assert steps[0].n_operations == 2 * 3 * 10_667 * (64 + 64 * 64)
    assert steps[0].product == "own"

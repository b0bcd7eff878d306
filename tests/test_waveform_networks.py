"""LeeNets, DaiNet19 and Res1dNets on our own products, against their torch modules in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small_models import seeded_checkpoint
from torch import nn

from pannsx.inference.cpu import time_plan, time_strips
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.network import PreparedNetwork
from pannsx.inference.cpu.time_plan import Layers, make_plan
from pannsx.inference.cpu.traced import TracedTrunk
from pannsx.inference.cpu.waveform_networks import WaveformNetworkInStrips
from pannsx.inference.cpu.workers import Workers
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings
from pannsx.models.trunks import DaiNet19, LeeNet, Res1dNet
from pannsx.types import FloatArray

ROUNDING = 2e-6
"""Of the largest output: some twelve layers of sums of at most 240 terms in float32."""

TRUNKS: dict[str, LeeNetSettings | DaiNet19Settings | Res1dNetSettings] = {
    "LeeNet, shallow": LeeNetSettings((16, 16, 32), (False, True, True), n_convs=1, dropout=0.0),
    "LeeNet, deep": LeeNetSettings((16, 48, 80), (False, True, False), n_convs=2, dropout=0.1),
    "LeeNet, always pooled": LeeNetSettings((32, 16), (True, True), n_convs=1, dropout=0.0),
    "DaiNet19": DaiNet19Settings((16, 16, 48)),
    "Res1dNet": Res1dNetSettings((2, 1, 2), (16, 16, 48)),
}
MODULES: dict[type, Any] = {LeeNetSettings: LeeNet, DaiNet19Settings: DaiNet19, Res1dNetSettings: Res1dNet}

LENGTHS = ((0,), (1, 1), (4,), (700,), (1003, 1003), (9000,), (640, 31, 5))
"""Samples beyond the shortest input of the trunk."""

CUTS = {
    "whole": {"_STRIP_FLOATS": 10**6, "_LONG_WEIGHTS": 10**9},
    "strips": {"_STRIP_FLOATS": 3000, "_LONG_WEIGHTS": 10**9, "_MOST_TWICE": 10**9},
    "layers": {"_STRIP_FLOATS": 3000, "_LONG_WEIGHTS": 10**9, "_MOST_TWICE": -1},
    "channels": {"_LONG_WEIGHTS": 3 * 16 * 16},
    "whole, direct": {"_STRIP_FLOATS": 10**6, "WINOGRAD_WEIGHTS": 0},
    "channels, direct": {"_LONG_WEIGHTS": 3 * 16 * 16, "WINOGRAD_WEIGHTS": 0},
}


@pytest.fixture(autouse=True)
def _new_plans() -> Iterator[None]:
    """Plans depend on the sizes that tests change."""
    make_plan.cache_clear()
    yield
    make_plan.cache_clear()


def seeded_trunk(name: str) -> nn.Module:
    settings = TRUNKS[name]
    trunk: nn.Module = MODULES[type(settings)](settings).eval()
    generator = torch.Generator().manual_seed(1)
    for key, tensor in trunk.state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5
            tensor.copy_(1 + drawn.abs() if key.endswith("var") else drawn)
    return trunk


def prepared_of(name: str) -> WaveformNetworkInStrips:
    arrays = {key: tensor.numpy() for key, tensor in seeded_trunk(name).state_dict().items()}
    return WaveformNetworkInStrips(TRUNKS[name], Tensors(arrays), Workers())


def shortest(name: str) -> int:
    n = 1
    for layer in reversed(TRUNKS[name].time_layers):
        n = max(1, (n - 1) * layer.stride + layer.reach)
    return n


def noise(length: int, seed: int = 3) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((1, length)).astype(np.float32)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", TRUNKS)
def test_as_torch_computes_it(name: str, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, value in CUTS[cut].items():
        monkeypatch.setattr(time_plan, setting, value)
    monkeypatch.setattr(time_strips, "_WINOGRAD_FLOATS", 0)
    monkeypatch.setattr(time_strips, "_LEAST_TILES", 20)
    prepared, exact = prepared_of(name), seeded_trunk(name).double()
    for number, lengths in enumerate(LENGTHS):
        monkeypatch.setattr(Workers, "n", 1 + 2 * (number % 2))
        prepared._memory.fill(np.nan)  # what is left of another input must not be read
        for scratch in prepared._workers._scratch.values():
            scratch[0].fill(np.nan)
        items = [noise(shortest(name) + length, number) for length in lengths]
        for item, found in zip(items, prepared(items), strict=True):
            with torch.inference_mode():
                expected = exact(torch.from_numpy(item)[None].double())[0].T.numpy()
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize("name", TRUNKS)
def test_nothing_depends_on_the_cut_or_the_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, item = prepared_of(name), noise(9000)
    whole = prepared([item])[0].copy()
    monkeypatch.setattr(time_strips, "_WINOGRAD_FLOATS", 0)
    monkeypatch.setattr(time_strips, "_LEAST_TILES", 20)
    monkeypatch.setattr(Workers, "n", 3)
    for cut in ("strips", "layers", "channels"):
        with monkeypatch.context() as patch:
            for setting, value in CUTS[cut].items():
                patch.setattr(time_plan, setting, value)
            make_plan.cache_clear()
            np.testing.assert_array_equal(prepared([noise(400), item])[1], whole)


def test_the_cuts_of_these_tests_are_those_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long items in strips; with long weights by channels; layer by layer where strips are too short."""
    found = {}
    for cut in ("whole", "strips", "layers", "channels"):
        with monkeypatch.context() as patch:
            for setting, value in CUTS[cut].items():
                patch.setattr(time_plan, setting, value)
            make_plan.cache_clear()
            found[cut] = make_plan(prepared_of("Res1dNet")._layers, (9000,), 1).tasks
    assert [len(tasks) for tasks in (found["whole"], found["strips"])] == [5, 5]
    assert len(found["layers"]) == 13
    assert {task.n_pieces for task in found["whole"]} == {1}
    assert max(task.n_pieces for task in found["strips"]) > 10
    assert any(task.by_channels for task in found["channels"])


@pytest.mark.parametrize("name", ["LeeNet11", "DaiNet19"])
def test_a_network_takes_this_form_where_products_are_ours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seeded_checkpoint(name).model
    monkeypatch.setenv("PANNSX_PRODUCT", "own")
    assert isinstance(PreparedNetwork(model, Workers())._trunk, WaveformNetworkInStrips)
    assert isinstance(PreparedNetwork(model, Workers(), bfloat16=True)._trunk, TracedTrunk)
    monkeypatch.setenv("PANNSX_PRODUCT", "numpy")
    assert isinstance(PreparedNetwork(model, Workers())._trunk, TracedTrunk)


def test_its_steps_name_their_layers() -> None:
    prepared = PreparedNetwork(seeded_checkpoint("LeeNet11").model, Workers())
    steps = prepared.explain([np.zeros(32_000, np.float32)], [])
    assert steps[0].layer == "1 -> 64, 3, by 3; 64 -> 64, 3; maximum of 3"
    assert steps[0].n_operations == 2 * 3 * 10_667 * (64 + 64 * 64)
    assert steps[0].product == "own"


@pytest.mark.parametrize(
    ("taps", "stride", "dilation", "padding"),
    [(3, 1, 1, 1), (3, 1, 2, 2), (1, 1, 1, 0), (3, 2, 1, 1), (3, 1, 2, 0), (5, 1, 1, 2)],
)
@pytest.mark.parametrize("rectified", [False, True])
def test_a_convolution_of_any_kind(
    taps: int, stride: int, dilation: int, padding: int, rectified: bool
) -> None:
    """After one of a sample each: two channels wide enough for vectors."""
    rng = np.random.default_rng(5)
    layers = Layers()
    spread = rng.standard_normal((16, 1, 1)).astype(np.float32), np.zeros(16, np.float32)
    layers.convolution(spread, rectified=False)
    weight = rng.standard_normal((48, 16, taps)).astype(np.float32)
    bias = rng.standard_normal(48).astype(np.float32)
    layers.convolution((weight, bias), stride=stride, dilation=dilation, padding=padding, rectified=rectified)
    prepared = prepared_of("LeeNet, shallow")
    prepared._layers, prepared._weights = layers, layers.take_weights()
    for length in (9, 500):
        item = noise(length)
        before = torch.from_numpy(item.astype(np.float64) * spread[0][:, :, 0])
        expected = nn.functional.conv1d(
            before[None], torch.from_numpy(weight).double(), torch.from_numpy(bias).double(), stride, padding,
            dilation,
        )[0].T.numpy()  # fmt: skip
        expected = np.maximum(expected, 0) if rectified else expected
        (found,) = prepared([item])
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= ROUNDING * np.abs(expected).max()

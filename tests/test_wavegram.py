"""Networks on wavegrams on our own products: the stem and small networks, against their torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from seeded_models import FRONT_END
from small_models import SAME_ALONE, noise
from torch import nn

from pannsx.inference.cpu import time_plan
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.network import PreparedNetwork
from pannsx.inference.cpu.planes import Planes
from pannsx.inference.cpu.time_plan import make_plan
from pannsx.inference.cpu.traced import TracedTrunk
from pannsx.inference.cpu.wavegram import PreparedWavegram
from pannsx.inference.cpu.workers import Workers
from pannsx.inference.engine import Engine, Wanted
from pannsx.models import Pann
from pannsx.models.raw_settings import WavegramSettings
from pannsx.models.settings import CnnSettings
from pannsx.models.stems import WavegramStem
from pannsx.models.zoo import ARCHITECTURES, build

ROUNDING = 2e-6
"""Of the largest output: nine layers with sums of at most 576 terms in float32."""

LENGTHS = ((640,), (1279, 1280), (10_236,), (20_000, 641, 33_333))
"""Samples of waveforms; 640 are the shortest with a frame."""

TRUNKS = {
    "Wavegram_Cnn14": CnnSettings((32, 48), (2, 1), in_channels=64, first_block=2),
    "Wavegram_Logmel_Cnn14": CnnSettings((16, 32), (2, 2), joined_channels=64),
}


@pytest.fixture(autouse=True)
def _new_plans() -> Iterator[None]:
    """Plans depend on the sizes that a test changes."""
    make_plan.cache_clear()
    yield
    make_plan.cache_clear()


def lively(module: nn.Module) -> nn.Module:
    """The module with weights and statistics of every size."""
    generator = torch.Generator().manual_seed(1)
    for key, tensor in module.state_dict().items():
        if tensor.is_floating_point() and "log_mel" not in key:
            drawn = torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5
            tensor.copy_(1 + drawn.abs() if key.endswith("var") else drawn)
    return module.eval()


def stem_and_prepared(n_bands: int) -> tuple[nn.Module, PreparedWavegram]:
    settings = WavegramSettings(n_bands)
    stem = lively(WavegramStem(settings))
    tensors = Tensors({key: tensor.numpy() for key, tensor in stem.state_dict().items()})
    return stem.double(), PreparedWavegram(settings, tensors, Workers())


def of_torch(stem: nn.Module, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        (found,) = stem(torch.from_numpy(waveform)[None].double())
        return found[0].numpy()


@pytest.mark.parametrize("cut", ["long strips", "short strips"])
@pytest.mark.parametrize("n_bands", [32, 20, 5, 1])
def test_the_stem_is_torchs(n_bands: int, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, for bands that fill whole vectors with their channels and for others, by any threads."""
    if cut == "short strips":
        monkeypatch.setattr(time_plan, "_STRIP_FLOATS", 4000)
    stem, prepared = stem_and_prepared(n_bands)
    planes = Planes()
    for number, lengths in enumerate(LENGTHS):
        monkeypatch.setattr(Workers, "n", 1 + 2 * (number % 2))
        waveforms = [noise(n, n) for n in lengths]
        (wavegrams,) = prepared(waveforms, [])
        assert (wavegrams.channels, wavegrams.width) == (64, n_bands)
        target = planes.get(0, wavegrams.heights, n_bands, 16 + 64)
        before = [np.full((*item.shape[:2], 16), number) for item in target.items()]
        for item, kept in zip(target.items(), before, strict=True):
            item[...] = np.nan  # what is left of another pass must not be read
            item[..., :16] = kept
        wavegrams.fill(target, 16)
        for item, kept, waveform, alone in zip(target.items(), before, waveforms, wavegrams, strict=True):
            expected = of_torch(stem, waveform)
            bound = ROUNDING * np.abs(expected).max()
            np.testing.assert_allclose(item[..., 16:].transpose(2, 0, 1), expected, rtol=0, atol=bound)
            np.testing.assert_array_equal(alone, item[..., 16:].transpose(2, 0, 1))
            np.testing.assert_array_equal(item[..., :16], kept)
        prepared._over_time._memory.fill(np.nan)


def test_a_plane_of_fewer_frames_takes_the_first_ones() -> None:
    """Where the log-mel is a frame shorter."""
    _, prepared = stem_and_prepared(4)
    (wavegrams,) = prepared([noise(6400), noise(3201)], [])
    assert wavegrams.heights == (10, 5)
    planes = Planes()
    target = planes.get(0, (9, 5), 4, 64)
    wavegrams.fill(target, 0)
    for item, whole in zip(target.items(), wavegrams, strict=True):
        np.testing.assert_array_equal(item, whole.transpose(1, 2, 0)[: len(item)])
    outside = np.ones(target.cells.shape[:2], bool)
    outside[target.rows.inside, 1:5] = False
    assert not target.cells[outside].any(), "something was written into the border"


def network(
    name: str, monkeypatch: pytest.MonkeyPatch, *, n_mels: int = 8, trunk: CnnSettings | None = None
) -> Pann:
    row = replace(ARCHITECTURES[name], trunk=trunk or TRUNKS[name], embedding=16)
    monkeypatch.setitem(ARCHITECTURES, name, row)
    front_end = replace(FRONT_END, n_mels=n_mels) if row.takes_log_mel else None
    model = build(name, 32000, front_end, 5)
    lively(model)
    return model


WAVEFORMS = [noise(n, n) for n in (1, 9_600, 31_999, 32_000, 20_480, 20_159, 32_000)]
EVERYTHING = Wanted(framewise=True, frame_embeddings=True)


@pytest.mark.parametrize("name", TRUNKS)
def test_a_network_as_its_module_and_each_of_a_batch_as_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(name, monkeypatch, n_mels=9)  # an odd number: the last band is pooled away
    engine, module = Engine(model, device="cpu"), Engine(model, device="cpu", low_memory=True)
    assert engine.group_of(1) == engine.group_of(2), "no longer runs ragged batches"
    together = engine.run(WAVEFORMS, EVERYTHING)
    for waveform, found in zip(WAVEFORMS, together, strict=True):
        (alone,), (expected,) = engine.run([waveform], EVERYTHING), module.run([waveform], EVERYTHING)
        for a, b, c in zip(found, alone, expected, strict=True):
            assert a.shape == b.shape == c.shape
            np.testing.assert_allclose(a, b, rtol=0, atol=SAME_ALONE * max(1.0, np.abs(b).max()))
            np.testing.assert_allclose(a, c, rtol=0, atol=SAME_ALONE * max(1.0, np.abs(c).max()))


@pytest.mark.parametrize("name", TRUNKS)
def test_levels_are_those_of_the_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(name, monkeypatch)
    engine, module = Engine(model, device="cpu"), Engine(model, device="cpu", low_memory=True)
    for level in ("trunk", "pooled", "block2"):
        for clip in (False, True):
            found, expected = (
                each.run_level(WAVEFORMS[1:2], level, clip=clip)[0] for each in (engine, module)
            )
            np.testing.assert_allclose(found, expected, rtol=0, atol=SAME_ALONE * np.abs(expected).max())


@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_of_torch_takes_the_same_wavegrams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trunk of a user's own, of channels that fill no vectors."""
    widths = (24, 40)
    model = network(name, monkeypatch, trunk=replace(TRUNKS[name], widths=widths))
    engine, module = Engine(model, device="cpu"), Engine(model, device="cpu", low_memory=True)
    assert isinstance(engine._prepared._trunk, TracedTrunk)
    assert engine.group_of(1) != engine.group_of(2)
    for found, expected in zip(engine.run(WAVEFORMS[2:]), module.run(WAVEFORMS[2:]), strict=True):
        np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=SAME_ALONE)


def test_its_steps_name_the_layers_of_both_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workers, "n", 1)  # more threads need more pieces, and cut a block into its layers
    engine = Engine(network("Wavegram_Logmel_Cnn14", monkeypatch), device="cpu")
    layers = [step.layer for step in engine.explain(WAVEFORMS[2])]
    assert layers[:7] == [
        "1 -> 16, 3 x 3",
        "16 -> 16, 3 x 3",
        "1 -> 64, 11, by 5; 64 -> 64, 3; 64 -> 64, 3, 2 apart; maximum of 4",
        "64 -> 128, 3; 128 -> 128, 3, 2 apart; maximum of 4",
        "128 -> 16, 3; 16 -> 16, 3, 2 apart; maximum of 4",
        "4 -> 64, 3 x 3",
        "64 -> 64, 3 x 3",
    ]


@pytest.mark.parametrize("product", ["own", "numpy"])
def test_the_stem_is_never_rounded(product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bfloat16, or with products of another library, it is the same."""
    model = network("Wavegram_Cnn14", monkeypatch)
    (expected,) = PreparedNetwork(model, Workers())(WAVEFORMS[2:3], None, frames=False)
    monkeypatch.setenv("PANNSX_PRODUCT", product)
    rounded = PreparedNetwork(model, Workers(with_torch=True), bfloat16=True)
    (found,) = rounded(WAVEFORMS[2:3], None, frames=False)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=SAME_ALONE)

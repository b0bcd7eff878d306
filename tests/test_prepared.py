"""The prepared networks: each layer against torch's, and each item of a batch against itself alone."""

from __future__ import annotations

import gc
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_models import FRONT_END, NARROWER, lively_model, narrow_model, narrow_row
from small_models import SAME_ALONE, noise, seeded_checkpoint
from torch import nn
from torch.nn import functional

from pannsx import AudioTagger
from pannsx.inference.cpu import bfloat16, blocks, product, traced, winograd
from pannsx.inference.cpu.blocks import MANY_TILES, Convolution, EitherConvolution
from pannsx.inference.cpu.cnn import can_prepare
from pannsx.inference.cpu.direct import (
    FirstConvolution,
    FirstConvolution5x5,
    ProductConvolution,
    ShallowConvolution,
)
from pannsx.inference.cpu.head import pool_locally
from pannsx.inference.cpu.mobilenet import Memory, Separable
from pannsx.inference.cpu.planes import Plane, Planes
from pannsx.inference.cpu.product import COLUMNS, Product, factor
from pannsx.inference.cpu.traced import _ProductConv1d, fold_norm, prepare_module
from pannsx.inference.cpu.winograd import WinogradConvolution
from pannsx.inference.cpu.workers import Workers
from pannsx.inference.engine import Engine, Wanted
from pannsx.models import Pann
from pannsx.models.heads import pool_locally as pool_locally_in_torch
from pannsx.models.settings import CnnSettings, ResNetSettings
from pannsx.models.zoo import ARCHITECTURES, build

WINOGRAD_ERROR = 2e-5  # of a layer's largest output: its transforms scale by up to eight, and back
ROUNDING = 2e-6  # of a layer's largest output: sums of at most 1,152 terms in float32

sizes = st.lists(st.integers(1, 19), min_size=1, max_size=4)
examples = settings(max_examples=12, deadline=None, derandomize=True)


def plane_of(items: list[np.ndarray], planes: Planes, layer: int) -> Plane:
    """``(C, H, W)`` items in a plane."""
    channels, _, width = items[0].shape
    plane = planes.get(layer, tuple(item.shape[1] for item in items), width, channels)
    for inside, item in zip(plane.items(), items, strict=True):
        inside[...] = item.transpose(1, 2, 0)
    return plane


def random_items(rng: np.random.Generator, channels: int, heights: list[int], width: int) -> list[np.ndarray]:
    return [rng.standard_normal((channels, height, width)).astype(np.float32) for height in heights]


def double(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).double()


def torch_convolution(
    item: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, pool: bool, over_bands: bool = True
) -> np.ndarray:
    """``(C, H, W) -> (H', W', C')``: what each of the convolutions should give, in float64."""
    x = torch.from_numpy(item)[None].double()
    x = functional.conv2d(x, *map(double, (weight, bias)), padding=weight.shape[-1] // 2).relu()
    if pool:
        x = functional.avg_pool2d(x, (2, 2 if over_bands else 1))
    return x[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("kind", "n_taps", "pool"),
    [
        ("winograd", 3, False), ("winograd", 3, True), ("winograd", 5, False), ("winograd", 5, True),
        ("winograd, shared", 3, False), ("winograd, shared", 3, True), ("winograd, shared", 5, True),
        ("winograd, over time", 3, True), ("product", 3, False), ("product", 3, True),
        ("first", 3, False), ("first", 5, True), ("shallow", 3, False),
    ],
)  # fmt: skip
@examples
@given(heights=sizes, width=st.integers(1, 13), seed=st.integers(0, 99))
def test_convolutions(kind: str, n_taps: int, pool: bool, heights: list[int], width: int, seed: int) -> None:
    over_bands = kind != "winograd, over time"
    if pool:
        heights, width = [height + 1 for height in heights], width + 1
    rng = np.random.default_rng(seed)
    channels = {"first": 1, "shallow": 1 + seed % 7, "winograd, shared": 128}.get(kind, 32)
    out_channels = 256 if kind == "winograd, shared" else 48
    weight = rng.standard_normal((out_channels, channels, n_taps, n_taps)).astype(np.float32)
    bias = rng.standard_normal(out_channels).astype(np.float32)
    layer: Convolution | ShallowConvolution
    if kind == "first":
        layer = (FirstConvolution if n_taps == 3 else FirstConvolution5x5)(weight, bias)
    elif kind == "shallow":
        layer = ShallowConvolution(weight, bias)
    elif kind == "product":
        layer = ProductConvolution(weight, bias, pool=pool, n_parts=2)
    else:
        layer = WinogradConvolution(weight, bias, pool=pool, over_bands=over_bands)
    planes = Planes(margin=n_taps // 2)
    planes.get(1, (40,), 20, out_channels).cells[...] = np.nan  # what an earlier pass left
    items = random_items(rng, channels, heights, width)
    step = 2 if pool else 1
    bands = width // step if over_bands else width
    target = planes.get(1, tuple(height // step for height in heights), bands, out_channels)
    layer(plane_of(items, planes, 0), target, Workers())
    for found, item in zip(target.items(), items, strict=True):
        expected = torch_convolution(item, weight, bias, pool=pool, over_bands=over_bands)
        error = WINOGRAD_ERROR if isinstance(layer, WinogradConvolution) else ROUNDING
        np.testing.assert_allclose(found, expected, rtol=0, atol=error * max(1.0, np.abs(expected).max()))
    outside = np.ones(target.cells.shape[:2], bool)
    margin = target.rows.margin
    outside[target.rows.inside, margin : margin + target.width] = False
    assert not target.cells[outside].any(), "something was written into the border"


@pytest.mark.parametrize("heights", [(8,), (62, 62)])
def test_a_deep_layer_in_either_form(heights: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1024, 512, 3, 3)).astype(np.float32) / 64
    bias = np.zeros(1024, np.float32)
    items = random_items(rng, 512, list(heights), 4)
    layer = EitherConvolution(weight, bias, pool=True, n_parts=2)
    planes = Planes()
    source = plane_of(items, planes, 0)
    assert (len(source.rows.tiles) * source.across >= MANY_TILES) == (len(heights) > 1)
    target = planes.get(1, tuple(height // 2 for height in heights), 2, 1024)
    layer(source, target, Workers())
    for found, item in zip(target.items(), items, strict=True):
        expected = torch_convolution(item, weight, bias, pool=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=WINOGRAD_ERROR * np.abs(expected).max())


@pytest.mark.parametrize("n_out", [24, 64])
@pytest.mark.parametrize("stride", [1, 2])
@examples
@given(heights=sizes, width=st.integers(1, 13), seed=st.integers(0, 99))
def test_separable_convolutions(stride: int, n_out: int, heights: list[int], width: int, seed: int) -> None:
    heights, width = [height + stride - 1 for height in heights], width + stride - 1
    rng = np.random.default_rng(seed)
    items = random_items(rng, 32, heights, width)
    depthwise = rng.standard_normal((32, 1, 3, 3)).astype(np.float32)
    pointwise = rng.standard_normal((n_out, 32, 1, 1)).astype(np.float32)
    biases = [rng.standard_normal(n).astype(np.float32) for n in (32, n_out)]
    memory = Memory()
    source = memory.matrix(0, tuple(heights), width, 32)
    source.cells[...] = np.concatenate([item.transpose(1, 2, 0).reshape(-1, 32) for item in items])
    layer = Separable(depthwise, biases[0], stride, 6.0, Product(pointwise, biases[1]))
    target = layer(source, memory, 1, Workers())
    found = np.split(
        target.cells, np.cumsum([height // stride * (width // stride) for height in heights])[:-1]
    )
    for cells, item in zip(found, items, strict=True):
        x = torch.from_numpy(item)[None].double()
        x = functional.conv2d(x, double(depthwise), padding=1, groups=32)
        x = functional.relu6(functional.avg_pool2d(x, stride) + double(biases[0]).view(1, -1, 1, 1))
        x = functional.conv2d(x, double(pointwise), double(biases[1]))
        expected = x[0].permute(1, 2, 0).reshape(-1, n_out).numpy()
        np.testing.assert_allclose(cells, expected, rtol=0, atol=ROUNDING * max(1.0, np.abs(expected).max()))


def test_an_unknown_kind_of_product_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSX_PRODUCT", "mkl")
    with pytest.raises(ValueError, match="PANNSX_PRODUCT='mkl': it must be one of own, numpy"):
        Product(np.ones((2, 2), np.float32), None)


@pytest.mark.parametrize("kind", ["own", "numpy"])
def test_either_product_adds_and_clips(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSX_PRODUCT", kind)
    rng = np.random.default_rng(0)
    weights, inputs, bias, out = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((9, 70), (5, 9), (70,), (5, 80))
    )
    chosen = factor(weights)
    assert chosen.name == kind
    exact = inputs.astype(np.float64) @ weights + bias
    expected = np.clip(out[:, :70] + exact, 0, 1)
    chosen.accumulate(inputs, out[:, :70], bias, cap=1.0)
    np.testing.assert_allclose(out[:, :70], expected, rtol=0, atol=ROUNDING * np.abs(exact).max())
    chosen.multiply(inputs[::2], out[::2, COLUMNS:70], bias, begin=COLUMNS)
    np.testing.assert_allclose(
        out[::2, COLUMNS:70], exact[::2, COLUMNS:], rtol=0, atol=ROUNDING * np.abs(exact).max()
    )


@pytest.mark.parametrize("least_shared", [0, product.LEAST_SHARED])
@pytest.mark.parametrize("n_rows", [1, 700])
def test_a_product_is_the_linear_layer(
    n_rows: int, least_shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "LEAST_SHARED", least_shared)
    layer = nn.Linear(40, 33)
    inputs = torch.randn(n_rows, 40)
    with torch.inference_mode():
        found = Product(layer.weight.numpy(), layer.bias.numpy())(inputs.numpy(), Workers())
        torch.testing.assert_close(torch.from_numpy(found), layer(inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 9])
def test_local_pooling_is_the_models(n_frames: int) -> None:
    features = np.random.default_rng(0).standard_normal((n_frames, 5)).astype(np.float32)
    expected = pool_locally_in_torch(torch.from_numpy(features.T.copy())[None])[0].numpy()
    np.testing.assert_allclose(pool_locally(features), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_folded_norms(dimensions: int) -> None:
    convolution = (nn.Conv1d if dimensions == 1 else nn.Conv2d)(4, 6, 3, padding=1)
    norm = (nn.BatchNorm1d if dimensions == 1 else nn.BatchNorm2d)(6)
    x = torch.randn(2, 4, *[9] * dimensions)
    for _ in range(3):
        norm(convolution(x))  # gives the norm statistics
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.eval()
    weight, bias = fold_norm(convolution, norm)
    function = functional.conv1d if dimensions == 1 else functional.conv2d
    torch.testing.assert_close(
        function(x, weight, bias, padding=1), norm(convolution(x)), atol=2e-6, rtol=1e-5
    )


def test_preparing_leaves_the_original_as_it_is() -> None:
    model = seeded_checkpoint("Cnn6").model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepared = prepare_module(model.trunk)
    assert not [layer for layer in prepared.modules() if isinstance(layer, (nn.BatchNorm2d, nn.Dropout))]
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def floats_alive() -> int:
    """Of all parameters that Python still holds."""
    return sum(each.numel() for each in gc.get_objects() if type(each) is nn.Parameter)


def test_preparing_leaves_no_second_copy_to_the_garbage_collector() -> None:
    """A traced network refers to itself, and so did the weights that others had replaced: 400 MB of them."""
    part = nn.Sequential(nn.Conv1d(512, 512, 3, padding=1), nn.BatchNorm1d(512)).eval()
    gc.collect()
    before = floats_alive()
    gc.disable()
    try:
        prepared = prepare_module(part)
        left = floats_alive() - before
    finally:
        gc.enable()
    assert isinstance(prepared.get_submodule("0"), _ProductConv1d)
    assert left <= 1.01 * sum(each.numel() for each in prepared.parameters())


def test_what_the_planes_cannot_do_is_left_to_torch() -> None:
    assert can_prepare(CnnSettings((16, 32), (2, 1)))
    assert not can_prepare(CnnSettings((16, 24), (2, 1)))  # channels that fill no vector
    assert not can_prepare(CnnSettings((16, 32), (2, 4)))
    assert can_prepare(CnnSettings((16, 32), (2, 1), kernel=5))
    assert not can_prepare(CnnSettings((16, 32), (1, 2), kernel=5))
    assert not can_prepare(CnnSettings((16, 24), (2, 2), kernel=5))


_FORMS = (
    (blocks, "WINOGRAD_WEIGHTS"), (blocks, "MOST_WINOGRAD_WEIGHTS"), (winograd, "SHARED_WEIGHTS"),
    (traced, "PRODUCT_WEIGHTS_1D"),
)  # fmt: skip
"""Products of channels in and out at which the form of a layer changes."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Pann]:
    """Networks with a quarter of the channels, each layer in the form of the whole network's."""
    for module, name in _FORMS:
        monkeypatch.setattr(module, name, getattr(module, name) // NARROWER**2)

    def model_of(name: str) -> Pann:
        model = narrow_model(name)
        monkeypatch.setitem(ARCHITECTURES, name, narrow_row(ARCHITECTURES[name]))
        return model

    return model_of


@pytest.mark.parametrize("name", ["Cnn14", "ResNet22"])
def test_narrow_networks_have_all_forms(name: str, narrow: Callable[[str], Pann]) -> None:
    """What the other tests show of them holds for each form of a layer."""
    steps = Engine(narrow(name), device="cpu").explain(noise(40_000))
    assert {step.form for step in steps} == {"vectors", "Winograd 4 x 4", "columns", "rows"}


def model_for(name: str, narrow: Callable[[str], Pann]) -> Pann:
    """A network with lively weights, those of hundreds of megabytes narrow."""
    return narrow(name) if name in ("ResNet22", "ResNet54", "Wavegram_Cnn14") else lively_model(name)


@pytest.mark.parametrize(
    "name",
    [
        "Cnn6", "Cnn10", "MobileNetV1", "MobileNetV2", "ResNet22",
        pytest.param("ResNet54", marks=pytest.mark.slow), "LeeNet11", "DaiNet19",
    ],
)  # fmt: skip
def test_each_of_a_ragged_batch_gets_what_it_gets_alone(name: str, narrow: Callable[[str], Pann]) -> None:
    engine = Engine(model_for(name, narrow), device="cpu")
    assert engine.group_of(1) == engine.group_of(2), "no longer runs ragged batches"
    waveforms = [noise(n, n) for n in (1, 31_999, 100_000, 32_000, 9_921, 52_345, 100_000)]
    wanted = Wanted(framewise=True, frame_embeddings=True)
    together = engine.run(waveforms, wanted)
    for waveform, found in zip(waveforms, together, strict=True):
        (alone,) = engine.run([waveform], wanted)
        for a, b in zip(found, alone, strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= SAME_ALONE * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("name", ["Cnn10", "MobileNetV1", "LeeNet11", "DaiNet19"])
def test_low_memory_gives_the_same(name: str) -> None:
    model = lively_model(name)
    waveform = noise(40_000)
    (fast,) = Engine(model, device="cpu").run([waveform])
    (small,) = Engine(model, device="cpu", low_memory=True).run([waveform])
    np.testing.assert_allclose(fast.clipwise, small.clipwise, rtol=0, atol=SAME_ALONE)
    np.testing.assert_allclose(fast.framewise, small.framewise, rtol=0, atol=SAME_ALONE)


@pytest.fixture
def default_type() -> Iterator[Callable[[torch.dtype], None]]:
    """Sets torch's default type, as scientific programs do; it is the caller's, not that of a network."""
    yield torch.set_default_dtype
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("name", ["Cnn10", "MobileNetV1", "ResNet22", "Wavegram_Cnn14", "LeeNet11"])
def test_torchs_default_type_changes_nothing(
    name: str,
    low_memory: bool,
    narrow: Callable[[str], Pann],
    default_type: Callable[[torch.dtype], None],
) -> None:
    model = model_for(name, narrow)
    wanted = Wanted(framewise=True, frame_embeddings=True)
    (single,) = Engine(model, device="cpu", low_memory=low_memory).run([noise(40_000)], wanted)
    default_type(torch.float64)
    (found,) = Engine(model, device="cpu", low_memory=low_memory).run([noise(40_000)], wanted)
    for a, b in zip(found, single, strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_tagger_made_with_another_default_type(
    precision: str, default_type: Callable[[torch.dtype], None]
) -> None:
    single = AudioTagger(device="cpu", precision=precision).inference(noise(40_000), hop_s=0.1)
    default_type(torch.float64)
    found = AudioTagger(device="cpu", precision=precision).inference(noise(40_000), hop_s=0.1)
    np.testing.assert_array_equal(found.clipwise, single.clipwise)
    np.testing.assert_array_equal(found.framewise, single.framewise)


def test_frames_that_are_not_wanted_are_left_out() -> None:
    engine = Engine(seeded_checkpoint("MobileNetV1").model, device="cpu")
    (full,) = engine.run([noise(40_000)], Wanted(framewise=True, frame_embeddings=True))
    (lean,) = engine.run([noise(40_000)], Wanted(framewise=False))
    assert lean.framewise is None
    assert lean.frame_embeddings is None
    np.testing.assert_allclose(lean.clipwise, full.clipwise, rtol=0, atol=SAME_ALONE)


def test_a_failure_in_a_thread_is_raised() -> None:
    def share(i: int) -> None:
        if i == 0:
            raise ArithmeticError("this one")

    with pytest.raises(ArithmeticError, match="this one"):
        Workers().run(share)


@pytest.mark.parametrize("with_torch", [False, True])
def test_threads_follow_torch_and_leave_its_setting(with_torch: bool) -> None:
    workers = Workers(with_torch=with_torch)
    before = torch.get_num_threads()
    try:
        for n in (1, 2, 1):
            torch.set_num_threads(n)
            seen: set[tuple[str, int]] = set()
            together = threading.Barrier(n, timeout=30)

            def share(
                _: int, seen: set[tuple[str, int]] = seen, together: threading.Barrier = together
            ) -> None:
                together.wait()
                seen.add((threading.current_thread().name, torch.get_num_threads()))

            workers.run(share)
            assert len(seen) == n
            assert {n_torch for _, n_torch in seen} == {1 if with_torch else n}
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)


def _runs(engine: Engine, results) -> None:
    results.put(engine.run([noise(32_000)])[0].clipwise)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_a_fork_while_another_thread_computes() -> None:
    """The child starts with threads and locks of its own: those of the parent are not there, or held."""
    engine = Engine(seeded_checkpoint("MobileNetV1").model, device="cpu")
    expected = engine.run([noise(32_000)])[0].clipwise
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with engine.workers.lock:
        process = context.Process(target=_runs, args=(engine, results))
        process.start()
    found = results.get(timeout=60)
    process.join(timeout=60)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME_ALONE)


BFLOAT16_CHANGE = 5e-3  # of a probability of a Cnn14 with lively weights


def test_bfloat16_is_used_only_where_it_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ResNetSettings("basic", (1, 1, 1, 1), (32,) * 4, out_channels=32)
    narrow = replace(ARCHITECTURES["ResNet22"], trunk=trunk, embedding=16)
    monkeypatch.setitem(ARCHITECTURES, "ResNet22", narrow)
    model = build("ResNet22", FRONT_END.sample_rate, FRONT_END, 3)
    (exact,) = Engine(model, device="cpu").run([noise(20_000)])
    for quicker in (True, False):
        monkeypatch.setattr(bfloat16, "is_quicker", lambda quicker=quicker: quicker)
        (found,) = Engine(model, device="cpu", precision="bfloat16").run([noise(20_000)])
        assert np.array_equal(found.logits, exact.logits) is not quicker


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("MobileNetV1", "own"), ("MobileNetV1", "numpy"), ("MobileNetV2", "own"), ("MobileNetV2", "numpy"),
        ("Cnn6", "own"),
    ],
)  # fmt: skip
def test_some_networks_are_never_rounded(name: str, product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSX_PRODUCT", product)
    monkeypatch.setattr(bfloat16, "is_quicker", lambda: True)
    model = seeded_checkpoint(name).model
    exact, asked = (Engine(model, device="cpu", precision=each) for each in ("float32", "bfloat16"))
    assert {step.product for step in asked.explain(noise(20_000))} == {product, "-"}
    (found,), (expected,) = asked.run([noise(20_000)]), exact.run([noise(20_000)])
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_measuring_bfloat16_gives_an_answer_and_keeps_it() -> None:
    assert bfloat16.is_quicker() is bfloat16.is_quicker()


def test_bfloat16_changes_little(narrow: Callable[[str], Pann], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat16, "is_quicker", lambda: True)
    model = narrow("Cnn14")
    exact, rounded = (
        Engine(model, device="cpu", precision=precision).run([noise(160_000)])[0].clipwise
        for precision in ("float32", "bfloat16")
    )
    change = np.abs(rounded - exact).max()
    assert 1e-5 < change <= BFLOAT16_CHANGE, "changes nothing: bfloat16 is not used, or too much"


@pytest.mark.parametrize(("taps", "dilation"), [(3, 1), (3, 2), (1, 1)])
def test_a_convolution_over_time_as_a_product(taps: int, dilation: int) -> None:
    layer = nn.Conv1d(8, 12, taps, dilation=dilation, padding=dilation * (taps // 2))
    x = torch.randn(2, 8, 21)
    with torch.inference_mode():
        torch.testing.assert_close(_ProductConv1d(layer)(x), layer(x), atol=2e-6, rtol=1e-5)


def test_the_deep_convolutions_over_time_are_products() -> None:
    prepared = prepare_module(narrow_model("Res1dNet31").trunk)
    assert any(isinstance(layer, _ProductConv1d) for layer in prepared.modules())

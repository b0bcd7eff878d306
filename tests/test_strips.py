"""MobileNets in one compiled call: against torch, in strips and in columns, by any threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from small_models import noise, seeded_checkpoint

from pannsx.inference.cpu import strip_plan
from pannsx.inference.cpu.folding import Tensors, rounded_filters
from pannsx.inference.cpu.mobilenet import PreparedMobileNet
from pannsx.inference.cpu.mobilenet_strips import MobileNetInStrips
from pannsx.inference.cpu.workers import Workers
from pannsx.inference.engine import Engine, Wanted
from pannsx.jit import matrix8
from pannsx.jit.atomic import LINE, address_of_give_way, fetch_add, give_way, read_again
from pannsx.models.settings import MobileNetSettings
from pannsx.models.trunks.mobilenet import MobileNet
from pannsx.types import FloatArray

SETTINGS = {
    "separable": MobileNetSettings(((1, 32, 1, 1), (1, 48, 1, 2), (1, 64, 2, 1)), False, 64, 16),
    "residual": MobileNetSettings(((1, 16, 1, 1), (2, 16, 3, 2), (3, 32, 2, 1)), True, 64, 16),
}
"""All kinds of layers: with and without halving, expansion, sum and last layer."""

ODD = {
    "separable, odd": MobileNetSettings(((1, 24, 1, 1), (1, 20, 1, 2), (1, 37, 2, 1)), False, 37, 8),
    "residual, odd": MobileNetSettings(((1, 12, 1, 1), (3, 24, 3, 2), (2, 40, 2, 1)), True, 50, 12),
}
"""Numbers of channels that do not fill vectors, so that cells end with zeros."""

WIDTH = 16
SAME_LOGITS = 2e-5  # the log-mel is normalised in one rounding instead of two
UNIT_MORE = 2e-3  # of the largest feature: one unit of 255 more or less in a few of the inputs of a sum
ROUNDING = 2e-6  # of the largest feature: some twelve layers with sums of at most 144 terms in float32


class Counted(Workers):
    """Workers of a number of threads of their own; with ``alone``, only the first share ever begins."""

    def __init__(self, n: int, *, alone: bool = False) -> None:
        super().__init__()
        self._n, self._alone = n, alone

    @property
    def n(self) -> int:
        return self._n

    def run(
        self, share: Callable[[int], None], n: int | None = None, *, each_ends_with_all: bool = False
    ) -> None:
        if self._alone and each_ends_with_all:
            share(0)
        else:
            super().run(share, n, each_ends_with_all=each_ends_with_all)


def trunk_of(name: str) -> MobileNet:
    torch.manual_seed(0)
    trunk = MobileNet((SETTINGS | ODD)[name]).eval()
    for key, tensor in trunk.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.2)
    return trunk


def tensors_of(trunk: MobileNet) -> Tensors:
    return Tensors({key: each.numpy() for key, each in trunk.state_dict().items()})


def items_of(heights: list[int]) -> list[FloatArray]:
    rng = np.random.default_rng(len(heights))
    return [rng.standard_normal((1, height, WIDTH), dtype=np.float32) for height in heights]


def assert_as_torch(found: list[FloatArray], trunk: MobileNet, items: list[FloatArray]) -> None:
    double = trunk_of_double(trunk)
    for features, item in zip(found, items, strict=True):
        with torch.inference_mode():
            expected = double(torch.from_numpy(item)[None].double())[0].T.numpy()
        np.testing.assert_allclose(features, expected, rtol=0, atol=ROUNDING * max(1, np.abs(expected).max()))


def trunk_of_double(trunk: MobileNet) -> MobileNet:
    double = MobileNet(trunk.settings).double().eval()
    double.load_state_dict({key: each.double() for key, each in trunk.state_dict().items()})
    return double


examples = settings(max_examples=6, deadline=None, derandomize=True)
cuts = given(
    heights=st.lists(st.integers(4, 45), min_size=1, max_size=4),
    strip_floats=st.sampled_from([1, 4000, 150_000]),
    long_weights=st.sampled_from([0, 600, 1 << 20]),
    n_threads=st.integers(1, 3),
)


@pytest.mark.parametrize("name", SETTINGS | ODD)
@examples
@cuts
def test_all_cuts_give_what_torch_gives(
    name: str, heights: list[int], strip_floats: int, long_weights: int, n_threads: int
) -> None:
    trunk, items = trunk_of(name), items_of(heights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strip_plan, "_STRIP_FLOATS", strip_floats)
        patch.setattr(strip_plan, "_LONG_WEIGHTS", long_weights)
        network = MobileNetInStrips(trunk.settings, tensors_of(trunk), Counted(n_threads))
        assert_as_torch(network(items), trunk, items)
        # The memory holds the numbers of other items now.
        assert_as_torch(network(items[::-1] + items[:1]), trunk, items[::-1] + items[:1])


@pytest.mark.skipif(matrix8.FEATURE is None, reason="no instructions for products of bytes")
@pytest.mark.parametrize("name", ["separable", "separable, odd"])
@examples
@cuts
def test_products_of_bytes(
    name: str, heights: list[int], strip_floats: int, long_weights: int, n_threads: int
) -> None:
    """Against float64 with the same roundings, of all but the inputs that lie between two whole numbers."""
    trunk, items = trunk_of(name), items_of(heights)
    steps = {block.layer(4): 0.01 * (1 + i) for i, block in enumerate(trunk.settings.blocks)}
    rounded = rounded_trunk(trunk, steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strip_plan, "_STRIP_FLOATS", strip_floats)
        patch.setattr(strip_plan, "_LONG_WEIGHTS", long_weights)
        network = MobileNetInStrips(trunk.settings, tensors_of(trunk), Counted(n_threads), steps=steps)
        together = network(items)
        for features, item in zip(together, items, strict=True):
            with torch.inference_mode():
                expected = rounded(torch.from_numpy(item)[None].double())[0].T.numpy()
            np.testing.assert_allclose(features, expected, rtol=0, atol=UNIT_MORE * np.abs(expected).max())
        for features, item in zip(together, items, strict=True):
            np.testing.assert_array_equal(network([item])[0], features)


def rounded_trunk(trunk: MobileNet, steps: dict[str, float]) -> MobileNet:
    """The trunk in float64, its pointwise convolutions of whole numbers times a step."""
    tensors, double = tensors_of(trunk), trunk_of_double(trunk)
    for block in trunk.settings.blocks:
        weight, bias = tensors.folded(block.layer(4), block.layer(5))
        whole, scale = rounded_filters(weight.reshape(len(weight), -1))
        pointwise = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 1).double()
        pointwise.weight.data = torch.from_numpy(whole * scale.astype(np.float64)[:, None])[..., None, None]
        pointwise.bias.data = torch.from_numpy(bias.astype(np.float64))
        step = steps[block.layer(4)]
        pointwise.register_forward_pre_hook(
            lambda _, inputs, step=step: ((inputs[0] / step).clamp(0, 255).add(0.5).floor() * step,)
        )
        double.set_submodule(block.layer(4), pointwise)
        double.set_submodule(block.layer(5), torch.nn.Identity())
    return double


@pytest.mark.parametrize("name", SETTINGS)
def test_layer_by_layer_gives_the_same_numbers(name: str) -> None:
    """The form for other libraries' products, here with ours.

    Not bit for bit: a sum of two products may be fused either way, which depends on the code around it, and
    that is more in one call through all layers.
    """
    trunk, items = trunk_of(name), items_of([40, 9])
    in_strips = MobileNetInStrips(trunk.settings, tensors_of(trunk), Workers())(items)
    by_layer = PreparedMobileNet(trunk.settings, tensors_of(trunk), Workers())(items)
    for a, b in zip(in_strips, by_layer, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(b).max())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_thread_does_the_work_of_those_that_never_begin(name: str) -> None:
    trunk, items = trunk_of(name), items_of([40])
    alone = MobileNetInStrips(trunk.settings, tensors_of(trunk), Counted(3, alone=True))(items)
    together = MobileNetInStrips(trunk.settings, tensors_of(trunk), Counted(3))(items)
    np.testing.assert_array_equal(alone[0], together[0])


HEAD = ("fc1", "hidden.0", "fc_audioset")
SIZES = (70, 40, 7)


@pytest.mark.parametrize("n_hidden", [0, 1])
@pytest.mark.parametrize("long_weights", [0, 1 << 20])
def test_the_head_in_the_same_call(n_hidden: int, long_weights: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several items of unequal length, against float64; and its layers by themselves."""
    monkeypatch.setattr(strip_plan, "_LONG_WEIGHTS", long_weights)
    trunk, items = trunk_of("residual, odd"), items_of([40, 9, 17])
    names = (HEAD[0], *HEAD[1 : 1 + n_hidden], HEAD[-1])
    sizes = (SIZES[0], *SIZES[1 : 1 + n_hidden], SIZES[-1])
    rng = np.random.default_rng(3)
    arrays = {key: each.numpy() for key, each in trunk.state_dict().items()}
    n_in = trunk.settings.out_channels
    for name, size in zip(names, sizes, strict=True):
        arrays[f"{name}.weight"] = rng.standard_normal((size, n_in), np.float32) / np.float32(n_in**0.5)
        arrays[f"{name}.bias"] = rng.standard_normal(size, np.float32)
        n_in = size
    network = MobileNetInStrips(trunk.settings, Tensors(arrays), Counted(2), names)
    features = [each.astype(np.float64) for each in network(items)]
    x = np.stack([each.max(axis=0) + each.mean(axis=0) for each in features])
    outputs = []
    for name in names:
        before, x = x, x @ arrays[f"{name}.weight"].T.astype(np.float64) + arrays[f"{name}.bias"]
        x = x if name == names[-1] else np.maximum(x, 0)
        alone = network.head[name](before.astype(np.float32), Workers())
        np.testing.assert_allclose(alone, x, rtol=0, atol=ROUNDING * np.abs(x).max())
        outputs.append(x)
    for found, expected in zip(network.clips(items), (outputs[0], outputs[-1]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("frames", [False, True])
def test_a_log_mel_in_the_same_call(frames: bool) -> None:
    engine = Engine(seeded_checkpoint("MobileNetV1").model, device="cpu")
    for n_samples in (20_000, 51_234):
        (whole,) = engine.run([noise(n_samples)], Wanted(framewise=frames))
        assert engine._prepared is not None
        (parts,) = engine._prepared([noise(n_samples)], engine._log_mels([noise(n_samples)]), frames=frames)
        np.testing.assert_allclose(whole.logits, parts.logits, rtol=0, atol=SAME_LOGITS)
        np.testing.assert_allclose(whole.embedding, parts.embedding, rtol=0, atol=SAME_LOGITS)


def test_the_head_is_explained_too() -> None:
    engine = Engine(seeded_checkpoint("MobileNetV2").model, device="cpu")
    layers = [step.layer for step in engine.explain(noise(20_000))]
    assert layers[-3:] == [
        "mean over frequency, maximum and mean over time", "1280 -> 1024", "1024 -> 527",
    ]  # fmt: skip


def test_another_library_s_products_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeded_checkpoint("MobileNetV1").model
    (own,) = Engine(model, device="cpu").run([noise(20_000)])
    monkeypatch.setenv("PANNSX_PRODUCT", "numpy")
    (numpys,) = Engine(model, device="cpu").run([noise(20_000)])
    np.testing.assert_allclose(own.clipwise, numpys.clipwise, rtol=0, atol=2e-6)


def test_counters_count_every_thread() -> None:
    n_threads, n_times = 3, 20_000

    @njit(nogil=True)
    def count(counters, n, yields):
        last = 0
        for _ in range(n):
            last = fetch_add(counters, LINE, 1)
        fetch_add(counters, 0, 1)
        while read_again(counters, 0) < 3:
            give_way(yields)
        return last

    counters = np.zeros(2 * LINE, np.int64)
    together = threading.Barrier(n_threads)

    def run(_: int) -> int:
        together.wait()
        return int(count(counters, n_times, address_of_give_way()))

    count(np.full(2 * LINE, 3), 1, address_of_give_way())  # compiled before the threads meet
    with ThreadPoolExecutor(n_threads) as pool:
        last = list(pool.map(run, range(n_threads)))
    assert counters[LINE] == n_threads * n_times
    assert max(last) == n_threads * n_times - 1

"""Where frames lie in time, and how many there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_models import (
    DISTINCT,
    HOPS_AND_OFFSETS,
    empty_model,
    narrow_empty_model,
    narrow_model,
    noise,
)
from torch import Tensor, nn

from pannsx.models import ARCHITECTURES, Pann
from pannsx.models.timing import (
    ReceptiveField,
    TimeLayer,
    centred_stft,
    grid_of,
    n_outputs,
    pooling,
    receptive_field,
    same,
    shortest_input,
    strided,
)
from pannsx.weights import list_models

SHORTEST = {
    "Cnn6": 4800, "Cnn10": 4800, "Cnn14": 9920, "Cnn14_DecisionLevelAtt": 9920,
    "ResNet22": 9920, "ResNet38": 9920, "ResNet54": 9920, "MobileNetV1": 9920, "MobileNetV2": 9920,
    "Wavegram_Cnn14": 10236, "Wavegram_Logmel_Cnn14": 10236,
    "Res1dNet31": 20476, "Res1dNet51": 20476, "DaiNet19": 332, "LeeNet11": 1, "LeeNet24": 1,
    "Cnn14_16k": 4960, "Cnn14_8k": 2480,
}  # fmt: skip
"""Samples below which the published code fails in a pooling layer."""

# One name for each way of looking along time; deeper networks have more of the same layers.
FIELDS = [
    "Cnn6", "Cnn14", "ResNet22", "ResNet54", "MobileNetV1", "MobileNetV2", "Wavegram_Logmel_Cnn14",
    "Res1dNet31", "DaiNet19", "LeeNet11", "LeeNet24",
]  # fmt: skip


def test_frame_source() -> None:
    native = {name for name in ARCHITECTURES if "DecisionLevel" in name}
    for name in list_models():
        model = empty_model(name)
        assert model.frame_source == ("native" if model.architecture in native else "local_pooling"), name


@pytest.mark.parametrize("name", list(SHORTEST))
def test_shortest_input(name: str) -> None:
    assert empty_model(name).min_samples == SHORTEST[name]


@pytest.mark.parametrize("name", ["Cnn6", "Cnn14", "MobileNetV2", "DaiNet19", "Res1dNet31", "Wavegram_Cnn14"])
def test_one_sample_less_than_the_shortest_input_gives_no_frame(name: str) -> None:
    """Without our padding, the trunk itself dies: the table holds the true limits."""
    model = empty_model(name)
    with pytest.raises(RuntimeError, match=r"too small|output size"):
        trunk_on_shapes(model, model.min_samples - 1)
    assert trunk_on_shapes(model, model.min_samples).shape == (1, model.trunk.out_channels, 1)


def trunk_on_shapes(model: Pann, n_samples: int) -> Tensor:
    """``(1, C, T')`` without padding and without numbers."""
    waveform = torch.empty(1, n_samples, device="meta")
    log_mel = None
    if model.frontend is not None:
        shape = (1, model.frontend.n_frames(n_samples), model.frontend.n_mels)
        log_mel = torch.empty(shape, device="meta")
    features: Tensor = model.trunk(*model.stem(waveform, log_mel))
    return features


@pytest.mark.parametrize("name", list(HOPS_AND_OFFSETS))
def test_hop_and_offset(name: str) -> None:
    grid = empty_model(name).grid
    assert (grid.hop_samples, grid.offset_samples) == HOPS_AND_OFFSETS[name]


@pytest.mark.parametrize("name", list(HOPS_AND_OFFSETS))
def test_number_of_frames_is_known_beforehand(name: str) -> None:
    model = empty_model(name)
    rng = np.random.default_rng(1)
    for n_samples in (model.min_samples, 31999, 32000, *rng.integers(model.min_samples, 400_000, 9)):
        assert trunk_on_shapes(model, int(n_samples)).shape[2] == model.n_frames(int(n_samples)), n_samples


@pytest.mark.parametrize("name", ["Wavegram_Logmel_Cnn14", "Wavegram_Logmel128_Cnn14", "Wavegram_Cnn14"])
def test_wavegrams_of_every_length(name: str) -> None:
    """Log-mel and wavegram differ by a frame for half of all lengths, where the published code dies."""
    model = empty_model(name)
    for n_samples in range(model.min_samples, model.min_samples + 1300, 31):
        assert trunk_on_shapes(model, n_samples).shape[2] == model.n_frames(n_samples)


@pytest.mark.parametrize("name", DISTINCT)
def test_an_impulse_is_found_within_one_frame(name: str) -> None:
    """What an impulse changes is centred, by its energy, within one hop of it."""
    model = narrow_model(name)
    hop = model.grid.hop_samples
    n_samples = max(round(11.3 * hop), 16000)
    positions = [round(share * n_samples) for share in (0.31, 0.52, 0.77)]
    waveform = 0.01 * noise(1, n_samples).repeat(1 + len(positions), 1)
    for row, position in enumerate(positions, 1):
        waveform[row, position] = 1.0
    with torch.inference_mode():
        features = model.forward_features(waveform)
    energy = (features[1:] - features[:1]).square().sum(dim=1)
    frames = (energy @ torch.arange(energy.shape[1], dtype=torch.float32)) / energy.sum(dim=1)
    for position, frame in zip(positions, frames.tolist(), strict=True):
        assert abs(model.grid.centre_samples(frame) - position) <= hop


layers = st.one_of(
    st.builds(pooling, st.integers(1, 5)),
    st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(0, 5))
    .filter(lambda ksp: 2 * ksp[2] < ksp[0])
    .map(lambda ksp: strided(*ksp)),
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(layers, max_size=5))
def test_shortest_input_gives_one_frame_and_a_hop_more_gives_two(path: list[TimeLayer]) -> None:
    shortest = shortest_input(path)
    assert n_outputs(path, shortest) == 1
    assert n_outputs(path, shortest + grid_of(path).hop_samples) == 2
    if shortest > 1:
        assert n_outputs(path, shortest - 1) == 0


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 5), st.integers(1, 60))
def test_time_layers_count_as_torch_does(kernel: int, stride: int, padding: int, n: int) -> None:
    padding = min(padding, (kernel - 1) // 2)
    if n + 2 * padding < kernel:
        return
    convolved = nn.Conv1d(1, 1, kernel, stride, padding, device="meta")(torch.empty(1, 1, n, device="meta"))
    assert n_outputs([strided(kernel, stride, padding)], n) == convolved.shape[2]


def test_centred_stft_has_a_frame_at_sample_zero() -> None:
    assert n_outputs([centred_stft(320)], 1) == 1
    assert n_outputs([centred_stft(320)], 320) == 2
    assert grid_of([centred_stft(320)]).offset_samples == 0


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # said by torch when oneDNN is turned off
@pytest.mark.parametrize("name", FIELDS)
def test_receptive_field(name: str) -> None:
    """NaN spreads through every product, one with zero too: the frames it reaches are those that see it."""
    model = _zero_model(name)
    field = model.receptive_field
    assert field.hop_samples == model.grid.hop_samples
    frame = -(-(1 - field.first) // field.hop_samples)
    seen = field.samples_of(frame)
    assert seen[0] >= 1
    poisoned = [[seen[0] - 1, seen[-1] + 1], [seen[0]], [seen[-1]]]
    # A hop more than the frame sees: what an input ends with may fall off the grid of some layer.
    n_frames = frame + 2
    waveform = torch.zeros(len(poisoned), field.samples_of(n_frames - 1)[-1] + 1)
    for row, places in enumerate(poisoned):
        waveform[row, places] = torch.nan
    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False):
        features = model.forward_features(waveform)
        reached = model.head.frame_embeddings(features).isnan().any(dim=2).numpy()
    for row, places in enumerate(poisoned):
        expected = [any(place in field.samples_of(n) for place in places) for n in range(n_frames)]
        assert reached[row, :n_frames].tolist() == expected
    assert [bool(reached[row, frame]) for row in range(3)] == [False, True, True]


def _zero_model(name: str) -> torch.nn.Module:
    model = narrow_empty_model(name)
    front_end = {key for key, buffer in model.named_buffers() if not buffer.is_meta}
    for module_name, module in model.named_modules():
        for key, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None or f"{module_name}.{key}" in front_end:
                continue
            zeros = torch.zeros(tensor.shape, dtype=tensor.dtype)
            if key in module._parameters:
                module._parameters[key] = torch.nn.Parameter(zeros, requires_grad=False)
            else:
                module._buffers[key] = zeros
    return model


def test_receptive_fields_of_paths_that_join() -> None:
    assert receptive_field([(same(3), same(3, dilation=2))]) == ReceptiveField(1, -3, 3)
    assert receptive_field([(strided(4, 2, 0), same(3)), (strided(2, 2, 0),)]) == ReceptiveField(2, -2, 5)

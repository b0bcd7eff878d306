"""What every model keeps to, whatever its weights: shapes, times, lengths, batches, names, state dicts."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_models import empty_model, forget_seeded_tensors, seeded_model, seeded_state
from torch import Tensor, nn

from pannsx import manifest
from pannsx.config import FrontEnd
from pannsx.errors import WeightsError
from pannsx.frontend.torch_logmel import LogMel
from pannsx.models import ARCHITECTURES, Output, Pann, create_model, list_models
from pannsx.models.convert import from_published, load_published, to_published
from pannsx.models.cost import multiply_accumulates, n_parameters
from pannsx.models.timing import (
    TimeLayer,
    centred_stft,
    grid_of,
    n_outputs,
    pooling,
    shortest_input,
    strided,
)
from pannsx.models.zoo import build, build_empty

BATCH_TOLERANCE = 2e-6
"""In probability: a batch of two may be computed in another order than two batches of one."""

FRONT_END = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000)

SHORTEST = {
    "Cnn6": 4800, "Cnn10": 4800, "Cnn14": 9920, "Cnn14_DecisionLevelAtt": 9920,
    "ResNet22": 9920, "ResNet38": 9920, "ResNet54": 9920, "MobileNetV1": 9920, "MobileNetV2": 9920,
    "Wavegram_Cnn14": 10236, "Wavegram_Logmel_Cnn14": 10236,
    "Res1dNet31": 20476, "Res1dNet51": 20476, "DaiNet19": 332, "LeeNet11": 1, "LeeNet24": 1,
    "Cnn14_16k": 4960, "Cnn14_8k": 2480,
}  # fmt: skip
"""Samples below which the published code fails in a pooling layer."""

HOPS_AND_OFFSETS = {
    "Cnn6": (5120, 2400.0), "Cnn10": (5120, 2400.0), "Cnn14": (10240, 4960.0),
    "ResNet22": (10240, 4960.0), "ResNet38": (10240, 4960.0), "ResNet54": (10240, 4960.0),
    "MobileNetV1": (10240, 4960.0), "MobileNetV2": (10240, 4960.0),
    "Wavegram_Cnn14": (10240, 5117.5), "Wavegram_Logmel_Cnn14": (10240, 4960.0),
    "Res1dNet31": (20480, 10237.5), "Res1dNet51": (20480, 10237.5), "DaiNet19": (256, 165.5),
    "LeeNet11": (19683, 0.0), "LeeNet24": (6561, 0.0),
}  # fmt: skip
"""Frame hop and centre of frame 0 in samples at 32 kHz, one name for each trunk with its stem."""

SMALL = ("Cnn6", "MobileNetV1", "MobileNetV2", "LeeNet11", "DaiNet19")


@pytest.fixture(scope="module", autouse=True)
def _memory() -> Iterator[None]:
    yield
    forget_seeded_tensors()


def noise(*shape: int, seed: int = 0) -> Tensor:
    samples = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(0.1 * samples)


def run(model: Pann, waveform: Tensor) -> Output:
    with torch.inference_mode():
        return Output(*model(waveform))


# --- names -----------------------------------------------------------------------------------------


def test_list_models_is_the_manifest() -> None:
    names = list_models()
    assert names == list(manifest.load_manifest())
    assert len(names) >= 29


def test_manifest_and_table_name_the_same_architectures() -> None:
    assert list(manifest.ARCHITECTURES) == list(ARCHITECTURES)
    assert {record.architecture for record in manifest.load_manifest().values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ["mobilenetv1", "MOBILENETV1", "MobileNetV1"])
def test_names_are_case_insensitive(name: str) -> None:
    assert create_model(name).architecture == "MobileNetV1"


def test_close_names_are_suggested() -> None:
    with pytest.raises(ValueError, match="did you mean 'Cnn14'"):
        create_model("Cnn_14")
    with pytest.raises(ValueError, match="unknown architecture 'Cnn15'; did you mean 'Cnn14'"):
        build("Cnn15", 32000, FRONT_END, 10)


def test_front_end_must_go_with_the_architecture() -> None:
    with pytest.raises(ValueError, match="takes no front end"):
        create_model("DaiNet19", frontend=FRONT_END)
    with pytest.raises(ValueError, match="needs its front end"):
        build("Cnn6", 32000, None, 10)
    with pytest.raises(ValueError, match="must be equal"):
        build("Cnn6", 16000, FRONT_END, 10)


def test_own_front_end_and_classes() -> None:
    front_end = FrontEnd(sample_rate=22050, n_fft=512, hop_length=220, n_mels=40, fmin=20, fmax=11025)
    model = create_model("Cnn6", 3, frontend=front_end)
    assert (model.sample_rate, model.n_classes, model.grid.hop_samples) == (22050, 3, 220 * 16)
    assert run(model, noise(1, 22050)).logits.shape == (1, 3)


# --- initial weights -------------------------------------------------------------------------------


def test_initial_weights_are_those_of_the_paper() -> None:
    model = create_model("MobileNetV1")
    assert not model.training
    weight = model.head.fc1.weight
    bound = (6 / sum(weight.shape)) ** 0.5  # Xavier uniform
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert not model.head.fc1.bias.any()
    norm = model.stem.bn0
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(norm.running_var, torch.ones(64))
    assert not norm.bias.any()
    assert not norm.running_mean.any()
    assert norm.num_batches_tracked == 0


def test_residual_blocks_start_as_the_identity() -> None:
    block = create_model("DaiNet19").trunk.conv_block1
    x = noise(1, 64, 50).abs()
    assert torch.equal(block(x), x)


def test_initial_weights_follow_the_seed() -> None:
    torch.manual_seed(7)
    first = create_model("LeeNet11").state_dict()
    torch.manual_seed(7)
    second = create_model("LeeNet11").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("architecture", ["MobileNetV1", "Wavegram_Logmel_Cnn14"])
def test_empty_models_hold_no_weights_but_a_real_front_end(architecture: str) -> None:
    model = build_empty(architecture, 32000, FRONT_END, 527)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    derived = [m for m in model.modules() if isinstance(m, LogMel)]
    assert len(derived) == 1
    assert not any(buffer.is_meta for buffer in derived[0].buffers())


# --- shapes and times ------------------------------------------------------------------------------


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
    with pytest.raises(RuntimeError, match=r"too small|smaller|Kernel size"):
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
    for n_samples in (model.min_samples, 31999, 32000, *rng.integers(model.min_samples, 400_000, 20)):
        assert trunk_on_shapes(model, int(n_samples)).shape[2] == model.n_frames(int(n_samples)), n_samples


@pytest.mark.parametrize("name", list(HOPS_AND_OFFSETS))
def test_an_impulse_is_found_within_one_frame(name: str) -> None:
    """The frame that an impulse changes most is centred within one hop of it."""
    model = seeded_model(name)
    hop = model.grid.hop_samples
    n_samples = max(round(11.3 * hop), 16000)
    positions = [round(share * n_samples) for share in (0.31, 0.52, 0.77)]
    waveform = 0.01 * noise(1, n_samples).repeat(1 + len(positions), 1)
    for row, position in enumerate(positions, 1):
        waveform[row, position] = 1.0
    with torch.inference_mode():
        features = model.forward_features(waveform)
    change = (features[1:] - features[:1]).square().sum(dim=1)
    for position, frame in zip(positions, change.argmax(dim=1).tolist(), strict=True):
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


# --- lengths and batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMALL, "Wavegram_Logmel_Cnn14"])
@pytest.mark.parametrize("n_samples", [1, 2, 4801, 12347])
def test_any_length(name: str, n_samples: int) -> None:
    model = seeded_model(name)
    output = run(model, noise(1, n_samples))
    assert output.logits.shape == (1, model.n_classes)
    assert output.embedding.shape == (1, model.embedding_size)
    assert output.frame_logits.shape == (1, model.n_frames(n_samples), model.n_classes)
    assert all(torch.isfinite(part).all() for part in output)


@pytest.mark.parametrize("name", SMALL)
def test_short_input_is_padded_with_zeros_at_its_end(name: str) -> None:
    model = seeded_model(name)
    short = noise(1, 300)
    padded = torch.zeros(1, max(300, model.min_samples))
    padded[:, :300] = short
    assert torch.equal(model.pad(short), padded)
    assert torch.equal(run(model, short).logits, run(model, padded).logits)


@pytest.mark.parametrize("name", ["Wavegram_Logmel_Cnn14", "Wavegram_Logmel128_Cnn14", "Wavegram_Cnn14"])
def test_wavegrams_of_every_length(name: str) -> None:
    """Log-mel and wavegram differ by a frame for half of all lengths, where the published code dies."""
    model = empty_model(name)
    for n_samples in range(model.min_samples, model.min_samples + 1300, 13):
        assert trunk_on_shapes(model, n_samples).shape[2] == model.n_frames(n_samples)


@pytest.mark.parametrize("shape", [(16000,), (1, 1, 16000), (1, 0)])
def test_waveforms_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        seeded_model("LeeNet11")(torch.zeros(shape))


@pytest.mark.parametrize("name", list(HOPS_AND_OFFSETS))
def test_batch_of_two_is_two_of_one(name: str) -> None:
    model = seeded_model(name)
    waveforms = noise(2, 24001)
    waveforms[1] *= torch.linspace(0, 5, 24001)
    together = run(model, waveforms)
    for i in range(2):
        alone = run(model, waveforms[i : i + 1])
        for part in ("logits", "frame_logits"):
            difference = getattr(together, part)[i].sigmoid() - getattr(alone, part)[0].sigmoid()
            assert difference.abs().max() <= BATCH_TOLERANCE, part
        scale = alone.embedding.abs().max()
        assert (together.embedding[i] - alone.embedding[0]).abs().max() <= 10 * BATCH_TOLERANCE * scale


# --- log-mel from outside, augmentation ------------------------------------------------------------


@pytest.mark.parametrize("name", ["Cnn6", "Wavegram_Logmel_Cnn14"])
def test_log_mel_may_be_given(name: str) -> None:
    model = seeded_model(name)
    waveform = noise(2, 7000)
    log_mel = LogMel(model.frontend)(model.pad(waveform))
    with torch.inference_mode():
        given, computed = model(waveform, log_mel), model(waveform)
        other = model(waveform, log_mel - 20)
    assert torch.equal(given.logits, computed.logits)
    assert not torch.allclose(other.logits, computed.logits)


def test_log_mel_that_does_not_fit() -> None:
    model = seeded_model("Cnn6")
    with pytest.raises(ValueError, match=r"\(1, 101, 64\) is needed.*model.pad"):
        model(noise(1, 32000), torch.zeros(1, 100, 64))
    with pytest.raises(ValueError, match="waveform alone"):
        seeded_model("LeeNet11")(noise(1, 32000), torch.zeros(1, 101, 64))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("Cnn6", [(2, 1, 101, 64)]),
        ("LeeNet11", [(2, 1, 32000)]),
        ("Wavegram_Cnn14", [(2, 64, 50, 32)]),
        ("Wavegram_Logmel_Cnn14", [(2, 1, 101, 64), (2, 64, 50, 32)]),
    ],
)
def test_augment_sees_the_representations(name: str, shapes: list[tuple[int, ...]]) -> None:
    model = seeded_model(name)
    seen: list[Tensor] = []

    def keep_the_first(representations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.extend(representations)
        return tuple(x[:1] for x in representations)

    waveform = noise(2, 32000)
    with torch.inference_mode():
        output = model(waveform, augment=keep_the_first)
        features = model.forward_features(waveform[:1])
    assert [tuple(x.shape) for x in seen] == shapes
    assert torch.allclose(model.head(features).logits, output.logits, atol=1e-4)
    assert model.head.frame_embeddings(features).shape == (
        1,
        output.frame_logits.shape[1],
        model.embedding_size,
    )


def test_dropout_acts_in_training_alone() -> None:
    model = seeded_model("MobileNetV1")
    waveform = noise(1, 16000)
    assert torch.equal(run(model, waveform).logits, run(model, waveform).logits)
    model.head.train()
    assert not torch.equal(run(model, waveform).logits, run(model, waveform).logits)


def test_models_can_be_pickled() -> None:
    model = seeded_model("LeeNet11")
    again = pickle.loads(pickle.dumps(model))
    waveform = noise(1, 5000)
    assert torch.equal(run(again, waveform).logits, run(model, waveform).logits)


# --- published state dicts -------------------------------------------------------------------------


def published_cnn6() -> dict[str, Tensor]:
    return to_published(seeded_model("Cnn6"))


def test_front_end_constants_are_the_transform() -> None:
    """The published kernels, used as the published code does, give the power spectrum and the filters."""
    state = published_cnn6()
    frame = noise(1024)
    real = state["spectrogram_extractor.stft.conv_real.weight"][:, 0] @ frame
    imag = state["spectrogram_extractor.stft.conv_imag.weight"][:, 0] @ frame
    spectrum = torch.fft.rfft(frame * torch.hann_window(1024))
    torch.testing.assert_close(torch.complex(real, imag), spectrum, rtol=1e-4, atol=1e-4)
    log_mel = LogMel(FRONT_END)
    assert torch.equal(state["logmel_extractor.melW"], log_mel.filters)


def test_constants_may_be_left_out_and_are_checked_where_present() -> None:
    model = empty_model("Cnn6")
    state = published_cnn6()
    assert set(from_published(model, state)) == set(model.state_dict())
    del state["logmel_extractor.melW"]
    assert set(from_published(model, state)) == set(model.state_dict())


def test_another_front_end_is_noticed() -> None:
    state = published_cnn6()
    narrower = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=13000)
    with pytest.raises(WeightsError, match="another front end"):
        from_published(build_empty("Cnn6", 32000, narrower, 527), state)
    shorter = FrontEnd(sample_rate=32000, n_fft=512, hop_length=320, n_mels=64, fmin=50, fmax=14000)
    with pytest.raises(
        WeightsError, match=r"conv_real.weight is \(513, 1, 1024\), \(257, 1, 512\) is needed"
    ):
        from_published(build_empty("Cnn6", 32000, shorter, 527), state)


def test_missing_unexplained_and_misshapen_keys_are_named() -> None:
    model = empty_model("Cnn6")
    state = published_cnn6()
    state["fc2.weight"] = state.pop("fc1.weight")
    state["fc_audioset.bias"] = torch.zeros(10)
    with pytest.raises(WeightsError) as caught:
        load_published(model, state)
    message = str(caught.value)
    assert "missing: fc1.weight" in message
    assert "not of this architecture: fc2.weight" in message
    assert "fc_audioset.bias is (10,), (527,) is needed" in message
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_the_wrong_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit Cnn10"):
        load_published(empty_model("Cnn10"), published_cnn6())


def test_unused_tensors_of_one_architecture_are_unexplained_in_another() -> None:
    state = dict(seeded_state("LeeNet11"))
    state["conv_block1.downsample.weight"] = torch.zeros(64, 64, 1)
    with pytest.raises(WeightsError, match="conv_block1.downsample.weight"):
        load_published(empty_model("LeeNet11"), state)


def test_half_precision_weights_are_widened() -> None:
    state = {key: t.half() if t.is_floating_point() else t for key, t in seeded_state("LeeNet11").items()}
    model = empty_model("LeeNet11")
    load_published(model, state)
    assert model.head.fc1.weight.dtype == torch.float32
    assert torch.isfinite(run(model, noise(1, 5000)).logits).all()


def test_weights_are_copied_into_a_real_model() -> None:
    state = seeded_state("LeeNet11")
    model = create_model("LeeNet11")
    load_published(model, state)
    assert torch.equal(model.head.fc1.weight, state["fc1.weight"])
    assert model.head.fc1.weight.data_ptr() != state["fc1.weight"].data_ptr()


# --- cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(manifest.load_manifest()))
def test_parameters_are_as_published(name: str) -> None:
    """Unused tensors apart, which the manifest counts among the published and we do not have."""
    record = manifest.find(name)
    assert record.parameters is not None
    assert n_parameters(empty_model(name)) == record.parameters - (record.unused_parameters or 0)


def test_multiply_accumulates_of_one_layer_by_hand() -> None:
    """LeeNet11 on a second: every layer of the table, worked out by hand."""
    lengths = [10667]
    for _ in range(8):
        lengths.append(-(-lengths[-1] // 3))
    widths = [1, 64, 64, 64, 128, 128, 128, 128, 128, 256]
    convolutions = [widths[0] * widths[1] * 3 * lengths[0]]
    convolutions += [widths[i + 1] * widths[i] * 3 * lengths[i - 1] for i in range(1, 9)]
    assert multiply_accumulates(empty_model("LeeNet11"), 1.0) == sum(convolutions) + 256 * 512 + 512 * 527


@pytest.mark.parametrize("name", ["Cnn6", "Cnn10", "Cnn14", "ResNet22", "ResNet38", "MobileNetV1"])
def test_the_papers_operations_are_about_twice_ours(name: str) -> None:
    published = manifest.find(name).paper_operations_per_10s
    if published is None:
        pytest.skip("the paper gives none")
    assert multiply_accumulates(empty_model(name)) == pytest.approx(published / 2, rel=0.15)

"""Published state dicts, and the published figures of size and cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from seeded_models import (
    FRONT_END,
    HOPS_AND_OFFSETS,
    empty_model,
    noise,
    run,
    seeded_model,
    seeded_state,
)
from torch import Tensor

from pannsx.errors import WeightsError
from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.models.convert import from_published, load_published, to_published
from pannsx.models.cost import multiply_accumulates, n_parameters
from pannsx.models.layout import array_model
from pannsx.models.structure import Structure
from pannsx.models.zoo import build_empty, structure_of
from pannsx.weights import create_model, manifest

OPERATIONS_TOLERANCE = 0.01
"""The paper counts norms and activations too, which tell in the smallest models."""

PAPER = [name for name in HOPS_AND_OFFSETS if manifest.find(name).paper_operations_per_10s is not None]


# --- published state dicts --------------------------------------------------------------------------


def structure_of_cnn6() -> Structure:
    return structure_of("Cnn6", 32000, manifest.find("Cnn6").frontend, 527)


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
    structure = replace(structure_of_cnn6(), frontend=narrower)
    with pytest.raises(WeightsError, match="another front end"):
        array_model(structure, {key: tensor.numpy() for key, tensor in state.items()})
    shorter = FrontEnd(sample_rate=32000, n_fft=512, hop_length=320, n_mels=64, fmin=50, fmax=14000)
    with pytest.raises(WeightsError, match=r"\(513, 1, 1024\), \(257, 1, 512\) is needed"):
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
    with pytest.raises(WeightsError) as caught:
        array_model(structure_of_cnn6(), {key: tensor.numpy() for key, tensor in state.items()})
    assert str(caught.value) == message


def test_the_wrong_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit Cnn10"):
        load_published(empty_model("Cnn10"), published_cnn6())


def test_unused_tensors_of_one_architecture_are_unexplained_in_another() -> None:
    state = dict(seeded_state("LeeNet11"))
    state["conv_block1.downsample.weight"] = torch.zeros(64, 64, 1)
    with pytest.raises(WeightsError, match=r"conv_block1\.downsample\.weight"):
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


# --- cost -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_operations_are_twice_ours(name: str) -> None:
    """The paper counts two operations each, and the Fourier transform as a convolution."""
    published = manifest.find(name).paper_operations_per_10s
    assert published is not None
    model = empty_model(name)
    total = multiply_accumulates(model)
    if (front_end := model.frontend) is not None:
        n_kernels = front_end.n_fft + 2  # real and imaginary part of each bin
        total += front_end.n_frames(10 * model.sample_rate) * n_kernels * front_end.n_fft
    assert 2 * total == pytest.approx(published, rel=OPERATIONS_TOLERANCE)

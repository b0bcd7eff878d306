"""What every model keeps to, whatever its weights: names, first weights, lengths, batches, augmentation."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from seeded_models import (
    DISTINCT,
    FRONT_END,
    narrow_model,
    noise,
    run,
)
from small_models import SAME_ALONE
from torch import Tensor

from pannsx.errors import WeightsError
from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.models import ARCHITECTURES
from pannsx.models.heads import AttentionHead, ClipHead, FrameHead, Head, max_over_frames
from pannsx.models.layout import published_key
from pannsx.models.zoo import build, build_empty, structure_of
from pannsx.weights import create_model, list_models, load, manifest

SMALL = ("Cnn6", "MobileNetV1", "MobileNetV2", "LeeNet11", "DaiNet19")


# --- names ------------------------------------------------------------------------------------------


def test_list_models_is_the_manifest() -> None:
    names = list_models()
    assert names == list(manifest.load_manifest())
    assert len(names) >= 29


def test_manifest_and_table_name_the_same_architectures() -> None:
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
    with pytest.raises(ValueError, match="hop_length must be 320, got 480"):
        build("Wavegram_Logmel_Cnn14", 32000, replace(FRONT_END, hop_length=480), 10)


def test_own_front_end_and_classes() -> None:
    front_end = FrontEnd(sample_rate=22050, n_fft=512, hop_length=220, n_mels=40, fmin=20, fmax=11025)
    model = create_model("Cnn6", n_classes=3, frontend=front_end)
    assert (model.sample_rate, model.n_classes, model.grid.hop_samples) == (22050, 3, 220 * 16)
    assert run(model, noise(1, 22050)).logits.shape == (1, 3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_table_says_what_the_modules_are(name: str) -> None:
    """Tensors and times as data, of which the CPU form is made, are those of the torch module."""
    hidden = [8, 6] if ARCHITECTURES[name].head == "clip" else []
    front_end = FRONT_END if ARCHITECTURES[name].takes_log_mel else None
    model = build_empty(name, 32000, front_end, 5, hidden=hidden)
    structure = structure_of(name, 32000, front_end, 5, hidden=hidden)
    shapes = [(published_key(key), tuple(tensor.shape)) for key, tensor in model.state_dict().items()]
    assert list(structure.shapes().items()) == shapes
    for fact in ("grid", "receptive_field", "min_samples", "frame_source", "embedding_size", "n_classes"):
        assert getattr(structure, fact) == getattr(model, fact), fact
    for n_samples in (1, 9_920, 100_000):
        assert structure.n_frames(n_samples) == model.n_frames(n_samples)


# --- published weights, other classes ----------------------------------------------------------------


def test_pretrained_is_the_checkpoint() -> None:
    model, loaded = (
        create_model("mobilenetv1_DISTILLED", pretrained=True),
        load("MobileNetV1_distilled").model,
    )
    assert not model.training
    ours, its = model.state_dict(), loaded.state_dict()
    assert list(ours) == list(its)
    assert all(torch.equal(ours[key], its[key]) for key in its)


def test_pretrained_with_classes_of_its_own_has_a_new_last_layer() -> None:
    torch.manual_seed(7)
    model, loaded = (create_model("MobileNetV1_distilled", pretrained=True, n_classes=n) for n in (3, None))
    ours, its = model.state_dict(), loaded.state_dict()
    assert list(ours) == list(its)
    assert [key for key in its if not torch.equal(ours[key], its[key])] == [
        "head.fc_audioset.weight",
        "head.fc_audioset.bias",
    ]
    weight = model.head.fc_audioset.weight
    assert weight.shape == (3, 1024)
    assert 0 < weight.abs().max().item() <= (6 / sum(weight.shape)) ** 0.5  # Xavier uniform
    assert not model.head.fc_audioset.bias.any()
    assert model.n_classes == 3
    found, expected = run(model, noise(1, 16000)), run(loaded, noise(1, 16000))
    assert found.logits.shape == (1, 3)
    assert torch.equal(found.embedding, expected.embedding)


@pytest.mark.parametrize(
    "head",
    [ClipHead(8, 4, 5), FrameHead(8, 4, 5, combine=max_over_frames), AttentionHead(8, 4, 5)],
    ids=lambda head: type(head).__name__,
)
def test_every_head_takes_a_new_classifier(head: Head) -> None:
    features = noise(2, 8, 6)
    before = head.eval()(features)
    head.replace_classifier(2)
    after = head.eval()(features)
    assert (before.logits.shape, after.logits.shape) == ((2, 5), (2, 2))
    assert after.frame_logits.shape == (2, 6, 2)
    assert torch.equal(after.embedding, before.embedding)


def test_what_create_model_refuses() -> None:
    with pytest.raises(ValueError, match="n_classes is 0; at least 1"):
        create_model("MobileNetV1", n_classes=0)
    with pytest.raises(WeightsError, match="no weights were ever released"):
        create_model("Cnn14_mel128", pretrained=True)


# --- initial weights --------------------------------------------------------------------------------


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


# --- lengths and batches ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [1, 2, 4801, 12347])
@pytest.mark.parametrize("name", [*SMALL, "Wavegram_Logmel_Cnn14"])
def test_any_length(name: str, n_samples: int) -> None:
    model = narrow_model(name)
    output = run(model, noise(1, n_samples))
    assert output.logits.shape == (1, model.n_classes)
    assert output.embedding.shape == (1, model.embedding_size)
    assert output.frame_logits.shape == (1, model.n_frames(n_samples), model.n_classes)
    assert all(torch.isfinite(part).all() for part in output)


@pytest.mark.parametrize("name", SMALL)
def test_short_input_is_padded_with_zeros_at_its_end(name: str) -> None:
    model = narrow_model(name)
    short = noise(1, 300)
    padded = torch.zeros(1, max(300, model.min_samples))
    padded[:, :300] = short
    assert torch.equal(model.pad(short), padded)
    assert torch.equal(run(model, short).logits, run(model, padded).logits)


@pytest.mark.parametrize("shape", [(16000,), (1, 1, 16000), (1, 0)])
def test_waveforms_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        narrow_model("LeeNet11")(torch.zeros(shape))


@pytest.mark.parametrize("name", DISTINCT)
def test_batch_of_two_is_two_of_one(name: str) -> None:
    model = narrow_model(name)
    waveforms = noise(2, 13001)
    waveforms[1] *= torch.linspace(0, 5, 13001)
    together = run(model, waveforms)
    for i in range(2):
        alone = run(model, waveforms[i : i + 1])
        for part in ("logits", "frame_logits"):
            difference = getattr(together, part)[i].sigmoid() - getattr(alone, part)[0].sigmoid()
            assert difference.abs().max() <= SAME_ALONE, part
        scale = alone.embedding.abs().max()
        assert (together.embedding[i] - alone.embedding[0]).abs().max() <= SAME_ALONE * scale


# --- log-mel from outside, augmentation -------------------------------------------------------------


@pytest.mark.parametrize("name", ["Cnn6", "Wavegram_Logmel_Cnn14"])
def test_log_mel_may_be_given(name: str) -> None:
    model = narrow_model(name)
    waveform = noise(2, 7000)
    log_mel = LogMel(model.frontend)(model.pad(waveform))
    with torch.inference_mode():
        given, computed = model(waveform, log_mel), model(waveform)
        other = model(waveform, log_mel - 20)
    assert torch.equal(given.logits, computed.logits)
    assert not torch.allclose(other.logits, computed.logits)


def test_log_mel_that_does_not_fit() -> None:
    model = narrow_model("Cnn6")
    with pytest.raises(ValueError, match=r"\(1, 101, 64\) is needed.*model.pad"):
        model(noise(1, 32000), torch.zeros(1, 100, 64))
    with pytest.raises(ValueError, match="waveform alone"):
        narrow_model("LeeNet11")(noise(1, 32000), torch.zeros(1, 101, 64))


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
    model = narrow_model(name)
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
    frames = model.head.frame_embeddings(features)
    assert frames.shape == (1, output.frame_logits.shape[1], model.embedding_size)


def test_dropout_acts_in_training_alone() -> None:
    model = narrow_model("MobileNetV1")
    waveform = noise(1, 16000)
    assert torch.equal(run(model, waveform).logits, run(model, waveform).logits)
    model.head.train()
    assert not torch.equal(run(model, waveform).logits, run(model, waveform).logits)


def test_models_can_be_pickled() -> None:
    model = narrow_model("LeeNet11")
    again = pickle.loads(pickle.dumps(model))
    waveform = noise(1, 5000)
    assert torch.equal(run(again, waveform).logits, run(model, waveform).logits)

"""`Pann.forward_features`: the maps of every level of every network, with gradients."""

from __future__ import annotations

import re

import pytest
import torch
from seeded_models import empty_model, lively_model, noise, published_classes
from torch import Tensor
from torch.nn import functional

from pannsx.models import Pann
from pannsx.models.heads import (
    LEVELS,
    AttentionHead,
    ClipHead,
    FrameHead,
    Head,
    at_level,
    max_over_frames,
)
from pannsx.models.trunks import Cnn, MobileNet, ResNet
from pannsx.weights import create_model

# Small ones of each kind of trunk.
KINDS = ("Cnn6", "MobileNetV1", "LeeNet11", "DaiNet19")

SAME_SUM = 1e-5
"""Relative to the largest value: the same layers once more, whose sums torch may order otherwise."""


def on_shapes(model: Pann, n_samples: int, level: str) -> Tensor:
    """The level of one waveform, without numbers."""
    waveform = torch.empty(1, n_samples, device="meta")
    log_mel = None
    if model.frontend is not None:
        shape = (1, model.frontend.n_frames(n_samples), model.frontend.n_mels)
        log_mel = torch.empty(shape, device="meta")
    return model.forward_features(waveform, log_mel, level=level)


@pytest.mark.parametrize("name", published_classes())
def test_every_level_has_the_shape_that_is_documented(name: str) -> None:
    model = empty_model(name)
    n_samples = 3 * model.sample_rate
    n_frames, channels = model.n_frames(n_samples), model.trunk.out_channels
    blocks = [level for level in model.levels if re.fullmatch(r"block\d+", level)]
    others = [level for level in model.levels if level not in blocks]
    first, last = (tuple(on_shapes(model, n_samples, level).shape) for level in (blocks[0], blocks[-1]))
    two_dimensional = isinstance(model.trunk, (Cnn, ResNet, MobileNet))
    assert len(blocks) >= 4
    assert len(first) == len(last) == (4 if two_dimensional else 3)
    assert last[1:3] == (channels, n_frames)
    assert first[2] > last[2]
    features = on_shapes(model, n_samples, "trunk")
    shapes = {level: at_level(model.head, features, level).shape for level in LEVELS}
    assert others == ["trunk", *LEVELS]
    assert {"trunk": tuple(features.shape), **{level: tuple(shape) for level, shape in shapes.items()}} == {
        "trunk": (1, channels, n_frames),
        "frame_pooled": (1, n_frames, channels),
        "frame_fc1": (1, n_frames, model.embedding_size),
        "frame_logits": (1, n_frames, model.n_classes),
        "pooled": (1, channels),
        "fc1": (1, model.embedding_size),
        "logits": (1, model.n_classes),
    }


def test_blocks_have_the_numbers_of_the_published_code() -> None:
    assert empty_model("Cnn14").levels[:7] == (*(f"block{n}" for n in range(1, 7)), "trunk")
    assert empty_model("Wavegram_Cnn14").levels[:2] == ("block2", "block3")
    joined = empty_model("Wavegram_Logmel_Cnn14")
    assert on_shapes(joined, 32000, "block1").shape[1] == 128  # log-mel and wavegram


@pytest.mark.parametrize("name", KINDS)
def test_levels_are_the_stages_of_the_answer(name: str) -> None:
    """Those of blocks are each block's output, as seen from within a whole pass."""
    model = lively_model(name)
    trunk = model.trunk
    if isinstance(trunk, MobileNet):
        blocks = list(trunk.features)
    else:
        blocks = [module for key, module in trunk.named_children() if key.startswith("conv_block")]
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
        for block in blocks
    ]
    waveform = noise(1, model.min_samples + model.grid.hop_samples)
    levels = [level for level in model.levels if level.startswith("block")]
    with torch.inference_mode():
        features = model.forward_features(waveform)
        for hook in hooks:
            hook.remove()
        # The first, one within and the last: each of the others is a step of the same loop.
        for number in (0, len(levels) // 2, len(levels) - 1):
            found = model.forward_features(waveform, level=levels[number])
            assert torch.equal(found, seen[number])
        same(features, found.mean(dim=3) if found.ndim == 4 else found)
        logits = model.head(features).logits
        same(model.forward_features(waveform, level="logits"), logits)
    assert len(levels) == len(seen) == len(blocks)


def same(got: Tensor, needed: Tensor) -> None:
    assert got.shape == needed.shape
    assert float((got - needed).detach().abs().max()) <= SAME_SUM * float(needed.detach().abs().max())


@pytest.mark.parametrize(
    "head",
    [ClipHead(8, 4, 5), FrameHead(8, 4, 5, combine=max_over_frames), AttentionHead(8, 4, 5)],
    ids=lambda head: type(head).__name__,
)
def test_levels_of_heads(head: Head) -> None:
    features = noise(2, 8, 6)
    logits, embedding, frame_logits = head.eval()(features)
    found = {level: at_level(head, features, level) for level in LEVELS}
    same(found["fc1"], embedding)
    same(found["logits"], logits)
    same(found["frame_logits"], frame_logits)
    same(functional.relu(head.fc1(found["frame_pooled"])), found["frame_fc1"])
    if isinstance(head, ClipHead):
        same(functional.relu(head.fc1(found["pooled"])), embedding)
        same(features.amax(dim=2) + features.mean(dim=2), found["pooled"])
    else:
        same(found["frame_pooled"].mean(dim=1), found["pooled"])
        same(found["frame_fc1"].mean(dim=1), embedding)
    with pytest.raises(ValueError, match="level is 'block1'; one of frame_pooled,"):
        at_level(head, features, "block1")


def test_gradients_reach_as_far_as_the_level() -> None:
    model = create_model("MobileNetV1")
    waveform = noise(1, model.min_samples).requires_grad_()
    model.forward_features(waveform, level="block3").sum().backward()
    assert waveform.grad is not None
    features = model.trunk.features
    assert all(parameter.grad is not None for parameter in features[2].parameters())
    assert all(parameter.grad is None for parameter in features[3].parameters())
    assert model.head.fc1.weight.grad is None


def test_a_level_that_is_not_there() -> None:
    model = empty_model("Cnn10")
    with pytest.raises(ValueError, match=r"Cnn10 has no level 'blok2'; did you mean 'block2'.*block4, trunk"):
        model.forward_features(torch.zeros(1, 32000), level="blok2")
    with pytest.raises(ValueError, match="no level 'block5'"):
        model.forward_features(torch.zeros(1, 32000), level="block5")

"""Where dropout acts in training: a probe on every class, against what the published code does."""

from __future__ import annotations

import pytest
import torch
from seeded_models import FRONT_END, narrow_empty_model, narrow_model, noise
from torch import nn

from pannsx.models.heads import AttentionHead, ClipHead, FrameHead
from pannsx.models.zoo import ARCHITECTURES, build
from pannsx.weights.manifest import load_manifest

N_CLASSES = 7

# Probability and the part of the network, in the order of the forward pass. Facts of the published code
# (audioset_tagging_cnn at d2f4b8c): what is dropped is named by its axes.
MAPS, POOLED, EMBEDDING, FRAMES = "maps", "pooled", "embedding", "frames"
CLIP_HEAD = [(0.5, POOLED), (0.5, EMBEDDING)]
CNN = {blocks: [(0.2, MAPS)] * blocks for blocks in (4, 6)}
BASIC = {22: (2, 2, 2, 2), 38: (3, 4, 6, 3), 54: (3, 4, 6, 3)}
RES1D = {31: (2, 2, 2, 2, 2, 2, 2), 51: (2, 3, 4, 6, 4, 3, 2)}
DROPPED = {
    "Cnn6": [*CNN[4], *CLIP_HEAD],
    "Cnn10": [*CNN[4], *CLIP_HEAD],
    **{f"Cnn14{size}": [*CNN[6], *CLIP_HEAD] for size in ("", "_emb512", "_emb128", "_emb32")},
    **{
        f"Cnn14_DecisionLevel{kind}": [*CNN[6], (0.5, FRAMES), (0.5, FRAMES)]
        for kind in ("Max", "Avg", "Att")
    },
    **{
        f"ResNet{depth}": [(0.2, MAPS), *[(0.1, MAPS)] * sum(blocks), (0.2, MAPS), (0.2, MAPS), *CLIP_HEAD]
        for depth, blocks in BASIC.items()
    },
    "MobileNetV1": CLIP_HEAD,
    "MobileNetV2": [(0.5, EMBEDDING)],
    "LeeNet11": CLIP_HEAD,
    "LeeNet24": [*[(0.1, MAPS)] * 8, *CLIP_HEAD],
    "DaiNet19": CLIP_HEAD,
    **{f"Res1dNet{depth}": [*[(0.1, MAPS)] * sum(blocks), *CLIP_HEAD] for depth, blocks in RES1D.items()},
    "Wavegram_Cnn14": [(0.2, MAPS), *[(0.2, MAPS)] * 5, *CLIP_HEAD],
    "Wavegram_Logmel_Cnn14": [*CNN[6], *CLIP_HEAD],
}


class Probe:
    """Records what dropout layers see, in order, without dropping."""

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[tuple[float, torch.Tensor]] = []
        for module in model.modules():
            if isinstance(module, nn.Dropout) and module.p > 0:
                module.register_forward_hook(self._record)

    def _record(self, module: nn.Dropout, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        self.seen.append((module.p, inputs[0]))
        return inputs[0]


def model_of(architecture: str) -> nn.Module:
    raw = not ARCHITECTURES[architecture].takes_log_mel
    return build(architecture, FRONT_END.sample_rate, None if raw else FRONT_END, N_CLASSES)


def test_the_table_is_of_all_architectures() -> None:
    assert set(DROPPED) == set(ARCHITECTURES)
    assert {record.architecture for record in load_manifest().values()} <= set(DROPPED)


@pytest.mark.parametrize("architecture", DROPPED)
def test_dropout_is_where_it_was_published(architecture: str) -> None:
    model = narrow_model(architecture)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()  # dropout alone: batch norms keep their statistics
    probe = Probe(model)
    with torch.inference_mode():
        output = model(noise(2, 41000))  # two frames of the longest hop
    kinds = []
    head = model.head
    n_frames = output.frame_logits.shape[1]
    for probability, seen in probe.seen:
        shape = tuple(seen.shape)
        if shape == (2, head.fc1.out_features) and torch.equal(seen, output.embedding):
            kinds.append((probability, EMBEDDING))
        elif shape == (2, head.fc1.in_features):
            kinds.append((probability, POOLED))
        elif len(shape) == 3 and n_frames in shape[1:] and probability == 0.5:
            kinds.append((probability, FRAMES))
        else:
            assert shape[0] == 2
            assert len(shape) in (3, 4)
            kinds.append((probability, MAPS))
    assert kinds == DROPPED[architecture]


@pytest.mark.parametrize("architecture", ["Cnn10", "LeeNet11", "MobileNetV2"])
def test_the_classifier_sees_the_embedding_without_dropout(architecture: str) -> None:
    """As published: the second dropout touches only the embedding that is returned."""
    head = model_of(architecture).head
    assert isinstance(head, ClipHead)
    head.train()
    head.before_fc1.p = 0.0
    features = noise(2, head.fc1.in_features * 4).reshape(2, head.fc1.in_features, 4)
    with torch.inference_mode():
        logits, embedding = head.clip(features)
        whole = head.embed(features)
        torch.testing.assert_close(logits, head.fc_audioset(whole))
    dropped = embedding == 0
    torch.testing.assert_close(embedding[~dropped], 2 * whole[~dropped])
    assert (dropped & (whole > 0)).any()


def test_wavegram_and_log_mel_are_dropped_together() -> None:
    """One dropout of .2 after the two are joined, none on either before."""
    model = narrow_model("Wavegram_Logmel_Cnn14")
    model.trunk.joined_dropout.train()
    probe = Probe(model)
    with torch.inference_mode():
        model(noise(1, 32000))
    shapes = [tuple(seen.shape) for _, seen in probe.seen]
    assert shapes[0][1] == 16 + 64  # channels of the first block and of the wavegram
    assert shapes[1][1] == 32  # after the second block


@pytest.mark.parametrize("architecture", ["Cnn14_DecisionLevelAvg", "Cnn14_DecisionLevelAtt"])
def test_a_missed_class_is_still_learnt(architecture: str) -> None:
    """The gradient does not vanish where a positive class has a probability below float32's step at one."""
    head = narrow_empty_model(architecture).head
    assert isinstance(head, (FrameHead, AttentionHead))
    frame_logits = torch.full((1, 5, N_CLASSES), -30.0, requires_grad=True)
    attention = torch.zeros(1, 5, N_CLASSES)
    logits = (
        head.combine(frame_logits) if isinstance(head, FrameHead) else head.attend(attention, frame_logits)
    )
    torch.testing.assert_close(logits, torch.full_like(logits, -30.0), atol=1e-4, rtol=0)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits)).backward()
    # One over all classes, shared by five frames: the gradient of a mean of probabilities.
    torch.testing.assert_close(
        frame_logits.grad, torch.full_like(frame_logits, -1 / N_CLASSES / 5), rtol=1e-4, atol=0
    )


def test_means_of_probabilities_are_exact() -> None:
    from pannsx.models.heads import mean_over_frames

    rng = torch.Generator().manual_seed(0)
    frame_logits = 8 * torch.randn(3, 11, N_CLASSES, generator=rng, dtype=torch.float64)
    expected = torch.logit(frame_logits.sigmoid().mean(dim=1))
    torch.testing.assert_close(mean_over_frames(frame_logits), expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(mean_over_frames(frame_logits.float()), expected.float(), atol=1e-5, rtol=1e-5)

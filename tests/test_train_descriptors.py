"""The two losses beside the binary cross-entropy: the order of classes, and cepstral statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from seeded_models import noise

from pannsx.models.zoo import build
from train.loop.augment import Choices
from train.loop.descriptors import Descriptors, cepstral_statistics, embedding_size
from train.loop.distributed import Ranks
from train.loop.loss import ranking_error
from train.loop.step import Part, backward, prepare
from train.recipe import read_recipe


def test_the_order_of_classes() -> None:
    """The gradient is the difference of both softmaxes: zero for the teacher's own."""
    logits, teacher = noise(4, 5).requires_grad_(), 3 * noise(4, 5) + 1
    wanted = teacher.softmax(dim=1)
    ranking_error(logits, wanted).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(1) - wanted) / 4 / 5)
    same = teacher.clone().requires_grad_()
    ranking_error(same, wanted).backward()
    assert same.grad is not None
    assert same.grad.abs().max() < 1e-7
    assert ranking_error(logits.bfloat16(), wanted).dtype == torch.float32


def test_cepstral_statistics() -> None:
    log_mel = 20 * noise(3, 50, 64).numpy()
    cepstrum = dct(log_mel.astype(np.float64), axis=2, norm="ortho")[:, :, :20]
    change = np.diff(cepstrum, axis=1, prepend=cepstrum[:, :1])
    expected = np.concatenate((cepstrum.mean(1), cepstrum.std(1), change.std(1)), axis=1)
    got = cepstral_statistics(torch.from_numpy(log_mel)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_constant_prediction_has_the_error_one() -> None:
    task = Descriptors(8, 0)
    for weights in task.parameters():
        weights.requires_grad_(False).zero_()
    assert float(task.error(torch.zeros(16, 8), 20 * noise(16, 30, 64))) == pytest.approx(1.0, abs=1e-3)
    alike = noise(1, 30, 64).expand(4, -1, -1)  # nothing to tell apart
    assert float(task.error(torch.zeros(4, 8), alike)) == pytest.approx(0.0, abs=1e-3)


def test_the_task_reaches_the_trunk_and_not_the_classifier() -> None:
    recipe = read_recipe("MobileNetV1_distilled", ["distil.frame_weight=0", "run.precision=float32"])
    torch.manual_seed(0)
    model = build("MobileNetV1", 32000, recipe.frontend, 527)
    task = Descriptors(embedding_size(model), 1)
    network = prepare(model, recipe, Ranks(0, 1, torch.device("cpu")), task).train()
    none = Choices(None, None, None, None, None, False)
    part = Part(noise(4, 16000), torch.full((4, 527), 0.5), none)
    without = float(backward(network, [part]))
    classifier, first = model.head.fc_audioset.weight, next(model.trunk.parameters())
    assert classifier.grad is not None
    assert first.grad is not None
    before = classifier.grad.clone(), first.grad.clone()
    model.zero_grad()
    loss = float(backward(network, [part._replace(descriptor_weight=2.0)]))
    assert 0.5 < (loss - without) / 2.0 < 3.0  # a fresh task's error
    torch.testing.assert_close(classifier.grad, before[0])
    assert (first.grad - before[1]).abs().max() > 1e-6


def test_impossible_losses() -> None:
    with pytest.raises(ValueError, match=r"distil\.ranking_weight needs distil\.teacher"):
        read_recipe("Cnn14", ["distil.ranking_weight=1"])
    for given in (["augment.mixup=representation"], ["augment.mixup=waveform"]):
        with pytest.raises(ValueError, match=r"descriptor_weight needs .* augment\.mixup = 'none'"):
            read_recipe("Cnn14", ["model.descriptor_weight=1", *given])
    with pytest.raises(ValueError, match="descriptor_weight needs a model on a log-mel"):
        read_recipe("Res1dNet31", ["model.descriptor_weight=1", "augment.mixup=none"])
    with pytest.raises(ValueError, match=r"descriptor_weight is -1.*not be negative"):
        read_recipe("Cnn14", ["model.descriptor_weight=-1", "augment.mixup=none"])

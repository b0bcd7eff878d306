"""Augmentation: the laws of mixup and SpecAugment, and choices that depend on seed and step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from seeded_models import FRONT_END, narrow_row, noise

from pannsx.models.zoo import ARCHITECTURES, build
from train.loop.augment import Choices, blank, choose, mix
from train.loop.step import ClipLogits, log_mel_shape
from train.recipe import Augment, read_recipe

PLAIN = replace(read_recipe("Cnn14").augment, mixup="none", time_stripes=0, band_stripes=0)
EVERYTHING = replace(PLAIN, mixup="representation", time_stripes=2, band_stripes=2, gain_db=6.0, roll_s=0.1)


def chosen(augment: Augment, step: int = 0, n_clips: int = 8, seed: int = 1) -> Choices:
    return choose(augment, seed, step, n_clips=n_clips, sample_rate=8000, log_mel=(101, 64))


def test_nothing_is_done_where_nothing_is_wanted() -> None:
    choices = chosen(PLAIN)
    waveform, log_mel, targets = noise(8, 100), noise(8, 1, 101, 64), torch.rand(8, 3)
    assert choices.waveform(waveform) is waveform
    assert choices.representations((log_mel,))[0] is log_mel
    assert choices.targets(targets) is targets


def test_mixup_weighs_neighbours() -> None:
    x = torch.arange(8.0).reshape(4, 2)
    mixed = mix(x, torch.tensor([0.75, 0.0]))
    assert mixed.tolist() == [[0.5, 1.5], [6.0, 7.0]]


@pytest.mark.parametrize("where", ["representation", "waveform"])
def test_mixup_halves_the_batch_and_mixes_targets_alike(where: str) -> None:
    choices = chosen(replace(PLAIN, mixup=where))  # type: ignore[arg-type]
    waveform, targets = noise(8, 100), torch.eye(8)
    weights = torch.from_numpy(choices.weights)
    assert torch.equal(choices.targets(targets), mix(targets, weights))
    if where == "waveform":
        assert torch.equal(choices.waveform(waveform), mix(waveform, weights))
        assert choices.representations((waveform[:4, None],))[0].shape[0] == 4
    else:
        assert choices.waveform(waveform) is waveform
        both = choices.representations((waveform[:, None], 2 * waveform[:, None]))
        assert torch.allclose(both[1], 2 * both[0])
        assert torch.equal(both[0][:, 0], mix(waveform, weights))


def test_weights_of_mixup_are_uniform_for_alpha_one() -> None:
    weights = choose(
        replace(PLAIN, mixup="waveform"), 1, 0, n_clips=20000, sample_rate=8000, log_mel=None
    ).weights
    assert weights is not None
    # Kolmogorov-Smirnov distance from the uniform distribution; 1.63 / sqrt(n) is its 1 % bound.
    distance = np.abs(np.sort(weights) - (np.arange(10000) + 0.5) / 10000).max()
    assert distance < 1.63 / np.sqrt(10000)


def test_spec_augment_blanks_stripes_as_published() -> None:
    choices = choose(EVERYTHING, 1, 0, n_clips=4000, sample_rate=8000, log_mel=(101, 64))
    for stripes, width, size in ((choices.frames, 64, 101), (choices.bands, 8, 64)):
        assert stripes is not None
        assert stripes.shape == (4000, 2, 2)
        widths = stripes[..., 1] - stripes[..., 0]
        assert (widths.min(), widths.max()) == (0, width - 1)
        assert stripes.min() == 0
        assert stripes.max() <= size
        assert abs(widths.mean() - (width - 1) / 2) < 0.05 * width


def test_blanked_is_zero_and_the_rest_is_untouched() -> None:
    x = noise(2, 3, 10, 6)
    y = blank(x, np.array([[[1, 3], [2, 5]], [[0, 0], [9, 10]]]), axis=2)
    assert not y[0, :, 1:5].any()
    assert torch.equal(y[0, :, 5:], x[0, :, 5:])
    assert torch.equal(y[1, :, :9], x[1, :, :9])
    assert not y[1, :, 9].any()


def test_gain_and_roll_change_no_more_than_they_say() -> None:
    choices = chosen(replace(PLAIN, gain_db=6.0, roll_s=0.1))
    waveform = noise(8, 2000)
    changed = choices.waveform(waveform)
    assert choices.gain_db is not None
    assert np.abs(choices.gain_db).max() <= 6.0
    level = 20 * torch.log10(changed.norm(dim=1) / waveform.norm(dim=1))
    assert torch.allclose(level, torch.from_numpy(choices.gain_db), atol=1e-4)
    assert choices.roll is not None
    assert np.abs(choices.roll).max() <= 800
    back = changed[3].roll(-int(choices.roll[3])) / 10 ** (float(choices.gain_db[3]) / 20)
    assert torch.allclose(back, waveform[3], atol=1e-6)


def test_choices_depend_on_seed_and_step_alone() -> None:
    def flat(choices: Choices) -> list[float]:
        arrays = (choices.gain_db, choices.roll, choices.frames, choices.bands, choices.weights)
        return np.concatenate([np.ravel(array) for array in arrays if array is not None]).tolist()

    assert flat(chosen(EVERYTHING, step=5)) == flat(chosen(EVERYTHING, step=5))
    assert flat(chosen(EVERYTHING, step=5)) != flat(chosen(EVERYTHING, step=6))
    assert flat(chosen(EVERYTHING, step=5)) != flat(chosen(EVERYTHING, step=5, seed=2))
    without_gain = chosen(replace(EVERYTHING, gain_db=0.0), step=5)
    assert np.array_equal(without_gain.weights, chosen(EVERYTHING, step=5).weights)  # type: ignore[arg-type]


def test_parts_of_the_choices_do_to_parts_of_the_batch_what_all_do_to_all() -> None:
    choices = chosen(EVERYTHING)
    waveform, log_mel, targets = noise(8, 2000), noise(8, 1, 101, 64), torch.rand(8, 3)
    for begin, end in ((0, 4), (4, 8), (2, 4)):
        part, half = choices.part(begin, end), slice(begin // 2, end // 2)
        assert torch.equal(part.waveform(waveform[begin:end]), choices.waveform(waveform)[begin:end])
        assert torch.equal(part.targets(targets[begin:end]), choices.targets(targets)[half])
        assert torch.equal(
            part.representations((log_mel[begin:end],))[0], choices.representations((log_mel,))[0][half]
        )


def test_stripes_wider_than_the_log_mel_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit a log-mel of 20"):
        choose(EVERYTHING, 1, 0, n_clips=2, sample_rate=8000, log_mel=(20, 64))


@pytest.mark.parametrize("name", ["Cnn6", "LeeNet11", "Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"])
def test_every_stem_takes_mixup(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, name, narrow_row(ARCHITECTURES[name]))
    takes_log_mel = name in {"Cnn6", "Wavegram_Logmel_Cnn14"}
    model = build(name, 32000, FRONT_END if takes_log_mel else None, 3).train()
    shape = log_mel_shape(model, 32000)
    assert (shape is not None) == takes_log_mel
    augment = read_recipe("Cnn14" if takes_log_mel else "LeeNet11").augment
    choices = choose(augment, 1, 0, n_clips=4, sample_rate=32000, log_mel=shape)
    logits = ClipLogits(model, torch.float32)(noise(4, 32000), choices.representations)
    assert logits.shape == (2, 3)
    assert bool(logits.isfinite().all())

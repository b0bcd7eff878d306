"""Mixtures as their list says, and first steps of learning from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pannsx.labels import audioset
from train.data.mixtures import Mixtures
from train.loop import log
from train.run import main

RATE, N_SAMPLES = 16000, 80000
ROUNDING = 1.01 / 32768
"""Sources, sum and mixture are each rounded to 16 bits; the gains are below one."""


def sound(seed: int, n_samples: int = N_SAMPLES) -> NDArray[np.float64]:
    pcm = np.random.default_rng(seed).integers(-9000, 9000, n_samples)
    return pcm / 32768


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``distill`` beside a file of two clips and one that is too short."""
    for name in ("esc10/a", "esc50_16k", "distill"):
        (tmp_path / name).mkdir(parents=True)
    two = np.concatenate((sound(1), sound(2)))
    soundfile.write(tmp_path / "esc50_16k" / "101-Dog.flac", two, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "esc10" / "a" / "short.wav", sound(3, 30000), RATE, subtype="PCM_16")
    rows = [
        "clip_a,shift_a,gain_a,clip_b,shift_b,gain_b",
        "esc50/101-Dog.flac#1,2000,0.5,,,",
        "esc50/101-Dog.flac#0,0,0.25,esc10/a/short.wav,100,0.75",
        "esc50/101-Dog.flac#0,0,9.0,,,",
    ]
    (tmp_path / "distill" / "mixtures.csv").write_text("\n".join(rows) + "\n")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "distill" / "mixture_logits.npy", rng.normal(-4, 2, (3, 527)).astype(np.float16))
    return tmp_path / "distill"


def test_mixtures_are_rolled_weighed_added_and_clipped(folder: Path) -> None:
    mixtures = Mixtures(folder, RATE)
    assert (len(mixtures), mixtures.n_samples, mixtures.labels) == (3, N_SAMPLES, audioset().names)
    short = np.zeros(N_SAMPLES)
    short[:30000] = sound(3, 30000)
    # Shifts are in samples at 32 kHz, twice this rate.
    expected = [
        0.5 * np.roll(sound(2), 1000),
        0.25 * sound(1) + 0.75 * np.roll(short, 50),
        np.clip(9.0 * sound(1), -1, 1),
    ]
    for row, wave in enumerate(expected):
        np.testing.assert_allclose(mixtures.read(row) / 32768, wave, atol=ROUNDING)
    assert not mixtures.targets[:].any()


def test_a_recipe_learns_from_mixtures_alone(folder: Path, tmp_path: Path) -> None:
    """Mixtures have no labels: all that is learnt comes from the teacher, whose logits lie in their order."""
    given = [
        f"data.train={folder}", f"distil.teacher={folder / 'mixture_logits.npy'}", "distil.weight=1",
        "data.workers=0", "data.evaluation=", "sampler=none", "augment.mixup=none", "run.steps=2",
        "run.batch_size=2", "keep.log_every=1", "model.sample_rate=16000", "frontend.n_fft=512",
        "frontend.hop_length=160", "frontend.fmax=8000",
    ]  # fmt: skip
    command = ["MobileNetV1", *given, "--folder", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == 0
    losses = [entry["loss"] for entry in log.read(tmp_path / "run")]
    assert len(losses) == 2
    assert all(0 < loss < 2 for loss in losses)

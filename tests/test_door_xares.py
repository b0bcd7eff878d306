"""X-ARES: the real package checks the encoder, encodes tars with it, and scores it."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from parties import party

from benchmarks.torchaudio_stand_in import torchaudio_or_stand_in
from pannsx import FeatureExtractor
from pannsx.integrations import xares
from pannsx.integrations.xares import PannsxEncoder

SAME = 1e-6
"""Absolute, of embeddings: the same network on the same samples."""


@pytest.fixture(scope="module")
def encoder() -> PannsxEncoder:
    return PannsxEncoder()


def test_the_contract(encoder: PannsxEncoder) -> None:
    found = [name for name in dir(xares) if name.endswith("Encoder")]  # as X-ARES finds it
    assert found == ["PannsxEncoder"]
    assert isinstance(encoder, torch.nn.Module)
    assert (encoder.sampling_rate, encoder.output_dim) == (32_000, 1024)
    assert encoder.hop_size_in_ms == pytest.approx(320)
    audio = 0.1 * torch.randn(2, 50_000, generator=torch.Generator().manual_seed(0))
    encoded = encoder(audio)
    expected = FeatureExtractor().extract_frames(list(audio.numpy()))
    np.testing.assert_allclose(encoded[1].numpy(), expected[1].embeddings[: encoded.shape[1]], atol=SAME)
    assert encoder(audio[0]).shape == encoded[:1].shape
    with pytest.raises(ValueError, match=r"shape \(1, 1, 5\)"):
        encoder(torch.zeros(1, 1, 5))


def test_finer_frames_and_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = PannsxEncoder("MobileNetV1_distilled", hop_s=0.04)
    assert fine.hop_size_in_ms == pytest.approx(40)
    assert fine(torch.zeros(1, 32_000)).shape[1] == 18  # the next would need audio after the end
    monkeypatch.setenv("PANNSX_XARES_MODEL", "no such model")
    with pytest.raises(ValueError, match="no such model"):
        PannsxEncoder()


def tar_of_tones(path: Path, n: int, seed: int) -> None:
    """Low and high tones over noise, in the layout of X-ARES's ESC-50."""
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as tar:
        for number in range(n):
            label = number % 2
            time_s = np.arange(16_000) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (300, 3000)[label] * time_s) + rng.normal(0, 0.01, 16_000)
            wave = io.BytesIO()
            soundfile.write(wave, tone, 16_000, format="WAV")
            for suffix, data in (("wav", wave.getvalue()), ("json", json.dumps({"label": label}).encode())):
                info = tarfile.TarInfo(f"{seed}-{number:03}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_the_real_package_runs_a_task(
    encoder: PannsxEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # X-ARES and its companions warn of themselves
        torchaudio_or_stand_in()
        task: Any = party("xares.task", "doors")
        checker: Any = party("xares.audio_encoder_checker", "doors")
        assert checker.check_audio_encoder(encoder)
        folder = tmp_path / "env" / "tones"
        folder.mkdir(parents=True)
        for fold in (1, 2):
            tar_of_tones(folder / f"wds-audio-fold-{fold}-00000.tar", 12, fold)
        (folder / ".audio_tar_ready").touch()
        config = task.TaskConfig(
            name="tones", encoder=encoder, k_fold_splits=[1, 2], label_processor=lambda x: x["label"],
            output_dim=2, eval_weight=12, num_encoder_workers=0, epochs=3, batch_size_train=4,
        )  # fmt: skip
        threads = torch.get_num_threads()
        try:
            (mlp, _), (knn, _) = task.XaresTask(config).run()
        finally:
            torch.set_num_threads(threads)
    assert mlp > 0.9
    assert knn > 0.9

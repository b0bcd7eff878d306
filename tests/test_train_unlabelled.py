"""Runs that learn from clips without labels: resumed exactly, and the beginning of others."""

from __future__ import annotations

from pathlib import Path

import torch
from training import assert_same, last_state, make_store, overrides

from train.loop import log
from train.run import main


def test_a_run_on_blanked_spectrograms_resumes(tmp_path: Path) -> None:
    given = overrides(
        make_store(tmp_path / "store", 8), data__workers=0, run__batch_size=2, keep__save_every=1,
        sampler="none", loss__kind="masked_spectrogram", augment__mixup="none", augment__time_width=16,
        augment__band_stripes=0, frontend__n_fft=256, frontend__hop_length=80, frontend__fmax=4000,
        frontend__n_mels=16,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for folder, n_steps in (("whole", 2), ("parts", 1), ("parts", 2)):
            command = [
                "Cnn6",
                *given,
                f"run.steps={n_steps}",
                "--folder",
                str(tmp_path / folder),
                "--device",
                "cpu",
            ]
            assert main(command) == 0
    finally:
        torch.set_num_threads(threads)
    whole, parts = last_state(tmp_path / "whole"), last_state(tmp_path / "parts")
    for what in ("model", "predictor", "optimiser", "average"):
        assert_same(parts[what], whole[what], what)
    assert [entry["loss"] for entry in log.read(tmp_path / "parts")] == [
        entry["loss"] for entry in log.read(tmp_path / "whole")
    ]

"""Mixup and SpecAugment, as in pretraining, for fine-tuning."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from pannsx.models import Pann
from pannsx.transfer.augment import Augmented
from train.loop.augment import choose
from train.recipe import Augment

SETTINGS = Augment(
    mixup="representation",
    mixup_alpha=1.0,
    time_stripes=2,
    time_width=64,
    band_stripes=2,
    band_width=8,
    gain_db=0.0,
    roll_s=0.0,
    soften_db=0.0,
)


def mixup_and_stripes(waveform: Tensor, targets: Tensor, seed: int, model: Pann) -> Augmented:
    """Pairs of clips mixed, an odd one left out; stripes cover at most a quarter of their axis."""
    waveform, targets = waveform[: len(waveform) // 2 * 2], targets[: len(targets) // 2 * 2]
    settings, log_mel = SETTINGS, None
    if model.frontend is not None:
        n_frames = model.frontend.n_frames(max(waveform.shape[1], model.min_samples))
        log_mel = (n_frames, model.frontend.n_mels)
        settings = replace(
            settings,
            time_width=min(settings.time_width, log_mel[0] // 4),
            band_width=min(settings.band_width, log_mel[1] // 4),
        )
    choices = choose(settings, seed, 0, n_clips=len(waveform), sample_rate=model.sample_rate, log_mel=log_mel)
    return Augmented(choices.waveform(waveform), choices.targets(targets), choices.representations)

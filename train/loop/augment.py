"""Augmentation: gain, time roll, mixup and SpecAugment, with all random choices drawn in advance.

The choices of a step are drawn for the global batch, on the CPU, from seed and step alone, and split like
the batch. So they do not depend on the number of ranks and accumulated parts, and a resumed run draws the
same as an uninterrupted one.

Sources: mixup, Zhang et al. 2018 (arXiv:1710.09412), applied after ``bn0`` as in the paper (IV-B), or to
waveforms (the paper's "time-domain" ablation); SpecAugment, Park et al. 2019 (arXiv:1904.08779), without
its time warp, stripes as published; gain and roll as in EfficientAT (Schmid et al. 2023, arXiv:2211.04772).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pannsx.types import FloatArray
from train.recipe import Augment

_STREAM = 4  # the samplers have 1 to 3


@dataclass(frozen=True)
class Choices:
    """Augmentations of each of ``B`` clips; None where one is not used.

    Attributes:
        gain_db: ``(B,)``, softening included.
        roll: ``(B,)`` samples.
        frames: ``(B, n, 2)`` first blanked frame and the one after the last.
        bands: ``(B, n, 2)``, the same of mel bands.
        weights: ``(B / 2,)`` weight of the first clip of each pair in mixup.
        mixes_waveforms: whether mixup acts on waveforms instead of representations.
    """

    gain_db: FloatArray | None
    roll: NDArray[np.int64] | None
    frames: NDArray[np.int64] | None
    bands: NDArray[np.int64] | None
    weights: FloatArray | None
    mixes_waveforms: bool

    def part(self, begin: int, end: int) -> Choices:
        """Choices of clips ``begin`` to ``end``; both even with mixup."""
        chosen = slice(begin, end)
        return Choices(
            None if self.gain_db is None else self.gain_db[chosen],
            None if self.roll is None else self.roll[chosen],
            None if self.frames is None else self.frames[chosen],
            None if self.bands is None else self.bands[chosen],
            None if self.weights is None else self.weights[begin // 2 : end // 2],
            self.mixes_waveforms,
        )

    def waveform(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` waveform -> augmented ``(B, S)``, or ``(B / 2, S)`` with waveform mixup."""
        if self.roll is not None:
            waveform = torch.stack([row.roll(int(n)) for row, n in zip(waveform, self.roll, strict=True)])
        if self.gain_db is not None:
            waveform = waveform * _on(waveform, 10.0 ** (self.gain_db / 20.0))[:, None]
        if self.weights is not None and self.mixes_waveforms:
            waveform = mix(waveform, _on(waveform, self.weights))
        return waveform

    def representations(self, representations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A stem's representations, ``(B, C, ...)`` each -> augmented ones: Pann's ``augment``.

        SpecAugment blanks stripes of the log-mel before mixup, with zero, the mean after ``bn0``. After
        waveform mixup the batch has half the size, and each pair has the stripes of its first clip.
        """
        step = 2 if self.weights is not None and self.mixes_waveforms else 1
        augmented = list(representations)
        for axis, stripes in ((2, self.frames), (3, self.bands)):
            if stripes is not None:
                augmented[0] = blank(augmented[0], stripes[::step], axis)
        if self.weights is not None and not self.mixes_waveforms:
            weights = _on(augmented[0], self.weights)
            augmented = [mix(x, weights) for x in augmented]
        return tuple(augmented)

    def targets(self, targets: Tensor) -> Tensor:
        """``(B, K)`` targets -> ``(B / 2, K)`` with mixup, else unchanged."""
        return targets if self.weights is None else mix(targets, _on(targets, self.weights))


def choose(
    augment: Augment, seed: int, step: int, *, n_clips: int, sample_rate: int, log_mel: tuple[int, int] | None
) -> Choices:
    """The choices of a step for a global batch.

    Args:
        augment: the recipe's settings.
        seed: the run's seed.
        step: number of the step.
        n_clips: clips drawn, ``B``.
        sample_rate: in Hz.
        log_mel: frames and bands of the log-mel; None for models without one, where SpecAugment is not used.

    Raises:
        ValueError: stripes wider than the log-mel.
    """
    # Every augmentation has its own random stream, so that a further one does not change the others.
    gains, rolls, frames, bands, mixes, soft = (
        np.random.default_rng((seed, _STREAM, step, i)) for i in range(6)
    )
    roll = round(augment.roll_s * sample_rate)
    n_frames, n_bands = log_mel or (0, 0)
    has_mixup = augment.mixup != "none"
    return Choices(
        _gains(gains, soft, augment, n_clips),
        rolls.integers(-roll, roll + 1, n_clips) if roll else None,
        _stripes(frames, n_clips, augment.time_stripes, augment.time_width, n_frames) if log_mel else None,
        _stripes(bands, n_clips, augment.band_stripes, augment.band_width, n_bands) if log_mel else None,
        mixes.beta(augment.mixup_alpha, augment.mixup_alpha, n_clips // 2).astype(np.float32)
        if has_mixup
        else None,
        augment.mixup == "waveform",
    )


def _gains(
    gains: np.random.Generator, soft: np.random.Generator, augment: Augment, n_clips: int
) -> FloatArray | None:
    if not augment.gain_db and not augment.soften_db:
        return None
    gain_db = gains.uniform(-augment.gain_db, augment.gain_db, n_clips)
    gain_db -= soft.uniform(0.0, augment.soften_db, n_clips) * (soft.random(n_clips) < 0.5)
    return gain_db.astype(np.float32)


def mix(x: Tensor, weights: Tensor) -> Tensor:
    """``(B, ...)`` and ``(B / 2,)`` weights -> ``(B / 2, ...)``: each even row with the odd one after it."""
    weights = weights.reshape(-1, *[1] * (x.ndim - 1))
    return weights * x[0::2] + (1 - weights) * x[1::2]


def blank(x: Tensor, stripes: NDArray[np.int64], axis: int) -> Tensor:
    """``(B, C, T, F)`` and ``(B, n, 2)`` stripes of an axis -> ``x``, zero in them."""
    places = torch.arange(x.shape[axis], device=x.device)
    edges = torch.from_numpy(stripes).to(x.device)
    inside = (places >= edges[..., :1]) & (places < edges[..., 1:])  # (B, n, places)
    blanked = inside.any(dim=1)
    shape = [len(x), 1, 1, 1]
    shape[axis] = x.shape[axis]
    return x.masked_fill(blanked.reshape(shape), 0.0)


def _stripes(
    rng: np.random.Generator, n_clips: int, n_stripes: int, width: int, size: int
) -> NDArray[np.int64] | None:
    """Stripes narrower than ``width``, anywhere within ``size``, as published."""
    if not n_stripes or width < 2:
        return None
    if width > size:
        raise ValueError(
            f"SpecAugment stripes of up to {width - 1} do not fit a log-mel of {size}; make them narrower"
        )
    widths = rng.integers(0, width, (n_clips, n_stripes))
    begins = rng.integers(0, size - widths)
    return np.stack((begins, begins + widths), axis=-1)


def _on(like: Tensor, values: FloatArray) -> Tensor:
    return torch.from_numpy(values).to(like.device, like.dtype)

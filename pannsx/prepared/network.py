"""A PANN made ready for inference on the CPU in float32: each part in the form that is quickest for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pannsx.models import Pann
from pannsx.models.stems import LogMelStem, RawStem, Stem, WavegramLogMelStem, WavegramStem
from pannsx.models.trunks import Cnn
from pannsx.prepared.cnn import PreparedCnn, can_prepare
from pannsx.prepared.eager import prepare_module
from pannsx.prepared.folding import scale_and_shift
from pannsx.prepared.workers import Workers


class PreparedNetwork:
    """``(B, S)`` waveform and its ``(B, T, F)`` log-mel -> ``(B, C, T')``, as ``Pann.forward_features``.

    Args:
        model: in float32, on the CPU; its weights are copied in other layouts, not changed.
        n_threads: threads to compute on.
    """

    def __init__(self, model: Pann, n_threads: int) -> None:
        self._stem = _prepare_stem(model.stem)
        trunk = model.trunk
        self._trunk: PreparedCnn | nn.Module
        if isinstance(trunk, Cnn) and can_prepare(trunk):
            self._trunk = PreparedCnn(trunk, Workers(n_threads))
        else:
            self._trunk = prepare_module(trunk)

    def features(self, waveform: Tensor, log_mel: Tensor | None) -> Tensor:
        """Features of padded waveforms; ``log_mel`` is None for models of the waveform alone."""
        return self._trunk(*self._stem(waveform, log_mel))


class _Normalised:
    """``(B, T, F)`` log-mel -> ``(B, 1, T, F)``, each band scaled and shifted as ``bn0`` does."""

    def __init__(self, stem: LogMelStem) -> None:
        with torch.no_grad():
            scale, shift = scale_and_shift(stem.bn0)
            self._scale, self._shift = scale.float(), shift.float()

    def __call__(self, waveform: Tensor, log_mel: Tensor | None) -> tuple[Tensor, ...]:
        if log_mel is None:
            raise ValueError("this network works on a log-mel; none was given")
        return (torch.addcmul(self._shift, log_mel, self._scale)[:, None],)


class _Wavegram:
    """``(B, S)`` waveform -> ``(B, 64, T, n_bands)``."""

    def __init__(self, stem: WavegramStem) -> None:
        self._stem = prepare_module(stem)

    def __call__(self, waveform: Tensor, log_mel: Tensor | None) -> tuple[Tensor, ...]:
        return self._stem(waveform)  # type: ignore[no-any-return]


class _Both:
    """Log-mel and wavegram, one beside the other."""

    def __init__(self, stem: WavegramLogMelStem) -> None:
        self._parts = (_Normalised(stem.log_mel), _Wavegram(stem.wavegram))

    def __call__(self, waveform: Tensor, log_mel: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(found for part in self._parts for found in part(waveform, log_mel))


class _Raw:
    """``(B, S)`` waveform -> ``(B, 1, S)``."""

    def __call__(self, waveform: Tensor, log_mel: Tensor | None) -> tuple[Tensor, ...]:
        return (waveform[:, None],)


def _prepare_stem(stem: Stem) -> _Normalised | _Wavegram | _Both | _Raw:
    if isinstance(stem, LogMelStem):
        return _Normalised(stem)
    if isinstance(stem, WavegramLogMelStem):
        return _Both(stem)
    if isinstance(stem, WavegramStem):
        return _Wavegram(stem)
    if isinstance(stem, RawStem):
        return _Raw()
    raise TypeError(f"no prepared form is known for the stem {type(stem).__name__}")

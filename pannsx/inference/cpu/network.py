"""A PANN prepared for inference on the CPU: each part in its fastest form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pannsx.inference.cpu.cnn import PreparedCnn, can_prepare
from pannsx.inference.cpu.folding import scale_and_shift
from pannsx.inference.cpu.head import Found, PreparedHead
from pannsx.inference.cpu.mobilenet import PreparedMobileNet, can_prepare_mobile
from pannsx.inference.cpu.precision import product_type
from pannsx.inference.cpu.resnet import PreparedResNet
from pannsx.inference.cpu.traced import prepare_module
from pannsx.inference.cpu.workers import Workers
from pannsx.models import Pann
from pannsx.models.stems import LogMelStem, RawStem, Stem, WavegramLogMelStem, WavegramStem
from pannsx.models.trunks import Cnn
from pannsx.models.trunks.mobilenet import MobileNetV1, MobileNetV2
from pannsx.models.trunks.resnet import ResNet
from pannsx.types import FloatArray


class PreparedNetwork:
    """``(S,)`` waveforms and their ``(T, F)`` log-mels -> an :class:`~pannsx.inference.cpu.head.Found` each.

    Args:
        model: in float32, on the CPU; its weights are copied in other layouts, not changed.
        workers: the threads to compute on.
        allow_bfloat16: whether the trunk's products may be rounded to bfloat16, if that is faster.

    Attributes:
        accepts_ragged: whether waveforms of different lengths can be processed together, with exactly the
            same results as alone.
    """

    def __init__(self, model: Pann, workers: Workers, *, allow_bfloat16: bool = False) -> None:
        dtype = product_type(allow_bfloat16=allow_bfloat16)
        self._workers = workers
        self._stem = _prepare_stem(model.stem)
        self._head = PreparedHead(model.head, workers)
        self._trunk: PreparedCnn | PreparedMobileNet | PreparedResNet | _Stacked
        trunk = model.trunk
        if isinstance(trunk, Cnn) and can_prepare(trunk):
            self._trunk = PreparedCnn(trunk, workers, dtype)
            self.accepts_ragged = isinstance(self._stem, _Normalised)
        elif isinstance(trunk, (MobileNetV1, MobileNetV2)) and can_prepare_mobile(trunk):
            self._trunk = PreparedMobileNet(trunk, workers, dtype)
            self.accepts_ragged = True
        elif isinstance(trunk, ResNet):
            self._trunk = PreparedResNet(trunk, workers, dtype)
            self.accepts_ragged = True
        else:
            self._trunk = _Stacked(prepare_module(trunk), dtype)
            self.accepts_ragged = False

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray], *, frames: bool
    ) -> list[Found]:
        """Padded waveforms ``(S,)`` -> outputs; ``log_mels`` is empty for models of the waveform alone.

        Without ``frames``, framewise outputs are omitted if they cost extra.
        """
        representations = self._stem(waveforms, log_mels)
        with self._workers.lock:  # the layers' memory is shared by all calls
            if isinstance(self._trunk, _Stacked):  # on torch's own threads
                return self._head(self._trunk(*representations), frames=frames)
            trunk = self._trunk
            return self._workers.lead(lambda: self._head(trunk(*representations), frames=frames))


class _Stacked:
    """A module applied to a batch of stacked items, all of one size."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self._module = module.to(dtype)
        self._dtype = dtype

    def __call__(self, *representations: Sequence[FloatArray]) -> list[FloatArray]:
        batches = [torch.from_numpy(np.stack(items)).to(self._dtype) for items in representations]
        return list(self._module(*batches).float().transpose(1, 2).contiguous().numpy())


class _Normalised:
    """``(T, F)`` log-mels -> ``(1, T, F)``, each band scaled and shifted as ``bn0`` does."""

    def __init__(self, stem: LogMelStem) -> None:
        with torch.no_grad():
            scale, shift = scale_and_shift(stem.bn0)
        self._scale, self._shift = scale.float().numpy(), shift.float().numpy()

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        return ([(log_mel * self._scale + self._shift)[None] for log_mel in log_mels],)


class _Wavegram:
    """``(S,)`` waveforms -> ``(64, T, n_bands)``."""

    def __init__(self, stem: WavegramStem) -> None:
        self._stem = prepare_module(stem)

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        (wavegrams,) = self._stem(torch.from_numpy(np.stack(waveforms)))
        return (list(wavegrams.numpy()),)


class _Both:
    """Both representations: log-mel and wavegram."""

    def __init__(self, stem: WavegramLogMelStem) -> None:
        self._parts = (_Normalised(stem.log_mel), _Wavegram(stem.wavegram))

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        return tuple(found for part in self._parts for found in part(waveforms, log_mels))


class _Raw:
    """``(S,)`` waveforms -> ``(1, S)``."""

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        return ([waveform[None] for waveform in waveforms],)


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

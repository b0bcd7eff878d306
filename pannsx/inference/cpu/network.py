"""A PANN prepared for inference on the CPU: each part in its fastest form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.frontend.settings import FrontEnd
from pannsx.inference.cpu.cnn import PreparedCnn, can_prepare, may_round_cnn
from pannsx.inference.cpu.explanation import Step
from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.head import Found, PreparedHead, layers_of_clips, pool_locally
from pannsx.inference.cpu.mobilenet import PreparedMobileNet, can_prepare_mobile
from pannsx.inference.cpu.mobilenet_strips import NO_STEPS, MobileNetInStrips, Source, Waveform
from pannsx.inference.cpu.product import product_kind
from pannsx.inference.cpu.resnet import PreparedResNet
from pannsx.inference.cpu.waveform_networks import WaveformNetworkInStrips, can_prepare_waveform
from pannsx.inference.cpu.wavegram import PreparedWavegram
from pannsx.inference.cpu.workers import Workers
from pannsx.jit import matrix8
from pannsx.models.layout import published_key
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings
from pannsx.models.settings import CnnSettings, MobileNetSettings, ResNetSettings
from pannsx.models.structure import Architecture, ArrayModel, Structure, TrunkSettings
from pannsx.models.zoo import ARCHITECTURES
from pannsx.types import FloatArray

if TYPE_CHECKING:
    from pannsx.inference.cpu.traced import TracedTrunk
    from pannsx.models.pann import Pann

Stem = Callable[[Sequence[FloatArray], Sequence[FloatArray]], tuple[Sequence[FloatArray], ...]]
_PASSES = 3  # of an explanation, after one to warm up

PreparedTrunk = PreparedCnn | PreparedMobileNet | MobileNetInStrips | PreparedResNet | WaveformNetworkInStrips


def runs_without_torch(structure: Structure, *, bfloat16: bool) -> bool:
    """Whether every part of a network has a form without its torch module."""
    return _can_prepare(structure.trunk, bfloat16=bfloat16)


def may_round(model: ArrayModel | Pann) -> bool:
    """Whether ``precision="bfloat16"`` can round products of this network's prepared form.

    Not those of a MobileNet: they are narrow, between layers that are not products, so that rounding takes
    longer than it saves; and each rounding adds to the error of fifty layers. A CNN may have none: Winograd's
    stay in float32.
    """
    row = model.structure.row if isinstance(model, ArrayModel) else ARCHITECTURES[model.architecture]
    match row.trunk:
        case MobileNetSettings() as trunk if _can_prepare(trunk, bfloat16=False):
            return False
        case CnnSettings() as trunk if _can_prepare(trunk, bfloat16=False):
            return may_round_cnn(trunk)
        case _:
            return True


def computes_in_bytes() -> bool:
    """Whether this processor has the instructions for products in 8 bits, and they are to be used."""
    return matrix8.FEATURE is not None and product_kind() == "own"


def _can_prepare(trunk: TrunkSettings, *, bfloat16: bool) -> bool:
    match trunk:
        case CnnSettings():
            return can_prepare(trunk)
        case MobileNetSettings():
            return product_kind() == "own" or can_prepare_mobile(trunk)
        case ResNetSettings():
            return True
        case LeeNetSettings() | DaiNet19Settings() | Res1dNetSettings():
            return product_kind() == "own" and not bfloat16 and can_prepare_waveform(trunk)


class PreparedNetwork:
    """``(S,)`` waveforms and their ``(T, F)`` log-mels -> a :class:`~pannsx.inference.cpu.head.Found` each.

    Args:
        model: its weights are copied in other layouts, not changed; a torch module is in float32, on the CPU,
            and a trunk that only torch can run is traced from it.
        workers: the threads to compute on.
        kernel: what computes the log-mel, if the network may do so; see :meth:`computes_log_mel`.
        bfloat16: round the trunk's products to bfloat16; see :func:`may_round`.
        steps: for a MobileNet's products in 8 bits; see :class:`MobileNetInStrips`.

    Attributes:
        accepts_ragged: whether waveforms of different lengths can be processed together, with exactly the
            same results as alone.

    Raises:
        ValueError: no torch module is given for a network that needs it.
    """

    def __init__(
        self,
        model: ArrayModel | Pann,
        workers: Workers,
        kernel: LogMelKernel | None = None,
        *,
        bfloat16: bool = False,
        steps: Mapping[str, float] = NO_STEPS,
    ) -> None:
        self._workers = workers
        self._kernel = kernel
        module: Pann | None = None
        arrays: Mapping[str, npt.NDArray[Any]]
        if isinstance(model, ArrayModel):
            row, arrays, frontend = model.structure.row, model.arrays, model.structure.frontend
        else:
            module, row, frontend = model, ARCHITECTURES[model.architecture], model.frontend
            arrays = {published_key(key): each.detach().numpy() for key, each in model.state_dict().items()}
        tensors = Tensors(arrays)
        self._stem = _stem(row, frontend, tensors, workers)
        self._trunk: PreparedTrunk | TracedTrunk
        n_hidden = sum(key.startswith("hidden.") and key.endswith(".weight") for key in arrays)
        if _can_prepare(row.trunk, bfloat16=bfloat16):
            head = layers_of_clips(n_hidden) if row.head == "clip" else ()
            self._trunk = _trunk(row.trunk, tensors, workers, bfloat16, head, steps)
            self.accepts_ragged = True
        elif module is None:
            raise ValueError(f"the trunk of this network needs its torch module for inference: {row.trunk}")
        else:
            from pannsx.inference.cpu.traced import TracedTrunk

            self._trunk = TracedTrunk(module.trunk, bfloat16=bfloat16)
            self.accepts_ragged = False
        products = self._trunk.head if isinstance(self._trunk, MobileNetInStrips) else {}
        self._head = PreparedHead(row.head, n_hidden, tensors, workers, products)

    def computes_log_mel(self, n_items: int) -> bool:
        """Whether the log-mel of so many waveforms is computed in the same call as the network."""
        is_whole = isinstance(self._trunk, MobileNetInStrips) and isinstance(self._stem, _Normalised)
        return is_whole and self._kernel is not None and n_items == 1

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray] | None, *, frames: bool
    ) -> list[Found]:
        """Padded waveforms ``(S,)`` -> outputs.

        ``log_mels`` is empty for models of the waveform alone, and None if the network computes them. Without
        ``frames``, framewise outputs are omitted if they cost extra.
        """
        trunk = self._trunk
        if isinstance(trunk, MobileNetInStrips):
            with self._workers.lock:
                return self._workers.lead(lambda: self._in_strips(trunk, waveforms, log_mels, frames))
        representations = self._stem(waveforms, log_mels or ())
        with self._workers.lock:  # the layers' memory is shared by all calls
            if not isinstance(trunk, PreparedTrunk):  # on torch's own threads
                with self._workers.step("trunk", 0, form="torch module", product="torch"):
                    features = trunk(*representations)
                return self._head(features, frames=frames)
            return self._workers.lead(lambda: self._head(trunk(*representations), frames=frames))

    def _in_strips(
        self,
        trunk: MobileNetInStrips,
        waveforms: Sequence[FloatArray],
        log_mels: Sequence[FloatArray] | None,
        frames: bool,
    ) -> list[Found]:
        source: Source
        if log_mels is not None:
            (source,) = self._stem(waveforms, log_mels)
        elif self._kernel is not None and isinstance(self._stem, _Normalised):
            source = Waveform(waveforms[0], self._kernel, self._stem.scale, self._stem.shift)
        else:
            raise ValueError("this network does not compute log-mels; they are needed")
        if frames or not trunk.head:
            return self._head(trunk(source), frames=frames)
        embeddings, logits = trunk.clips(source)
        nothing = logits[:0], embeddings[:0]
        return [Found(*of_clip, *nothing) for of_clip in zip(logits, embeddings, strict=True)]

    def explain(self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]) -> tuple[Step, ...]:
        """The steps of trunk and head for these inputs, each with the least time of three passes."""
        with self._workers.lock:
            passes = []
            for _ in range(_PASSES + 1):
                self._workers.steps = []
                try:
                    self(waveforms, log_mels, frames=False)
                finally:
                    steps, self._workers.steps = self._workers.steps, None
                passes.append(steps)
        return tuple(min(each, key=lambda step: step.duration_s) for each in zip(*passes[1:], strict=True))

    def at_level(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray], level: str, *, clip: bool
    ) -> list[FloatArray]:
        """Padded waveforms ``(S,)`` -> ``(T', n)`` at ``trunk``, ``pooled``, ``fc1`` or ``logits``.

        ``clip`` pools over time as the head does, to ``(1, n)``.
        """
        if level in ("fc1", "logits"):
            found = self(waveforms, log_mels, frames=not clip)
            if level == "fc1":
                return [(each.embedding[None] if clip else each.frame_embeddings).copy() for each in found]
            return [(each.logits[None] if clip else each.frame_logits).copy() for each in found]
        if level not in ("trunk", "pooled"):
            raise ValueError(f"the prepared network has no level {level!r}")

        def pooled(features: FloatArray) -> FloatArray:
            if not clip:  # a copy: the planes are used again
                return pool_locally(features) if level == "pooled" else features.copy()
            if level == "pooled":
                return self._head.pool(features)[None]
            return np.asarray(features.max(axis=0) + features.mean(axis=0))[None]

        representations = self._stem(waveforms, log_mels)
        trunk = self._trunk
        with self._workers.lock:
            if not isinstance(trunk, PreparedTrunk):  # on torch's own threads
                return [pooled(features) for features in trunk(*representations)]
            return self._workers.lead(lambda: [pooled(features) for features in trunk(*representations)])


class _Normalised:
    """``(T, F)`` log-mels -> ``(1, T, F)``, each band scaled and shifted as ``bn0`` does."""

    def __init__(self, tensors: Tensors) -> None:
        scale, shift = tensors.scale_and_shift("bn0")
        self.scale, self.shift = scale.astype(np.float32), shift.astype(np.float32)

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        return ([(log_mel * self.scale + self.shift)[None] for log_mel in log_mels],)


class _Raw:
    """``(S,)`` waveforms -> ``(1, S)``."""

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], ...]:
        return ([waveform[None] for waveform in waveforms],)


class _Both:
    """Both representations: log-mel and wavegram."""

    def __init__(self, log_mel: Stem, wavegram: Stem) -> None:
        self._parts = (log_mel, wavegram)

    def __call__(
        self, waveforms: Sequence[FloatArray], log_mels: Sequence[FloatArray]
    ) -> tuple[Sequence[FloatArray], ...]:
        return tuple(found for part in self._parts for found in part(waveforms, log_mels))


def _stem(row: Architecture, frontend: FrontEnd | None, tensors: Tensors, workers: Workers) -> Stem:
    wavegram = row.wavegram(frontend)
    if wavegram is None:
        return _Raw() if frontend is None else _Normalised(tensors)
    of_samples = PreparedWavegram(wavegram, tensors, workers)
    return of_samples if frontend is None else _Both(_Normalised(tensors), of_samples)


def _trunk(
    trunk: TrunkSettings,
    tensors: Tensors,
    workers: Workers,
    bfloat16: bool,
    head: Sequence[str],
    steps: Mapping[str, float],
) -> PreparedTrunk:
    """The prepared form of a trunk, or of a MobileNet with the layers of its ``head``."""
    match trunk:
        case CnnSettings():
            return PreparedCnn(trunk, tensors, workers, bfloat16=bfloat16)
        case MobileNetSettings() if product_kind() == "own":
            return MobileNetInStrips(trunk, tensors, workers, head, steps)
        case MobileNetSettings():
            return PreparedMobileNet(trunk, tensors, workers)
        case ResNetSettings():
            return PreparedResNet(trunk, tensors, workers, bfloat16=bfloat16)
        case LeeNetSettings() | DaiNet19Settings() | Res1dNetSettings():
            return WaveformNetworkInStrips(trunk, tensors, workers)

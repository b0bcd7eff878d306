"""Runs a PANN on equally long or ragged waveforms, on the CPU, CUDA or MPS.

On the CPU the log-mel comes from the compiled kernel, and the network runs in its prepared form
(:mod:`pannsx.inference.cpu`), which needs torch only for some architectures; elsewhere torch runs everything
(:mod:`pannsx.inference.module`). Waveforms are never padded to a common length, which would change the
results, as pooling and convolutions see padding. They are processed together if the prepared form keeps them
apart, else in groups of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.batcher import Batcher
from pannsx.inference.cpu.cores import one_thread_after_fork
from pannsx.inference.cpu.explanation import Step
from pannsx.inference.cpu.mobilenet_strips import NO_STEPS
from pannsx.inference.cpu.network import (
    PreparedNetwork,
    computes_in_bytes,
    may_round,
    runs_without_torch,
)
from pannsx.inference.cpu.workers import Workers
from pannsx.inference.device import DEFAULT_BATCH, Device, choose_device
from pannsx.jit import is_enabled
from pannsx.models.structure import ArrayModel, Network
from pannsx.types import FloatArray
from pannsx.weights.mapped import release

if TYPE_CHECKING:
    import torch

    from pannsx.inference.module import ModuleRunner
    from pannsx.models.pann import Pann

Precision = Literal["float32", "bfloat16", "float16", "int8"]

HEAD_LEVELS = ("trunk", "pooled", "fc1", "logits")
"""Levels that the prepared form has; those of the blocks are maps of the torch module."""

_BATCH_ITEM_S = 10.0  # a batch of unequal waveforms has the total length of one with items of this length
_MOST_MIXED = 64


class Answer(NamedTuple):
    """The network's outputs for one waveform."""

    clipwise: FloatArray  # (K,) probabilities
    embedding: FloatArray  # (D,)
    framewise: FloatArray | None  # (T', K) probabilities
    frame_embeddings: FloatArray | None  # (T', D)
    logits: FloatArray  # (K,); clipwise is their sigmoid


class Wanted(NamedTuple):
    """The large framewise outputs to compute."""

    framewise: bool = True
    frame_embeddings: bool = False


class Engine:
    """A model prepared for a device.

    Args:
        model: the network: its structure and arrays, or a torch module in float32, which is moved to the
            device and set to evaluation mode.
        device: see :func:`choose_device`.
        precision: ``"float32"`` (exact: TF32 is off while it runs), or ``"bfloat16"`` or ``"float16"``
            for the convolutions; log-mel and head stay in float32. On the CPU, bfloat16 is used only for
            large products, and only if it is faster on this processor; never for a MobileNet, which it makes
            slower and less exact, nor for Cnn6 and Cnn10, which have no such products. ``"int8"``: on the
            CPU, the products of a MobileNetV1 with calibrated ranges in 8 bits, if the processor has the
            instructions (VNNI), else in float32; see :mod:`pannsx.inference.quantisation`.
        batch_size: waveforms per pass; None: by device.
        low_memory: on the CPU, run the torch module instead of the prepared form, which takes less memory for
            large networks alone.

    Raises:
        ValueError: unusable device, precision or batch size.
    """

    def __init__(
        self,
        model: ArrayModel | Pann,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        batch_size: int | None = None,
        low_memory: bool = False,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(f"precision is {precision!r}; use one of {', '.join(get_args(Precision))}")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; at least 1 is needed")
        self.device = choose_device(device)
        on_cpu = self.device.type == "cpu"
        if precision == "float16" and on_cpu:
            raise ValueError(
                "precision 'float16' needs an accelerator; on the CPU use 'float32' or 'bfloat16'"
            )
        if precision == "int8":
            _check_int8(model, self.device, low_memory=low_memory)
        self.precision = precision
        self.batch_size = batch_size or DEFAULT_BATCH[self.device.type]
        self.low_memory = low_memory
        self._has_own_batch_size = batch_size is not None
        is_compiled = on_cpu and is_enabled()
        is_prepared = is_compiled and not low_memory
        rounds = is_prepared and precision == "bfloat16" and may_round(model) and _bfloat16_is_quicker()
        if isinstance(model, ArrayModel) and not (
            is_prepared and runs_without_torch(model.structure, bfloat16=rounds)
        ):
            model = model.as_module()
        self._given = model
        self.network: Network = model.structure if isinstance(model, ArrayModel) else model
        self._kernel: LogMelKernel | None = None
        if is_compiled and self.network.frontend is not None:
            self._kernel = LogMelKernel(self.network.frontend)
        self._prepared: PreparedNetwork | None = None
        self._runner: ModuleRunner | None = None
        self._runner_of_blocks: ModuleRunner | None = None
        self.workers = Workers(with_torch=rounds)
        if is_prepared:
            if not isinstance(model, ArrayModel):
                model.to("cpu").eval()
            steps = model.int8_steps if precision == "int8" and computes_in_bytes() else NO_STEPS
            self._prepared = PreparedNetwork(model, self.workers, self._kernel, bfloat16=rounds, steps=steps)
            if isinstance(model, ArrayModel):
                release(model.arrays.values())
        elif not isinstance(model, ArrayModel):
            from pannsx.inference.module import ModuleRunner

            self._runner = ModuleRunner(model, self.device, precision)
        one_thread_after_fork()

    @property
    def model(self) -> Pann:
        """The network as a torch module, on the device; a prepared network builds it at every call."""
        return self._given.as_module() if isinstance(self._given, ArrayModel) else self._given

    def __reduce__(self) -> tuple[Any, ...]:
        # The prepared form is rebuilt on unpickling: it is larger than the model.
        batch_size = self.batch_size if self._has_own_batch_size else None
        return _rebuilt, (self._given, str(self.device), self.precision, batch_size, self.low_memory)

    def group_of(self, n_samples: int) -> int:
        """The group of a length; waveforms of one group can be processed together."""
        return 0 if self._prepared is not None and self._prepared.accepts_ragged else n_samples

    def is_full(self, lengths: Sequence[int]) -> bool:
        """Whether waveforms of these lengths, of one group, make a full batch."""
        if (
            self._has_own_batch_size
            or min(lengths) == max(lengths) >= _BATCH_ITEM_S * self.network.sample_rate
        ):
            return len(lengths) >= self.batch_size
        budget = self.batch_size * _BATCH_ITEM_S * self.network.sample_rate
        return len(lengths) >= _MOST_MIXED or sum(lengths) >= budget

    def run(self, waveforms: Sequence[FloatArray], wanted: Wanted = Wanted()) -> list[Answer]:  # noqa: B008
        """``(S_i,)`` waveforms at the model's rate -> an :class:`Answer` each, in their order."""
        if len(waveforms) == 1:
            return self.run_batch(waveforms, wanted)
        batcher: Batcher[int, Answer] = Batcher(self, wanted)
        answers: dict[int, Answer] = {}
        for i, waveform in enumerate(waveforms):
            answers.update(batcher.push(i, waveform))
        answers.update(batcher.finish())
        return [answers[i] for i in range(len(waveforms))]

    def run_batch(self, waveforms: Sequence[FloatArray], wanted: Wanted) -> list[Answer]:
        """``(S_i,)`` waveforms of one group, all at once -> an :class:`Answer` each."""
        padded = [self._padded(waveform) for waveform in waveforms]
        if self._runner is not None:
            return self._runner(padded, self._log_mels(padded), wanted)
        if self._prepared is None:
            raise RuntimeError("the engine has no network")
        with self.workers.lock:
            log_mels = None if self._prepared.computes_log_mel(len(padded)) else self._log_mels(padded)
            found = self._prepared(padded, log_mels, frames=any(wanted))
        # Copies: these are views into whole-batch arrays, which a kept result would keep alive.
        return [
            Answer(
                _sigmoid(each.logits),
                each.embedding.copy(),
                _sigmoid(each.frame_logits) if wanted.framewise else None,
                each.frame_embeddings.copy() if wanted.frame_embeddings else None,
                each.logits.copy(),
            )
            for each in found
        ]

    def explain(self, waveform: FloatArray) -> tuple[Step, ...]:
        """The steps of trunk and head for a ``(S,)`` waveform at the model's rate, with their times.

        Raises:
            ValueError: the engine runs a torch module, of whose layers nothing is measured.
        """
        if self._prepared is None:
            raise ValueError(
                f"device {self.device}, low_memory {self.low_memory}: the network runs as a torch module; "
                "only the prepared form on the CPU can be explained"
            )
        padded = [self._padded(waveform)]
        return self._prepared.explain(padded, self._log_mels(padded))

    def run_level(self, waveforms: Sequence[FloatArray], level: str, *, clip: bool) -> list[FloatArray]:
        """``(S_i,)`` waveforms of one group -> ``(T, n)`` frames each, of a level of the network.

        ``clip`` pools over time as the network does, to ``(1, n)``; a map is averaged over frequency first.
        """
        padded = [self._padded(waveform) for waveform in waveforms]
        log_mels = self._log_mels(padded)
        if self._prepared is not None and level in HEAD_LEVELS:
            return self._prepared.at_level(padded, log_mels, level, clip=clip)
        if self._runner is None:  # the prepared form has no maps of blocks
            from pannsx.inference.module import ModuleRunner

            self._runner_of_blocks = self._runner_of_blocks or ModuleRunner(
                self.model, self.device, self.precision
            )
        runner = self._runner or self._runner_of_blocks
        if runner is None:
            raise RuntimeError("the engine has no network")
        return runner.at_level(padded, log_mels, level, clip=clip)

    def _padded(self, waveform: FloatArray) -> FloatArray:
        """``(S,)`` -> float32 of at least the model's shortest input, zeros at the end."""
        samples = np.ascontiguousarray(waveform, np.float32)
        missing = self.network.min_samples - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples

    def _log_mels(self, waveforms: list[FloatArray]) -> list[FloatArray]:
        """Padded waveforms -> ``(T, F)`` each by the compiled kernel; empty if the model computes its own."""
        if self._kernel is None:
            return []
        with self.workers.lock:  # else one caller's front end would take a core from another's network
            if len(waveforms) == 1:
                return [self._kernel(waveforms[0], self.workers)]
            return self.workers.map(self._kernel, waveforms)


def _rebuilt(
    model: ArrayModel | Pann, device: str, precision: Precision, batch_size: int | None, low_memory: bool
) -> Engine:
    return Engine(model, device=device, precision=precision, batch_size=batch_size, low_memory=low_memory)


def _sigmoid(logits: FloatArray) -> FloatArray:
    """Logits -> probabilities, in float32; below -80 exp would overflow."""
    found: FloatArray = np.negative(logits, dtype=np.float32)
    np.minimum(found, 80, out=found)
    np.exp(found, out=found)
    found += 1
    return np.reciprocal(found, out=found)


def _check_int8(model: ArrayModel | Pann, device: Device, *, low_memory: bool) -> None:
    if device.type != "cpu":
        raise ValueError(
            f"precision 'int8' is for the CPU; got device {device}, where 'bfloat16' and 'float16' are quick"
        )
    if low_memory:
        raise ValueError("precision is 'int8' and low_memory True; only the prepared form computes in 8 bits")
    if not model.int8_steps:
        architecture = model.structure.architecture if isinstance(model, ArrayModel) else model.architecture
        raise ValueError(
            f"precision 'int8' needs the ranges of a network's inputs, which this {architecture} lacks; "
            "`pannsx quantise` finds them for networks like MobileNetV1, and the bundled checkpoint has them"
        )


def _bfloat16_is_quicker() -> bool:
    from pannsx.inference.cpu import bfloat16  # with torch

    return bfloat16.is_quicker()

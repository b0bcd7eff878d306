"""Runs a PANN on equally long or ragged waveforms, on the CPU, CUDA or MPS.

On the CPU the log-mel comes from the compiled kernel, and the network runs in its prepared form
(:mod:`pannsx.inference.cpu`); on an accelerator the log-mel comes from the torch module, on the device.
Waveforms are never padded to a common length, which would change the results, as pooling and convolutions
see padding. They are processed together if the prepared form keeps them apart, else in groups of equal
length.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.batcher import Batcher
from pannsx.inference.cpu.network import PreparedNetwork
from pannsx.inference.cpu.workers import Workers
from pannsx.inference.device import DEFAULT_BATCH, choose_device, exact_float32, one_thread_after_fork
from pannsx.jit import is_enabled
from pannsx.models import Pann
from pannsx.types import FloatArray

Precision = Literal["float32", "bfloat16", "float16"]

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
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
        model: the network, in float32; it is moved to the device and set to evaluation mode.
        device: see :func:`choose_device`.
        precision: ``"float32"`` (exact: TF32 is off while it runs), or ``"bfloat16"`` or ``"float16"``
            for the convolutions; log-mel and head stay in float32. On the CPU, bfloat16 is used only for
            large products, and only if it is faster on this processor.
        batch_size: waveforms per pass; None: by device.
        low_memory: on the CPU, run the weights as loaded, without the extra copies in a faster layout.

    Raises:
        ValueError: unusable device, precision or batch size.
    """

    def __init__(
        self,
        model: Pann,
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
        if precision == "float16" and self.device.type == "cpu":
            raise ValueError(
                "precision 'float16' needs an accelerator; on the CPU use 'float32' or 'bfloat16'"
            )
        self.precision = precision
        self.batch_size = batch_size or DEFAULT_BATCH[self.device.type]
        self.low_memory = low_memory
        self._has_own_batch_size = batch_size is not None
        self.model = model.to(self.device).eval()
        if self.device.type == "cuda":
            # Tensor cores take channels last; four-dimensional weights are laid out so, all others stay.
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._workers = Workers()
        self._kernel: LogMelKernel | None = None
        self._prepared: PreparedNetwork | None = None
        if self.device.type == "cpu" and is_enabled():
            if model.frontend is not None:
                self._kernel = LogMelKernel(model.frontend)
            if not low_memory:
                allow_bfloat16 = precision == "bfloat16"
                self._prepared = PreparedNetwork(self.model, self._workers, allow_bfloat16=allow_bfloat16)
        one_thread_after_fork()

    def __reduce__(self) -> tuple[Any, ...]:
        # The prepared form is rebuilt on unpickling: it is larger than the model.
        batch_size = self.batch_size if self._has_own_batch_size else None
        return _rebuilt, (self.model, str(self.device), self.precision, batch_size, self.low_memory)

    def group_of(self, n_samples: int) -> int:
        """The group of a length; waveforms of one group can be processed together."""
        return 0 if self._prepared is not None and self._prepared.accepts_ragged else n_samples

    def is_full(self, lengths: Sequence[int]) -> bool:
        """Whether waveforms of these lengths, of one group, make a full batch."""
        if self._has_own_batch_size or min(lengths) == max(lengths) >= _BATCH_ITEM_S * self.model.sample_rate:
            return len(lengths) >= self.batch_size
        budget = self.batch_size * _BATCH_ITEM_S * self.model.sample_rate
        return len(lengths) >= _MOST_MIXED or sum(lengths) >= budget

    def run(self, waveforms: Sequence[FloatArray], wanted: Wanted = Wanted()) -> list[Answer]:  # noqa: B008
        """``(S_i,)`` waveforms at the model's rate -> an :class:`Answer` each, in their order."""
        batcher: Batcher[int] = Batcher(self, wanted)
        answers: dict[int, Answer] = {}
        for i, waveform in enumerate(waveforms):
            answers.update(batcher.push(i, waveform))
        answers.update(batcher.finish())
        return [answers[i] for i in range(len(waveforms))]

    def run_batch(self, waveforms: Sequence[FloatArray], wanted: Wanted) -> list[Answer]:
        """``(S_i,)`` waveforms of one group, all at once -> an :class:`Answer` each."""
        with torch.inference_mode(), exact_float32(self.device):
            padded = [self._padded(waveform) for waveform in waveforms]
            log_mels = self._log_mels(padded)
            if self._prepared is None:
                return self._head(self._features(padded, log_mels), wanted)
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

    def _features(self, waveforms: list[FloatArray], log_mels: list[FloatArray]) -> Tensor:
        """Waveforms ``(S,)`` of equal length -> ``(B, C, T')`` features, by the original model."""
        waveform = torch.from_numpy(np.stack(waveforms))
        if self.device.type == "cuda":
            waveform = waveform.pin_memory()  # from pinned memory the copy is asynchronous
        waveform = waveform.to(self.device, non_blocking=True)
        log_mel = torch.from_numpy(np.stack(log_mels)) if log_mels else None
        with self._reduced_precision():
            return self.model.forward_features(waveform, log_mel).float()

    def _head(self, features: Tensor, wanted: Wanted) -> list[Answer]:
        """``(B, C, T')`` features -> ``B`` answers."""
        framewise: FloatArray | None = None
        if wanted.framewise:
            logits, embeddings, frame_logits = self.model.head(features)
            framewise = _to_numpy(frame_logits.sigmoid())
        else:
            logits, embeddings = self.model.head.clip(features)
        clipwise, embedding = _to_numpy(logits.sigmoid()), _to_numpy(embeddings)
        logits_array = _to_numpy(logits)
        frames = _to_numpy(self.model.head.frame_embeddings(features)) if wanted.frame_embeddings else None
        return [
            Answer(
                clipwise[i],
                embedding[i],
                None if framewise is None else framewise[i],
                None if frames is None else frames[i],
                logits_array[i],
            )
            for i in range(len(features))
        ]

    def _padded(self, waveform: FloatArray) -> FloatArray:
        """``(S,)`` -> float32 of at least the model's shortest input, zeros at the end."""
        samples = np.ascontiguousarray(waveform, np.float32)
        missing = self.model.min_samples - len(samples)
        return np.pad(samples, (0, missing)) if missing > 0 else samples

    def _log_mels(self, waveforms: list[FloatArray]) -> list[FloatArray]:
        """Padded waveforms -> ``(T, F)`` each by the compiled kernel; empty if the model computes its own."""
        if self._kernel is None:
            return []
        if len(waveforms) == 1:
            return [self._kernel(waveforms[0], self._workers)]
        return self._workers.map(self._kernel, waveforms)

    def _reduced_precision(self) -> Any:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_REDUCED[self.precision])


def _rebuilt(
    model: Pann, device: str, precision: Precision, batch_size: int | None, low_memory: bool
) -> Engine:
    return Engine(model, device=device, precision=precision, batch_size=batch_size, low_memory=low_memory)


def _sigmoid(logits: FloatArray) -> FloatArray:
    """Logits -> probabilities; beyond +-80 the result is 0 or 1 in float32, and exp would overflow."""
    with_bounds: FloatArray = np.clip(logits, -80, 80)
    return np.asarray(1 / (1 + np.exp(-with_bounds)), np.float32)


def _to_numpy(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.float().cpu().numpy())

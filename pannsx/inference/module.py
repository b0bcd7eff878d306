"""Runs the torch module of a network as it is: on an accelerator, or with little memory on the CPU."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pannsx.inference.device import Device, exact_float32
from pannsx.inference.engine import Answer, Wanted
from pannsx.models.heads import at_level
from pannsx.models.pann import Pann
from pannsx.types import FloatArray

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class ModuleRunner:
    """Waveforms of one length -> answers.

    Args:
        model: the network, in float32; it is moved to the device and set to evaluation mode.
        device: the device.
        precision: of the convolutions; log-mel and head stay in float32.
    """

    def __init__(self, model: Pann, device: Device, precision: str) -> None:
        self._device = device
        self._precision = precision
        self._model = model.to(str(device)).eval()
        if device.type == "cuda":
            # Tensor cores take channels last; four-dimensional weights are laid out so, all others stay.
            self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(
        self, waveforms: list[FloatArray], log_mels: list[FloatArray], wanted: Wanted
    ) -> list[Answer]:
        """Padded waveforms ``(S,)``, and their ``(T, F)`` log-mels or none -> an answer each."""
        with torch.inference_mode(), exact_float32(self._device):
            return self._head(self._features(waveforms, log_mels), wanted)

    def at_level(
        self, waveforms: list[FloatArray], log_mels: list[FloatArray], level: str, *, clip: bool
    ) -> list[FloatArray]:
        """As called -> ``(T, n)`` frames of a level each, or ``(1, n)`` pooled as the network does."""
        with torch.inference_mode(), exact_float32(self._device):
            in_head = level in ("pooled", "fc1", "logits")
            features = self._features(waveforms, log_mels, "trunk" if in_head else level)
            if in_head:
                found = at_level(self._model.head, features, level if clip else f"frame_{level}")
                return list(_to_numpy(found[:, None] if clip else found))
            if features.ndim == 4:
                features = features.mean(dim=3)
            pooled = (features.amax(dim=2) + features.mean(dim=2))[:, None]
            return list(_to_numpy(pooled if clip else features.transpose(1, 2)))

    def _features(
        self, waveforms: list[FloatArray], log_mels: list[FloatArray], level: str = "trunk"
    ) -> Tensor:
        """Waveforms ``(S,)`` of equal length -> ``(B, C, T')`` features, or the map of a level."""
        waveform = torch.from_numpy(np.stack(waveforms))
        if self._device.type == "cuda":
            waveform = waveform.pin_memory()  # from pinned memory the copy is asynchronous
        waveform = waveform.to(str(self._device), non_blocking=True)
        log_mel = torch.from_numpy(np.stack(log_mels)) if log_mels else None
        with self._reduced_precision():
            return self._model.forward_features(waveform, log_mel, level=level).float()

    def _head(self, features: Tensor, wanted: Wanted) -> list[Answer]:
        """``(B, C, T')`` features -> ``B`` answers."""
        head = self._model.head
        framewise: FloatArray | None = None
        if wanted.framewise:
            logits, embeddings, frame_logits = head(features)
            framewise = _to_numpy(frame_logits.sigmoid())
        else:
            logits, embeddings = head.clip(features)
        clipwise, embedding = _to_numpy(logits.sigmoid()), _to_numpy(embeddings)
        logits_array = _to_numpy(logits)
        frames = _to_numpy(head.frame_embeddings(features)) if wanted.frame_embeddings else None
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

    def _reduced_precision(self) -> Any:
        if self._precision not in _REDUCED:  # products in 8 bits are the prepared form's
            return nullcontext()
        return torch.autocast(self._device.type, dtype=_REDUCED[self._precision])


def _to_numpy(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.float().cpu().numpy())

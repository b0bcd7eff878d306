"""What X-ARES asks of torchaudio, where torchaudio's own build does not load beside this torch."""

from __future__ import annotations

import io
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import soundfile
import torch

from pannsx.audio.resample import resample


def torchaudio_or_stand_in() -> None:
    """Import torchaudio, or put a module with ``load`` and ``functional.resample`` in its place."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        module, functional = ModuleType("torchaudio"), ModuleType("torchaudio.functional")
        module.__spec__ = ModuleSpec("torchaudio", None)
        module.load = _load  # type: ignore[attr-defined]
        functional.resample = _resample  # type: ignore[attr-defined]
        module.functional = functional  # type: ignore[attr-defined]
        sys.modules.update({"torchaudio": module, "torchaudio.functional": functional})


def _load(file: Any, *args: Any, **options: Any) -> tuple[torch.Tensor, int]:
    data = file.read() if hasattr(file, "read") else open(file, "rb").read()  # noqa: PTH123, SIM115
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy()), rate


def _resample(waveform: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    return torch.stack([torch.from_numpy(resample(each, from_rate, to_rate)) for each in waveform.numpy()])

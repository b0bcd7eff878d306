"""torchaudio where its own build does not load beside this torch: without its compiled part, or replaced."""

from __future__ import annotations

import io
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import soundfile
import torch

from pannsx.audio.resample import resample


@cache
def torchaudio_without_extension() -> Any:
    """torchaudio, where necessary without its compiled part, which neither loading nor resampling uses.

    The wheels for Linux are built for CUDA, and this part does not load beside a torch for the CPU.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import torchaudio
    except OSError:
        extension: Any = ModuleType("torchaudio._extension")
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
        extension.fail_if_no_align = lambda function: function
        sys.modules["torchaudio._extension"] = extension
        import torchaudio
    return torchaudio


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

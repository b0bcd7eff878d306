"""The device of a network, and exact float32 on it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DEFAULT_BATCH = {"cpu": 4, "cuda": 32, "mps": 16}  # windows in one pass, by kind of device


@dataclass(frozen=True, slots=True)
class Device:
    """A device as torch names it, ``"cpu"`` or ``"cuda:1"``, known without torch."""

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


def choose_device(device: str | torch.device | Device) -> Device:
    """The device for a name; ``"auto"``: CUDA if available, else the CPU. Torch is asked only if necessary.

    Raises:
        ValueError: an unknown device, or one missing on this machine.
    """
    name = str(device)
    if name == "cpu" or (name == "auto" and not _may_have_cuda()):
        return Device("cpu")
    import torch

    if name == "auto":
        return Device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
        ) from error
    if chosen.type not in DEFAULT_BATCH:
        raise ValueError(f"device {device!r} is not supported; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(chosen)!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA device(s); use device='auto' or 'cpu', or install a CUDA build"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, but this machine has none; use device='auto' or 'cpu'")
    return Device(chosen.type, chosen.index)


def _may_have_cuda() -> bool:
    """Whether torch might find a CUDA device: False only where it cannot, without its driver or its code."""
    if "torch" in sys.modules:
        return True  # it costs nothing to ask
    return _has_driver() and _is_gpu_build()


def _has_driver() -> bool:
    """Whether the system has a driver for CUDA, or for ROCm, which torch also calls so."""
    if sys.platform == "darwin" or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _is_gpu_build() -> bool:
    """Whether the installed torch was built for a GPU, as its file of versions says; True if it does not."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return True
    try:
        text = Path(spec.submodule_search_locations[0], "version.py").read_text("utf-8")
    except OSError:
        return True
    built_for = dict(re.findall(r"^(cuda|hip)\b[^=\n]*=\s*(\S+)", text, re.MULTILINE))
    return not built_for or any(value != "None" for value in built_for.values())


_exact_lock = threading.Lock()
_exact_depth = 0
_exact_before = (False, False)


@contextmanager
def exact_float32(device: Device) -> Iterator[None]:
    """Exact float32: TF32 is off on CUDA inside, and restored after the last thread leaves."""
    global _exact_depth, _exact_before
    if device.type != "cuda":
        yield
        return
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with _exact_lock:
        if _exact_depth == 0:
            _exact_before = (matmul.allow_tf32, cudnn.allow_tf32)
            matmul.allow_tf32 = cudnn.allow_tf32 = False
        _exact_depth += 1
    try:
        yield
    finally:
        with _exact_lock:
            _exact_depth -= 1
            if _exact_depth == 0:
                matmul.allow_tf32, cudnn.allow_tf32 = _exact_before

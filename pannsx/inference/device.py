"""The device of a network, exact float32 on it, and workers that survive a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

DEFAULT_BATCH = {"cpu": 4, "cuda": 32, "mps": 16}  # windows in one pass, by kind of device


def choose_device(device: str | torch.device) -> torch.device:
    """The device for a name; ``"auto"``: CUDA if available, else the CPU.

    Raises:
        ValueError: an unknown device, or one missing on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
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
    return chosen


_exact_lock = threading.Lock()
_exact_depth = 0
_exact_before = (False, False)


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Exact float32: TF32 is off on CUDA inside, and restored after the last thread leaves."""
    global _exact_depth, _exact_before
    if device.type != "cuda":
        yield
        return
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


_fork_handled = False


def one_thread_after_fork() -> None:
    """Limit forked workers to one thread: OpenMP's pool does not survive a fork and would hang."""
    global _fork_handled
    if not _fork_handled and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    _fork_handled = True

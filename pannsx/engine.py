"""Runs a PANN on equally long or ragged waveforms, on the CPU, CUDA or MPS.

On the CPU the log-mel comes from the compiled kernel; on an accelerator from the torch module, on
the device.  Waveforms are grouped by length and never padded to one another, so every answer is the
one the waveform gets alone (padding would change it: the pooling and every convolution see it).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.models import Pann

FloatArray = npt.NDArray[np.float32]
Precision = Literal["float32", "bfloat16", "float16"]

_REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_DEFAULT_BATCH = {"cpu": 4, "cuda": 32, "mps": 16}


class Answer(NamedTuple):
    """What the network says of one waveform."""

    clipwise: FloatArray  # (K,) probabilities
    embedding: FloatArray  # (D,)
    framewise: FloatArray | None  # (T', K) probabilities
    frame_embeddings: FloatArray | None  # (T', D)


class Wanted(NamedTuple):
    """Which of the large per-frame answers to compute."""

    framewise: bool = True
    frame_embeddings: bool = False


def choose_device(device: str | torch.device) -> torch.device:
    """``"auto"`` is CUDA where there is one, else the CPU; anything else is taken at its word.

    Raises:
        ValueError: the device is not known, or not present on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
        ) from error
    if chosen.type not in _DEFAULT_BATCH:
        raise ValueError(f"device {device!r} is not supported; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(chosen)!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA device(s); use device='auto' or 'cpu', or install a CUDA build"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, but this machine has none; use device='auto' or 'cpu'")
    return chosen


class Engine:
    """A model made ready on a device.

    Args:
        model: the network, in float32; it is moved to the device and put into evaluation mode.
        device: see :func:`choose_device`.
        precision: ``"float32"`` (exact: TF32 is off while it runs), or ``"bfloat16"`` or ``"float16"``
            for the convolutions; log-mel and head stay in float32.
        batch_size: waveforms in one pass; ``None`` chooses by device.

    Raises:
        ValueError: device, precision or batch size cannot be used.
    """

    def __init__(
        self,
        model: Pann,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
        batch_size: int | None = None,
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
        self.batch_size = batch_size or _DEFAULT_BATCH[self.device.type]
        self.model = model.to(self.device).eval()
        on_cpu = self.device.type == "cpu"
        self._kernel = LogMelKernel(model.frontend) if on_cpu and model.frontend is not None else None
        _one_thread_after_fork()

    def run(self, waveforms: Sequence[FloatArray], wanted: Wanted = Wanted()) -> list[Answer]:  # noqa: B008
        """``(S_i,)`` waveforms at the model's rate -> an :class:`Answer` each, in their order."""
        answers: list[Answer | None] = [None] * len(waveforms)
        by_length: dict[int, list[int]] = {}
        for i, waveform in enumerate(waveforms):
            by_length.setdefault(len(waveform), []).append(i)
        for indices in by_length.values():
            for begin in range(0, len(indices), self.batch_size):
                chosen = indices[begin : begin + self.batch_size]
                batch = np.stack([waveforms[i] for i in chosen]).astype(np.float32, copy=False)
                for i, answer in zip(chosen, self._run_batch(batch, wanted), strict=True):
                    answers[i] = answer
        return [answer for answer in answers if answer is not None]

    def _run_batch(self, batch: FloatArray, wanted: Wanted) -> list[Answer]:
        """``(B, S)`` waveforms -> ``B`` answers."""
        with torch.inference_mode(), _exact_float32(self.device):
            waveform = self.model.pad(torch.from_numpy(batch).to(self.device))
            log_mel = self._log_mel(waveform)
            with self._reduced_precision():
                features = self.model.forward_features(waveform, log_mel)
            output = self.model.head(features.float())
            clipwise = _to_numpy(output.logits.sigmoid())
            embedding = _to_numpy(output.embedding)
            framewise = _to_numpy(output.frame_logits.sigmoid()) if wanted.framewise else None
            frames = None
            if wanted.frame_embeddings:
                frames = _to_numpy(self.model.head.frame_embeddings(features.float()))
        return [
            Answer(
                clipwise[i],
                embedding[i],
                None if framewise is None else framewise[i],
                None if frames is None else frames[i],
            )
            for i in range(len(batch))
        ]

    def _log_mel(self, waveform: Tensor) -> Tensor | None:
        """``(B, S)`` padded waveform -> ``(B, T, F)`` by the compiled kernel; None leaves it to the model."""
        if self._kernel is None:
            return None
        return torch.from_numpy(np.stack([self._kernel(row) for row in waveform.numpy()]))

    def _reduced_precision(self) -> Any:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_REDUCED[self.precision])


def _to_numpy(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.float().cpu().numpy())


_exact_lock = threading.Lock()
_exact_depth = 0
_exact_before = (False, False)


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """float32 means float32: TF32 is off on CUDA inside, and as it was after the last thread leaves."""
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


def _one_thread_after_fork() -> None:
    """Let forked workers compute on one thread: OpenMP's pool does not survive a fork and would hang."""
    global _fork_handled
    if not _fork_handled and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    _fork_handled = True

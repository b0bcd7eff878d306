"""Programs of torch.export: written, and run."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pannsx.export.differences import Answers, Runner
from pannsx.models.pann import Pann
from pannsx.types import FloatArray

FORMAT = "torch.export"


class _Program(nn.Module):
    """The network from its input to the three outputs."""

    def __init__(self, model: Pann, *, float16: bool) -> None:
        super().__init__()
        self.stem, self.trunk, self.head = model.stem, model.trunk, model.head
        self.dtype = torch.float16 if float16 else torch.float32
        self.trunk.to(self.dtype)
        self.head.to(self.dtype)

    def answers(self, representations: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        features = self.trunk(*(each.to(self.dtype) for each in representations))
        logits, embedding, frame_logits = self.head(features)
        return logits.float().sigmoid(), embedding.float(), frame_logits.float().sigmoid()


class _OnWaveform(_Program):
    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(B, S)`` samples."""
        return self.answers(self.stem(waveform))


class _OnLogMel(_Program):
    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(B, T, F)`` decibels."""
        return self.answers(self.stem(log_mel, log_mel))


def write_torch(
    model: Pann, path: Path, *, from_log_mel: bool, n_samples: int | None, float16: bool = False
) -> None:
    """Write the network as a program of ``torch.export``, for ``torch.export.load``.

    Args:
        model: in float32, on the CPU; it is not changed.
        path: the file to write.
        from_log_mel: its input is ``log_mel (B, T, F)`` in dB instead of ``waveform (B, S)``.
        n_samples: length of the waveform; None: any from ``model.min_samples`` on.
        float16: trunk and head in float16; input, stem and outputs stay float32.
    """
    program = (_OnLogMel if from_log_mel else _OnWaveform)(copy.deepcopy(model), float16=float16)
    length, shortest = n_samples or 3 * model.sample_rate, model.min_samples
    example = torch.zeros(2, length)
    if from_log_mel and model.frontend is not None:
        shortest = model.frontend.n_frames(shortest)
        example = torch.zeros(2, model.frontend.n_frames(length), model.frontend.n_mels)
    axes: dict[int, Any] = {0: torch.export.Dim.DYNAMIC}
    if n_samples is None:
        axes[1] = torch.export.Dim.DYNAMIC(min=max(shortest, 2))
    with torch.no_grad(), _free_length():
        exported = torch.export.export(program.eval(), (example,), dynamic_shapes=(axes,))
    with path.open("wb") as file:
        torch.export.save(exported, file)


@contextmanager
def _free_length() -> Iterator[None]:
    """While a program is traced: without the two places where torch fixes the lengths and the batch."""
    had_onednn, max_pool1d = torch._C._get_mkldnn_enabled(), functional.max_pool1d
    torch._C._set_mkldnn_enabled(False)  # it is asked whether it would convolve this very size
    solver = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = solver.level
    solver.setLevel(
        logging.CRITICAL
    )  # lengths divided again and again are beyond it, and it says so at length
    functional.max_pool1d = _max_pool1d  # type: ignore[assignment]
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(had_onednn)
        functional.max_pool1d = max_pool1d
        solver.setLevel(level)


def _max_pool1d(
    x: Tensor, kernel_size: int, stride: int | None = None, padding: int = 0, *_: object, **__: object
) -> Tensor:
    """``max_pool1d`` as pooling in two dimensions, which takes lengths of any kind."""
    pooled = functional.max_pool2d(x.unsqueeze(2), (1, kernel_size), (1, stride or kernel_size), (0, padding))
    return pooled.squeeze(2)


def torch_runner(path: Path) -> Runner:
    """Runs the file in torch on the CPU."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(value: FloatArray) -> Answers:
        with torch.inference_mode():
            return tuple(each.numpy() for each in module(torch.from_numpy(value)))

    return run


def torch_version() -> str:
    """Name and version of torch."""
    return f"torch {torch.__version__}"

"""A teacher as an ONNX file, run by onnxruntime: ``pip install "pannsx[onnx-teacher]"``.

Its input is a float32 waveform ``(B, S)``. Its outputs are found by their names: ``logits`` ``(B, K)``, or
``probabilities`` or ``clipwise_output``, which are turned into logits; and, if it has them, ``embedding`` or
``embeddings`` ``(B, D)``. The sample rate is in the file's metadata as ``sample_rate``, or given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pannsx.types import FloatArray

_LOGITS = ("logits",)
_PROBABILITIES = ("probabilities", "clipwise_output")
_EMBEDDINGS = ("embedding", "embeddings")
_LEAST_PROBABILITY = 1e-7  # float32 has no other numbers this near to 1


class OnnxNetwork:
    """Waveform ``(B, S)`` -> logits and embeddings by an ONNX file.

    Args:
        path: the file.
        sample_rate: rate of its input, in Hz; None: as in its metadata.
        device: ``cpu`` or ``cuda``.

    Attributes:
        sample_rate: rate of its input, in Hz.
        has_embeddings: whether it computes embeddings.

    Raises:
        ValueError: onnxruntime is not installed, or the file is not such a network.
    """

    def __init__(self, path: str | Path, sample_rate: int | None = None, device: str = "cpu") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f'{path}: ONNX needs onnxruntime; pip install "pannsx[onnx-teacher]"') from error
        self._path = path
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), providers=_providers(onnxruntime.get_available_providers(), device)
            )
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(f"cannot open {path} as an ONNX network: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 2 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs)
            raise ValueError(f"{path} has the inputs {found}; one float32 waveform (B, S) is needed")
        self._input, self._n_clips = inputs[0].name, inputs[0].shape[0]
        names = [output.name for output in self._session.get_outputs()]
        self._embeddings = next((name for name in _EMBEDDINGS if name in names), None)
        self._logits = next((name for name in (*_LOGITS, *_PROBABILITIES) if name in names), None)
        if self._logits is None:
            raise ValueError(
                f"{path} has the outputs {', '.join(names)}; one of "
                f"{', '.join((*_LOGITS, *_PROBABILITIES))} is needed"
            )
        said = self._session.get_modelmeta().custom_metadata_map.get("sample_rate", "")
        rate = sample_rate if sample_rate is not None else int(said) if said.isdigit() else 0
        if rate < 1:
            raise ValueError(f"{path} does not say the sample rate of its input; give it: --sample-rate")
        self.sample_rate = rate

    @property
    def has_embeddings(self) -> bool:
        """Whether it computes embeddings."""
        return self._embeddings is not None

    def logits(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` -> ``(B, K)`` logits."""
        return self._run(waveform, [str(self._logits)])[0]

    def both(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, S)`` -> ``(B, K)`` logits and ``(B, D)`` embeddings."""
        logits, embeddings = self._run(waveform, [str(self._logits), str(self._embeddings)])
        return logits, embeddings

    def _run(self, waveform: Tensor, names: list[str]) -> list[Tensor]:
        clips = waveform.float().cpu().numpy()
        size = self._n_clips if isinstance(self._n_clips, int) else max(1, len(clips))
        pieces = []
        for begin in range(0, len(clips), size):
            piece = clips[begin : begin + size]
            padded = np.pad(piece, ((0, size - len(piece)), (0, 0)))  # to the file's fixed number of clips
            try:
                outputs = self._session.run(names, {self._input: padded})
            except Exception as error:  # onnxruntime's errors have no common class
                raise ValueError(f"{self._path} cannot be run on clips {padded.shape}: {error}") from error
            pieces.append([output[: len(piece)] for output in outputs])
        joined = [np.concatenate(parts).astype(np.float32) for parts in zip(*pieces, strict=True)]
        if names[0] in _PROBABILITIES:
            joined[0] = _logits_of(joined[0])
        for name, values in zip(names, joined, strict=True):
            if values.ndim != 2 or len(values) != len(clips):
                raise ValueError(
                    f"{self._path}: output {name} is {values.shape}; ({len(clips)}, n) is needed"
                )
        return [torch.from_numpy(values) for values in joined]


def _logits_of(probabilities: FloatArray) -> FloatArray:
    p = np.clip(probabilities.astype(np.float64), _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    logits: FloatArray = np.log(p / (1.0 - p)).astype(np.float32)
    return logits


def _providers(available: list[str], device: str) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise ValueError("this onnxruntime has no CUDA; give --device cpu, or install onnxruntime-gpu")
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]

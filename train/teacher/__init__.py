"""A teacher for distillation: EfficientAT's MobileNetV3, AudioSet's 527 classes.

Source: Schmid, Koutini, Widmer, "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation", ICASSP 2023 (arXiv:2211.04772). The code here is the project's own; the weights are
published under the MIT licence and are fetched by URL or read from a file, checked by size and digest.
"""

from pathlib import Path

import torch
from torch import nn

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights.digests import check_file_once
from pannsx.weights.download import download
from pannsx.weights.local import cache_home
from train.teacher.frontend import MIN_SAMPLES, SAMPLE_RATE, LogMel
from train.teacher.network import MobileNetV3
from train.teacher.record import MN04_AS, TeacherRecord

__all__ = ["MN04_AS", "SAMPLE_RATE", "Teacher", "TeacherRecord", "fetch_teacher", "load_teacher"]

CPU_CLIPS = 8
"""Batch size on a CPU: larger batches exceed its cache (clips of 5 s: half as fast with 32)."""


class Teacher(nn.Module):
    """Waveform ``(B, S)`` -> logits ``(B, 527)``, for inference only. Made by `load_teacher`.

    Attributes:
        record: record of the checkpoint.
        sample_rate: rate of its input, in Hz.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, record: TeacherRecord, network: MobileNetV3) -> None:
        super().__init__()
        self.record = record
        self.log_mel = LogMel()
        self.network = network
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform ``(B, S)`` at 32 kHz, float32, at least 514 samples -> logits ``(B, 527)``.

        Raises:
            ValueError: another shape or type, or too short.
        """
        if waveform.ndim != 2 or waveform.dtype != torch.float32 or waveform.shape[1] < MIN_SAMPLES:
            raise ValueError(
                f"waveform (B, S) of float32 with at least {MIN_SAMPLES} samples is needed, "
                f"got {tuple(waveform.shape)} of {waveform.dtype}"
            )
        n_clips = CPU_CLIPS if waveform.device.type == "cpu" else max(1, len(waveform))
        logits = [self._logits(clips) for clips in torch.split(waveform, n_clips)]
        return torch.cat(logits)

    def _logits(self, waveform: torch.Tensor) -> torch.Tensor:
        log_mel = self.log_mel(waveform).contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = self.network(log_mel)
        return logits


def fetch_teacher(
    record: TeacherRecord = MN04_AS, folder: PathLike | None = None, *, progress: bool = True
) -> Path:
    """The file of the weights, downloaded unless it is in the folder.

    Args:
        record: record of the checkpoint.
        folder: folder for the file; None: the cache of pannsx.
        progress: show a progress bar on a terminal.

    Raises:
        WeightsError: the download fails, or its size or digest differs.
    """
    path = (cache_home() if folder is None else Path(folder)) / record.filename
    download(record.url, path, size_bytes=record.size_bytes, digest=record.digest, progress=progress)
    return path


def load_teacher(path: PathLike | None = None, record: TeacherRecord = MN04_AS) -> Teacher:
    """The teacher with its published weights, in evaluation mode, on the CPU.

    The batch norms are folded into the convolutions: the logits agree with the published code's within
    1e-3 (measured: 2e-5).

    Args:
        path: the published file; None: fetched by URL, once.
        record: record of the checkpoint.

    Raises:
        WeightsError: the file is missing, of another size or digest, or not these weights.
    """
    path = fetch_teacher(record) if path is None else Path(path)
    check_file_once(path, size_bytes=record.size_bytes, digest=record.digest)
    network = load_network(path, record)
    network.fold_batch_norms()
    return Teacher(record, network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def load_network(path: Path, record: TeacherRecord) -> MobileNetV3:
    """The network alone with the weights of a file, strictly, its batch norms as published."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises errors of many types
        raise WeightsError(f"cannot read the weights {path}: {error}") from error
    network = MobileNetV3(record.width, record.n_classes)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"{path} does not fit MobileNetV3 of width {record.width}: {error}") from error
    return network.float().eval()

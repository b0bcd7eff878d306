"""The log-mel of the teacher: pre-emphasis, Kaldi's mel bands, natural logarithm.

It stands beside `pannsx.frontend`, the PANNs' own log-mel, and shares nothing with it but the hop.
"""

import torch
from torch import nn

SAMPLE_RATE = 32000
PRE_EMPHASIS = 0.97
N_FFT = 1024
WINDOW_SAMPLES = 800
HOP_SAMPLES = 320
N_BANDS = 128
MAX_HZ = 15000.0
LOG_OFFSET = 1e-5
SHIFT, SCALE = 4.5, 5.0

MIN_SAMPLES = N_FFT // 2 + 2
"""Shortest waveform: its pre-emphasis is one sample shorter and is reflected by half a frame."""


def kaldi_mel(hz: torch.Tensor) -> torch.Tensor:
    """Kaldi's mel of frequencies in Hz, of any shape."""
    return 1127.0 * torch.log1p(hz / 700.0)


def mel_filters() -> torch.Tensor:
    """Triangles (bins, bands), float64, that are straight in mel and not normalised by area."""
    bins = kaldi_mel(torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / N_FFT)
    step = kaldi_mel(torch.tensor(MAX_HZ, dtype=torch.float64)) / (N_BANDS + 1)
    centres = step * torch.arange(1, N_BANDS + 1)
    return (1.0 - (bins[:, None] - centres).abs() / step).clamp_min(0.0)


class LogMel(nn.Module):
    """Waveform to the teacher's input."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", mel_filters().float(), persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Of waveform (B, S) at 32 kHz, log_mel (B, 1, 128 bands, frames), frames = 1 + (S - 1) // 320."""
        emphasised = waveform[:, 1:] - PRE_EMPHASIS * waveform[:, :-1]
        half = N_FFT // 2
        padded = nn.functional.pad(emphasised[:, None], (half, half), mode="reflect")[:, 0]
        # The window stands in the middle of its frame. Power does not depend on where a frame begins, so
        # that the samples under the window alone are transformed, with zeros after them.
        margin = (N_FFT - WINDOW_SAMPLES) // 2
        frames = padded[:, margin : padded.shape[1] - margin].unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
        spectrum = torch.fft.rfft(frames * self.window, n=N_FFT)
        power = torch.view_as_real(spectrum).square().sum(-1)
        mel = power @ self.filters
        return ((mel + LOG_OFFSET).log().transpose(1, 2)[:, None] + SHIFT) / SCALE

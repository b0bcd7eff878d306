"""The log-mel of the teacher: pre-emphasis, Kaldi's mel bands, natural logarithm.

It is independent of `pannsx.frontend`, the PANNs' own log-mel; only the hop is the same.
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
    """Frequencies in Hz, of any shape -> Kaldi's mel."""
    return 1127.0 * torch.log1p(hz / 700.0)


def mel_filters() -> torch.Tensor:
    """Triangles ``(bins, bands)``, float64, linear in mel and not normalised by area."""
    bins = kaldi_mel(torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / N_FFT)
    step = kaldi_mel(torch.tensor(MAX_HZ, dtype=torch.float64)) / (N_BANDS + 1)
    centres = step * torch.arange(1, N_BANDS + 1)
    return (1.0 - (bins[:, None] - centres).abs() / step).clamp_min(0.0)


class LogMel(nn.Module):
    """Waveform ``(B, S)`` -> the teacher's input ``(B, 1, 128, T)``."""

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", mel_filters().float(), persistent=False)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform ``(B, S)`` at 32 kHz -> log_mel ``(B, 1, 128 bands, T)``, ``T = 1 + (S - 1) // 320``."""
        emphasised = waveform[:, 1:] - PRE_EMPHASIS * waveform[:, :-1]
        half = N_FFT // 2
        padded = nn.functional.pad(emphasised[:, None], (half, half), mode="reflect")[:, 0]
        # The window is centred in its frame. Power is independent of a frame's beginning, so only the
        # samples under the window are transformed, followed by zeros.
        margin = (N_FFT - WINDOW_SAMPLES) // 2
        frames = padded[:, margin : padded.shape[1] - margin].unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)
        spectrum = torch.fft.rfft(frames * self.window, n=N_FFT)
        power = torch.view_as_real(spectrum).square().sum(-1)
        mel = power @ self.filters
        return ((mel + LOG_OFFSET).log().transpose(1, 2)[:, None] + SHIFT) / SCALE

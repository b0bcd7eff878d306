"""The log-mel front end as a torch module: for training, CUDA and export."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pannsx.frontend.definition import FLOOR, hann_window, mel_filters, reflected_indices
from pannsx.frontend.settings import FrontEnd


class LogMel(nn.Module):
    """``(B, S)`` waveform -> ``(B, T, F)`` log-mel in dB, ``T = S // hop_length + 1``.

    Window and filters are derived from the settings, so they are not part of the state dict.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, frontend: FrontEnd) -> None:
        super().__init__()
        self.frontend = frontend
        # Explicitly on the CPU: they keep their values when a model is built on the meta device.
        window = torch.tensor(hann_window(frontend.n_fft), dtype=torch.float32, device="cpu")
        filters = torch.tensor(mel_filters(frontend), dtype=torch.float32, device="cpu")
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` waveform -> ``(B, T, F)`` log-mel in dB; at least one sample is needed.

        Computed in float32 even under autocast: rounding decibels to bfloat16 gives errors of some tenths.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            return self._decibels(waveform.float())

    def _decibels(self, waveform: Tensor) -> Tensor:
        # A complex transform of the real signal: in float32, MKL's real transform is four times less
        # accurate in bands near the Nyquist frequency (2.7e-4 against 6e-5 dB on the golden input).
        spectrum = torch.stft(
            self._reflected(waveform).to(torch.complex64),
            self.frontend.n_fft,
            self.frontend.hop_length,
            window=self.window,
            center=False,
            onesided=False,
            return_complex=True,
        )
        one_sided = spectrum[:, : self.frontend.n_fft // 2 + 1]
        power = one_sided.real.square() + one_sided.imag.square()
        mel = power.transpose(1, 2) @ self.filters
        return 10.0 * torch.log10(mel.clamp_min(FLOOR))

    def _reflected(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` -> ``(B, S + n_fft)``, reflected at both ends."""
        pad = self.frontend.n_fft // 2
        if waveform.shape[-1] > pad:
            return functional.pad(waveform[:, None], (pad, pad), mode="reflect")[:, 0]
        indices = torch.from_numpy(reflected_indices(waveform.shape[-1], pad))
        return waveform[:, indices.to(waveform.device)]

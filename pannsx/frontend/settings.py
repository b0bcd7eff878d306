"""Front-end settings: the parameters of the log-mel.

Settings belong to a checkpoint and are stored in ``weights_manifest.json``.  The dataclass has no
defaults, so that code cannot use settings other than a checkpoint's own.

Letters of array shapes, throughout the package:
``B`` batch, ``S`` samples, ``T`` log-mel frames, ``T'`` trunk frames, ``F`` mel bands, ``C`` channels,
``D`` embedding, ``K`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_N_FFT = 64
MAX_N_FFT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """Settings of one log-mel front end (paper, section III-A).

    Attributes:
        sample_rate: sample rate of the checkpoint's training data, in Hz.
        n_fft: window and transform length in samples, a power of two from 64 to 4096.
        hop_length: samples between the centres of neighbouring frames.
        n_mels: number of mel bands ``F``.
        fmin: lower edge of the lowest band, in Hz.
        fmax: upper edge of the highest band, in Hz; at most half the sample rate.
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    fmin: float
    fmax: float

    def __post_init__(self) -> None:
        if not MIN_N_FFT <= self.n_fft <= MAX_N_FFT or self.n_fft & (self.n_fft - 1):
            raise ValueError(
                f"n_fft is {self.n_fft}; it must be a power of two from {MIN_N_FFT} to {MAX_N_FFT}"
            )
        for field in ("sample_rate", "hop_length", "n_mels"):
            value = getattr(self, field)
            if value < 1:
                raise ValueError(f"{field} is {value}; it must be at least 1")
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin is {self.fmin} Hz and fmax {self.fmax} Hz; "
                f"0 <= fmin < fmax <= {self.sample_rate / 2} Hz (half the sample rate) is needed"
            )

    def n_frames(self, n_samples: int) -> int:
        """Number of log-mel frames of ``n_samples`` samples: ``T = S // hop_length + 1``."""
        return n_samples // self.hop_length + 1

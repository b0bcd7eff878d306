"""X-ARES (Zhang et al. 2025, arXiv:2505.16369): ``python -m xares.run pannsx/integrations/xares.py TASK.py``.

X-ARES takes the one class of this file whose name ends in ``Encoder``, and opens it without arguments. The
environment variable ``PANNSX_XARES_MODEL`` names the checkpoint; unset, it is the bundled one.

X-ARES pads the clips of a batch to the longest and does not tell their lengths. So its scores of clips of
different lengths depend on its batches, for any encoder; those of equal lengths, such as ESC-50's, do not.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from pannsx.features import FeatureExtractor
from pannsx.integrations.dense_frames import dense_frames, n_passes


class PannsxEncoder(nn.Module):
    """``(B, S)`` waveforms at ``sampling_rate`` -> ``(B, T, D)`` frame embeddings.

    Args:
        model: a model as for :class:`pannsx.AudioTagger`: a name, a file of weights with its record beside
            it, or ``owner/name`` on the Hub; None: that of ``PANNSX_XARES_MODEL``, or else the bundled one.
        hop_s: maximum distance of frames in seconds; None: the network's own. A task of events needs it
            shorter, such as 0.04.

    Attributes:
        sampling_rate: in Hz.
        output_dim: ``D``.
        hop_size_in_ms: distance of frames.

    Raises:
        ValueError, WeightsError: as :class:`pannsx.FeatureExtractor`.
    """

    def __init__(self, model: str | None = None, hop_s: float | None = None) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(model or os.environ.get("PANNSX_XARES_MODEL") or None)
        self.hop_s = self.extractor.hop_s if hop_s is None else hop_s
        self.sampling_rate = self.extractor.sample_rate
        self.output_dim = self.extractor.embedding_size
        self.hop_size_in_ms = 1000.0 * self.extractor.hop_s / n_passes(self.extractor, self.hop_s)

    def forward(self, audio: Tensor) -> Tensor:
        """``(B, S)`` or ``(S,)`` -> ``(B, T, D)`` float32 on the same device.

        Raises:
            AudioError: the audio is empty or not finite.
            ValueError: another shape.
        """
        if audio.ndim not in (1, 2):
            raise ValueError(f"audio has shape {tuple(audio.shape)}; (B, S) is needed")
        waveforms = audio.reshape(-1, audio.shape[-1]).detach().cpu().float().numpy()
        return torch.from_numpy(dense_frames(self.extractor, waveforms, self.hop_s)[0]).to(audio.device)

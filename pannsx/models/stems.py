"""Stems: from samples to the trunk's input.

A stem maps a ``(B, S)`` waveform to a tuple of representations. In training, mixup and SpecAugment act on
them: after ``bn0``, before the trunk's first block. ``paths`` are the layers from samples to each
representation; the first path defines the times of the frames.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.models.blocks import ConvBlock, conv1d
from pannsx.models.raw_settings import WavegramSettings
from pannsx.models.timing import TimeLayer, centred_stft, pooling, same


class RawStem(nn.Module):
    """``(B, S)`` waveform -> ``((B, 1, S),)``, for trunks on raw samples."""

    paths: tuple[tuple[TimeLayer, ...], ...] = ((),)

    def forward(self, waveform: Tensor, log_mel: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(B, S)`` waveform -> ``((B, 1, S),)``: add the channel axis."""
        _refuse_log_mel(log_mel)
        return (waveform[:, None],)


class LogMelStem(nn.Module):
    """``(B, S)`` waveform -> ``((B, 1, T, F),)`` log-mel, each band normalised by ``bn0``."""

    def __init__(self, frontend: FrontEnd) -> None:
        super().__init__()
        self.log_mel = LogMel(frontend)
        self.bn0 = nn.BatchNorm2d(frontend.n_mels)
        self.paths: tuple[tuple[TimeLayer, ...], ...] = (
            (centred_stft(frontend.hop_length, frontend.n_fft),),
        )

    def forward(self, waveform: Tensor, log_mel: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(B, S)`` waveform -> ``((B, 1, T, F),)``, or from ``log_mel`` ``(B, T, F)`` in dB if given."""
        decibels = self.log_mel(waveform) if log_mel is None else log_mel
        # bn0 is a BatchNorm2d with the mel bands as channels: (B, F, T, 1).
        bands_first = self.bn0(decibels.transpose(1, 2)[..., None])
        return (bands_first.permute(0, 3, 2, 1),)


class _WaveBlock(nn.Module):
    """``(B, C, S) -> (B, C', S // pool)``: two convolutions of three taps, the second dilated by two."""

    def __init__(self, in_channels: int, out_channels: int, pool: int) -> None:
        super().__init__()
        self.conv1 = conv1d(in_channels, out_channels, 3)
        self.bn1 = nn.BatchNorm1d(out_channels)
        self.conv2 = conv1d(out_channels, out_channels, 3, dilation=2)
        self.bn2 = nn.BatchNorm1d(out_channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return functional.max_pool1d(x, self.pool)


class WavegramStem(nn.Module):
    """``(B, S)`` waveform -> ``((B, 64, T, n_bands),)``: a learnt spectrogram (paper, section III-C).

    The channels of a one-dimensional network are regrouped into ``n_bands`` "frequencies" of four
    channels each, 640 samples a frame: the hop of a log-mel after its first pooling.
    """

    def __init__(self, settings: WavegramSettings) -> None:
        super().__init__()
        self.settings = settings
        first = settings.widths[0]
        self.pre_conv0 = conv1d(1, first, settings.taps, stride=settings.stride)
        self.pre_bn0 = nn.BatchNorm1d(first)
        for block in settings.blocks:
            self.add_module(block.name, _WaveBlock(block.in_channels, block.out_channels, settings.pool))
        last = ConvBlock(settings.per_band, settings.channels, pool=(2, 1), dropout=0.0)
        self.add_module(settings.last, last)
        self.paths: tuple[tuple[TimeLayer, ...], ...] = (settings.time_layers,)

    def forward(self, waveform: Tensor, log_mel: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(B, S)`` waveform -> ``((B, 64, T, n_bands),)``: convolve the samples, regroup the channels."""
        _refuse_log_mel(log_mel)
        return (self.wavegram(waveform),)

    def wavegram(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` waveform -> ``(B, 64, T, n_bands)``."""
        settings = self.settings
        x = functional.relu(self.pre_bn0(self.pre_conv0(waveform[:, None])), inplace=True)
        for block in settings.blocks:
            x = self.get_submodule(block.name)(x)
        bands = (settings.per_band, settings.n_bands)
        by_band = x.unflatten(1, bands).transpose(2, 3)  # type: ignore[no-untyped-call]
        return self.get_submodule(settings.last)(by_band)  # type: ignore[no-any-return]


class WavegramLogMelStem(nn.Module):
    """``(B, S)`` waveform -> ``((B, 1, T, F), (B, 64, T // 2, F // 2))``: log-mel and wavegram.

    The trunk joins them after its first block, which halves the log-mel; the two may then differ by
    a frame.
    """

    def __init__(self, frontend: FrontEnd, wavegram: WavegramSettings) -> None:
        super().__init__()
        self.log_mel = LogMelStem(frontend)
        self.wavegram = WavegramStem(wavegram)
        # The trunk's first block applies to the log-mel only. It is part of that path here, so that both
        # paths end at the concatenation.
        self.paths = ((*self.log_mel.paths[0], same(3), same(3), pooling(2)), *self.wavegram.paths)

    def forward(self, waveform: Tensor, log_mel: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(B, S)`` waveform -> both representations; a given ``log_mel`` ``(B, T, F)`` in dB is used."""
        return (*self.log_mel(waveform, log_mel), self.wavegram.wavegram(waveform))


Stem = RawStem | LogMelStem | WavegramStem | WavegramLogMelStem


def _refuse_log_mel(log_mel: Tensor | None) -> None:
    if log_mel is not None:
        raise ValueError("log_mel was given, but this model works on the waveform alone; leave log_mel out")

"""The plain CNNs: Cnn6, Cnn10, Cnn14 and their wavegram variants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pannsx.models.blocks import ConvBlock, ConvBlock5x5
from pannsx.models.settings import CnnSettings
from pannsx.models.timing import TimeLayer


class Cnn(nn.Module):
    """``(B, C, T, F)`` -> ``(B, C', T')``: blocks of convolutions, each pooling time and frequency."""

    def __init__(self, settings: CnnSettings) -> None:
        super().__init__()
        self.settings = settings
        self.input_dropout = nn.Dropout(settings.input_dropout)
        kind = ConvBlock5x5 if settings.kernel == 5 else ConvBlock
        for number, block in enumerate(settings.blocks):
            made = kind(block.in_channels, block.out_channels, (block.pool, block.pool))
            if settings.joined_channels and number == 0:
                self.joined_dropout, made.dropout = made.dropout, nn.Dropout(0.0)
            self.add_module(block.name, made)
        self.out_channels = settings.out_channels
        self.time_layers: tuple[TimeLayer, ...] = settings.time_layers
        # By the published numbers: a wavegram enters at block 2.
        self.levels = tuple(block.name.removeprefix("conv_") for block in settings.blocks)

    def forward(self, x: Tensor, joined: Tensor | None = None, until: str | None = None) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T')``; ``joined`` is concatenated to the first block's channels.

        ``until`` names a block, whose map ``(B, C', T', F')`` is returned.
        """
        x = self.input_dropout(x)
        for level, block in zip(self.levels, self.blocks(), strict=True):
            x = block(x)
            if joined is not None:
                # The two differ by one frame for about half of all clip lengths.
                n_frames = min(x.shape[2], joined.shape[2])
                x = self.joined_dropout(torch.cat((x[:, :, :n_frames], joined[:, :, :n_frames]), dim=1))
                joined = None
            if level == until:
                return x
        return x.mean(dim=3)

    def blocks(self) -> list[nn.Module]:
        """The blocks, in order."""
        return [child for child in self.children() if not isinstance(child, nn.Dropout)]

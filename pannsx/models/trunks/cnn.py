"""The plain CNNs: Cnn6, Cnn10, Cnn14 and their wavegram variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from pannsx.models.blocks import ConvBlock, ConvBlock5x5
from pannsx.models.timing import TimeLayer


class Cnn(nn.Module):
    """``(B, C, T, F)`` -> ``(B, C', T')``: blocks of convolutions, each pooling time and frequency.

    Args:
        widths: channels of each block.
        pools: time and frequency pooling of each block.
        block: builds a block from input channels, output channels and pooling.
        in_channels: channels of the stem's representation.
        first_block: number of the first block; wavegrams enter at the second.
        joined_channels: channels of a second representation, joined after the first block. The dropout of
            that block then acts on both.
        input_dropout: dropout probability of the stem's output.
    """

    def __init__(
        self,
        widths: Sequence[int],
        pools: Sequence[int],
        *,
        block: Callable[[int, int, tuple[int, int]], ConvBlock | ConvBlock5x5] = ConvBlock,
        in_channels: int = 1,
        first_block: int = 1,
        joined_channels: int = 0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(input_dropout)
        channels, joins = in_channels, joined_channels
        layers: list[tuple[TimeLayer, ...]] = []
        for number, (width, pool) in enumerate(zip(widths, pools, strict=True), first_block):
            made = block(channels, width, (pool, pool))
            if joins:
                self.joined_dropout, made.dropout = made.dropout, nn.Dropout(0.0)
            self.add_module(f"conv_block{number}", made)
            layers.append(made.time_layers)
            channels, joins = width + joins, 0
        self.out_channels = widths[-1]
        # With a joined representation, the paths of the stem end after the first block.
        own = layers[1:] if joined_channels else layers
        self.time_layers: tuple[TimeLayer, ...] = tuple(chain.from_iterable(own))

    def forward(self, x: Tensor, joined: Tensor | None = None) -> Tensor:
        """``(B, C, T, F)`` -> ``(B, C', T')``; ``joined`` is concatenated to the first block's channels."""
        x = self.input_dropout(x)
        for block in self.blocks():
            x = block(x)
            if joined is not None:
                # The two differ by one frame for about half of all clip lengths.
                n_frames = min(x.shape[2], joined.shape[2])
                x = self.joined_dropout(torch.cat((x[:, :, :n_frames], joined[:, :, :n_frames]), dim=1))
                joined = None
        return x.mean(dim=3)

    def blocks(self) -> list[nn.Module]:
        """The blocks, in order."""
        return [child for child in self.children() if not isinstance(child, nn.Dropout)]

"""What works on raw samples as data: sizes, times and tensors of LeeNets, DaiNet19, Res1dNets, wavegrams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pannsx.models.settings import Tensors, block_tensors, norm_tensors
from pannsx.models.timing import TimeLayer, pooling, same, strided


def _convolution_tensors(name: str, norm: str, in_channels: int, out_channels: int, taps: int) -> Tensors:
    """Those of a convolution over time and its norm."""
    yield f"{name}.weight", (out_channels, in_channels, taps)
    yield from norm_tensors(norm, out_channels)


@dataclass(frozen=True, slots=True)
class LeeBlock:
    """A block of a LeeNet: its name, channels in and out, and whether pooling by three ends it."""

    name: str
    in_channels: int
    out_channels: int
    pools: bool


@dataclass(frozen=True, slots=True)
class LeeNetSettings:
    """Settings of a LeeNet on raw samples: see :class:`pannsx.models.trunks.LeeNet`.

    Attributes:
        widths: channels of each block.
        pools: for each block, whether it ends in pooling.
        n_convs: convolutions of a block.
        dropout: probability between blocks.
        stride: of the first convolution, and of the pooling.
    """

    widths: tuple[int, ...]
    pools: tuple[bool, ...]
    n_convs: int
    dropout: float
    stride: int = 3

    @property
    def out_channels(self) -> int:
        """``C`` of the features."""
        return self.widths[-1]

    @property
    def blocks(self) -> tuple[LeeBlock, ...]:
        """The blocks, in order."""
        channels = (1, *self.widths)
        return tuple(
            LeeBlock(f"conv_block{number + 1}", channels[number], width, pools)
            for number, (width, pools) in enumerate(zip(self.widths, self.pools, strict=True))
        )

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time; pooling is padded, over as many steps as its stride."""
        found: list[TimeLayer] = []
        for block in self.blocks:
            found += [same(3)] * self.n_convs
            found += [strided(self.stride, self.stride, self.stride // 2)] if block.pools else []
        return (strided(3, self.stride, 1), *found[1:])

    def tensors(self) -> Tensors:
        """See :mod:`pannsx.models.settings`."""
        for block in self.blocks:
            channels = block.in_channels
            for i in range(1, self.n_convs + 1):
                conv, norm = f"{block.name}.conv{i}", f"{block.name}.bn{i}"
                yield from _convolution_tensors(conv, norm, channels, block.out_channels, 3)
                channels = block.out_channels


@dataclass(frozen=True, slots=True)
class WaveBlock:
    """A residual block over time: its name, channels in and out, and the pooling before it."""

    name: str
    in_channels: int
    out_channels: int
    pool: int


@dataclass(frozen=True, slots=True)
class DaiNet19Settings:
    """DaiNet19 on raw samples: see :class:`pannsx.models.trunks.DaiNet19`.

    Attributes:
        widths: channels of each block.
        taps, stride: of the first convolution, which is not padded.
        pool: maximum pooling before each block but the first.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    taps: int = 80
    stride: int = 4
    pool: int = 4

    @property
    def out_channels(self) -> int:
        """``C`` of the features."""
        return self.widths[-1]

    @property
    def blocks(self) -> tuple[WaveBlock, ...]:
        """The blocks, in order, of four convolutions each."""
        channels = (self.widths[0], *self.widths)
        return tuple(
            WaveBlock(f"conv_block{number + 1}", channels[number], width, self.pool if number else 1)
            for number, width in enumerate(self.widths)
        )

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time, those of the branch with the convolutions."""
        found = [strided(self.taps, self.stride, 0)]
        for block in self.blocks:
            found += [pooling(block.pool)] if block.pool > 1 else []
            found += [same(3)] * 4
        return tuple(found)

    def tensors(self) -> Tensors:
        """See :mod:`pannsx.models.settings`."""
        yield from _convolution_tensors("conv0", "bn0", 1, self.widths[0], self.taps)
        for block in self.blocks:
            name, channels = block.name, block.in_channels
            for i in range(1, 5):
                conv, norm = f"{name}.conv{i}", f"{name}.bn{i}"
                yield from _convolution_tensors(conv, norm, channels, block.out_channels, 3)
                channels = block.out_channels
            if block.in_channels != block.out_channels:
                shortcut = (f"{name}.downsample", f"{name}.bn_downsample")
                yield from _convolution_tensors(*shortcut, block.in_channels, block.out_channels, 1)


@dataclass(frozen=True, slots=True)
class Res1dNetSettings:
    """Settings of a Res1dNet on raw samples: see :class:`pannsx.models.trunks.Res1dNet`.

    Attributes:
        depths: number of blocks of each layer.
        widths: their channels.
        taps, stride: of the first convolution, padded by half its taps.
        pool: pooling before each layer but the first.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 1024, 2048)
    taps: int = 11
    stride: int = 5
    pool: int = 4

    @property
    def out_channels(self) -> int:
        """``C`` of the features."""
        return self.widths[-1]

    @property
    def layers(self) -> tuple[tuple[WaveBlock, ...], ...]:
        """The blocks of each layer, of two convolutions each."""
        channels, found = self.widths[0], []
        for number, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), 1):
            blocks = []
            for i in range(depth):
                pool = self.pool if number > 1 and i == 0 else 1
                blocks.append(WaveBlock(f"resnet.layer{number}.{i}", channels, width, pool))
                channels = width
            found.append(tuple(blocks))
        return tuple(found)

    @property
    def blocks(self) -> Iterator[WaveBlock]:
        """All blocks, in order."""
        return (block for layer in self.layers for block in layer)

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time, those of the branch with the convolutions."""
        found = [strided(self.taps, self.stride, self.taps // 2)]
        for block in self.blocks:
            found += [pooling(block.pool)] if block.pool > 1 else []
            found += [same(3), same(3, dilation=2)]
        return tuple(found)

    def tensors(self) -> Tensors:
        """See :mod:`pannsx.models.settings`."""
        yield from _convolution_tensors("conv0", "bn0", 1, self.widths[0], self.taps)
        for block in self.blocks:
            name, n_in, n_out = block.name, block.in_channels, block.out_channels
            yield from _convolution_tensors(f"{name}.conv1", f"{name}.bn1", n_in, n_out, 3)
            yield from _convolution_tensors(f"{name}.conv2", f"{name}.bn2", n_out, n_out, 3)
            if projects(block):
                shortcut = (f"{name}.downsample.1", f"{name}.downsample.2")
                yield from _convolution_tensors(*shortcut, n_in, n_out, 1)


def projects(block: WaveBlock) -> bool:
    """Whether a block's shortcut is a convolution of one tap instead of the input itself."""
    return block.pool > 1 or block.in_channels != block.out_channels


@dataclass(frozen=True, slots=True)
class WavegramBlock:
    """A block of the wavegram stem over time: its name, channels in and out; maximum pooling ends it."""

    name: str
    in_channels: int
    out_channels: int


@dataclass(frozen=True, slots=True)
class WavegramSettings:
    """Settings of the stem that makes a wavegram: see :class:`pannsx.models.stems.WavegramStem`.

    Attributes:
        n_bands: ``F`` of the wavegram.
        widths: channels of the first convolution and of the blocks before the last.
        per_band: channels over time that make a band.
        channels: ``C`` of the wavegram.
        taps, stride: of the first convolution, padded by half its taps.
        pool: maximum pooling of each block over time.
    """

    n_bands: int = 32
    widths: tuple[int, ...] = (64, 64, 128)
    per_band: int = 4
    channels: int = 64
    taps: int = 11
    stride: int = 5
    pool: int = 4

    @property
    def blocks(self) -> tuple[WavegramBlock, ...]:
        """The blocks over time, in order, of two convolutions each, the second dilated by two."""
        widths = (*self.widths, self.per_band * self.n_bands)
        return tuple(
            WavegramBlock(f"pre_block{number}", widths[number - 1], widths[number])
            for number in range(1, len(widths))
        )

    @property
    def last(self) -> str:
        """Name of the block over time and bands, which halves the frames."""
        return f"pre_block{len(self.widths) + 1}"

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time."""
        block = (same(3), same(3, dilation=2), pooling(self.pool))
        first = strided(self.taps, self.stride, self.taps // 2)
        return (first, *block * len(self.blocks), same(3), same(3), pooling(2))

    def tensors(self) -> Tensors:
        """See :mod:`pannsx.models.settings`."""
        yield from _convolution_tensors("pre_conv0", "pre_bn0", 1, self.widths[0], self.taps)
        for block in self.blocks:
            channels = block.in_channels
            for i in (1, 2):
                conv, norm = f"{block.name}.conv{i}", f"{block.name}.bn{i}"
                yield from _convolution_tensors(conv, norm, channels, block.out_channels, 3)
                channels = block.out_channels
        yield from block_tensors(self.last, self.per_band, self.channels)

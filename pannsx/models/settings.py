"""The parts of a network as data: sizes, times and tensors of trunks and heads, without torch.

The torch modules (:mod:`pannsx.models.trunks`) and the CPU form (:mod:`pannsx.inference.cpu`) are both built
from these. ``tensors`` yields the published key and the shape of each tensor, in the order of the module's
state dict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pannsx.models.timing import TimeLayer, pooling, same

Shape = tuple[int, ...]
Tensors = Iterator[tuple[str, Shape]]
HeadKind = Literal["clip", "max", "mean", "attention"]

LOCAL_POOLING: tuple[TimeLayer, ...] = (same(3),)
"""How local pooling over a frame and its neighbours, which every head uses, changes the time axis."""


def norm_tensors(name: str, channels: int) -> Tensors:
    """Those of a batch norm."""
    for key in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{key}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def block_tensors(name: str, in_channels: int, out_channels: int) -> Tensors:
    """Those of two 3 x 3 convolutions with their norms."""
    yield f"{name}.conv1.weight", (out_channels, in_channels, 3, 3)
    yield from norm_tensors(f"{name}.bn1", out_channels)
    yield f"{name}.conv2.weight", (out_channels, out_channels, 3, 3)
    yield from norm_tensors(f"{name}.bn2", out_channels)


def _linear_tensors(name: str, n_in: int, n_out: int) -> Tensors:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


@dataclass(frozen=True, slots=True)
class CnnBlock:
    """A block of a CNN: its name, channels and pooling."""

    name: str
    in_channels: int
    out_channels: int
    pool: int


@dataclass(frozen=True, slots=True)
class CnnSettings:
    """Settings of a CNN: blocks of convolutions, each pooling time and frequency.

    Attributes:
        widths: channels of each block.
        pools: time and frequency pooling of each block.
        kernel: 3 for two convolutions of 3 x 3 cells in a block, 5 for one of 5 x 5.
        in_channels: channels of the stem's representation.
        first_block: number of the first block; wavegrams enter at the second.
        joined_channels: channels of a second representation, joined after the first block. The dropout of
            that block then acts on both.
        input_dropout: dropout probability of the stem's output.
    """

    widths: tuple[int, ...]
    pools: tuple[int, ...]
    kernel: Literal[3, 5] = 3
    in_channels: int = 1
    first_block: int = 1
    joined_channels: int = 0
    input_dropout: float = 0.0

    @property
    def out_channels(self) -> int:
        """``C`` of the features."""
        return self.widths[-1]

    @property
    def blocks(self) -> tuple[CnnBlock, ...]:
        """The blocks, in order."""
        channels, joins, found = self.in_channels, self.joined_channels, []
        for number, (width, pool) in enumerate(zip(self.widths, self.pools, strict=True), self.first_block):
            found.append(CnnBlock(f"conv_block{number}", channels, width, pool))
            channels, joins = width + joins, 0
        return tuple(found)

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time; with a joined representation, the stem's paths end after the first block."""
        convolutions = (same(5),) if self.kernel == 5 else (same(3), same(3))
        own = self.blocks[1:] if self.joined_channels else self.blocks
        return tuple(layer for block in own for layer in (*convolutions, pooling(block.pool)))

    def tensors(self) -> Tensors:
        """See the module's docstring."""
        for block in self.blocks:
            if self.kernel == 5:
                yield f"{block.name}.conv1.weight", (block.out_channels, block.in_channels, 5, 5)
                yield from norm_tensors(f"{block.name}.bn1", block.out_channels)
            else:
                yield from block_tensors(block.name, block.in_channels, block.out_channels)


@dataclass(frozen=True, slots=True)
class ResidualBlock:
    """A block of a ResNet: its name, channels in and out, those of its convolutions, and its pooling."""

    name: str
    in_channels: int
    width: int
    out_channels: int
    pool: int

    @property
    def shortcut(self) -> str | None:
        """Name of the layer that projects the input, whose norm is the next; None: the input itself."""
        if self.pool == 1 and self.in_channels == self.out_channels:
            return None
        return f"{self.name}.downsample.{int(self.pool > 1)}"

    @property
    def shortcut_norm(self) -> str:
        """Name of the norm of ``shortcut``."""
        return f"{self.name}.downsample.{int(self.pool > 1) + 1}"


@dataclass(frozen=True, slots=True)
class ResNetSettings:
    """Settings of a ResNet on the log-mel, between two convolution blocks of Cnn14.

    Attributes:
        block: ``"basic"``: two 3 x 3 convolutions; ``"bottleneck"``: 1 x 1, 3 x 3 and 1 x 1.
        depths: number of blocks of each of the four layers.
        widths: channels of each layer's convolutions.
        pools: pooling before each layer.
        out_channels: ``C`` of the features.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    pools: tuple[int, ...] = (1, 2, 2, 2)
    out_channels: int = 2048

    @property
    def layers(self) -> tuple[tuple[ResidualBlock, ...], ...]:
        """The blocks of each layer."""
        expansion = 4 if self.block == "bottleneck" else 1
        channels, found = self.widths[0], []
        for number, (width, pool, depth) in enumerate(
            zip(self.widths, self.pools, self.depths, strict=True), 1
        ):
            blocks = []
            for i in range(depth):
                name, out = f"resnet.layer{number}.{i}", expansion * width
                blocks.append(ResidualBlock(name, channels, width, out, pool if i == 0 else 1))
                channels = out
            found.append(tuple(blocks))
        return tuple(found)

    @property
    def inner_channels(self) -> int:
        """Channels after the last residual block."""
        return self.layers[-1][-1].out_channels

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time, those of the branch with the convolutions."""
        inner = (same(3),) if self.block == "bottleneck" else (same(3), same(3))
        found = [same(3), same(3), pooling(2)]
        for pool, depth in zip(self.pools, self.depths, strict=True):
            found += [pooling(pool), *inner * depth]
        return (*found, pooling(2), same(3), same(3), pooling(1))

    def tensors(self) -> Tensors:
        """See the module's docstring."""
        yield from block_tensors("conv_block1", 1, self.widths[0])
        for block in (block for layer in self.layers for block in layer):
            name, width = block.name, block.width
            if self.block == "basic":
                yield from block_tensors(name, block.in_channels, width)
            else:
                yield f"{name}.conv1.weight", (width, block.in_channels, 1, 1)
                yield from norm_tensors(f"{name}.bn1", width)
                yield f"{name}.conv2.weight", (width, width, 3, 3)
                yield from norm_tensors(f"{name}.bn2", width)
                yield f"{name}.conv3.weight", (block.out_channels, width, 1, 1)
                yield from norm_tensors(f"{name}.bn3", block.out_channels)
            if block.shortcut is not None:
                yield f"{block.shortcut}.weight", (block.out_channels, block.in_channels, 1, 1)
                yield from norm_tensors(block.shortcut_norm, block.out_channels)
        yield from block_tensors("conv_block_after1", self.inner_channels, self.out_channels)


@dataclass(frozen=True, slots=True)
class SeparableBlock:
    """A block of a MobileNet: an optional expansion, a depthwise convolution, a pointwise one.

    Attributes:
        name: what stands before the numbers of its layers.
        in_channels: channels of its input.
        wide: channels of the depthwise convolution.
        out_channels: channels of its output.
        stride: 2 with a mean over 2 x 2 cells after the depthwise convolution.
        residual: whether it is an inverted residual block, without activation at its end.
    """

    name: str
    in_channels: int
    wide: int
    out_channels: int
    stride: int
    residual: bool

    @property
    def widens(self) -> bool:
        """Whether a pointwise convolution precedes the depthwise one: layers 0 to 2, then."""
        return self.wide > self.in_channels

    @property
    def adds_input(self) -> bool:
        """Whether its input is added to its output."""
        return self.residual and self.stride == 1 and self.in_channels == self.out_channels

    def layer(self, number: int) -> str:
        """Name of a layer: 0 depthwise convolution, 1 pool, 2 norm, 3 activation, 4 pointwise, 5 norm."""
        return f"{self.name}.{number + 3 * self.widens}"

    def tensors(self) -> Tensors:
        """See the module's docstring."""
        if self.widens:
            yield f"{self.name}.0.weight", (self.wide, self.in_channels, 1, 1)
            yield from norm_tensors(f"{self.name}.1", self.wide)
        yield f"{self.layer(0)}.weight", (self.wide, 1, 3, 3)
        yield from norm_tensors(self.layer(2), self.wide)
        yield f"{self.layer(4)}.weight", (self.out_channels, self.wide, 1, 1)
        yield from norm_tensors(self.layer(5), self.out_channels)


@dataclass(frozen=True, slots=True)
class MobileNetSettings:
    """Settings of a MobileNet on the log-mel, with mean pooling instead of strides.

    Attributes:
        groups: widening, channels, repetitions and first stride of each group of blocks.
        residual: inverted residual blocks (MobileNetV2), with activations capped at 6; else separable
            convolutions (MobileNetV1).
        first_channels: channels of the full convolution before them.
        out_channels: ``C`` of the features; a last pointwise convolution leads there, if necessary.
    """

    groups: tuple[tuple[int, int, int, int], ...]
    residual: bool
    out_channels: int
    first_channels: int = 32

    @property
    def blocks(self) -> tuple[SeparableBlock, ...]:
        """The blocks, in order."""
        channels = self.first_channels
        found: list[SeparableBlock] = []
        for widening, width, repetitions, first in self.groups:
            for i in range(repetitions):
                name = f"features.{len(found) + 1}" + (".conv" if self.residual else "")
                stride = first if i == 0 else 1
                found.append(
                    SeparableBlock(name, channels, channels * widening, width, stride, self.residual)
                )
                channels = width
        return tuple(found)

    @property
    def rectified_products(self) -> dict[str, str]:
        """Pointwise convolutions whose input is never negative, with their norms; see `int8_steps`.

        Residual networks have none here: the input of a block may be negative.
        """
        return {} if self.residual else {block.layer(4): block.layer(5) for block in self.blocks}

    @property
    def last(self) -> str | None:
        """Name of the last pointwise convolution with its norm, if there is one."""
        blocks = self.blocks
        return None if blocks[-1].out_channels == self.out_channels else f"features.{len(blocks) + 1}"

    @property
    def time_layers(self) -> tuple[TimeLayer, ...]:
        """Layers along time: 3 x 3 convolutions and their pooling."""
        strides = (2, *(block.stride for block in self.blocks))
        return tuple(layer for stride in strides for layer in (same(3), pooling(stride)))

    def tensors(self) -> Tensors:
        """See the module's docstring."""
        yield "features.0.0.weight", (self.first_channels, 1, 3, 3)
        yield from norm_tensors("features.0.2", self.first_channels)
        for block in self.blocks:
            yield from block.tensors()
        if self.last is not None:
            yield f"{self.last}.0.weight", (self.out_channels, self.blocks[-1].out_channels, 1, 1)
            yield from norm_tensors(f"{self.last}.1", self.out_channels)


def head_tensors(
    kind: HeadKind, in_channels: int, embedding: int, hidden: tuple[int, ...], n_classes: int
) -> Tensors:
    """Those of a head, with layers of ``hidden`` sizes between the embedding and the classes."""
    yield from _linear_tensors("fc1", in_channels, embedding)
    if kind == "attention":
        for name in ("att", "cla"):
            yield f"att_block.{name}.weight", (n_classes, embedding, 1)
            yield f"att_block.{name}.bias", (n_classes,)
        return
    size = embedding
    for number, wider in enumerate(hidden):
        yield from _linear_tensors(f"hidden.{number}", size, wider)
        size = wider
    yield from _linear_tensors("fc_audioset", size, n_classes)

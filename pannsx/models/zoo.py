"""The table of architectures, and models built from its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from pannsx.errors import did_you_mean
from pannsx.frontend.settings import FrontEnd
from pannsx.models.blocks import ConvBlock5x5
from pannsx.models.heads import AttentionHead, ClipHead, FrameHead, Head, max_over_frames, mean_over_frames
from pannsx.models.initialise import initialise
from pannsx.models.pann import Pann
from pannsx.models.stems import LogMelStem, RawStem, Stem, WavegramLogMelStem, WavegramStem
from pannsx.models.trunks import (
    BasicBlock,
    Bottleneck,
    Cnn,
    DaiNet19,
    LeeNet,
    MobileNetV1,
    MobileNetV2,
    Res1dNet,
    ResNet,
    Trunk,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The parts of a model; its front end comes with the checkpoint.

    Attributes:
        trunk: builds the trunk.
        embedding: size ``D`` of the embedding.
        head: builds the head from the numbers of channels, embedding units and classes.
        log_mel_stem: builds the stem from a front end; None for models of the waveform alone.
        waveform_stem: builds the stem of models of the waveform alone.
        unused: prefixes of the tensors in published checkpoints that the published code never uses.
    """

    trunk: Callable[[], Trunk]
    embedding: int
    head: Callable[[int, int, int], Head] = ClipHead
    log_mel_stem: Callable[[FrontEnd], Stem] | None = LogMelStem
    waveform_stem: Callable[[], Stem] = RawStem
    unused: tuple[str, ...] = ()


_raw = partial(Architecture, log_mel_stem=None)
_CNN14_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_CNN14_POOLS = (2, 2, 2, 2, 2, 1)
_cnn14 = partial(Cnn, _CNN14_WIDTHS, _CNN14_POOLS)

# fmt: off
ARCHITECTURES: dict[str, Architecture] = {
    "Cnn6": Architecture(
        trunk=partial(Cnn, (64, 128, 256, 512), (2, 2, 2, 2), block=ConvBlock5x5), embedding=512),
    "Cnn10": Architecture(trunk=partial(Cnn, (64, 128, 256, 512), (2, 2, 2, 2)), embedding=512),
    "Cnn14": Architecture(trunk=_cnn14, embedding=2048),
    "Cnn14_emb512": Architecture(trunk=_cnn14, embedding=512),
    "Cnn14_emb128": Architecture(trunk=_cnn14, embedding=128),
    "Cnn14_emb32": Architecture(trunk=_cnn14, embedding=32),
    "Cnn14_DecisionLevelMax": Architecture(
        trunk=_cnn14, embedding=2048, head=partial(FrameHead, combine=max_over_frames)),
    "Cnn14_DecisionLevelAvg": Architecture(
        trunk=_cnn14, embedding=2048, head=partial(FrameHead, combine=mean_over_frames)),
    "Cnn14_DecisionLevelAtt": Architecture(
        trunk=_cnn14, embedding=2048, head=AttentionHead, unused=("att_block.bn_att.",)),
    "ResNet22": Architecture(trunk=partial(ResNet, BasicBlock, (2, 2, 2, 2)), embedding=2048),
    "ResNet38": Architecture(trunk=partial(ResNet, BasicBlock, (3, 4, 6, 3)), embedding=2048),
    "ResNet54": Architecture(trunk=partial(ResNet, Bottleneck, (3, 4, 6, 3)), embedding=2048),
    "MobileNetV1": Architecture(trunk=MobileNetV1, embedding=1024),
    "MobileNetV2": Architecture(trunk=MobileNetV2, embedding=1024, head=partial(ClipHead, dropout=0.0)),
    "LeeNet11": _raw(
        trunk=partial(LeeNet, (64, 64, 64, 128, 128, 128, 128, 128, 256), (False, *[True] * 8),
                      n_convs=1, dropout=0.0),
        embedding=512),
    "LeeNet24": _raw(
        trunk=partial(LeeNet, (64, 96, 128, 128, 256, 256, 512, 512, 1024), (False, *[True] * 7, False),
                      n_convs=2, dropout=0.1),
        embedding=1024),
    "DaiNet19": _raw(
        trunk=DaiNet19, embedding=512, unused=("conv_block1.downsample.", "conv_block1.bn_downsample.")),
    "Res1dNet31": _raw(trunk=partial(Res1dNet, (2, 2, 2, 2, 2, 2, 2)), embedding=2048),
    "Res1dNet51": _raw(trunk=partial(Res1dNet, (2, 3, 4, 6, 4, 3, 2)), embedding=2048),
    "Wavegram_Cnn14": _raw(
        trunk=partial(Cnn, _CNN14_WIDTHS[1:], _CNN14_POOLS[1:], in_channels=64, first_block=2,
                      input_dropout=0.2),
        embedding=2048, waveform_stem=partial(WavegramStem, 32), unused=("bn0.", "conv_block1.")),
    "Wavegram_Logmel_Cnn14": Architecture(
        trunk=partial(_cnn14, joined_channels=64), embedding=2048, log_mel_stem=WavegramLogMelStem),
}
# fmt: on


def build(architecture: str, sample_rate: int, frontend: FrontEnd | None, n_classes: int) -> Pann:
    """A model of an architecture, in evaluation mode, with weights initialised as in the paper.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        sample_rate: samples per second of its waveforms, in Hz.
        frontend: its log-mel; None for architectures of the waveform alone.
        n_classes: number ``K`` of classes.

    Raises:
        ValueError: unknown architecture, or a front end that does not suit it.
    """
    model = build_empty(architecture, sample_rate, frontend, n_classes)
    initialise(model)
    return model


def build_empty(
    architecture: str,
    sample_rate: int,
    frontend: FrontEnd | None,
    n_classes: int,
    *,
    hidden: Sequence[int] = (),
) -> Pann:
    """As :func:`build`, but with parameters without storage (meta device).

    :func:`pannsx.models.convert.load_published` fills in the weights, without a random initialisation before.
    Buffers derived from the front end have their values already. ``hidden`` are the sizes of further layers
    between embedding and classes, as in fine-tuned checkpoints.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture {architecture!r}{did_you_mean(architecture, ARCHITECTURES)}; "
            f"the known ones are {', '.join(ARCHITECTURES)}"
        )
    row = ARCHITECTURES[architecture]
    with torch.device("meta"):
        stem = _stem(architecture, row, sample_rate, frontend)
        trunk = row.trunk()
        head = row.head(trunk.out_channels, row.embedding, n_classes)
        if hidden and not isinstance(head, ClipHead):
            raise ValueError(f"{architecture} decides frame by frame; only clip heads can have hidden layers")
        if hidden and isinstance(head, ClipHead):
            head.insert(hidden)
    return Pann(
        stem,
        trunk,
        head,
        architecture=architecture,
        sample_rate=sample_rate,
        frontend=frontend,
        n_classes=n_classes,
        embedding_size=row.embedding,
    ).eval()


def _stem(architecture: str, row: Architecture, sample_rate: int, frontend: FrontEnd | None) -> Stem:
    if row.log_mel_stem is None:
        if frontend is not None:
            raise ValueError(f"{architecture} works on the waveform and takes no front end; got {frontend}")
        return row.waveform_stem()
    if frontend is None:
        raise ValueError(f"{architecture} works on a log-mel and needs its front end; got None")
    if frontend.sample_rate != sample_rate:
        raise ValueError(
            f"the front end is for {frontend.sample_rate} Hz and the model for {sample_rate} Hz; "
            "the two must be equal"
        )
    return row.log_mel_stem(frontend)

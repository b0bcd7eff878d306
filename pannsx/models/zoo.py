"""The table of architectures, and models built from its rows. The table needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pannsx.frontend.settings import FrontEnd
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings
from pannsx.models.settings import CnnSettings, MobileNetSettings, ResNetSettings
from pannsx.models.structure import Architecture, Structure, TrunkSettings, check_frontend, row_of

if TYPE_CHECKING:
    from pannsx.models.heads import Head
    from pannsx.models.pann import Pann
    from pannsx.models.stems import Stem
    from pannsx.models.trunks import Trunk

_raw = partial(Architecture, stem="raw")
_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_POOLS = (2, 2, 2, 2, 2, 1)
_CNN14 = CnnSettings(_WIDTHS, _POOLS)

# Widening, channels, repetitions and stride of the first block of each group.
_MOBILE_V1 = (
    *((1, 64, 1, 1), (1, 128, 1, 2), (1, 128, 1, 1), (1, 256, 1, 2), (1, 256, 1, 1), (1, 512, 1, 2)),
    *((1, 512, 5, 1), (1, 1024, 1, 2), (1, 1024, 1, 1)),
)
# The published strides differ from the paper's: the sixth group does not pool.
_MOBILE_V2 = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 2), (6, 160, 3, 1), (6, 320, 1, 1)),
)

# fmt: off
ARCHITECTURES: dict[str, Architecture] = {
    "Cnn6": Architecture(trunk=CnnSettings((64, 128, 256, 512), (2, 2, 2, 2), kernel=5), embedding=512),
    "Cnn10": Architecture(trunk=CnnSettings((64, 128, 256, 512), (2, 2, 2, 2)), embedding=512),
    "Cnn14": Architecture(trunk=_CNN14, embedding=2048),
    "Cnn14_emb512": Architecture(trunk=_CNN14, embedding=512),
    "Cnn14_emb128": Architecture(trunk=_CNN14, embedding=128),
    "Cnn14_emb32": Architecture(trunk=_CNN14, embedding=32),
    "Cnn14_DecisionLevelMax": Architecture(trunk=_CNN14, embedding=2048, head="max"),
    "Cnn14_DecisionLevelAvg": Architecture(trunk=_CNN14, embedding=2048, head="mean"),
    "Cnn14_DecisionLevelAtt": Architecture(
        trunk=_CNN14, embedding=2048, head="attention", unused=("att_block.bn_att.",)),
    "ResNet22": Architecture(trunk=ResNetSettings("basic", (2, 2, 2, 2)), embedding=2048),
    "ResNet38": Architecture(trunk=ResNetSettings("basic", (3, 4, 6, 3)), embedding=2048),
    "ResNet54": Architecture(trunk=ResNetSettings("bottleneck", (3, 4, 6, 3)), embedding=2048),
    "MobileNetV1": Architecture(
        trunk=MobileNetSettings(_MOBILE_V1, residual=False, out_channels=1024), embedding=1024),
    "MobileNetV2": Architecture(
        trunk=MobileNetSettings(_MOBILE_V2, residual=True, out_channels=1280), embedding=1024,
        head_dropout=0.0),
    "LeeNet11": _raw(
        trunk=LeeNetSettings((64, 64, 64, 128, 128, 128, 128, 128, 256), (False, *[True] * 8),
                             n_convs=1, dropout=0.0),
        embedding=512),
    "LeeNet24": _raw(
        trunk=LeeNetSettings((64, 96, 128, 128, 256, 256, 512, 512, 1024), (False, *[True] * 7, False),
                             n_convs=2, dropout=0.1),
        embedding=1024),
    "DaiNet19": _raw(
        trunk=DaiNet19Settings(), embedding=512,
        unused=("conv_block1.downsample.", "conv_block1.bn_downsample.")),
    "Res1dNet31": _raw(trunk=Res1dNetSettings((2, 2, 2, 2, 2, 2, 2)), embedding=2048),
    "Res1dNet51": _raw(trunk=Res1dNetSettings((2, 3, 4, 6, 4, 3, 2)), embedding=2048),
    "Wavegram_Cnn14": Architecture(
        trunk=CnnSettings(_WIDTHS[1:], _POOLS[1:], in_channels=64, first_block=2, input_dropout=0.2),
        embedding=2048, stem="wavegram", unused=("bn0.", "conv_block1.")),
    "Wavegram_Logmel_Cnn14": Architecture(
        trunk=CnnSettings(_WIDTHS, _POOLS, joined_channels=64), embedding=2048, stem="wavegram_log_mel"),
}
# fmt: on


def structure_of(
    architecture: str, sample_rate: int, frontend: FrontEnd | None, n_classes: int, hidden: Sequence[int] = ()
) -> Structure:
    """The structure of a network.

    Arguments and errors are those of :func:`build_empty`.
    """
    row = row_of(ARCHITECTURES, architecture)
    check_frontend(architecture, row, sample_rate, frontend)
    _check_hidden(architecture, row, hidden)
    return Structure(architecture, row, sample_rate, frontend, n_classes, tuple(hidden))


def _check_hidden(architecture: str, row: Architecture, hidden: Sequence[int]) -> None:
    if hidden and row.head != "clip":
        raise ValueError(f"{architecture} decides frame by frame; only clip heads can have hidden layers")


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
    from pannsx.models.initialise import initialise

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
    import torch

    from pannsx.models.pann import Pann

    row = row_of(ARCHITECTURES, architecture)
    check_frontend(architecture, row, sample_rate, frontend)
    _check_hidden(architecture, row, hidden)
    with torch.device("meta"):
        stem = _stem(row, frontend)
        trunk = _trunk(row.trunk)
        head = _head(row, trunk.out_channels, n_classes, hidden)
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


def _stem(row: Architecture, frontend: FrontEnd | None) -> Stem:
    from pannsx.models.stems import LogMelStem, RawStem, WavegramLogMelStem, WavegramStem

    wavegram = row.wavegram(frontend)
    if frontend is None:
        return RawStem() if wavegram is None else WavegramStem(wavegram)
    return LogMelStem(frontend) if wavegram is None else WavegramLogMelStem(frontend, wavegram)


def _trunk(settings: TrunkSettings) -> Trunk:
    from pannsx.models.trunks import Cnn, DaiNet19, LeeNet, MobileNet, Res1dNet, ResNet

    match settings:
        case CnnSettings():
            return Cnn(settings)
        case ResNetSettings():
            return ResNet(settings)
        case MobileNetSettings():
            return MobileNet(settings)
        case LeeNetSettings():
            return LeeNet(settings)
        case Res1dNetSettings():
            return Res1dNet(settings)
        case DaiNet19Settings():
            return DaiNet19(settings)


def _head(row: Architecture, in_channels: int, n_classes: int, hidden: Sequence[int]) -> Head:
    from pannsx.models.heads import AttentionHead, ClipHead, FrameHead, max_over_frames, mean_over_frames

    if row.head == "attention":
        return AttentionHead(in_channels, row.embedding, n_classes)
    if row.head != "clip":
        combine = max_over_frames if row.head == "max" else mean_over_frames
        return FrameHead(in_channels, row.embedding, n_classes, combine=combine)
    head = ClipHead(in_channels, row.embedding, n_classes, dropout=row.head_dropout)
    if hidden:
        head.insert(hidden)
    return head

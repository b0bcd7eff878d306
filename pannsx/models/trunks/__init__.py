"""Trunks: from a stem's representations to ``(B, C, T')`` features, averaged over frequency.

Each has ``out_channels`` (``C``) and ``time_layers``, the layers that act on the time axis; of summed
branches, those of the branch with the largest receptive field. ``levels`` names its blocks in order, and
``forward(..., until="block3")`` ends after one of them, with its map ``(B, C, T, F)``, or ``(B, C, T)`` in
networks on raw samples.
"""

from pannsx.models.trunks.cnn import Cnn
from pannsx.models.trunks.dainet import DaiNet19
from pannsx.models.trunks.leenet import LeeNet
from pannsx.models.trunks.mobilenet import MobileNet
from pannsx.models.trunks.res1dnet import Res1dNet
from pannsx.models.trunks.resnet import BasicBlock, Bottleneck, ResNet

Trunk = Cnn | ResNet | MobileNet | LeeNet | DaiNet19 | Res1dNet

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "Cnn",
    "DaiNet19",
    "LeeNet",
    "MobileNet",
    "Res1dNet",
    "ResNet",
    "Trunk",
]

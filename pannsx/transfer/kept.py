"""Classes added to those of a network: its own classifier stays beside the new head.

A new head on a frozen network leaves the old classes exactly as they are. Where the network is trained with
it, they are held by their own probabilities of the training clips, computed before (learning without
forgetting: Li and Hoiem 2016, arXiv:1606.09282).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from pannsx.events.operating_points import OperatingPoint, OperatingPoints
from pannsx.labels import LabelSet
from pannsx.models.heads import ClipHead
from pannsx.models.pann import Pann
from pannsx.transfer.head import Head
from pannsx.types import FloatArray


class ExtendedHead(nn.Module):
    """``(B, D)`` embedding -> ``(B, K' + K)`` logits: the ``K'`` classes of a network, then ``K`` new ones.

    Args:
        own: the network's head; its layers are copied.
        new: the head of the new classes.
    """

    def __init__(self, own: ClipHead, new: Head) -> None:
        super().__init__()
        layers = [*own.hidden, own.fc_audioset]
        self.kept = nn.ModuleList(copy.deepcopy(layer) for layer in layers)
        self.new = new

    @property
    def n_kept(self) -> int:
        """The number ``K'`` of old classes."""
        return _linears(self.kept)[-1].out_features

    def forward(self, embedding: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, K' + K)``; without dropout for the old classes, as in their own training."""
        x = embedding
        for number, layer in enumerate(self.kept):
            x = layer(functional.relu(x) if number else x)
        return torch.cat([x, self.new(embedding)], dim=1)

    def layers(self) -> list[nn.Linear]:
        """The same as one stack of fully connected layers with ReLU between them."""
        return side_by_side(_linears(self.kept), self.new.layers())

    def probabilities(self, embeddings: FloatArray) -> FloatArray:
        """``(N, D)`` embeddings -> ``(N, K')`` probabilities of the old classes."""
        with torch.inference_mode():
            logits = self(torch.from_numpy(embeddings))[:, : self.n_kept]
        probabilities: FloatArray = expit(logits.numpy())
        return probabilities


AnyHead = Head | ExtendedHead


def clip_head_of(model: Pann) -> ClipHead:
    """The head of a network that can be saved with another one.

    Raises:
        ValueError: it decides frame by frame.
    """
    if not isinstance(model.head, ClipHead):
        raise ValueError(f"{model.architecture} decides frame by frame; take a model with a clip head")
    return model.head


def side_by_side(first: Sequence[nn.Linear], second: Sequence[nn.Linear]) -> list[nn.Linear]:
    """Two stacks of layers on one embedding as one stack, their outputs one after the other.

    The shorter stack begins with layers that change nothing: an embedding is at least 0, as a ReLU leaves it.
    """
    depth = max(len(first), len(second))
    found = []
    for number, (a, b) in enumerate(zip(_deepened(first, depth), _deepened(second, depth), strict=True)):
        layer = nn.Linear(a.in_features if number == 0 else a.in_features + b.in_features,
                          a.out_features + b.out_features)  # fmt: skip
        with torch.no_grad():
            layer.weight.zero_()
            layer.weight[: a.out_features, : a.in_features] = a.weight
            layer.weight[a.out_features :, layer.in_features - b.in_features :] = b.weight
            layer.bias.copy_(torch.cat([a.bias, b.bias]))
        found.append(layer)
    return found


def _deepened(layers: Sequence[nn.Linear], depth: int) -> list[nn.Linear]:
    width = layers[0].in_features
    same = nn.Linear(width, width)
    with torch.no_grad():
        same.weight.copy_(torch.eye(width))
        same.bias.zero_()
    return [same] * (depth - len(layers)) + list(layers)


def _linears(layers: nn.ModuleList) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def extended_labels(kept: LabelSet, own: LabelSet) -> LabelSet:
    """The labels of a network and new ones behind them; with ids, a new label is its own id.

    Raises:
        ValueError: a new label has the name or id of an old one, whatever its case.
    """
    taken = {text.casefold(): text for text in (*(kept.ids or ()), *kept.names)}
    for name in own.names:
        if name.casefold() in taken:
            raise ValueError(
                f"{name!r} is a class of the network already ({taken[name.casefold()]!r}), which is kept; "
                f"give yours another name, such as {'my ' + name!r}"
            )
    ids = None if kept.ids is None else (*kept.ids, *own.names)
    return LabelSet((*kept.names, *own.names), ids)


def extended_points(
    own: OperatingPoints, kept: OperatingPoints | None, names: Sequence[str]
) -> OperatingPoints:
    """The operating points of new classes, with those of a network's own, whose probabilities are the same.

    Args:
        own: of the new classes.
        kept: of the network's classes; None: it has none.
        names: of the new classes, which are not smoothed.
    """
    if kept is None:
        return own
    new = {}
    for name in names:
        point = own.points.get(name, OperatingPoint(own.default))
        new[name] = replace(
            point,
            median_s=point.median_s or 0.0,
            max_gap_s=point.max_gap_s or 0.0,
            min_duration_s=point.min_duration_s or 0.0,
        )
    return replace(
        kept, points={**kept.points, **new}, model=own.model, weights_sha256=None,
        rule=f"{kept.rule or 'unknown'}; of the new classes: {own.rule or 'a half'}",
    )  # fmt: skip

"""Heads: from ``(B, C, T')`` features to logits of the clip, an embedding and logits of each frame.

``frame_source`` says what the frame logits are: ``"native"`` where the model was trained through
them (decision-level heads), ``"local_pooling"`` where a clip head is applied to each frame's
neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.initialise import initialise
from pannsx.models.timing import TimeLayer, same
from pannsx.types import FrameSource

CLIP_PROBABILITY_EPS = 1e-7
"""Clip probabilities are clamped to [eps, 1 - eps] where a head turns them into logits."""


class Output(NamedTuple):
    """What a model computes.

    Attributes:
        logits: ``(B, K)`` of the clip; their sigmoid is the probability of each class.
        embedding: ``(B, D)``, the layer before the classifier (mean of the frames' in decision-level heads).
        frame_logits: ``(B, T', K)`` of each frame.
    """

    logits: Tensor
    embedding: Tensor
    frame_logits: Tensor


LOCAL_POOLING: tuple[TimeLayer, ...] = (same(3),)
"""What :func:`pool_locally`, of which every head makes its frames, does to the time axis."""


def pool_locally(features: Tensor) -> Tensor:
    """``(B, C, T')`` -> ``(B, T', C)``: maximum plus mean over each frame and its two neighbours.

    The mean counts the padding at both ends as zeros, as the decision-level models were trained.
    """
    largest = functional.max_pool1d(features, 3, stride=1, padding=1)
    mean = functional.avg_pool1d(features, 3, stride=1, padding=1)
    return (largest + mean).transpose(1, 2)


def logit_of_probability(probability: Tensor) -> Tensor:
    """Logit of a probability clamped to ``[1e-7, 1 - 1e-7]``, so that it is finite; any shape."""
    return torch.logit(probability, eps=CLIP_PROBABILITY_EPS)


class ClipHead(nn.Module):
    """Pools over time, then decides: maximum plus mean, ``fc1``, ``fc_audioset``.

    Published heads have no more. Checkpoints put to another task may have layers between the two
    (:meth:`insert`), the paper's L3.

    Args:
        in_channels: channels ``C`` of the features.
        embedding: size ``D`` of the embedding.
        n_classes: number ``K`` of classes.
        dropout: probability before ``fc1``.
    """

    frame_source: FrameSource = "local_pooling"

    def __init__(self, in_channels: int, embedding: int, n_classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.before_fc1 = nn.Dropout(dropout)
        self.fc1 = nn.Linear(in_channels, embedding)
        self.after_fc1 = nn.Dropout(0.5)
        self.hidden = nn.ModuleList()
        self.fc_audioset = nn.Linear(embedding, n_classes)

    def insert(self, sizes: Sequence[int]) -> None:
        """Put layers of these sizes between the embedding and ``fc_audioset``, which is made anew."""
        chain = (self.fc1.out_features, *sizes)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(chain))
        self.fc_audioset = nn.Linear(chain[-1], self.fc_audioset.out_features)

    def replace_classifier(self, n_classes: int) -> None:
        """Put a new last layer, for ``n_classes`` classes, in place of ``fc_audioset``."""
        self.fc_audioset = nn.Linear(self.fc_audioset.in_features, n_classes)
        initialise(self.fc_audioset)

    def forward(self, features: Tensor) -> Output:
        """``(B, C, T')`` features -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``."""
        logits, embedding = self.clip(features)
        # No dropout: nothing is trained through these.
        frame_logits = self._decide(self.frame_embeddings(features), nn.Identity())
        return Output(logits, embedding, frame_logits)

    def clip(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T')`` features -> logits ``(B, K)`` and embedding ``(B, D)`` of the clip alone."""
        pooled = self.before_fc1(features.amax(dim=2) + features.mean(dim=2))
        embedding = functional.relu(self.fc1(pooled))
        return self._decide(embedding, self.after_fc1), embedding

    def _decide(self, embedding: Tensor, drop: nn.Module) -> Tensor:
        """``(..., D)`` embeddings -> ``(..., K)`` logits, with dropout ``drop`` before every layer."""
        x = drop(embedding)
        for layer in self.hidden:
            x = drop(functional.relu(layer(x)))
        return self.fc_audioset(x)  # type: ignore[no-any-return]

    def frame_embeddings(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, T', D)``."""
        return functional.relu(self.fc1(pool_locally(features)))


def max_over_frames(frame_logits: Tensor) -> Tensor:
    """``(B, T', K)`` frame logits -> ``(B, K)`` logits of the greatest frame probability."""
    return frame_logits.amax(dim=1)


def mean_over_frames(frame_logits: Tensor) -> Tensor:
    """``(B, T', K)`` frame logits -> ``(B, K)`` logits of the mean frame probability."""
    return logit_of_probability(frame_logits.float().sigmoid().mean(dim=1))


class FrameHead(nn.Module):
    """Decides for each frame, then combines the decisions.

    The published models have no embedding; ours is the mean of the frames' embeddings.
    """

    frame_source: FrameSource = "native"

    def __init__(
        self, in_channels: int, embedding: int, n_classes: int, *, combine: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.before_fc1 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(in_channels, embedding)
        self.after_fc1 = nn.Dropout(0.5)
        self.fc_audioset = nn.Linear(embedding, n_classes)
        self.combine = combine

    def replace_classifier(self, n_classes: int) -> None:
        """Put a new last layer, for ``n_classes`` classes, in place of ``fc_audioset``."""
        self.fc_audioset = nn.Linear(self.fc_audioset.in_features, n_classes)
        initialise(self.fc_audioset)

    def forward(self, features: Tensor) -> Output:
        """``(B, C, T')`` features -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``."""
        frames = self.frame_embeddings(features)
        frame_logits = self.fc_audioset(self.after_fc1(frames))
        return Output(self.combine(frame_logits), frames.mean(dim=1), frame_logits)

    def clip(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T')`` features -> logits ``(B, K)`` and embedding ``(B, D)`` of the clip alone."""
        return self(features)[:2]  # type: ignore[no-any-return]

    def frame_embeddings(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, T', D)``."""
        return functional.relu(self.fc1(self.before_fc1(pool_locally(features))))


class _Attention(nn.Module):
    """The two classifiers of the attention head; kernels of one tap are linear layers over frames."""

    def __init__(self, embedding: int, n_classes: int) -> None:
        super().__init__()
        self.att = nn.Conv1d(embedding, n_classes, 1)
        self.cla = nn.Conv1d(embedding, n_classes, 1)


class AttentionHead(nn.Module):
    """Decides for each frame and attends: each class weighs the frames by a softmax over time.

    The published model has no embedding; ours is the mean of the frames' embeddings.
    """

    frame_source: FrameSource = "native"
    _max_attention_logit = 10.0

    def __init__(self, in_channels: int, embedding: int, n_classes: int) -> None:
        super().__init__()
        self.before_fc1 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(in_channels, embedding)
        self.after_fc1 = nn.Dropout(0.5)
        self.att_block = _Attention(embedding, n_classes)

    def replace_classifier(self, n_classes: int) -> None:
        """Put a new last layer, for ``n_classes`` classes, in place of ``att_block``."""
        self.att_block = _Attention(self.att_block.cla.in_channels, n_classes)
        initialise(self.att_block)

    def forward(self, features: Tensor) -> Output:
        """``(B, C, T')`` features -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``."""
        frames = self.frame_embeddings(features)
        x = self.after_fc1(frames).transpose(1, 2)
        attention, frame_logits = self.att_block.att(x), self.att_block.cla(x)
        logits = self.attend(attention.transpose(1, 2), frame_logits.transpose(1, 2))
        return Output(logits, frames.mean(dim=1), frame_logits.transpose(1, 2))

    def attend(self, attention: Tensor, frame_logits: Tensor) -> Tensor:
        """Two ``(B, T', K)`` -> ``(B, K)`` logits of the mean of frame probabilities, so weighted."""
        bound = self._max_attention_logit
        weights = attention.float().clamp(-bound, bound).softmax(dim=1)
        return logit_of_probability((weights * frame_logits.float().sigmoid()).sum(dim=1))

    def clip(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T')`` features -> logits ``(B, K)`` and embedding ``(B, D)`` of the clip alone."""
        return self(features)[:2]  # type: ignore[no-any-return]

    def frame_embeddings(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, T', D)``."""
        return functional.relu(self.fc1(self.before_fc1(pool_locally(features))))


Head = ClipHead | FrameHead | AttentionHead

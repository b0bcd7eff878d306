"""Heads: from ``(B, C, T')`` features to logits of the clip, an embedding and logits of each frame.

``frame_source`` is the origin of the frame logits: ``"native"`` if the model was trained through them
(decision-level heads), ``"local_pooling"`` if a clip head is applied to each frame and its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from pannsx.models.initialise import initialise
from pannsx.types import FrameSource


class Output(NamedTuple):
    """Output of a model.

    Attributes:
        logits: ``(B, K)`` logits of the clip; their sigmoid is the probability of each class.
        embedding: ``(B, D)``, the layer before the classifier (mean of the frames' in decision-level heads).
        frame_logits: ``(B, T', K)`` logits of each frame.
    """

    logits: Tensor
    embedding: Tensor
    frame_logits: Tensor


LEVELS = ("frame_pooled", "frame_fc1", "frame_logits", "pooled", "fc1", "logits")
"""Levels of :func:`at_level`: first those of each frame, then those of the clip."""


def pool_locally(features: Tensor) -> Tensor:
    """``(B, C, T')`` -> ``(B, T', C)``: maximum plus mean over each frame and its two neighbours.

    The mean includes the zero padding at both ends, as in the training of the decision-level models.
    """
    largest = functional.max_pool1d(features, 3, stride=1, padding=1)
    mean = functional.avg_pool1d(features, 3, stride=1, padding=1)
    return (largest + mean).transpose(1, 2)


def logit_of_mean(frame_logits: Tensor, log_weights: Tensor | float) -> Tensor:
    """``(B, T', K)`` logits -> ``(B, K)`` logit of the weighted mean of their probabilities.

    Computed from logarithms: ``log p = logsumexp(log w + log sigmoid(x))``, and likewise ``1 - p`` from
    ``-x``. So result and gradient are finite and exact for probabilities arbitrarily close to 0 or 1.

    Args:
        frame_logits: logits of each frame.
        log_weights: logarithms of weights with sum one over frames, ``(B, T', K)`` or one number.
    """
    log_p = (log_weights + functional.logsigmoid(frame_logits)).logsumexp(dim=1)
    log_not_p = (log_weights + functional.logsigmoid(-frame_logits)).logsumexp(dim=1)
    return log_p - log_not_p


class ClipHead(nn.Module):
    """Pools over time, then decides: maximum plus mean, ``fc1``, ``fc_audioset``.

    Fine-tuned checkpoints may have further layers between the two (:meth:`insert`), as the paper's L3.

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
        # As published: applied to the returned embedding, not to the classifier's input.
        self.after_fc1 = nn.Dropout(0.5)
        self.hidden = nn.ModuleList()
        self.before_hidden = nn.Dropout(0.5)
        self.fc_audioset = nn.Linear(embedding, n_classes)

    def insert(self, sizes: Sequence[int]) -> None:
        """Insert layers of these sizes between the embedding and ``fc_audioset``, which is replaced."""
        chain = (self.fc1.out_features, *sizes)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(chain))
        self.fc_audioset = nn.Linear(chain[-1], self.fc_audioset.out_features)

    def replace_classifier(self, n_classes: int) -> None:
        """Replace ``fc_audioset`` by a new last layer for ``n_classes`` classes."""
        self.fc_audioset = nn.Linear(self.fc_audioset.in_features, n_classes)
        initialise(self.fc_audioset)

    def forward(self, features: Tensor) -> Output:
        """``(B, C, T')`` features -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``."""
        logits, embedding = self.clip(features)
        # No dropout: a frame sees its neighbours, and the clip's dropout regularises enough.
        frame_logits = self._decide(self.frame_embeddings(features), nn.Identity())
        return Output(logits, embedding, frame_logits)

    def clip(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T')`` features -> logits ``(B, K)`` and embedding ``(B, D)`` of the clip alone."""
        embedding = self.embed(features)
        return self._decide(embedding, self.before_hidden), self.after_fc1(embedding)

    def pool(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, C)``: maximum plus mean over all frames, the input of ``fc1``."""
        return features.amax(dim=2) + features.mean(dim=2)

    def embed(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, D)`` embedding, without the dropout after it even in training."""
        return functional.relu(self.fc1(self.before_fc1(self.pool(features))))

    def _decide(self, embedding: Tensor, drop: nn.Module) -> Tensor:
        """``(..., D)`` embeddings -> ``(..., K)`` logits, with dropout ``drop`` around hidden layers."""
        x = embedding
        for layer in self.hidden:
            x = functional.relu(layer(drop(x)))
        return self.fc_audioset(drop(x) if len(self.hidden) else x)  # type: ignore[no-any-return]

    def frame_embeddings(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, T', D)``."""
        return functional.relu(self.fc1(pool_locally(features)))


def max_over_frames(frame_logits: Tensor) -> Tensor:
    """``(B, T', K)`` frame logits -> ``(B, K)`` logits of the greatest frame probability."""
    return frame_logits.amax(dim=1)


def mean_over_frames(frame_logits: Tensor) -> Tensor:
    """``(B, T', K)`` frame logits -> ``(B, K)`` logits of the mean frame probability."""
    frame_logits = _at_least_float32(frame_logits)
    return logit_of_mean(frame_logits, -math.log(frame_logits.shape[1]))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x


class _ByFrame(nn.Module):
    """Base of heads that decide for each frame: embeddings of the frames, and their mean for the clip."""

    frame_source: FrameSource = "native"
    before_fc1: nn.Dropout
    fc1: nn.Linear

    def clip(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T')`` features -> logits ``(B, K)`` and embedding ``(B, D)`` of the clip alone."""
        return self(features)[:2]  # type: ignore[no-any-return]

    def pool(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, C)``: mean of the inputs of ``fc1``."""
        return pool_locally(features).mean(dim=1)

    def embed(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, D)`` embedding: mean of the frames'."""
        return self.frame_embeddings(features).mean(dim=1)

    def frame_embeddings(self, features: Tensor) -> Tensor:
        """``(B, C, T')`` features -> ``(B, T', D)``."""
        return functional.relu(self.fc1(self.before_fc1(pool_locally(features))))


class FrameHead(_ByFrame):
    """Decides for each frame, then combines the decisions.

    The published models have no embedding; ours is the mean of the frames' embeddings.
    """

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
        """Replace ``fc_audioset`` by a new last layer for ``n_classes`` classes."""
        self.fc_audioset = nn.Linear(self.fc_audioset.in_features, n_classes)
        initialise(self.fc_audioset)

    def forward(self, features: Tensor) -> Output:
        """``(B, C, T')`` features -> logits ``(B, K)``, embedding ``(B, D)``, frame logits ``(B, T', K)``."""
        frames = self.frame_embeddings(features)
        frame_logits = self.fc_audioset(self.after_fc1(frames))
        return Output(self.combine(frame_logits), frames.mean(dim=1), frame_logits)


class _Attention(nn.Module):
    """The two classifiers of the attention head, as convolutions with one tap: linear layers over frames."""

    def __init__(self, embedding: int, n_classes: int) -> None:
        super().__init__()
        self.att = nn.Conv1d(embedding, n_classes, 1)
        self.cla = nn.Conv1d(embedding, n_classes, 1)


class AttentionHead(_ByFrame):
    """Decides for each frame; attention then weights the frames, per class, by a softmax over time.

    The published model has no embedding; ours is the mean of the frames' embeddings.
    """

    max_attention_logit = 10.0

    def __init__(self, in_channels: int, embedding: int, n_classes: int) -> None:
        super().__init__()
        self.before_fc1 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(in_channels, embedding)
        self.after_fc1 = nn.Dropout(0.5)
        self.att_block = _Attention(embedding, n_classes)

    def replace_classifier(self, n_classes: int) -> None:
        """Replace ``att_block`` by a new last layer for ``n_classes`` classes."""
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
        """``(B, T', K)`` attention and frame logits -> ``(B, K)`` logits of the weighted mean probability."""
        bound = self.max_attention_logit
        log_weights = _at_least_float32(attention).clamp(-bound, bound).log_softmax(dim=1)
        return logit_of_mean(_at_least_float32(frame_logits), log_weights)


Head = ClipHead | FrameHead | AttentionHead


def at_level(head: Head, features: Tensor, level: str) -> Tensor:
    """``(B, C, T')`` features -> a head's values at one of :data:`LEVELS`, for training or use.

    ``pooled`` ``(B, C)`` is before ``fc1``, ``fc1`` ``(B, D)`` the embedding, ``logits`` ``(B, K)`` before
    the sigmoid. ``frame_pooled`` ``(B, T', C)``, ``frame_fc1`` ``(B, T', D)`` and ``frame_logits``
    ``(B, T', K)`` are those of each frame with its two neighbours.
    """
    if level == "frame_pooled":
        return pool_locally(features)
    if level == "frame_fc1":
        return head.frame_embeddings(features)
    if level == "frame_logits":
        return head(features).frame_logits  # type: ignore[no-any-return]
    if level == "pooled":
        return head.pool(features)
    if level == "fc1":
        return head.embed(features)
    if level == "logits":
        return head.clip(features)[0]
    raise ValueError(f"level is {level!r}; one of {', '.join(LEVELS)} is needed")

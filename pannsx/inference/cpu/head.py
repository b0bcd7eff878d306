"""Heads for inference on the CPU: each dense layer processes the rows of all clips and frames at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pannsx.inference.cpu.product import Product
from pannsx.inference.cpu.workers import Workers
from pannsx.models.heads import AttentionHead, ClipHead, FrameHead, Head
from pannsx.types import FloatArray


class Found(NamedTuple):
    """A network's outputs for one waveform, as :class:`~pannsx.models.heads.Output` without the batch."""

    logits: FloatArray  # (K,)
    embedding: FloatArray  # (D,)
    frame_logits: FloatArray  # (T', K); empty unless requested
    frame_embeddings: FloatArray  # (T', D); likewise


class PreparedHead:
    """``(T', C)`` features of each item -> a :class:`Found` each.

    Args:
        head: in float32 on the CPU.
        workers: the threads to compute on.
    """

    def __init__(self, head: Head, workers: Workers) -> None:
        self._head = head
        self._workers = workers
        self._fc1 = Product(head.fc1.weight, head.fc1.bias)
        layers: list[torch.nn.Linear | torch.nn.Conv1d]
        if isinstance(head, AttentionHead):
            layers = [head.att_block.cla, head.att_block.att]
        else:
            layers = [head.fc_audioset]
        hidden = list(head.hidden) if isinstance(head, ClipHead) else []
        self._hidden = [
            Product(layer.weight, _bias(layer)) for layer in hidden if isinstance(layer, torch.nn.Linear)
        ]
        self._outputs = [Product(layer.weight, _bias(layer)) for layer in layers]

    def __call__(self, features: Sequence[FloatArray], *, frames: bool) -> list[Found]:
        """``(T', C)`` of each item -> its outputs; decision-level heads always compute those of frames."""
        if isinstance(self._head, ClipHead):
            return self._clips(features, frames)
        rows = np.concatenate([pool_locally(item) for item in features])
        embeddings, (logits, *attention) = self._dense(rows)
        ends = np.cumsum([len(item) for item in features])[:-1]
        parts = zip(*(np.split(each, ends) for each in (embeddings, logits, *attention)), strict=True)
        return [
            Found(self._combine(*of_frames), embedding.mean(axis=0), of_frames[0], embedding)
            for embedding, *of_frames in parts
        ]

    def _clips(self, features: Sequence[FloatArray], frames: bool) -> list[Found]:
        n = len(features)
        rows = [(item.max(axis=0) + item.mean(axis=0))[None] for item in features]
        if frames:
            rows += [pool_locally(item) for item in features]
        embeddings, (logits,) = self._dense(np.concatenate(rows))
        ends = np.cumsum([len(item) for item in features]) if frames else np.zeros(n, np.intp)
        of_frames = (np.split(each[n:], ends[:-1]) for each in (logits, embeddings))
        return [Found(*found) for found in zip(logits, embeddings, *of_frames, strict=False)]

    def _dense(self, rows: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        """``(n, C)`` -> embeddings ``(n, D)``, and the values of the output layers, ``(n, K)`` each."""
        embeddings = self._fc1(torch.from_numpy(rows), self._workers).relu_()
        x = embeddings
        for layer in self._hidden:
            x = layer(x, self._workers).relu_()
        return embeddings.numpy(), [layer(x, self._workers).numpy() for layer in self._outputs]

    def _combine(self, frame_logits: FloatArray, attention: FloatArray | None = None) -> FloatArray:
        """``(T', K)`` values by frame -> the clip's ``(K,)``, combined as in the head."""
        logits = torch.from_numpy(frame_logits)[None]
        if isinstance(self._head, AttentionHead):
            found = self._head.attend(torch.from_numpy(attention)[None], logits)
        elif isinstance(self._head, FrameHead):
            found = self._head.combine(logits)
        else:
            raise TypeError(f"{type(self._head).__name__} does not combine frames")
        return np.asarray(found[0].numpy(), np.float32)


def _bias(layer: torch.nn.Linear | torch.nn.Conv1d) -> Tensor:
    return torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias


def pool_locally(features: FloatArray) -> FloatArray:
    """``(T', C)`` -> ``(T', C)``: maximum plus mean over each frame and its neighbours.

    As in :func:`pannsx.models.heads.pool_locally`, the mean counts frames beyond the ends as zeros.
    """
    largest, total = features.copy(), features.copy()
    np.maximum(largest[1:], features[:-1], out=largest[1:])
    np.maximum(largest[:-1], features[1:], out=largest[:-1])
    total[1:] += features[:-1]
    total[:-1] += features[1:]
    total *= np.float32(1 / 3)
    pooled: FloatArray = largest + total
    return pooled

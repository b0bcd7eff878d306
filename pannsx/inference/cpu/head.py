"""Heads for inference on the CPU: each dense layer processes the rows of all clips and frames at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pannsx.inference.cpu.folding import Tensors
from pannsx.inference.cpu.product import Product
from pannsx.inference.cpu.workers import Workers
from pannsx.models.settings import HeadKind
from pannsx.types import FloatArray

MAX_ATTENTION_LOGIT = 10.0
"""Attention is clipped to as much on both sides, as in the training of the attention head."""


class Found(NamedTuple):
    """A network's outputs for one waveform, as :class:`~pannsx.models.heads.Output` without the batch."""

    logits: FloatArray  # (K,)
    embedding: FloatArray  # (D,)
    frame_logits: FloatArray  # (T', K); empty unless requested
    frame_embeddings: FloatArray  # (T', D); likewise


def layers_of_clips(n_hidden: int) -> tuple[str, ...]:
    """The dense layers in order, of a head that pools before them; all but the last are rectified."""
    return "fc1", *(f"hidden.{number}" for number in range(n_hidden)), "fc_audioset"


class PreparedHead:
    """``(T', C)`` features of each item -> a :class:`Found` each.

    Args:
        kind: how the head decides.
        n_hidden: number of layers between the embedding and the classes.
        tensors: those of the network.
        workers: the threads to compute on.
        products: layers by name that the trunk has prepared.
    """

    def __init__(
        self,
        kind: HeadKind,
        n_hidden: int,
        tensors: Tensors,
        workers: Workers,
        products: Mapping[str, Product] = MappingProxyType({}),
    ) -> None:
        self._kind = kind
        self._workers = workers

        def dense(layer: str, cap: float | None = None) -> Product:
            return products.get(layer) or Product(tensors.weight(layer), tensors.bias(layer), cap=cap)

        names = layers_of_clips(n_hidden)[:-1]
        self._fc1, *self._hidden = (dense(name, cap=math.inf) for name in names)
        layers = ("att_block.cla", "att_block.att") if kind == "attention" else ("fc_audioset",)
        self._outputs = [dense(layer) for layer in layers]

    def __call__(self, features: Sequence[FloatArray], *, frames: bool) -> list[Found]:
        """``(T', C)`` of each item -> its outputs; decision-level heads always compute those of frames."""
        if self._kind == "clip":
            return self._clips(features, frames)
        rows = np.concatenate([pool_locally(item) for item in features])
        embeddings, (logits, *attention) = self._dense(rows)
        ends = np.cumsum([len(item) for item in features])[:-1]
        parts = zip(*(np.split(each, ends) for each in (embeddings, logits, *attention)), strict=True)
        return [
            Found(self._combine(*of_frames), embedding.mean(axis=0), of_frames[0], embedding)
            for embedding, *of_frames in parts
        ]

    def pool(self, features: FloatArray) -> FloatArray:
        """``(T', C)`` -> ``(C,)``, pooled over time as the head does before its first layer."""
        if self._kind == "clip":
            return np.asarray(features.max(axis=0) + features.mean(axis=0))
        return np.asarray(pool_locally(features).mean(axis=0))

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
        embeddings = self._fc1(rows, self._workers)
        x = embeddings
        for layer in self._hidden:
            x = layer(x, self._workers)
        return embeddings, [layer(x, self._workers) for layer in self._outputs]

    def _combine(self, frame_logits: FloatArray, attention: FloatArray | None = None) -> FloatArray:
        """``(T', K)`` values by frame -> the clip's ``(K,)``, combined as in the head."""
        if self._kind == "max":
            greatest: FloatArray = frame_logits.max(axis=0)
            return greatest
        log_weights = np.zeros(frame_logits.shape)
        if attention is not None:
            log_weights += attention.clip(-MAX_ATTENTION_LOGIT, MAX_ATTENTION_LOGIT)
        return _logit_of_mean(frame_logits, log_weights - np.logaddexp.reduce(log_weights, axis=0))


def _logit_of_mean(frame_logits: FloatArray, log_weights: npt.NDArray[np.float64]) -> FloatArray:
    """``(T', K)`` logits -> ``(K,)`` logit of the weighted mean of their probabilities.

    As :func:`pannsx.models.heads.logit_of_mean`, in float64.
    """
    x = frame_logits.astype(np.float64)
    log_p = np.logaddexp.reduce(log_weights - np.logaddexp(0, -x), axis=0)
    log_not_p = np.logaddexp.reduce(log_weights - np.logaddexp(0, x), axis=0)
    return np.asarray(log_p - log_not_p, np.float32)


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

"""A PANN as an ONNX graph: stem, trunk and head, from samples or log-mel to probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import nn

from pannsx.export.front_end import add_log_mel
from pannsx.export.graph import Graph
from pannsx.export.layers import add_linear, add_part, weight_of
from pannsx.inference.cpu.traced import affine_of
from pannsx.models.heads import (
    AttentionHead,
    ClipHead,
    FrameHead,
    Head,
    max_over_frames,
    mean_over_frames,
)
from pannsx.models.pann import Pann
from pannsx.models.stems import LogMelStem, RawStem, WavegramLogMelStem, WavegramStem
from pannsx.models.trunks import Cnn

OUTPUTS = ("probabilities", "embedding", "frame_probabilities")


class _Decisions(NamedTuple):
    """Names of a head's values: logits of the clip, the embedding and logits of the frames."""

    logits: str
    embedding: str
    frame_logits: str


def make_onnx(
    model: Pann, *, from_log_mel: bool, n_samples: int | None, float16: bool, metadata: dict[str, str]
) -> Any:
    """The network as an ``onnx.ModelProto`` with the outputs ``OUTPUTS``.

    Args:
        model: in float32, on the CPU.
        from_log_mel: its input is ``log_mel (B, T, F)`` in dB instead of ``waveform (B, S)``.
        n_samples: length of the waveform, at least ``model.min_samples``; None: any.
        float16: weights and products of trunk and head in float16; inputs, stem and outputs stay float32.
        metadata: text by key, stored with the model.
    """
    from onnx import TensorProto, helper

    graph = Graph()
    representations = _add_stem(graph, model, from_log_mel=from_log_mel, is_dynamic=n_samples is None)
    if float16:
        graph.scope, graph.dtype = "trunk", np.float16
        representations = [graph.add("Cast", each, to=TensorProto.FLOAT16) for each in representations]
    features = _add_trunk(graph, model, representations)
    graph.scope = "head"
    decisions = _add_head(graph, model.head, features, float16=float16)
    n_frames: int | str = "frames"
    if n_samples is not None:
        n_frames = model.n_frames(n_samples)
    graph.rename(graph.add("Sigmoid", decisions.logits), OUTPUTS[0])
    graph.rename(_as_float32(graph, decisions.embedding, float16=float16), OUTPUTS[1])
    graph.rename(graph.add("Sigmoid", decisions.frame_logits), OUTPUTS[2])
    shapes = (
        ("batch", model.n_classes), ("batch", model.embedding_size), ("batch", n_frames, model.n_classes),
    )  # fmt: skip
    return graph.model(
        model.architecture,
        [_input_of(model, from_log_mel=from_log_mel, n_samples=n_samples)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(OUTPUTS, shapes, strict=True)
        ],
        metadata,
    )


def _input_of(model: Pann, *, from_log_mel: bool, n_samples: int | None) -> Any:
    from onnx import TensorProto, helper

    if not from_log_mel:
        return helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ("batch", n_samples or "samples"))
    if model.frontend is None:
        raise TypeError(f"{model.architecture} has no log-mel")
    n_frames = "log_mel_frames" if n_samples is None else model.frontend.n_frames(n_samples)
    shape = ("batch", n_frames, model.frontend.n_mels)
    return helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, shape)


def _add_stem(graph: Graph, model: Pann, *, from_log_mel: bool, is_dynamic: bool) -> list[str]:
    """The representations that the trunk takes."""
    stem = model.stem
    if from_log_mel:
        if not isinstance(stem, LogMelStem):
            raise TypeError(f"{model.architecture} needs the waveform")
        return [_add_norm(graph, stem, "log_mel")]
    waveform = "waveform"
    if is_dynamic and model.min_samples > 1:
        graph.scope = "padding"
        missing = graph.add("Sub", graph.integers([model.min_samples]), _length_of(graph, waveform))
        at_end = graph.add("Max", missing, graph.integers([0]))
        waveform = graph.add("Pad", waveform, graph.add("Concat", graph.integers([0, 0, 0]), at_end, axis=0))
    if isinstance(stem, RawStem):
        return [graph.add("Unsqueeze", waveform, graph.integers([1]))]
    if isinstance(stem, WavegramStem):
        return [_add_wavegram(graph, stem, waveform)]
    log_mel_stem = stem.log_mel if isinstance(stem, WavegramLogMelStem) else stem
    graph.scope = "front_end"
    normalised = _add_norm(graph, log_mel_stem, add_log_mel(graph, waveform, log_mel_stem.log_mel.frontend))
    if isinstance(stem, WavegramLogMelStem):
        return [normalised, _add_wavegram(graph, stem.wavegram, waveform)]
    return [normalised]


def _length_of(graph: Graph, waveform: str) -> str:
    return graph.add("Slice", graph.add("Shape", waveform), graph.integers([1]), graph.integers([2]))


def _add_norm(graph: Graph, stem: LogMelStem, log_mel: str) -> str:
    """``(B, T, F)`` log-mel -> ``(B, 1, T, F)``, each band scaled and shifted as ``bn0`` does."""
    graph.scope = "norm"
    scale, shift = (graph.weight(each) for each in affine_of(stem.bn0))
    scaled = graph.add("Add", graph.add("Mul", log_mel, scale), shift)
    return graph.add("Unsqueeze", scaled, graph.integers([1]))


def _add_wavegram(graph: Graph, stem: WavegramStem, waveform: str) -> str:
    graph.scope = "wavegram"
    return add_part(graph, stem, waveform)


def _add_trunk(graph: Graph, model: Pann, representations: list[str]) -> str:
    """``(B, C, T')`` features."""
    graph.scope = "trunk"
    trunk, (value, *joined) = model.trunk, representations
    if not joined:
        return add_part(graph, trunk, value)
    if not isinstance(trunk, Cnn):
        raise NotImplementedError(f"a second representation for {type(trunk).__name__} has no ONNX form here")
    first, *others = trunk.blocks()
    value = _add_joined(graph, add_part(graph, first, value), *joined)
    for block in others:
        value = add_part(graph, block, value)
    return graph.add("ReduceMean", value, axes=[3], keepdims=0)


def _add_joined(graph: Graph, one: str, other: str) -> str:
    """Both arrays' channels, over the frames that both have."""
    n_frames = graph.add("Min", graph.size_of(one, 2), graph.size_of(other, 2))
    end = graph.add("Reshape", n_frames, graph.integers([1]))
    cropped = [
        graph.add("Slice", each, graph.integers([0]), end, graph.integers([2])) for each in (one, other)
    ]
    return graph.add("Concat", *cropped, axis=1)


def _add_head(graph: Graph, head: Head, features: str, *, float16: bool) -> _Decisions:
    """From ``(B, C, T')`` features; logits are float32."""
    frames = _add_relu_linear(graph, head.fc1, _add_local_pooling(graph, features))
    if isinstance(head, ClipHead):
        largest = graph.add("ReduceMax", features, axes=[2], keepdims=0)
        mean = graph.add("ReduceMean", features, axes=[2], keepdims=0)
        embedding = _add_relu_linear(graph, head.fc1, graph.add("Add", largest, mean))
        logits, frame_logits = (
            _as_float32(graph, _add_decision(graph, head, each), float16=float16)
            for each in (embedding, frames)
        )
        return _Decisions(logits, embedding, frame_logits)
    embedding = graph.add("ReduceMean", frames, axes=[1], keepdims=0)
    if isinstance(head, AttentionHead):
        attention, frame_logits = (
            _as_float32(graph, _add_classifier(graph, each, frames), float16=float16)
            for each in (head.att_block.att, head.att_block.cla)
        )
        return _Decisions(_add_attended(graph, head, attention, frame_logits), embedding, frame_logits)
    frame_logits = _as_float32(graph, add_linear(graph, head.fc_audioset, frames), float16=float16)
    return _Decisions(_add_combined(graph, head, frame_logits), embedding, frame_logits)


def _as_float32(graph: Graph, value: str, *, float16: bool) -> str:
    from onnx import TensorProto

    return graph.add("Cast", value, to=TensorProto.FLOAT) if float16 else value


def _add_local_pooling(graph: Graph, features: str) -> str:
    """``(B, C, T')`` -> ``(B, T', C)``, as `pannsx.models.heads.pool_locally`."""
    around: dict[str, Any] = {"kernel_shape": [3], "strides": [1], "pads": [1, 1]}
    largest = graph.add("MaxPool", features, **around)
    mean = graph.add("AveragePool", features, count_include_pad=1, **around)
    return graph.add("Transpose", graph.add("Add", largest, mean), perm=[0, 2, 1])


def _add_relu_linear(graph: Graph, layer: nn.Linear, value: str) -> str:
    return graph.add("Relu", add_linear(graph, layer, value))


def _add_decision(graph: Graph, head: ClipHead, embedding: str) -> str:
    for layer in head.hidden:
        if not isinstance(layer, nn.Linear):
            raise NotImplementedError(f"{layer} has no ONNX form here")
        embedding = _add_relu_linear(graph, layer, embedding)
    return add_linear(graph, head.fc_audioset, embedding)


def _add_classifier(graph: Graph, layer: nn.Conv1d, frames: str) -> str:
    """``(B, T', D)`` -> ``(B, T', K)``: a convolution with one tap is a linear layer."""
    product = graph.add("MatMul", frames, weight_of(graph, layer.weight[:, :, 0].t()))
    return product if layer.bias is None else graph.add("Add", product, weight_of(graph, layer.bias))


def _add_combined(graph: Graph, head: FrameHead, frame_logits: str) -> str:
    if head.combine is max_over_frames:
        return graph.add("ReduceMax", frame_logits, axes=[1], keepdims=0)
    if head.combine is mean_over_frames:
        # The logarithm of the number of frames is in both sums, whose difference is taken.
        return _add_logit_of_mean(graph, frame_logits, None)
    raise NotImplementedError(f"{head.combine} has no ONNX form here")


def _add_attended(graph: Graph, head: AttentionHead, attention: str, frame_logits: str) -> str:
    graph_dtype, graph.dtype = graph.dtype, np.float32
    bound = head.max_attention_logit
    clipped = graph.add("Clip", attention, graph.weight(-bound), graph.weight(bound))
    logits = _add_logit_of_mean(graph, frame_logits, graph.add("LogSoftmax", clipped, axis=1))
    graph.dtype = graph_dtype
    return logits


def _add_logit_of_mean(graph: Graph, frame_logits: str, log_weights: str | None) -> str:
    """``(B, T', K)`` -> ``(B, K)``, as `pannsx.models.heads.logit_of_mean`."""
    sums = []
    for sign in (1, -1):
        # log sigmoid(x) = -softplus(-x)
        opposite = graph.add("Neg", frame_logits) if sign > 0 else frame_logits
        log_p = graph.add("Neg", graph.add("Softplus", opposite))
        sums.append(_add_log_sum_exp(graph, graph.add("Add", log_weights, log_p) if log_weights else log_p))
    return graph.add("Sub", *sums)


def _add_log_sum_exp(graph: Graph, value: str) -> str:
    """Over the frames, relative to the greatest: no exponential underflows to a sum of zero."""
    greatest = graph.add("ReduceMax", value, axes=[1], keepdims=1)
    exponentials = graph.add("Exp", graph.add("Sub", value, greatest))
    total = graph.add("ReduceSum", exponentials, graph.integers([1]), keepdims=1)
    both = graph.add("Add", greatest, graph.add("Log", total))
    return graph.add("Squeeze", both, graph.integers([1]))

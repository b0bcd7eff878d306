"""Parts of a network as nodes of an ONNX graph, operation by operation.

A part is traced by torch.fx with its norms folded (`pannsx.inference.cpu.traced`). An operation that is not
known here is an error, not a guess.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from pannsx.export.graph import Graph
from pannsx.inference.cpu.traced import affine_of, module_of, simplified

Add = Callable[..., str]


def add_part(graph: Graph, part: nn.Module, value: str) -> str:
    """Add a part that maps one array to one, as in evaluation; returns its output.

    Raises:
        NotImplementedError: the part has an operation that is not known here.
    """
    traced = simplified(part)
    values: dict[fx.Node, str] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            if node.users:
                values[node] = value
        elif node.op == "output":
            (found,) = node.args
            return values[found[0] if isinstance(found, tuple) else found]
        elif node.op != "get_attr" and not _is_check(node):
            values[node] = _add_node(graph, traced, node, values)
    raise AssertionError("a traced graph has an output")


def add_linear(graph: Graph, layer: nn.Linear, value: str) -> str:
    """``(..., in)`` -> ``(..., out)``."""
    product = graph.add("MatMul", value, weight_of(graph, layer.weight.t()))
    return graph.add("Add", product, weight_of(graph, layer.bias))


def weight_of(graph: Graph, tensor: Tensor) -> str:
    """A tensor as a constant in the graph's ``dtype``."""
    return graph.weight(tensor.detach().numpy())


def _is_check(node: fx.Node) -> bool:
    """Whether the node only checks that an argument without a value has none."""
    return node.op == "call_function" and getattr(node.target, "__name__", "") == "_assert_is_none"


def _add_node(graph: Graph, traced: fx.GraphModule, node: fx.Node, values: dict[fx.Node, str]) -> str:
    inputs = [values[each] for each in node.args if isinstance(each, fx.Node)]
    module = module_of(traced, node)
    if module is not None:
        return _add_module(graph, module, inputs[0])
    rest = [each for each in node.args if not isinstance(each, fx.Node)]
    name = getattr(node.target, "__name__", str(node.target))
    if node.target in (functional.relu, torch.relu):
        return graph.add("Relu", inputs[0])
    if node.target is operator.add:
        return graph.add("Add", *inputs)
    if node.target is functional.avg_pool2d:
        return _add_pool(graph, "AveragePool", inputs[0], _sizes(rest[0], 2))
    if node.target is functional.max_pool1d:
        stride = node.kwargs["stride"]
        sizes, padding = _sizes(rest[0], 1), _sizes(node.kwargs["padding"], 1)
        return _add_pool(graph, "MaxPool", inputs[0], sizes, _sizes(stride or rest[0], 1), padding)
    if node.target == "mean":
        return graph.add("ReduceMean", inputs[0], axes=[node.kwargs["dim"]], keepdims=0)
    if node.target is operator.getitem and rest == [(slice(None), None)]:
        return graph.add("Unsqueeze", inputs[0], graph.integers([1]))
    if node.target == "unflatten" and rest[0] == 1:
        # (B, C, S) alone is unflattened here: the first and the last axis stay as they are.
        return graph.add("Reshape", inputs[0], graph.integers([0, *rest[1], -1]))  # type: ignore[misc]
    if node.target == "transpose" and rest == [2, 3]:
        return graph.add("Transpose", inputs[0], perm=[0, 1, 3, 2])
    raise NotImplementedError(f"{name} with {node.args[1:]} and {node.kwargs} has no ONNX form here")


def _add_module(graph: Graph, module: nn.Module, value: str) -> str:
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        return _add_convolution(graph, module, value)
    if isinstance(module, nn.ReLU):
        return graph.add("Relu", value)
    if isinstance(module, nn.ReLU6):
        return graph.add("Clip", value, graph.weight(0.0), graph.weight(6.0))
    if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d)) and not module.ceil_mode:
        n_axes = 2 if isinstance(module, nn.AvgPool2d) else 1
        kind = "MaxPool" if isinstance(module, nn.MaxPool1d) else "AveragePool"
        sizes = (_sizes(each, n_axes) for each in (module.kernel_size, module.stride, module.padding))
        return _add_pool(graph, kind, value, *sizes)
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        n_axes = 2 if isinstance(module, nn.BatchNorm2d) else 1
        scale, shift = (graph.weight(each.reshape(-1, *[1] * n_axes)) for each in affine_of(module))
        return graph.add("Add", graph.add("Mul", value, scale), shift)
    raise NotImplementedError(f"{module} has no ONNX form here")


def _add_convolution(graph: Graph, layer: nn.Conv1d | nn.Conv2d, value: str) -> str:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise NotImplementedError(f"{layer} has no ONNX form here")
    bias = [] if layer.bias is None else [weight_of(graph, layer.bias)]
    return graph.add(
        "Conv",
        value,
        weight_of(graph, layer.weight),
        *bias,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        dilations=list(layer.dilation),
        group=layer.groups,
    )


def _add_pool(
    graph: Graph,
    kind: str,
    value: str,
    sizes: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Sequence[int] | None = None,
) -> str:
    pads = [*padding, *padding] if padding else [0] * 2 * len(sizes)
    counted = {"count_include_pad": 1} if kind == "AveragePool" else {}
    return graph.add(
        kind, value, kernel_shape=list(sizes), strides=list(strides or sizes), pads=pads, **counted
    )


def _sizes(size: Any, n_axes: int) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size,) * n_axes

"""Any part of a PANN for inference on the CPU: norms folded, channels last, deep layers in time as products.

The part is traced into its operations (torch.fx) and stays a torch module; its results change only by
rounding.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from pannsx.inference.cpu.folding import by_tap, folded, scale_and_shift
from pannsx.models.trunks import Cnn
from pannsx.types import FloatArray

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_MEAN_POOLS = (nn.AvgPool2d, nn.AvgPool1d)

PRODUCT_WEIGHTS_1D = 512 * 512
"""Minimum product of channels in and channels out for a convolution over time as a matrix product."""


class TracedTrunk:
    """A trunk, applied to a batch of stacked items of one size, on torch's own threads."""

    def __init__(self, trunk: nn.Module, *, bfloat16: bool) -> None:
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        # What a trunk does that joins two representations depends on their sizes, and cannot be traced.
        joins = isinstance(trunk, Cnn) and trunk.settings.joined_channels > 0
        prepared = copy.deepcopy(trunk).eval() if joins else prepare_module(trunk)
        self._module = prepared.to(self._dtype)

    def __call__(self, *representations: Sequence[FloatArray]) -> list[FloatArray]:
        """``(C, T, F)`` or ``(1, S)`` of each item -> ``(T', C')`` features."""
        with torch.inference_mode():
            batches = [torch.from_numpy(np.stack(items)).to(self._dtype) for items in representations]
            return list(self._module(*batches).float().transpose(1, 2).contiguous().numpy())


def prepare_module(part: nn.Module) -> nn.Module:
    """A copy of ``part`` for inference; the original stays unchanged."""
    traced = simplified(part)
    _use_products(traced)
    traced.graph.eliminate_dead_code()
    traced.graph.lint()
    traced.delete_all_unused_submodules()
    traced.recompile()
    traced.requires_grad_(False)
    if _is_two_dimensional(traced):
        traced.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return traced


def simplified(part: nn.Module) -> fx.GraphModule:
    """A traced copy of ``part`` as in evaluation, without dropout, its norms folded into convolutions."""
    traced = fx.symbolic_trace(copy.deepcopy(part).eval(), concrete_args=_unused_arguments(part))
    _drop_dropout(traced)  # first: it may stand between a convolution and its norm
    _fold_norms(traced)
    return traced


def _unused_arguments(part: nn.Module) -> dict[str, None]:
    """Arguments without a value in inference, such as the log-mel of a stem that computes a wavegram."""
    parameters = inspect.signature(part.forward).parameters.values()
    return {each.name: None for each in parameters if each.default is None}


def _is_two_dimensional(module: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def module_of(traced: fx.GraphModule, node: object) -> nn.Module | None:
    """The module that a node of the graph calls, or None."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return traced.get_submodule(str(node.target))
    return None


def _replace(traced: fx.GraphModule, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of another, whose weights are freed.

    The traced copy refers to itself, so that what it holds would wait for Python's garbage collector.
    """
    parent, _, child = name.rpartition(".")
    traced.get_submodule(name)._parameters.clear()
    setattr(traced.get_submodule(parent), child, module)


def _fold_norms(traced: fx.GraphModule) -> None:
    """Fold each norm into the convolution before it; a mean over neighbours may stand between them."""
    for node in list(traced.graph.nodes):
        norm = module_of(traced, node)
        if not isinstance(norm, _NORMS):
            continue
        source = node.args[0]
        if isinstance(module_of(traced, source), _MEAN_POOLS) and len(source.users) == 1:
            source = source.args[0]  # the mean of an affine map is the map of the mean
        convolution = module_of(traced, source)
        if not isinstance(convolution, _CONVOLUTIONS) or len(source.users) != 1:
            continue
        weight, bias = fold_norm(convolution, norm)
        convolution.weight, convolution.bias = nn.Parameter(weight), nn.Parameter(bias)
        node.replace_all_uses_with(node.args[0])
        traced.graph.erase_node(node)


def affine_of(
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """``(C,)`` scales and shifts of the norm in evaluation mode, in float64.

    Raises:
        ValueError: the norm keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    return scale_and_shift(
        norm.weight.detach().double().numpy(),
        norm.bias.detach().double().numpy(),
        norm.running_mean.double().numpy(),
        norm.running_var.double().numpy(),
        norm.eps,
    )


def fold_norm(
    convolution: nn.Conv1d | nn.Conv2d, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution equivalent to the two layers.

    Raises:
        ValueError: the norm keeps no running statistics.
    """
    scale, shift = affine_of(norm)
    bias = None if convolution.bias is None else convolution.bias.detach().numpy()
    weight, bias = folded(convolution.weight.detach().numpy(), bias, scale, shift)
    return torch.from_numpy(weight), torch.from_numpy(bias)


def _drop_dropout(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if isinstance(module_of(traced, node), (nn.Dropout, nn.Identity)):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def _use_products(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        layer = module_of(traced, node)
        if not isinstance(layer, nn.Conv1d) or layer.groups != 1 or isinstance(layer.padding, str):
            continue
        if layer.padding_mode != "zeros":
            continue
        size = layer.in_channels * layer.out_channels
        if layer.stride == (1,) and layer.kernel_size[0] % 2 == 1 and size >= PRODUCT_WEIGHTS_1D:
            _replace(traced, str(node.target), _ProductConv1d(layer))


def _by_tap(weight: Tensor) -> Tensor:
    return torch.from_numpy(by_tap(weight.detach().float().numpy()))


class _ProductConv1d(nn.Module):
    """``(B, C, L)`` -> ``(B, C', L)``: a convolution over time as a matrix product, with any dilation."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        taps = _by_tap(layer.weight[..., None])
        self.n_taps, self.dilation = len(taps), layer.dilation[0]
        self.weight = nn.Parameter(taps.view(-1, layer.out_channels))
        bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
        self.bias = nn.Parameter(bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, L) -> (B, C', L)``."""
        b, c, length = x.shape
        beside = self.dilation * (self.n_taps // 2)
        padded = functional.pad(x.transpose(1, 2), (0, 0, beside, beside)).contiguous()
        item, cell, _ = padded.stride()
        around = padded.as_strided((b, length, self.n_taps, c), (item, cell, self.dilation * cell, 1))
        out = torch.addmm(self.bias, around.reshape(b * length, self.n_taps * c), self.weight)
        return out.view(b, length, -1).transpose(1, 2)

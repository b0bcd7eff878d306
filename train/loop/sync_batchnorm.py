"""Batch norm with statistics over all ranks, also on CPUs, in any floating-point type.

torch's own (``torch.nn.SyncBatchNorm``) runs on GPUs only. Means and squared deviations of the ranks are
combined by Chan's formula (Chan, Golub and LeVeque 1983), which is accurate for large means.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """Convert a model's batch norms to shared statistics over ranks; weights and their names are kept."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for name, child in list(model.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(model, name, _shared(child))
        else:
            synchronise(child, device)
    return model


class SharedBatchNorm(_BatchNorm):
    """``(B, C, ...)`` -> same shape: normalised by the statistics over all ranks' batches."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch norm needs (B, C, ...), got {tuple(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, ...)`` -> same shape; as torch's batch norm in evaluation or with a single rank."""
        if not self.training or not dist.is_initialized() or self.momentum is None:
            return super().forward(x)
        self._check_input_dim(x)
        normalised, mean, variance, count = _Normalise.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, self.eps
        )
        with torch.no_grad():
            if self.running_mean is not None and self.running_var is not None:
                unbiased = variance * (count / (count - 1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return normalised  # type: ignore[no-any-return]


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    # The same tensor objects, as an optimiser may already refer to them.
    shared._parameters, shared._buffers = norm._parameters, norm._buffers
    shared.train(norm.training)
    return shared


class _Normalise(torch.autograd.Function):
    """Forward: one all-gather of (count, mean, squared deviations); backward: one sum over ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x if x.dtype == torch.float64 else x.float()
        axes = [0, *range(2, x.ndim)]
        own_count = x.numel() // x.shape[1]
        own_mean = wide.mean(dim=axes)
        deviation = (wide - _by_channel(own_mean, x)).square().sum(dim=axes)
        own = torch.cat((own_mean.new_tensor([own_count]), own_mean, deviation)).double()
        everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, own)
        stacked = torch.stack(everyone)
        counts, means, deviations = (
            stacked[:, :1],
            stacked[:, 1 : 1 + x.shape[1]],
            stacked[:, 1 + x.shape[1] :],
        )
        count = counts.sum()
        mean = (counts * means).sum(dim=0) / count
        squares = (deviations + counts * (means - mean).square()).sum(dim=0)
        variance = squares / count
        scale = (variance + eps).rsqrt().to(wide.dtype)
        standard = (wide - _by_channel(mean.to(wide.dtype), x)) * _by_channel(scale, x)
        ctx.save_for_backward(standard, weight, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        normalised = standard * _by_channel(weight, x) + _by_channel(bias, x)
        return normalised.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        standard, weight, scale, count = ctx.saved_tensors
        wide = gradient.to(standard.dtype)
        axes = [0, *range(2, wide.ndim)]
        own_bias = wide.sum(dim=axes)
        own_weight = (wide * standard).sum(dim=axes)
        both = torch.stack((own_bias, own_weight)).double()
        dist.all_reduce(both)
        mean_bias, mean_weight = (both / count).to(wide.dtype)
        back = wide - _by_channel(mean_bias, wide) - standard * _by_channel(mean_weight, wide)
        back = back * _by_channel(weight.to(wide.dtype) * scale, wide)
        # Gradients of the weights are this rank's: DistributedDataParallel averages them.
        return back.to(gradient.dtype), own_weight.to(weight.dtype), own_bias.to(weight.dtype), None


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))

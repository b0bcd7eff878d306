"""Products in 8 bits: the ranges of their inputs, found on clips, and a network rounded to them.

The pointwise convolutions of a MobileNetV1 take the outputs of a ReLU. Such an input is rounded to whole
*steps* from 0 to 255, one step for all values of a layer; weights, with the norm folded in, to whole numbers
from -127 to 127, with one scale for each channel of the output. All other layers stay in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pannsx.inference.cpu.folding import Tensors, rounded_filters
from pannsx.jit.matrix8 import MOST
from pannsx.models.settings import MobileNetSettings
from pannsx.models.structure import TrunkSettings
from pannsx.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pannsx.models.pann import Pann

PERCENTILE = 99.99
"""Of a clip's inputs of a layer: the largest few are cut off, which makes the steps of all others finer.

On ESC-10 this kept more first tags than the maximum did.
"""


def products_in_8_bits(trunk: TrunkSettings, architecture: str) -> dict[str, str]:
    """The pointwise convolutions that can be computed in 8 bits, with their norms, by published name.

    Raises:
        ValueError: the network has none; ``architecture`` is its name, for the message.
    """
    if not isinstance(trunk, MobileNetSettings) or trunk.residual:
        raise ValueError(
            f"{architecture} cannot be computed in 8 bits: only a MobileNetV1 can, whose products have "
            "inputs that are never negative; use float32, or bfloat16 for large networks"
        )
    return trunk.rectified_products


def int8_steps(model: Pann, waveforms: Iterable[npt.ArrayLike]) -> dict[str, float]:
    """The step of each product's input, calibrated on clips.

    The 99.99th percentile of the layer's inputs in each clip, the largest over the clips, is 255 steps.

    >>> import numpy as np
    >>> import pannsx
    >>> from pannsx.inference.quantisation import int8_steps
    >>>
    >>> model = pannsx.create_model("MobileNetV1_distilled", pretrained=True)
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    >>> model.int8_steps = int8_steps(model, [noise])

    Args:
        model: a MobileNetV1 in evaluation mode.
        waveforms: clips ``(S,)`` at the model's rate, of any length and one at a time; a long recording is
            given in clips of about 10 s, as the network hears it.

    Returns:
        The value of one step by published name of the layer, such as ``features.1.4``.

    Raises:
        ValueError: another architecture, a network in training mode, no clip, a clip that is not ``(S,)``, or
            clips in which the input of a layer is always 0.
    """
    import torch

    layers = products_in_8_bits(_settings(model), model.architecture)
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    largest = dict.fromkeys(layers, 0.0)

    def watch(layer: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def found(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].detach().float().cpu().numpy()
            largest[layer] = max(largest[layer], float(np.percentile(values, PERCENTILE)))

        return found

    device = next(model.parameters()).device
    handles = [_layer(model, layer).register_forward_pre_hook(watch(layer)) for layer in layers]
    n_clips = 0
    try:
        with torch.inference_mode():
            for waveform in waveforms:
                samples = np.ascontiguousarray(waveform, np.float32)
                if samples.ndim != 1:
                    raise ValueError(f"clip {n_clips} has shape {samples.shape}; (S,) samples are needed")
                model.forward_features(model.pad(torch.from_numpy(samples)[None].to(device)))
                n_clips += 1
    finally:
        for handle in handles:
            handle.remove()
    if n_clips == 0:
        raise ValueError("there is no clip to calibrate on; give clips like those that will be tagged")
    if silent := [layer for layer, value in largest.items() if not value > 0]:
        raise ValueError(
            f"the input of {', '.join(silent)} is 0 in every clip, of {n_clips}; give clips with "
            "sound in them"
        )
    return {layer: value / MOST for layer, value in largest.items()}


def rounded_module(model: Pann, steps: Mapping[str, float]) -> Pann:
    """A copy of a network that computes in float32 what products in 8 bits compute, on the model's device.

    Each input is rounded to whole steps, halves up, and cut off at 255; weights as :func:`rounded_weights`.

    Raises:
        ValueError: another architecture, or steps that are not those of its layers.
    """
    import torch

    layers = products_in_8_bits(_settings(model), model.architecture)
    if set(steps) != set(layers):
        raise ValueError(f"steps are of {', '.join(steps) or 'no layer'}; {', '.join(layers)} are needed")
    copied = copy.deepcopy(model)
    weights = rounded_weights(_arrays(model), layers)
    for layer, (whole, scale) in weights.items():
        convolution = _layer(copied, layer)
        values = torch.from_numpy(whole.astype(np.float32) * scale[:, None, None, None])
        with torch.no_grad():
            convolution.weight.copy_(values)  # type: ignore[operator]
        convolution.register_forward_pre_hook(_rounding(steps[layer]))
    return copied


def rounded_weights(
    arrays: Mapping[str, npt.NDArray[Any]], layers: Mapping[str, str]
) -> dict[str, tuple[npt.NDArray[np.int8], FloatArray]]:
    """The weights of layers in 8 bits ``(C', C, 1, 1)``, and the ``(C',)`` scales that give them back.

    They are rounded as their products with the scales of the norm, from which the same whole numbers follow
    again; the scales are positive and without the norm's.

    Args:
        arrays: tensors of a network by published key.
        layers: convolutions, with their norms.
    """
    tensors = Tensors(arrays)
    found = {}
    for layer, norm in layers.items():
        folded, _ = tensors.folded(layer, norm)
        whole, scale = rounded_filters(folded)
        of_norm, _ = tensors.scale_and_shift(norm)
        used = of_norm.astype(np.float32) != 0
        # A channel whose norm is 0 answers a constant, whatever its weights are.
        alone, own = rounded_filters(tensors.weight(layer))
        sign = np.where(of_norm < 0, -1, 1).astype(np.int8)[:, None, None, None]
        whole = np.where(used[:, None, None, None], whole * sign, alone)
        unfolded = np.divide(scale, np.abs(of_norm), out=own.astype(np.float64), where=used)
        found[layer] = whole.astype(np.int8), unfolded.astype(np.float32)
    return found


def _rounding(step: float) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def round_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        units = (inputs[0] / step + 0.5).floor().clamp(0, MOST)
        return (units * step,)

    return round_input


def _settings(model: Pann) -> TrunkSettings:
    from pannsx.models.trunks.mobilenet import MobileNet
    from pannsx.models.zoo import ARCHITECTURES

    trunk = model.trunk
    return trunk.settings if isinstance(trunk, MobileNet) else ARCHITECTURES[model.architecture].trunk


def _layer(model: Pann, name: str) -> nn.Module:
    return model.trunk.get_submodule(name)


def _arrays(model: Pann) -> dict[str, npt.NDArray[Any]]:
    from pannsx.models.convert import to_published

    return {key: tensor.detach().cpu().numpy() for key, tensor in to_published(model).items()}

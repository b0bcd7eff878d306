"""Waveforms in memory: NumPy arrays and torch tensors of any number type."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from pannsx.audio.reader import Reader
from pannsx.errors import AudioError
from pannsx.types import FloatArray

MAX_CHANNELS = 64
_BLOCK_FRAMES = 1 << 20
# 32-bit samples that stay within this many bits are quieter than -48 dB of full scale throughout.
_WIDEST_SUSPECT_BITS = 24
_CAST = {"the array": ".astype(numpy.", "the tensor": ".to(torch."}


class ArrayReader(Reader):
    """A waveform ``(S,)`` or ``(S, C)`` and its sample rate; converted block by block.

    Raises:
        AudioError: wrong number of dimensions, wrong type, no samples, or apparently ``(C, S)``.
    """

    def __init__(self, array: Any, sample_rate: int) -> None:
        tensor = is_tensor(array)
        self.name = "the tensor" if tensor else "the array"
        samples = _tensor_to_array(array) if tensor else np.asarray(array)
        if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
            raise AudioError("the array has masked samples; fill them first, e.g. array.filled(0)")
        self.format = f"{'tensor' if tensor else 'array'} of {samples.dtype}"
        self._frames = _as_frames(samples, self.name)
        _check_scale(self._frames, self.name)
        self.is_bounded = self._frames.dtype.kind in "iu"
        self.sample_rate = sample_rate
        self.n_frames, self.n_channels = self._frames.shape

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)`` as float32 blocks ``(n, C)``."""
        end = len(self._frames) if stop is None else min(stop, len(self._frames))
        for first in range(start, end, _BLOCK_FRAMES):
            yield scale_to_unit(self._frames[first : min(first + _BLOCK_FRAMES, end)])


def scale_to_unit(samples: npt.NDArray[Any]) -> FloatArray:
    """Samples of any shape and number type -> float32 in [-1, 1], the full scale of integers being 1.

    Signed integers of ``n`` bits are divided by ``2**(n - 1)``; the zero of unsigned ones is the
    middle of the range, as in 8-bit WAV.  Floating-point samples are not scaled.
    """
    if samples.dtype.kind == "f":
        with np.errstate(
            over="ignore"
        ):  # beyond float32: becomes infinite, which is reported with its position
            return samples.astype(np.float32, copy=False)
    half = 2.0 ** (samples.dtype.itemsize * 8 - 1)
    # float32 represents 16-bit integers exactly; wider ones need float64 until they are scaled.
    wide = samples.astype(np.float32 if samples.dtype.itemsize <= 2 else np.float64)
    if samples.dtype.kind == "u":
        wide -= half
    wide /= half
    return wide.astype(np.float32, copy=False)


def _check_scale(frames: npt.NDArray[Any], name: str) -> None:
    """Warn of integers that use a sliver of their type's range, as 16-bit samples in 32 bits do.

    Raises:
        AudioError: integers of 64 bits that stay within 32: no format has such samples.
    """
    kind, n_bits = frames.dtype.kind, frames.dtype.itemsize * 8
    if kind not in "iu" or n_bits < 32:
        return
    low, high = int(frames.min()), int(frames.max())
    if low == high == 0:
        return
    n_used = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (kind == "i")
    if n_used > (32 if n_bits == 64 else _WIDEST_SUSPECT_BITS):
        return
    # The narrowest usual type that holds them.
    fits = next((bits for bits in (16, 24, 32) if n_used <= bits), 32)
    fix = f"divide by {2.0 ** (fits - 1):.0f} as float32"
    if kind == "u":
        fix = f"subtract {2.0 ** (fits - 1):.0f}, then " + fix
    if fits != 24:
        fix = (
            f"convert it with {_CAST[name]}{kind.replace('i', 'int').replace('u', 'uint')}{fits}), or " + fix
        )
    message = (
        f"{name} of {frames.dtype} has values from {low} to {high}, which are {fits}-bit samples in "
        f"{n_bits} bits; full scale is 2**{n_bits - 1}, so that nothing would be heard: {fix}"
    )
    if n_bits == 64:
        raise AudioError(message)
    warnings.warn(message, stacklevel=2)


def is_tensor(source: object) -> TypeGuard[Any]:
    """Whether this is a torch tensor, without importing torch."""
    return any(
        base.__name__ == "Tensor" and base.__module__.partition(".")[0] == "torch"
        for base in type(source).__mro__
    )


def _tensor_to_array(tensor: Any) -> npt.NDArray[Any]:
    """A tensor of any device, gradient or number type (bfloat16 too) -> the same samples in NumPy."""
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point() and "bfloat16" in str(tensor.dtype):  # NumPy has no bfloat16
            tensor = tensor.float()
        array: npt.NDArray[Any] = tensor.numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, meta, 8-bit floating point
        raise AudioError(
            f"the tensor ({tensor.dtype}, {tensor.layout}, on {tensor.device}) cannot be read: {error}; "
            "give a dense tensor of float32"
        ) from error
    return array


def _as_frames(samples: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """``(S,)`` or ``(S, C)`` of any type -> ``(S, C)`` of a real number type, unscaled."""
    if samples.dtype.kind not in "fiu":
        hints = {
            "b": "is it a mask? audio needs integer or floating-point samples",
            "c": "a waveform is real: take .real, or the inverse transform of a spectrum",
            "O": "rows of unequal length? give a list of arrays, one per clip",
        }
        hint = hints.get(samples.dtype.kind, "integer or floating-point samples are needed")
        raise AudioError(f"{name} has type {samples.dtype}; {hint}")
    shape = samples.shape
    if len(shape) not in (1, 2):
        raise AudioError(
            f"{name} has shape {shape}; a waveform is (samples,) or (samples, channels)"
            + (
                f": for a batch give its items one by one, such as [*{name.split()[-1]}]"
                if len(shape) > 2
                else ""
            )
        )
    if 0 in shape:
        raise AudioError(f"{name} is empty: its shape is {shape}; at least one sample is needed")
    if len(shape) == 1:
        return samples[:, np.newaxis]
    if shape[1] > shape[0]:
        raise AudioError(
            f"{name} has shape {shape}, which looks like (channels, samples); (samples, channels) is needed: "
            "pass its transpose, .T"
        )
    if shape[1] > MAX_CHANNELS:
        raise AudioError(
            f"{name} has shape {shape}: {shape[1]} channels of (samples, channels), "
            f"at most {MAX_CHANNELS} are mixed down; for a batch give a list of waveforms"
        )
    return samples

"""A checkpoint with its products in 8 bits: the file, and what the rounding does to its answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pannsx.inference.quantisation import products_in_8_bits, rounded_weights
from pannsx.models.pann import Pann
from pannsx.types import FloatArray, PathLike
from pannsx.weights.eight_bits import SCALE_SUFFIX
from pannsx.weights.loading import OpenedCheckpoint
from pannsx.weights.operating_points import points_of
from pannsx.weights.record import Checkpoint
from pannsx.weights.saving import save_checkpoint, save_points

_DIGITS = 5
"""Of a step in the record: rounding moves an input by less than a thousandth of a step."""


class Agreement(NamedTuple):
    """The answers of two networks to the same clips.

    Attributes:
        n_clips: number of clips.
        first_tags: share of the clips whose most probable tag is the same.
        mean_change: mean difference of a probability, over all clips and classes.
        largest_change: the largest one.
    """

    n_clips: int
    first_tags: float
    mean_change: float
    largest_change: float


def write_int8(opened: OpenedCheckpoint, path: PathLike, steps: Mapping[str, float], data: str) -> Checkpoint:
    """Write a checkpoint with the weights of its products in 8 bits, and the steps of their inputs.

    The other tensors stay in float16 where they are, and are float32 otherwise. The record is written beside
    the file, and so are labels of its own and calibrated thresholds.

    Args:
        opened: a MobileNetV1, of :func:`pannsx.weights.loading.open_checkpoint`.
        path: file to write, with the extension ``.safetensors``.
        steps: of :func:`pannsx.inference.quantisation.int8_steps`.
        data: the clips of the calibration in words, for the record's notes: ``"80 clips of esc10"``.

    Returns:
        The record as written.

    Raises:
        ValueError: another architecture, another extension, or thresholds of other weights.
        WeightsError: the files cannot be written.
    """
    path = Path(path).absolute()
    model, base = opened.model, opened.record
    layers = products_in_8_bits(model.structure.trunk, model.structure.architecture)
    points = points_of(base, opened.labels.names)
    state = {
        key: array if array.dtype.kind != "f" or array.dtype == np.float16 else array.astype(np.float32)
        for key, array in model.arrays.items()
    }
    for layer, (whole, scale) in rounded_weights(model.arrays, layers).items():
        state |= {f"{layer}.weight": whole, f"{layer}.weight{SCALE_SUFFIX}": scale}
    of = f"{base.name}" + ("" if base.digest is None else f" ({base.digest})")
    notes = f"Products in 8 bits, from {of}; inputs calibrated on {data}."
    record = replace(
        base,
        name=path.stem,
        scores=None,  # and the example: of the weights before
        example=None,
        notes=notes if base.notes is None else f"{notes} Of {base.name}: {base.notes}",
        operating_points_sha256=None,
        int8_steps={layer: float(f"{steps[layer]:.{_DIGITS}g}") for layer in layers},
    )
    written = save_checkpoint(
        path,
        {key: torch.tensor(array) for key, array in state.items()},
        record,
        labels=None if base.labels == "audioset" else opened.labels,
    )
    if points is not None:
        save_points(points, written, path)
    return written


def agreement(one: Pann, other: Pann, waveforms: Iterable[FloatArray]) -> Agreement:
    """Compare the answers of two networks, in evaluation mode, to clips ``(S,)`` at their rate.

    Raises:
        ValueError: there is no clip.
    """
    kept: list[bool] = []
    changes: list[float] = []
    largest = 0.0
    with torch.inference_mode():
        for waveform in waveforms:
            batch = torch.from_numpy(np.ascontiguousarray(waveform, np.float32))[None]
            first, second = (torch.sigmoid(each(batch).logits[0]) for each in (one, other))
            kept.append(bool(first.argmax() == second.argmax()))
            difference = (first - second).abs()
            changes.append(float(difference.mean()))
            largest = max(largest, float(difference.max()))
    if not kept:
        raise ValueError("there is no clip to compare the networks on")
    return Agreement(len(kept), float(np.mean(kept)), float(np.mean(changes)), largest)

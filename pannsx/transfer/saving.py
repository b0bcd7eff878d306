"""A network with a new head as a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from pannsx.labels import LabelSet
from pannsx.models.convert import to_published
from pannsx.transfer.kept import AnyHead, clip_head_of
from pannsx.weights import LoadedCheckpoint, save_checkpoint
from pannsx.weights.delta import Factors
from pannsx.weights.record import Checkpoint, Scores
from pannsx.weights.saving import save_delta


def save(
    path: Path,
    base: LoadedCheckpoint,
    head: AnyHead,
    labels: LabelSet,
    *,
    description: str,
    trained_on: str,
    scores: dict[str, float] | None = None,
    as_delta: bool = False,
    factors: Mapping[str, Factors] | None = None,
) -> Checkpoint:
    """A network with a new head as a checkpoint with its own labels: ``AudioTagger(checkpoint=path)``.

    Args:
        path: ends in ``.safetensors``; its stem becomes the checkpoint's name.
        base: the network.
        head: its head.
        labels: labels of all its classes.
        description: one sentence.
        trained_on: data and method.
        scores: further scores by name.
        as_delta: write only the changes from the file that ``base`` was read from.
        factors: with it, the changes of weights at low rank that the network's weights contain.

    Raises:
        ValueError: the network decides frame by frame, or as :func:`pannsx.weights.saving.save_delta`.
        WeightsError: the files cannot be written, or the base not be read again.
    """
    model = copy.deepcopy(base.model)
    own = clip_head_of(model)
    *hidden, last = copy.deepcopy(head.layers())
    own.hidden, own.fc_audioset = nn.ModuleList(hidden), last
    record = replace(
        base.record,
        name=path.stem,
        labels="own",
        n_classes=len(labels),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        unused_parameters=0,
        description=description,
        trained_on=trained_on,
        scores=None
        if scores is None
        else Scores(mAP=None, auc=None, d_prime=None, source=None, other=scores),
        recipe=None,
        example=None,
        notes=f"Begun from {base.record.name}.",
        int8_steps=None,
    )
    state = to_published(model)
    if as_delta:
        return save_delta(path, state, record, base, labels=labels, factors=factors)
    return save_checkpoint(path, state, record, labels=labels)

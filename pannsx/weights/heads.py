"""Heads of several tasks on one trunk, as one network: its classifier holds the classes of all.

Every class has a sigmoid of its own, so the outputs of a task are columns of the network's. Beside a head
with hidden layers, those without pass the embedding on; the ReLU does not change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from os import PathLike as OsPathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pannsx.errors import WeightsError
from pannsx.events.operating_points import OperatingPoints
from pannsx.labels import LabelSet
from pannsx.models.structure import Arrays
from pannsx.models.zoo import ARCHITECTURES
from pannsx.types import FloatArray, PathLike
from pannsx.weights.delta import CLASSIFIER_PREFIXES
from pannsx.weights.loading import OpenedCheckpoint, model_of, open_checkpoint
from pannsx.weights.manifest import load_manifest
from pannsx.weights.naming import record_of
from pannsx.weights.operating_points import points_of
from pannsx.weights.record import Checkpoint

_SHOWN = 3
_INPUT = -1  # of all chains, among their numbers

Heads = Mapping[str, PathLike] | Sequence[PathLike]
Dense = tuple[FloatArray, FloatArray]  # (n_out, n_in) weight and (n_out,) bias


class Task(NamedTuple):
    """A task of a network with several heads.

    Attributes:
        record: of its checkpoint.
        labels: its ``K`` classes.
        operating_points: its calibrated thresholds, or None.
        columns: its classes among those of the network.
    """

    record: Checkpoint
    labels: LabelSet
    operating_points: OperatingPoints | None
    columns: slice


class Tasks(NamedTuple):
    """The tasks of a network with several heads.

    Attributes:
        own: that of the checkpoint itself.
        others: the further ones, by name.
    """

    own: Task
    others: Mapping[str, Task]


def open_with_heads(
    model: str | None,
    heads: Heads | None,
    *,
    checkpoint: PathLike | None,
    prefix: str | None,
    cache_dir: PathLike | None,
    allow_unverified: bool,
    progress: bool,
) -> tuple[OpenedCheckpoint, Tasks | None]:
    """A checkpoint, together with the heads of others that were trained on its frozen trunk.

    Args:
        model, checkpoint, prefix, cache_dir, allow_unverified, progress: as of
            :func:`pannsx.weights.load`; with neither model nor checkpoint, the base of the first head.
        heads: deltas or whole checkpoints, named as a model: paths, or repositories on the Hub; in a mapping
            from names, or in a list, by the names of their records. None: none.

    Returns:
        The checkpoint, None; or one network with all heads, in which a label of a further task has the
        task's name before it, as ``urban/siren``, and the tasks.

    Raises:
        ValueError: as :func:`pannsx.weights.load`; no head, two of one name, or a file of operating points
            that is not a checkpoint's own.
        WeightsError: a checkpoint cannot be obtained, trusted or read; one is not on this trunk, or changes
            it; or the network decides frame by frame.
    """
    if heads is not None and model is None and checkpoint is None:
        model = _base_of(_named(heads)[0][1], cache_dir)
    how: dict[str, Any] = {
        "cache_dir": cache_dir,
        "allow_unverified": allow_unverified,
        "progress": progress,
    }
    opened = open_checkpoint(model, checkpoint=checkpoint, prefix=prefix, **how)
    if heads is None:
        return opened, None
    _check_clip_head(opened.record)
    points = points_of(opened.record, opened.labels.names, checkpoint)
    own = Task(opened.record, opened.labels, points, slice(0, len(opened.labels)))
    trunk = opened.model.arrays
    chains, others = [_chain(trunk)], {}
    for given, path in _named(heads):
        other = open_checkpoint(path, **how)
        name = other.record.name if given is None else given
        if name in others:
            raise ValueError(f"two heads have the name {name!r}; give heads as a mapping from other names")
        arrays = other.model.arrays
        _check_same_trunk(opened.record, trunk, other.record, arrays)
        begin = sum(len(chain[-1][0]) for chain in chains)
        points = points_of(other.record, other.labels.names)
        others[name] = Task(other.record, other.labels, points, slice(begin, begin + len(other.labels)))
        chains.append(_chain(arrays))
    tasks = Tasks(own, others)
    return _together(opened, trunk, chains, tasks), tasks


def _base_of(head: str, cache_dir: PathLike | None) -> str | None:
    """The base of a delta, as a model is named; None: it is a whole checkpoint."""
    record = record_of(head, cache_dir=cache_dir)
    base = record.base
    if base is None:
        return None
    published = load_manifest().get(base.name)
    if published is not None and published.filename == base.filename:
        return base.name
    return str(base.filename if record.folder is None else record.folder / base.filename)


def _named(heads: Heads) -> list[tuple[str | None, str]]:
    if isinstance(heads, (str, bytes, OsPathLike)) or not heads:
        raise ValueError(
            f"heads is {heads!r}; a list of checkpoints, or a mapping from names to them, is needed"
        )
    named = heads.items() if isinstance(heads, Mapping) else ((None, path) for path in heads)
    return [(name, str(path)) for name, path in named]


def _together(
    opened: OpenedCheckpoint, trunk: Arrays, chains: Sequence[Sequence[Dense]], tasks: Tasks
) -> OpenedCheckpoint:
    """The trunk with all heads; its record is of no file."""
    names = [f"{name}/{label}" for name, task in tasks.others.items() for label in task.labels]
    labels = LabelSet((*tasks.own.labels, *names))
    record = replace(
        opened.record,
        name="+".join([opened.record.name, *tasks.others]),
        labels="own",
        n_classes=len(labels),
        filename=None,
        size_bytes=None,
        sha256=None,
        md5=None,
        sources=(),
        scores=None,
        example=None,
        operating_points_sha256=None,
        base=None,
        folder=None,
    )
    state = {key: array for key, array in trunk.items() if not key.startswith(CLASSIFIER_PREFIXES)}
    *hidden, last = joined(chains)
    layers = {**{f"hidden.{number}": each for number, each in enumerate(hidden)}, "fc_audioset": last}
    for layer, (weight, bias) in layers.items():
        state |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
    path = Path(record.name) if opened.origin is None else opened.origin.path
    return opened._replace(record=record, model=model_of(record, state, path), labels=labels, origin=None)


def joined(chains: Sequence[Sequence[Dense]]) -> list[Dense]:
    """Chains of dense layers from one input, ReLU between them -> one chain with all their outputs, in order.

    Shorter chains begin later; until then their input, which must not be negative, is passed on.
    """
    n_in, depth = chains[0][0][0].shape[1], max(map(len, chains))
    begins = [depth - len(chain) for chain in chains]
    places = {_INPUT: slice(0, n_in)}  # of the input, and of the values of each chain
    found: list[Dense] = []
    for level in range(depth):
        blocks: dict[int, tuple[slice, Dense]] = {}
        if level < max(begins):
            blocks[_INPUT] = places[_INPUT], (np.eye(n_in, dtype=np.float32), np.zeros(n_in, np.float32))
        for number, (chain, begin) in enumerate(zip(chains, begins, strict=True)):
            if level >= begin:
                blocks[number] = places[_INPUT if level == begin else number], chain[level - begin]
        bias = np.concatenate([dense[1] for _, dense in blocks.values()])
        weight = np.zeros((len(bias), max(each.stop for each in places.values())), np.float32)
        places, row = {}, 0
        for number, (columns, (part, _)) in blocks.items():
            places[number] = slice(row, row + len(part))
            weight[places[number], columns] = part
            row += len(part)
        found.append((weight, bias))
    return found


def _chain(arrays: Arrays) -> list[Dense]:
    """The dense layers after the embedding."""

    def layers() -> Iterator[str]:
        for number in count():
            if f"hidden.{number}.weight" not in arrays:
                break
            yield f"hidden.{number}"
        yield "fc_audioset"

    return [
        (np.asarray(arrays[f"{each}.weight"], np.float32), np.asarray(arrays[f"{each}.bias"], np.float32))
        for each in layers()
    ]


def _check_clip_head(record: Checkpoint) -> None:
    if ARCHITECTURES[record.architecture].head != "clip":
        raise WeightsError(f"{record.name} decides frame by frame; heads are for models with a clip head")


def _check_same_trunk(own: Checkpoint, trunk: Arrays, other: Checkpoint, arrays: Arrays) -> None:
    """WeightsError unless a checkpoint has the same front end and the same weights up to the embedding."""
    for what in ("architecture", "sample_rate", "frontend"):
        if getattr(own, what) != getattr(other, what):
            raise WeightsError(
                f"{other.name} is on another trunk than {own.name}: its {what.replace('_', ' ')} is "
                f"{getattr(other, what)}, not {getattr(own, what)}"
            )
    changed = [
        key
        for key, array in trunk.items()
        if not key.startswith(CLASSIFIER_PREFIXES)
        and not np.array_equal(np.asarray(array, np.float32), np.asarray(arrays[key], np.float32))
    ]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise WeightsError(
            f"{other.name} changes the trunk of {own.name}: {', '.join(changed[:_SHOWN])}{more} differ. "
            "Heads share a trunk that they were trained on frozen, as by `pannsx finetune --adapt head`; run "
            f"{other.name} in a tagger of its own"
        )

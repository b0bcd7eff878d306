"""Checkpoints as models: by name, by name and file, or by a record next to the weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.models.layout import array_model
from pannsx.models.structure import ArrayModel
from pannsx.models.zoo import structure_of
from pannsx.types import PathLike
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, labels_of, read_record
from pannsx.weights.prefixes import ANCHORS
from pannsx.weights.record import Checkpoint
from pannsx.weights.repository import is_repository, open_repository, record_files
from pannsx.weights.state_dict import read_arrays

if TYPE_CHECKING:
    from pannsx.models.pann import Pann

logger = logging.getLogger("pannsx")


class LoadedCheckpoint(NamedTuple):
    """A loaded checkpoint.

    Attributes:
        record: its record.
        model: model with its weights, in evaluation mode, float32, on the CPU.
        labels: labels of its ``K`` outputs.
    """

    record: Checkpoint
    model: Pann
    labels: LabelSet


class OpenedCheckpoint(NamedTuple):
    """A checkpoint that is read, as arrays wherever its network needs no torch.

    Attributes:
        record: its record.
        model: its structure and arrays, or the torch module of a network that only torch can run.
        labels: labels of its ``K`` outputs.
    """

    record: Checkpoint
    model: ArrayModel | Pann
    labels: LabelSet


def load(
    model: str | None = None,
    *,
    checkpoint: PathLike | None = None,
    prefix: str | None = None,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> LoadedCheckpoint:
    """A model with its weights and labels.

    Args:
        model: a name of the manifest, or ``owner/name`` of a repository on the Hub, also
            ``owner/name@revision``; without it and without ``checkpoint``, the bundled one.
        checkpoint: with ``model``, a file of weights for it, of any origin; alone, a file of weights
            with its record ``<stem>.json`` next to it, that record, or a folder with one record.
        prefix: with ``checkpoint``, the network's place in a file that holds more than it, such as
            ``"encoder."``; None: it is found if the file holds one network alone.
        cache_dir: see `pannsx.weights.fetch.resolve`, as for the following.
        allow_unverified: accept weights that have no published digest.
        progress: show progress bars.

    Raises:
        ValueError: unknown model name, or a prefix without a file.
        WeightsError: the weights cannot be obtained, trusted or read, or do not fit the model.
    """
    opened = open_checkpoint(
        model,
        checkpoint=checkpoint,
        prefix=prefix,
        cache_dir=cache_dir,
        allow_unverified=allow_unverified,
        progress=progress,
    )
    module = opened.model.as_module() if isinstance(opened.model, ArrayModel) else opened.model
    return LoadedCheckpoint(opened.record, module, opened.labels)


def open_checkpoint(
    model: str | None = None,
    *,
    checkpoint: PathLike | None = None,
    prefix: str | None = None,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> OpenedCheckpoint:
    """As :func:`load`, without torch if neither the file nor the network needs it."""
    if checkpoint is None and prefix is not None:
        raise ValueError(f"prefix is {prefix!r}, which is for a file of your own; give checkpoint= as well")
    if checkpoint is None and model is not None and is_repository(model):
        record, path = open_repository(model, cache_dir=cache_dir, progress=progress)
        if record.folder is not None:
            path = resolve(record, allow_unverified=allow_unverified)
    elif checkpoint is None:
        record = find(DEFAULT_CHECKPOINT if model is None else model)
        path = resolve(record, cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress)
    elif model is not None:
        record, path = find(model), Path(checkpoint)
    else:
        record = _own_record(Path(checkpoint))
        path = resolve(record, cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress)
    logger.info("%s: loading the weights of %s", record.name, path)
    try:
        labels = labels_of(record)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the labels of {record.name}: {error}") from error
    return OpenedCheckpoint(record, _model(record, read_arrays(path, prefix=prefix), path), labels)


def _own_record(path: Path) -> Checkpoint:
    """The record of a user's own checkpoint, from any of the three accepted paths."""
    if path.is_dir():
        found = record_files(path)
        if len(found) != 1:
            raise WeightsError(
                f"{path} holds {len(found)} .json files; name the one that is the checkpoint's record"
            )
        record_path = found[0]
    elif path.suffix == ".json":
        record_path = path
    else:
        record_path = path.with_suffix(".json")
    if not record_path.is_file():
        if not path.exists():
            raise WeightsError(f"there is no file {path}; check the path")
        raise WeightsError(
            f"there is no record {record_path} to describe the weights; write one, or give "
            "the model's name as well, such as model='Cnn14'"
        )
    try:
        record = read_record(record_path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the record {record_path}: {error}") from error
    if path != record_path and not path.is_dir() and path.name != record.filename:
        raise WeightsError(f"the record {record_path} is of {record.filename!r}, not of {path.name!r}")
    return record


def _hidden(state: dict[str, npt.NDArray[Any]]) -> list[int]:
    """Sizes of the layers between the embedding and the classes; published checkpoints have none."""
    sizes: list[int] = []
    while (key := f"hidden.{len(sizes)}.weight") in state:
        sizes.append(len(state[key]))
    return sizes


def _model(record: Checkpoint, state: dict[str, npt.NDArray[Any]], path: Path) -> ArrayModel | Pann:
    n_classes = next((len(state[key]) for key in ANCHORS if key in state), record.n_classes)
    if n_classes != record.n_classes:
        raise WeightsError(
            f"{path} has {n_classes} classes and {record.name} has {record.n_classes}; weights with "
            "other classes need a record next to them with the labels; load them by path alone"
        )
    facts = (record.architecture, record.sample_rate, record.frontend, record.n_classes)
    hidden = _hidden(state)
    try:
        structure = structure_of(*facts, hidden=hidden)
        if structure is not None:
            return array_model(structure, state)
        from pannsx.models.convert import module_of_arrays

        return module_of_arrays(state, *facts, hidden)
    except (ValueError, WeightsError) as error:
        raise WeightsError(f"{path}: {error}") from error

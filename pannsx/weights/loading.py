"""Checkpoints as models: by name, by name and file, or by a record next to the weights."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.types import PathLike
from pannsx.weights.digests import file_digest
from pannsx.weights.fetch import resolve
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, labels_of, read_record
from pannsx.weights.operating_points import SUFFIX
from pannsx.weights.record import Checkpoint
from pannsx.weights.record_json import record_to_json
from pannsx.weights.state_dict import read_state_dict

if TYPE_CHECKING:
    from pannsx.models.pann import Pann

logger = logging.getLogger("pannsx")

_CLASSIFIERS = ("fc_audioset.weight", "att_block.cla.weight")  # (K, D) or (K, D, 1)


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


def load(
    model: str | None = None,
    *,
    checkpoint: PathLike | None = None,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
) -> LoadedCheckpoint:
    """A model with its weights and labels.

    Args:
        model: a name of the manifest; without it and without ``checkpoint``, the bundled one.
        checkpoint: with ``model``, a file of weights for it, of any origin; alone, a file of weights
            with its record ``<stem>.json`` next to it, that record, or a folder with one record.
        cache_dir: see `pannsx.weights.fetch.resolve`, as for the following.
        allow_unverified: accept weights that have no published digest.
        progress: show progress bars.

    Raises:
        ValueError: unknown model name.
        WeightsError: the weights cannot be obtained, trusted or read, or do not fit the model.
    """
    if checkpoint is None:
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
    return LoadedCheckpoint(record, _model(record, read_state_dict(path), path), labels)


def save_checkpoint(
    path: PathLike, state: dict[str, Tensor], record: Checkpoint, *, labels: LabelSet | None = None
) -> Checkpoint:
    """Write weights as safetensors with their record ``<stem>.json`` next to them; `load` reads both.

    Args:
        path: file to write, with the extension ``.safetensors``.
        state: weights in the published key layout, in the dtypes to store.
        record: record of the weights; the file's name, size and digest are filled in.
        labels: labels of the outputs, written next to the weights; None if ``record.labels`` is ``audioset``.

    Returns:
        The record as written.

    Raises:
        ValueError: another extension, or labels neither given nor AudioSet's.
        WeightsError: the files cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path).absolute()
    if path.suffix != ".safetensors":
        raise ValueError(f"checkpoints are written as .safetensors, got {path.name!r}")
    if labels is None and record.labels != "audioset":
        raise ValueError(f"record.labels is {record.labels!r}; give the labels themselves as labels=")
    try:
        if labels is not None:
            record = replace(record, labels=f"{path.stem}.labels.txt", n_classes=len(labels))
            _write_text(path.with_name(record.labels), "\n".join(labels) + "\n")
        with replacing(path) as temporary:
            # Clones: safetensors refuses tensors that share memory.
            save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, temporary)
            record = replace(
                record,
                filename=path.name,
                size_bytes=temporary.stat().st_size,
                sha256=file_digest(temporary, "sha256"),
                md5=None,
                sources=(),
                folder=path.parent,
            )
        _write_text(path.with_suffix(".json"), json.dumps(record_to_json(record), indent=1) + "\n")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot write {path}: {error}") from error
    return record


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _own_record(path: Path) -> Checkpoint:
    """The record of a user's own checkpoint, from any of the three accepted paths."""
    if path.is_dir():
        found = sorted(file for file in path.glob("*.json") if not file.name.endswith(SUFFIX))
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
        raise WeightsError(
            f"there is no record {record_path} to describe the weights; write one, or give "
            'the model\'s name as well, as in AudioTagger("Cnn14", checkpoint="Cnn14.pth")'
        )
    try:
        record = read_record(record_path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the record {record_path}: {error}") from error
    if path != record_path and not path.is_dir() and path.name != record.filename:
        raise WeightsError(f"the record {record_path} is of {record.filename!r}, not of {path.name!r}")
    return record


def _hidden(state: dict[str, Tensor]) -> list[int]:
    """Sizes of the layers between the embedding and the classes; published checkpoints have none."""
    sizes: list[int] = []
    while (key := f"hidden.{len(sizes)}.weight") in state:
        sizes.append(len(state[key]))
    return sizes


def _model(record: Checkpoint, state: dict[str, Tensor], path: Path) -> Pann:
    from pannsx.models.convert import load_published
    from pannsx.models.zoo import build_empty

    n_classes = next((len(state[key]) for key in _CLASSIFIERS if key in state), record.n_classes)
    if n_classes != record.n_classes:
        raise WeightsError(
            f"{path} has {n_classes} classes and {record.name} has {record.n_classes}; weights with "
            "other classes need a record next to them with the labels; load them by path alone"
        )
    try:
        model = build_empty(
            record.architecture, record.sample_rate, record.frontend, record.n_classes, hidden=_hidden(state)
        )
        load_published(model, state)
    except (ValueError, WeightsError) as error:
        raise WeightsError(f"{path}: {error}") from error
    return model.float().eval()

"""Saving a model as a checkpoint: weights, record and labels, as `pannsx.weights.load` reads them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.events.operating_points import OperatingPoints, write_operating_points
from pannsx.labels import LabelSet, audioset
from pannsx.types import PathLike
from pannsx.weights.base import base_of, check_base
from pannsx.weights.delta import Factors, difference
from pannsx.weights.digests import file_digest
from pannsx.weights.loading import LoadedCheckpoint
from pannsx.weights.operating_points import operating_points_path
from pannsx.weights.record import Base, Checkpoint
from pannsx.weights.record_json import record_to_json
from pannsx.weights.state_dict import check_finite, read_arrays

if TYPE_CHECKING:
    from torch import Tensor

    from pannsx.models.pann import Pann

_WRAPPED_IN = ("_orig_mod", "module", "_fsdp_wrapped_module")
"""Attributes that hold the network in torch.compile, DataParallel and FSDP."""


def save(
    network: Any,
    path: PathLike,
    *,
    labels: Sequence[str] | LabelSet | None = None,
    name: str | None = None,
    description: str | None = None,
) -> Checkpoint:
    """Save a model with its labels and record, as ``AudioTagger(checkpoint=path)`` loads it.

    >>> import pannsx
    >>>
    >>> model = pannsx.create_model("MobileNetV1_distilled", pretrained=True, n_classes=2)
    >>> pannsx.save(model, "doors.safetensors", labels=["creak", "slam"])

    Args:
        network: a model of :func:`pannsx.create_model`, also compiled or in ``DataParallel``; a checkpoint of
            :func:`pannsx.weights.load`; or an ``AudioTagger``, ``FeatureExtractor`` or ``StreamTagger``.
            Calibrated thresholds of a tagger are saved, too; steps for products in 8 bits are not, and
            `pannsx quantise` calibrates them again.
        path: file to write, with the extension ``.safetensors``; record and labels are written next to it.
        labels: names of the ``K`` classes; None: the network's own, for a model of 527 classes AudioSet's.
        name: name of the checkpoint; None: the stem of ``path``.
        description: one sentence; None: that of the network's record.

    Returns:
        The record as written.

    Raises:
        ValueError: not such a network, another extension, or labels that are missing or not ``K``.
        WeightsError: weights that are NaN or infinite, or the files cannot be written.
    """
    from pannsx.models.convert import to_published

    path = Path(path).absolute()
    model, record, own_labels, points = _parts_of(network, path)
    chosen = _label_set(labels, own_labels, model.n_classes)
    record = replace(
        record,
        name=name or path.stem,
        architecture=model.architecture,
        sample_rate=model.sample_rate,
        frontend=model.frontend,
        labels="audioset" if chosen == audioset() else "own",
        n_classes=model.n_classes,
        description=description or record.description,
        int8_steps=None,  # of the file that the network came from; it may have been trained since
    )
    state = {key: tensor.detach().cpu() for key, tensor in to_published(model).items()}
    for key, tensor in state.items():
        check_finite(key, tensor.float().numpy(), "the model")
    written = save_checkpoint(path, state, record, labels=None if record.labels == "audioset" else chosen)
    if points is not None:
        save_points(points, written, path)
    return written


def save_points(points: OperatingPoints, written: Checkpoint, path: Path) -> None:
    """Write calibrated thresholds beside the weights that were written to ``path``, as theirs.

    Raises:
        WeightsError: the file cannot be written.
    """
    try:
        points = replace(points, model=written.name, weights_sha256=written.sha256)
        write_operating_points(points, operating_points_path(written))
    except OSError as error:
        raise WeightsError(f"cannot write the operating points of {path}: {error}") from error


def save_delta(
    path: PathLike,
    state: Mapping[str, Tensor],
    record: Checkpoint,
    base: LoadedCheckpoint,
    *,
    labels: LabelSet | None = None,
    factors: Mapping[str, Factors] | None = None,
) -> Checkpoint:
    """Write a network trained from a loaded checkpoint as a delta: the changed tensors, and the record.

    Args:
        path, record, labels: as for :func:`save_checkpoint`.
        state: weights of the whole network in the published key layout, float32.
        base: the checkpoint; its origin counts, not its model, and is read again.
        factors: by published key, the changes of weights at low rank, of which ``state`` has the sum.

    Returns:
        The record as written; its ``base`` names the checkpoint and the digest of its file.

    Raises:
        ValueError: as :func:`save_checkpoint`; or the base is a delta itself, was not read from a file, has
            the file name of the delta, or is not the base of ``state``.
        WeightsError: the files cannot be written, or the base not be read.
    """
    import torch

    check_path(path)
    origin = check_base(base.record, base.origin, path)
    try:
        of = base_of(base.record, origin)
    except OSError as error:
        raise WeightsError(f"cannot read the weights of {base.record.name}: {error}") from error
    own = {key: tensor.detach().cpu().numpy() for key, tensor in state.items()}
    changed = difference(read_arrays(origin.path, prefix=origin.prefix), own, factors or {})
    return _write(path, {key: torch.tensor(each) for key, each in changed.items()}, record, labels, of)


def save_checkpoint(
    path: PathLike, state: dict[str, Tensor], record: Checkpoint, *, labels: LabelSet | None = None
) -> Checkpoint:
    """Write weights as safetensors with their record ``<stem>.json`` next to them; `load` reads both.

    `save` takes a model instead.

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
    return _write(path, state, record, labels, None)


def _write(
    path: PathLike, state: dict[str, Tensor], record: Checkpoint, labels: LabelSet | None, base: Base | None
) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path).absolute()
    check_path(path)
    if labels is None and record.labels != "audioset":
        raise ValueError(f"record.labels is {record.labels!r}; give the labels themselves as labels=")
    try:
        if labels is not None:
            suffix, text = _labels_as_text(labels)
            record = replace(record, labels=f"{path.stem}.labels{suffix}", n_classes=len(labels))
            _write_text(path.with_name(record.labels), text)
        with replacing(path) as temporary:
            # Clones: safetensors refuses tensors that share memory. The base is part of a delta's digest.
            save_file(
                {key: tensor.clone().contiguous() for key, tensor in state.items()},
                temporary,
                metadata=None if base is None else {"base": f"{base.name}, sha256 {base.sha256}"},
            )
            record = replace(
                record,
                filename=path.name,
                size_bytes=temporary.stat().st_size,
                sha256=file_digest(temporary, "sha256"),
                md5=None,
                sources=(),
                base=base,
                folder=path.parent,
            )
        _write_text(path.with_suffix(".json"), json.dumps(record_to_json(record), indent=1) + "\n")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot write {path}: {error}") from error
    return record


def check_path(path: PathLike) -> None:
    """Check the extension of a checkpoint to write.

    Raises:
        ValueError: it is not ``.safetensors``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"checkpoints are written as .safetensors, got {path.name!r}; name it "
            f"{path.with_suffix('.safetensors').name!r}"
        )


def _parts_of(network: Any, path: Path) -> tuple[Pann, Checkpoint, LabelSet | None, OperatingPoints | None]:
    """Model, record, labels and operating points of whatever holds a network."""
    from pannsx.models.pann import Pann

    if isinstance(network, LoadedCheckpoint):
        return network.model, network.record, network.labels, None
    pipeline = getattr(network, "_pipeline", None)
    if pipeline is not None:
        grid = pipeline.grid
        labels = LabelSet(grid.labels, grid.label_ids)
        return pipeline.engine.model, pipeline.record, labels, pipeline.operating_points
    model = network
    while not isinstance(model, Pann):
        inner = next((getattr(model, name) for name in _WRAPPED_IN if hasattr(model, name)), None)
        if inner is None:
            raise ValueError(
                f"got {type(network).__name__}; a model of create_model, a checkpoint of weights.load, or an "
                " AudioTagger, FeatureExtractor or StreamTagger is needed"
            )
        model = inner
    record = Checkpoint(
        name=path.stem,
        architecture=model.architecture,
        sample_rate=model.sample_rate,
        frontend=model.frontend,
        labels="audioset",
        n_classes=model.n_classes,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        front_end_mismatch=model.front_end_mismatch,
    )
    return model, record, None, None


def _label_set(given: Sequence[str] | LabelSet | None, own: LabelSet | None, n_classes: int) -> LabelSet:
    labels = own
    if isinstance(given, str):
        raise ValueError(f"labels is the text {given!r}; a sequence of {n_classes} names is needed")
    if given is not None:
        labels = given if isinstance(given, LabelSet) else LabelSet(tuple(given))
        if labels.names == audioset().names:
            labels = audioset()
    elif labels is None and n_classes == len(audioset()):
        labels = audioset()
    if labels is None:
        raise ValueError(f"the model has {n_classes} classes of unknown names; give them as labels=")
    if len(labels) != n_classes:
        raise ValueError(f"the model has {n_classes} classes, and there are {len(labels)} labels")
    return labels


def _labels_as_text(labels: LabelSet) -> tuple[str, str]:
    """Extension and content of a file that `pannsx.labels.read_labels` reads as these labels."""
    if labels.ids is not None:
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["index", "mid", "display_name"])
        rows.writerows(zip(range(len(labels)), labels.ids, labels.names, strict=True))
        return ".csv", table.getvalue()
    # One name a line, unless a name has line breaks or white space at its ends, which lines do not keep.
    if all(name.split("\n") == [name.strip()] and name.splitlines() == [name] for name in labels):
        return ".txt", "\n".join(labels) + "\n"
    return ".json", json.dumps(list(labels), ensure_ascii=False, indent=1) + "\n"


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")

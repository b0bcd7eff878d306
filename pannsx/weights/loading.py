"""Checkpoints as models: by name, by name and file, or by a record next to the weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

from pannsx.errors import WeightsError
from pannsx.labels import LabelSet
from pannsx.models.layout import array_model, front_end_mismatch
from pannsx.models.settings import MobileNetSettings
from pannsx.models.structure import ArrayModel
from pannsx.models.zoo import structure_of
from pannsx.types import PathLike
from pannsx.weights.base import Origin, resolve_base
from pannsx.weights.delta import apply_delta
from pannsx.weights.digests import file_digest
from pannsx.weights.fetch import fetch_repository, resolve
from pannsx.weights.hub import Token
from pannsx.weights.manifest import labels_of
from pannsx.weights.naming import at_revision, kind_of, own_record, record_of
from pannsx.weights.prefixes import ANCHORS
from pannsx.weights.record import Checkpoint, Digest
from pannsx.weights.state_dict import FRONT_END_PREFIXES, read_arrays

if TYPE_CHECKING:
    from pannsx.frontend.settings import FrontEnd
    from pannsx.models.pann import Pann

logger = logging.getLogger("pannsx")
_SHOWN = 3  # layers named in an error


class LoadedCheckpoint(NamedTuple):
    """A loaded checkpoint.

    Attributes:
        record: its record.
        model: model with its weights, in evaluation mode, float32, on the CPU.
        labels: labels of its ``K`` outputs.
        origin: the file that it was read from; None: another origin.
    """

    record: Checkpoint
    model: Pann
    labels: LabelSet
    origin: Origin | None = None


class OpenedCheckpoint(NamedTuple):
    """A checkpoint that is read, as arrays.

    Attributes:
        record: its record.
        model: its structure and arrays.
        labels: labels of its ``K`` outputs.
        mismatch: the difference of this call's front end from that of its training, in words.
        origin: the file that it was read from; None: another origin.
    """

    record: Checkpoint
    model: ArrayModel
    labels: LabelSet
    mismatch: str | None = None
    origin: Origin | None = None


def load(
    model: str | None = None,
    *,
    checkpoint: PathLike | None = None,
    prefix: str | None = None,
    frontend: FrontEnd | None = None,
    ignore_front_end: bool = False,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
    revision: str | None = None,
    token: Token = None,
) -> LoadedCheckpoint:
    """A model with its weights and labels.

    Args:
        model: a name of the manifest; or a checkpoint of your own, by the path of its file of weights with
            the record ``<stem>.json`` next to it, of that record, or of a folder with one record; or
            ``owner/name`` of a repository on the Hub, also ``owner/name@revision``. None: the bundled one,
            without ``checkpoint``. A delta's base is found by its record, and fetched if necessary.
        checkpoint: with a ``model`` of the manifest, a file of weights for it, of any origin; alone, a
            checkpoint of your own, as ``model`` takes it.
        prefix: with ``checkpoint``, prefix of the network's keys in a file with other parts, such as
            ``"audio_branch."``; None: it is found if the file holds one network alone.
        frontend: log-mel settings instead of the record's, sample rate included; they must fit the front-end
            constants in the file, if there are any.
        ignore_front_end: accept other constants. Their difference, or settings other than those of published
            weights, gives a warning and is noted in the record.
        cache_dir: see `pannsx.weights.fetch.resolve`, as for the following.
        allow_unverified: accept weights that have no published digest.
        progress: show progress bars.
        revision: branch, tag or commit of a repository; None: that of the name, or the default branch.
        token: of the Hub, for a private repository; None: the client's (`hf auth login`, ``HF_TOKEN``).

    Raises:
        ValueError: unknown model name, a prefix without a file, a revision without a repository, or a front
            end that the model cannot have.
        WeightsError: the weights cannot be obtained, trusted or read, or do not fit the model.
    """
    opened = open_checkpoint(
        model,
        checkpoint=checkpoint,
        prefix=prefix,
        frontend=frontend,
        ignore_front_end=ignore_front_end,
        cache_dir=cache_dir,
        allow_unverified=allow_unverified,
        progress=progress,
        revision=revision,
        token=token,
    )
    if opened.mismatch is not None:
        warnings.warn(f"{opened.record.name}: {opened.mismatch}", stacklevel=2)
    module = opened.model.as_module()
    module.front_end_mismatch = opened.record.front_end_mismatch
    return LoadedCheckpoint(opened.record, module, opened.labels, opened.origin)


def open_checkpoint(
    model: str | None = None,
    *,
    checkpoint: PathLike | None = None,
    prefix: str | None = None,
    frontend: FrontEnd | None = None,
    ignore_front_end: bool = False,
    cache_dir: PathLike | None = None,
    allow_unverified: bool = False,
    progress: bool = True,
    revision: str | None = None,
    token: Token = None,
) -> OpenedCheckpoint:
    """As :func:`load`, without torch if neither the file nor the network needs it."""
    model = at_revision(model, revision)
    kind = "published" if model is None else kind_of(model)
    holds = True  # int8_steps: for exactly the weights and the front end of the record
    if kind == "own" and checkpoint is None:
        model, checkpoint = None, model
    if kind != "published" and model is not None and checkpoint is not None:
        raise ValueError(
            f"model is {model!r}, and checkpoint={str(checkpoint)!r} is given, too; leave one out, or give "
            "as the model the name in pannsx.list_models() whose architecture the checkpoint has"
        )
    if checkpoint is None and prefix is not None:
        raise ValueError(f"prefix is {prefix!r}, which is for a file of your own; give checkpoint= as well")
    if model is not None and kind == "repository":
        record, path = fetch_repository(
            model, cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress, token=token
        )
    elif model is not None and checkpoint is not None:
        record, path = record_of(model), Path(checkpoint)
        holds = record.int8_steps is None or _is_of(record, path)
    else:
        record = record_of(model) if checkpoint is None else own_record(Path(checkpoint))
        path = resolve(record, cache_dir=cache_dir, allow_unverified=allow_unverified, progress=progress)
    mismatch = None
    if frontend is not None and frontend != record.frontend:
        if checkpoint is None or model is None:  # else the record is of the architecture, not of the file
            mismatch = _other_settings(record, frontend, ignored=ignore_front_end)
        record, holds = _with_front_end(record, frontend), False
    logger.info("%s: loading the weights of %s", record.name, path)
    try:
        labels = labels_of(record)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot use the labels of {record.name}: {error}") from error
    state = read_arrays(path, prefix=prefix)
    if record.base is not None:
        holds = False
        base_path = resolve_base(record, cache_dir=cache_dir, progress=progress)
        logger.info(
            "%s: loading the weights of its base %s from %s", record.name, record.base.name, base_path
        )
        base = read_arrays(base_path, prefix=record.base.prefix)
        if record.front_end_mismatch is not None:  # the base's constants are those of its own training
            base = _without_constants(base)
        state = apply_delta(base, state, path)
    if ignore_front_end:
        mismatch = mismatch or _other_constants(record, state)
        state = _without_constants(state)
    if mismatch is not None:
        record, holds = replace(record, front_end_mismatch=mismatch), False
    if record.int8_steps is not None and not holds:
        record = replace(record, int8_steps=None)
    return OpenedCheckpoint(record, model_of(record, state, path), labels, mismatch, Origin(path, prefix))


def _with_front_end(record: Checkpoint, frontend: FrontEnd) -> Checkpoint:
    """The record with other settings; ValueError if its weights fit none or no such ones."""
    if record.frontend is None:
        raise ValueError(f"{record.name} works on the waveform and takes no front end; leave out frontend=")
    if frontend.n_mels != record.frontend.n_mels:
        raise ValueError(
            f"the weights of {record.name} are for {record.frontend.n_mels} mel bands, and the front end has "
            f"{frontend.n_mels}; only its other settings can be chosen"
        )
    return replace(record, frontend=frontend, sample_rate=frontend.sample_rate)


def _other_settings(record: Checkpoint, frontend: FrontEnd, *, ignored: bool) -> str:
    """The difference to the settings of published weights, in words; ValueError unless it is ignored."""
    if not ignored:
        raise ValueError(
            f"the weights of {record.name} were trained with {record.frontend}; give ignore_front_end=True "
            "to run them with other settings"
        )
    return (
        f"its weights were trained with {record.frontend} and run with {frontend}: they see other spectra "
        "than those they know, so measure what they answer, or train them further"
    )


def _other_constants(record: Checkpoint, constants: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """The difference that the constants of a file show, in words."""
    if record.frontend is None or (shown := front_end_mismatch(record.frontend, constants)) is None:
        return None
    return (
        f"its weights were trained with another front end than {record.frontend}: {shown}. Give the settings "
        "of their training as frontend=, or measure what they answer"
    )


def _is_of(record: Checkpoint, path: Path) -> bool:
    """Whether a file is that of a record, by size and digest."""
    try:
        same_size = record.size_bytes in (None, path.stat().st_size)
        return same_size and record.digest == Digest("sha256", file_digest(path, "sha256"))
    except OSError:  # reading it fails, too, with its message
        return False


def _without_constants(state: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {key: array for key, array in state.items() if not key.startswith(FRONT_END_PREFIXES)}


def _hidden(state: dict[str, npt.NDArray[Any]]) -> list[int]:
    """Sizes of the layers between the embedding and the classes; published checkpoints have none."""
    sizes: list[int] = []
    while (key := f"hidden.{len(sizes)}.weight") in state:
        sizes.append(len(state[key]))
    return sizes


def model_of(record: Checkpoint, state: dict[str, npt.NDArray[Any]], path: Path) -> ArrayModel:
    """The network of a record with a published state dict; ``path`` is for messages.

    Raises:
        WeightsError: they do not fit.
    """
    n_classes = next((len(state[key]) for key in ANCHORS if key in state), record.n_classes)
    if n_classes != record.n_classes:
        raise WeightsError(
            f"{path} has {n_classes} classes and {record.name} has {record.n_classes}; weights with "
            "other classes need a record next to them with the labels; load them by path alone"
        )
    facts = (record.architecture, record.sample_rate, record.frontend, record.n_classes)
    hidden = _hidden(state)
    try:
        model = array_model(structure_of(*facts, hidden=hidden), state)
    except (ValueError, WeightsError) as error:
        raise WeightsError(f"{path}: {error}") from error
    if record.int8_steps is None:
        return model
    trunk = model.structure.trunk
    needed = set(trunk.rectified_products) if isinstance(trunk, MobileNetSettings) else set()
    if wrong := sorted(needed ^ set(record.int8_steps)):
        raise WeightsError(
            f"int8_steps in the record of {record.name} does not fit {record.architecture}: it needs "
            f"{len(needed)} layers, and {', '.join(wrong[:_SHOWN])} {'is' if len(wrong) == 1 else 'are'} "
            "missing or not among them; remove int8_steps, or run `pannsx quantise` again"
        )
    return replace(model, int8_steps=dict(record.int8_steps))

"""Names of models: a name of the manifest, the path of a checkpoint of one's own, or a Hub repository.

This is decided here alone, for every interface that takes a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.weights.hub import Token
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, load_manifest, read_record
from pannsx.weights.record import Checkpoint
from pannsx.weights.repository import is_repository, record_files, repository_record

Kind = Literal["published", "own", "repository"]

OWN_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".json"})
"""Extensions of files of weights, and of records."""


def kind_of(model: str) -> Kind:
    """What a model's name is: ``"published"`` in the manifest, the path of an ``"own"`` checkpoint, or a Hub
    ``"repository"``.

    A name of the manifest comes first; a folder of that name is ``./Cnn14``.

    Raises:
        ValueError: none of these; close names are suggested.
    """
    if model.casefold() in {known.casefold() for known in load_manifest()}:
        return "published"
    if model and (Path(model).suffix.lower() in OWN_SUFFIXES or Path(model).exists()):
        return "own"
    if is_repository(model):
        return "repository"
    find(model)
    raise RuntimeError(f"the manifest has {model!r} after all")


def at_revision(model: str | None, revision: str | None) -> str | None:
    """The name of a model at a branch, tag or commit of its repository; None: the default branch.

    Raises:
        ValueError: the model is no repository, or its name has a revision already.
    """
    if revision is None:
        return model
    if model is None or kind_of(model) != "repository":
        what = "no model" if model is None else repr(model)
        raise ValueError(
            f"revision={revision!r} is of a repository on the Hub, owner/name, and {what} is given"
        )
    if "@" in model:
        raise ValueError(
            f"model {model!r} names a revision, and revision={revision!r} is given, too; leave one out"
        )
    return f"{model}@{revision}"


def record_of(
    model: str | None, *, cache_dir: PathLike | None = None, token: Token = None, fetch: bool = True
) -> Checkpoint:
    """The record of a model, without its weights; None: of the bundled one.

    Args:
        model: as for :func:`pannsx.weights.load`.
        cache_dir: place of the Hub client's cache; None: its own.
        token: of the Hub; None: the client's.
        fetch: whether the record of a repository may be downloaded.

    Raises:
        ValueError: unknown model name.
        WeightsError: the record is absent or cannot be used.
    """
    if model is None:
        return find(DEFAULT_CHECKPOINT)
    kind = kind_of(model)
    if kind == "own":
        return own_record(Path(model))
    if kind == "repository":
        return repository_record(model, cache_dir=cache_dir, token=token, fetch=fetch)
    return find(model)


def own_record(path: Path) -> Checkpoint:
    """The record of a user's own checkpoint: from its file of weights, the record itself, or their folder.

    Raises:
        WeightsError: there is no record, or it cannot be used.
    """
    if path.is_dir():
        found = record_files(path)
        if len(found) != 1:
            raise WeightsError(
                f"{path} holds {len(found)} .json files; name the one that is the checkpoint's record"
            )
        record_path = found[0]
    elif path.suffix.lower() == ".json":
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

"""Read and write the embedding caches of other tools, to exchange results with them in both directions.

kadtk keeps ``embeddings/<model>/<stem>.npy``, float16, one or more rows a clip; av-benchmark keeps one
``pann_features.pth``, a dictionary of ``{"2048": (2048,), "logits": (527,)}`` by stem.  Neither records the
weights or the preparation of the audio: such a set can be compared only with sets of the same tool.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pannsx.atomic import replacing
from pannsx.scoring.clip_set import ClipSet, Origin, make_clip_set

KADTK, AV_BENCH = "kadtk", "av-benchmark"

_AV_BENCH_MODEL = "Cnn14_16k"
_EMBEDDING, _LOGITS = "2048", "logits"


def read_kadtk(folder: Path) -> ClipSet:
    """A folder ``embeddings/<model>`` of ``.npy`` files -> the set; its model is the folder's name.

    A file of several rows (one a window) becomes as many rows with its name.

    Raises:
        OSError: a file cannot be read.
        ValueError: there are no embeddings, or a file has other contents.
    """
    names: list[str] = []
    rows: list[Any] = []
    for path in sorted(folder.glob("*.npy")):
        try:
            found = np.atleast_2d(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is no array of embeddings: {error}") from error
        if found.ndim != 2 or found.dtype.kind != "f" or (rows and found.shape[1] != rows[0].shape[1]):
            raise ValueError(
                f"{path} holds {found.dtype} of shape {found.shape}; embeddings (n, D) are needed"
            )
        names += [path.stem] * len(found)
        rows.append(found.astype(np.float32))
    if not rows:
        raise ValueError(f"{folder} has no .npy files; kadtk keeps them in embeddings/<model>")
    return make_clip_set(
        str(folder), Origin(folder.name, None, None, cache=KADTK), names, np.concatenate(rows), None
    )


def write_kadtk(folder: Path, clips: ClipSet) -> None:
    """Write ``<stem>.npy`` for each clip, float16 ``(1, D)``, as kadtk does.

    Raises:
        OSError: a file cannot be written.
        ValueError: two clips with one name, a name unusable as a file name, or a set without embeddings.
    """
    names, embeddings = _writable(clips)
    for name, row in zip(names, embeddings, strict=True):
        with replacing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, row[None].astype(np.float16))


def read_av_bench(path: Path) -> ClipSet:
    """``pann_features.pth`` -> the set. Only tensors are unpickled.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has other contents.
    """
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(stored, dict) or not all(isinstance(each, dict) for each in stored.values()):
            raise TypeError(f"it holds {type(stored).__name__}, not a dictionary of dictionaries")
        names = [str(name) for name in stored]
        embeddings, logits = (
            torch.stack([features[key] for features in stored.values()]).float().numpy()
            for key in (_EMBEDDING, _LOGITS)
        )
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(
            f"{path} is not av-benchmark's pann_features.pth, '{_EMBEDDING}' and '{_LOGITS}' by name: {error}"
        ) from error
    origin = Origin(_AV_BENCH_MODEL, None, None, cache=AV_BENCH)
    return make_clip_set(str(path), origin, names, embeddings, logits)


def write_av_bench(path: Path, clips: ClipSet) -> None:
    """Write ``pann_features.pth`` as av-benchmark does.

    Raises:
        OSError: the file cannot be written.
        ValueError: two clips with one name, or a set without embeddings or logits.
    """
    import torch

    names, embeddings = _writable(clips)
    if clips.logits is None:
        raise ValueError(f"{clips.source} has no logits, which {path.name} needs")
    stored = {
        name: {_EMBEDDING: torch.tensor(row, dtype=torch.float32), _LOGITS: torch.tensor(logits)}
        for name, row, logits in zip(names, embeddings, clips.logits, strict=True)
    }
    with replacing(path) as temporary:
        torch.save(stored, temporary)


def check_names(source: str, names: Sequence[str]) -> None:
    """Check that a cache, which holds one clip of a name, can hold clips of these names.

    Raises:
        ValueError: two clips with one name, or a name unusable as a file name.
    """
    repeated = sorted(name for name, n in Counter(names).items() if n > 1)
    if repeated:
        raise ValueError(f"{source} has several clips named {repeated[0]!r}; a cache holds one of a name")
    for name in names:
        if not name or Path(name).name != name or name in {".", ".."}:
            raise ValueError(f"{source}: {name!r} is no file name")


def _writable(clips: ClipSet) -> tuple[tuple[str, ...], Any]:
    if clips.embeddings is None:
        raise ValueError(
            f"{clips.source} holds a covariance and no embeddings; a cache needs those of each clip"
        )
    check_names(clips.source, clips.names)
    return clips.names, clips.embeddings

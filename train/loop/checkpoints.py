"""Checkpoints of a run: the complete state for an exact resume.

A folder ``checkpoints`` holds ``step-00012000.pt``, written under a temporary name, flushed to the disk and
renamed: a file of that name is complete. Old files are removed only after a new one exists. Files are read
as tensors and plain values only, so that they cannot run code.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from pannsx.atomic import replacing

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})\.pt")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read."""


def path_of(folder: Path, step: int) -> Path:
    """The file of a run's checkpoint after ``step`` steps."""
    return folder / "checkpoints" / f"step-{step:08d}.pt"


def present(folder: Path) -> list[tuple[int, Path]]:
    """Steps and files of a run's checkpoints, the newest last."""
    files = (folder / "checkpoints").glob("step-*.pt")
    return sorted((int(found[1]), file) for file in files if (found := _NAME.fullmatch(file.name)))


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a run's checkpoint; the others are not changed.

    Raises:
        CheckpointError: the disk is full or fails; the message gives the last good checkpoint.
    """
    path = path_of(folder, step)
    try:
        _remove_leftovers(path.parent)
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                torch.save({"format": FORMAT, "step": step, **state}, file)
                file.flush()
                os.fsync(
                    file.fileno()
                )  # before the renaming, so that a crash cannot lose the bytes of a final name
            _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer converts some disk errors to RuntimeError
        last = present(folder)
        kept = f"{last[-1][1].name} is whole" if last else "there is none before it"
        raise CheckpointError(
            f"cannot write the checkpoint {path}: {_reason(error)}; {kept}. Make room and run the same "
            "command again"
        ) from error
    return path


def prune(folder: Path, *, keep_last: int, keep_every: int, keep: int | None = None) -> None:
    """Remove all but the last ``keep_last``, multiples of ``keep_every`` (0: none) and step ``keep``."""
    for step, path in present(folder)[:-keep_last]:
        if step != keep and not (keep_every and step % keep_every == 0):
            path.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        CheckpointError: it cannot be read, or is of another format.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {_reason(error)}; remove it to resume from the one before"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}, the one this version reads")
    return state


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a run, or None."""
    steps = present(folder)
    return load(steps[-1][1]) if steps else None


def _remove_leftovers(folder: Path) -> None:
    """Remove incomplete files of a killed run."""
    for path in _leftovers(folder):
        with suppress(OSError):
            path.unlink()


def _leftovers(folder: Path) -> Iterator[Path]:
    return folder.glob("step-*.pt.*.tmp")


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, if the system can open folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: BaseException) -> str:
    """The system's error message, from below torch's own error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}".splitlines()[0]

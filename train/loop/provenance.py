"""Origin of a checkpoint: digests of data, versions of code."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import torch

from pannsx import __version__
from pannsx.weights.digests import file_digest
from train.data.packed import Clips
from train.loop.distil import SEPARATOR

_ROWS = 65536
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
"""Bytes with their bits in the other order: the digest is over the highest bit first."""


def clips_digest(clips: Clips) -> str:
    """SHA-256 of the ids and labels of clips, in order, independent of place and packing.

    Clips with an attribute ``digest`` define their own.
    """
    own = getattr(clips, "digest", None)
    if isinstance(own, str):
        return own
    digest = hashlib.sha256(f"{clips.sample_rate} {clips.n_samples} {len(clips)}\n".encode())
    digest.update("\n".join(clips.labels).encode())
    ids, targets = clips.ids, clips.targets
    for begin in range(0, len(clips), _ROWS):
        digest.update("\n".join(ids[begin : begin + _ROWS]).encode())
        rows = np.arange(begin, min(begin + _ROWS, len(clips)))
        digest.update(_REVERSED[targets.bits(rows)].tobytes())
    return digest.hexdigest()


def teacher_digest(path: str) -> str | None:
    """SHA-256 of a file of teacher's logits, or of several; None for a folder of them, or no teacher."""
    several = [one.strip() for one in path.split(SEPARATOR)]
    if len(several) > 1:
        return SEPARATOR.join(teacher_digest(one) or one for one in several)
    return file_digest(Path(path), "sha256") if path and Path(path).is_file() else None


def versions() -> dict[str, str | None]:
    """Versions of the libraries, and the commit of this checkout; ``+`` marks uncommitted changes."""
    return {
        "pannsx": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "commit": _commit(Path(__file__).resolve().parent),
    }


def _commit(folder: Path) -> str | None:
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or not a checkout


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()

"""Progress of a study in a folder beside its checkpoint, so that a run that was killed goes on.

``mine.safetensors`` has ``mine.progress/``: digests of the study's inputs, a file for each finished part, and
one for the training under way, replaced after each epoch. The folder is removed when the study is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from pannsx.atomic import replacing
from pannsx.transfer.data_set import DataSet
from pannsx.version import __version__
from pannsx.weights import LoadedCheckpoint

_PLAN = "plan.json"
_WORDS = {
    "clips": "other clips, labels or folds",
    "network": "another network",
    "teacher": "another teacher, or none",
    "version": "another version of pannsx",
    "torch": "another version of torch",
}


class Progress:
    """The finished parts of a study.

    Args:
        folder: where it is kept; None: nothing is kept.
        plan: the inputs that determine the results, by name.
        restart: delete earlier progress.

    Raises:
        ValueError: the folder is of a run with another plan.
        OSError: it cannot be read or written.
    """

    def __init__(
        self, folder: Path | None = None, plan: Mapping[str, Any] | None = None, *, restart: bool = False
    ) -> None:
        self.folder = folder
        if folder is None:
            return
        if restart:
            self.remove()
        path = folder / _PLAN
        if not path.is_file():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged; give restart=True to begin again") from error
        changed = _differences(before, json.loads(json.dumps(plan)))
        if changed:
            raise ValueError(
                f"{folder} has the progress of a run with {', '.join(changed)}; repeat that command to go "
                "on, or give restart=True to begin again"
            )

    def load(self, name: str) -> dict[str, Any] | None:
        """The state that was saved under a name; None if there is none, or a file that cannot be read."""
        if self.folder is None or not (path := self._path(name)).is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        except Exception:  # whatever a damaged file makes torch raise: the part is made again
            return None
        return state

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a state of tensors and plain values, whole or not at all."""
        if self.folder is not None:
            with replacing(self._path(name)) as temporary:
                torch.save(dict(state), temporary)

    def remove(self) -> None:
        """Forget all."""
        if self.folder is not None and self.folder.is_dir():
            for path in [*self.folder.glob("*.pt"), *self.folder.glob("*.tmp"), self.folder / _PLAN]:
                path.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):  # files that others put there are theirs
                self.folder.rmdir()

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise RuntimeError("no folder to keep progress in")
        return self.folder / f"{name}.pt"


NOWHERE = Progress()
"""Keeps nothing."""


def progress_folder(checkpoint: Path) -> Path:
    """The folder beside a checkpoint."""
    return checkpoint.with_suffix(".progress")


def plan_of(
    data: DataSet, base: LoadedCheckpoint, settings: Any, teacher: LoadedCheckpoint | None = None
) -> dict[str, Any]:
    """The inputs that determine the results of a study: settings by name, digests of clips and weights."""
    if not is_dataclass(settings) or isinstance(settings, type):
        raise TypeError(f"settings are a {type(settings).__name__}; a dataclass is needed")
    return {
        "settings": asdict(settings),
        "clips": _clips_digest(data),
        "network": _weights_digest(base),
        "teacher": None if teacher is None else _weights_digest(teacher),
        "version": __version__,
        "torch": torch.__version__,
    }


def rows_digest(rows: Sequence[int], seed: int) -> str:
    """A digest of the clips of a training and its seed."""
    return hashlib.blake2b(repr((list(rows), seed)).encode(), digest_size=8).hexdigest()


def _clips_digest(data: DataSet) -> str:
    digest = hashlib.blake2b(repr((data.labels.names, data.multi_label)).encode(), digest_size=16)
    for clip in data.recordings:
        stat = clip.path.stat()
        digest.update(
            repr((str(clip.path.absolute()), *clip[1:], stat.st_size, stat.st_mtime_ns)).encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest.hexdigest()


def _weights_digest(base: LoadedCheckpoint) -> str:
    digest = hashlib.blake2b(base.record.architecture.encode(), digest_size=16)
    for key, tensor in base.model.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _differences(before: Any, now: Any) -> list[str]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return ["other settings"]
    old, new = (plan.get("settings", {}) for plan in (before, now))
    changed = [
        f"{key.replace('_', ' ')} {old.get(key)} in place of {new.get(key)}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return changed + [words for key, words in _WORDS.items() if before.get(key) != now.get(key)]

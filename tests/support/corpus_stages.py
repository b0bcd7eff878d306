"""Stages without a network, for the tests of what runs them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from pannsx.corpus import Summary, output_schema, process, run

GROUP = 3
"""Rows of a batch."""


class StubStage:
    """Gives each row numbers made of its id.

    A row named in ``does`` raises an error, ends its process, ends the process that started it, or fails
    while a file is there; those of ``once`` only the first time, of which a file in ``memory`` tells.
    """

    group_rows = GROUP

    def __init__(
        self, does: dict[str, str] | None = None, memory: Path | None = None, name: str = "stub"
    ) -> None:
        self.does = does or {}
        self.memory = memory
        self.name = name

    def describe(self) -> dict[str, Any]:
        return {"model": self.name, "outputs": ["embedding"]}

    @property
    def schema(self) -> Any:
        return output_schema(("tags", "embedding"), embedding_size=4, n_classes=2, about=self.describe())

    def begin(self, batch: dict[str, Any]) -> dict[str, Any]:
        for name in batch["id"]:
            self._act(name)
        return batch

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        failed = np.array([self.does.get(name) == "fail" and not self._is_healed() for name in batch["id"]])
        n = len(failed)
        tags = np.empty(n, object)
        tags[:] = [[{"label": name, "mid": None, "probability": 0.5}] for name in batch["id"]]
        return {
            "id": np.array(batch["id"], object),
            "path": np.array(batch["path"], object),
            "offset_s": np.array(batch.get("offset_s", [0.0] * n)),
            "duration_s": np.where(failed, np.nan, 1.5),
            "status": np.where(failed, "error", "ok"),
            "error": np.where(failed, "it failed", None),
            "tags": tags,
            "embedding": np.array([_numbers(name) for name in batch["id"]], np.float32),
        }

    def _act(self, name: str) -> None:
        deed = self.does.get(name, "")
        if deed.startswith("once "):
            assert self.memory is not None
            mark = self.memory / name
            if mark.exists():
                return
            mark.touch()
            deed = deed.removeprefix("once ")
        if deed == "raise":
            raise RuntimeError(f"{name} is too much")
        if deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "kill parent":
            os.kill(os.getppid(), signal.SIGKILL)

    def _is_healed(self) -> bool:
        return self.memory is not None and (self.memory / "healed").exists()


class NoStage(StubStage):
    """A stage that cannot be opened."""

    def describe(self) -> dict[str, Any]:
        raise ValueError("there is no such network")


class Accelerated(StubStage):
    """A stage on an accelerator."""

    is_accelerated = True


class OpensOnce(StubStage):
    """A stage whose second process is killed while it opens, as where the memory is too small for two."""

    def describe(self) -> dict[str, Any]:
        if (own := self._mark(os.getpid())) not in (others := self._marks()):
            own.touch()
            if others:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().describe()

    def begin(self, batch: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while len(self._marks()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        return super().begin(batch)

    def _marks(self) -> list[Path]:
        assert self.memory is not None
        return list(self.memory.glob("opened-*"))

    def _mark(self, pid: int) -> Path:
        assert self.memory is not None
        return self.memory / f"opened-{pid}"


def _numbers(name: str) -> Any:
    return np.random.default_rng(list(name.encode())).standard_normal(4)


def write_manifest(path: Path, n: int) -> Path:
    """A manifest of ``n`` rows ``r0``, ``r1``, ..., for stages that read no file."""
    lines = [json.dumps({"id": f"r{i}", "audio_filepath": f"/sounds/{i}.wav"}) for i in range(n)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def run_stub(
    manifest: Path, output: Path, stage: StubStage | None = None, part_rows: int = 2 * GROUP, **how: Any
) -> Summary:
    """Run a stub, with one worker by default; a part is written after ``part_rows`` rows."""
    how.setdefault("workers", 1)
    before, run._PART_ROWS = run._PART_ROWS, part_rows
    try:
        return process(manifest, output, stage=stage or StubStage(), **how)
    finally:
        run._PART_ROWS = before

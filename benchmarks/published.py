"""Cnn14 as published: the file of weights, and a home folder with all files of panns_inference."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import ROOT
from benchmarks.material import seeded_model
from pannsx.models.convert import to_published

LABELS = ROOT / "pannsx" / "data" / "audioset_labels.csv"
WEIGHTS = "Cnn14_mAP=0.431.pth"


@contextmanager
def published_home() -> Iterator[Path]:
    """A temporary HOME with ``panns_data``: the labels, and seeded Cnn14 weights in the published layout.

    panns_inference looks there at import and calls ``wget`` for missing files. The weights are stored with
    the constants of the front end, because it loads them strictly.  Yields the file of weights.
    """
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "panns_data"
        data.mkdir()
        _write_labels(data / "class_labels_indices.csv")
        torch.save({"model": to_published(seeded_model("Cnn14"))}, data / WEIGHTS)
        before = {name: os.environ.get(name) for name in ("HOME", "USERPROFILE")}
        os.environ.update(dict.fromkeys(before, home))
        try:
            yield data / WEIGHTS
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def panns_inference(weights: Path, device: str = "cpu") -> Any:
    """Its ``AudioTagging``, inside a :func:`published_home`."""
    with redirect_stdout(io.StringIO()):  # it prints the paths of its files
        from panns_inference import AudioTagging

        return AudioTagging(checkpoint_path=str(weights), device=device)


def _write_labels(path: Path) -> None:
    """The columns index, mid and display name, every name in quotes as in the published file."""
    with LABELS.open(encoding="utf-8", newline="") as source, path.open("w", encoding="utf-8") as target:
        rows = csv.reader(source)
        target.write(",".join(next(rows)) + "\n")
        for index, mid, name in rows:
            target.write(f'{index},{mid},"{name}"\n')

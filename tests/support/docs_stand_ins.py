"""What the documentation names and does not make: recordings, and published weights on a local server.

The weights are random, so what they answer means nothing, and their networks have narrow layers, so that
several take little memory and time; the golden tests compute the real ones.  Their records are the
manifest's, but for digest and source; all others lose their sources, so that nothing can reach out to a
network.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from docs_pages import ROOT
from docs_shell import FFMPEG_OUTPUT
from hub_server import LocalHub, local_hub

from pannsx import AudioTagger, create_model
from pannsx.events import Event
from pannsx.events.formats import Recording, write_events
from pannsx.models import ARCHITECTURES
from pannsx.models.convert import to_published
from pannsx.models.settings import CnnSettings
from pannsx.weights import manifest
from pannsx.weights.record_json import record_to_json

EXAMPLE = "R9_ZSCveAHg_7s.wav"
RECORDINGS = (
    "street.mp3", "dog.wav", "rain.flac", "lecture.flac", "night.flac", "clips/a.wav", "clips/b.wav",
    "site1/a.wav", "site2/a.wav",
    "recordings/monday.flac", "archive/may/owl.flac", EXAMPLE, FFMPEG_OUTPUT,
    "reference/dog.wav", "reference/rain.wav", "reference/siren.wav",
    "generated/dog.wav", "generated/rain.wav", "generated/siren.wav",
    "yard/001.wav", "yard/002.wav", "yard/003.wav", "street/001.wav", "street/002.wav",
    "my_sounds/pump/1.wav", "my_sounds/pump/2.wav", "my_sounds/fan/1.wav", "my_sounds/fan/2.wav",
)  # fmt: skip
RATE = 32_000
_NARROW = {"Cnn14": 6, "Cnn14_DecisionLevelMax": 6, "Cnn10": 4}  # blocks
CHANNELS = 64
"""Of every layer of the narrow networks; the embeddings and frames are those of the published ones."""


def make_files(folder: Path) -> None:
    """The example scene, a second of seeded noise for every other recording, a checkpoint with its record."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    rng = np.random.default_rng(0)
    for name in RECORDINGS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, 0.1 * rng.standard_normal(RATE), RATE)
    (folder / "manifest.jsonl").write_text('{"audio_filepath": "dog.wav", "duration": 0.5}\n', "utf-8")
    sounds = [name for name in RECORDINGS if name.startswith("my_sounds/")]
    rows = [f"{name},{Path(name).parent.name}" for name in sounds]
    (folder / "my_sounds.csv").write_text("\n".join(["file,label", *rows]) + "\n", "utf-8")
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "0.tar", "w") as tar:
        tar.add(folder / "dog.wav", "dog.wav")
    heard = [Event("Dog", 0.1, 0.9, 1.0)]
    write_events([Recording("monday.flac", heard, 1.0)], folder / "truth.tsv")
    write_events([Recording("night.flac", heard, 1.0)], folder / "truth.jams")
    (folder / "weak.tsv").write_text("filename\tevent_labels\na.wav\tDog\nb.wav\tDog,Siren\n", "utf-8")
    bundled = manifest.find(manifest.DEFAULT_CHECKPOINT)
    own = replace(bundled, name="my_checkpoint", filename="my_checkpoint.safetensors", sources=())
    shutil.copyfile(ROOT / "pannsx" / "data" / str(bundled.filename), folder / str(own.filename))
    (folder / "my_checkpoint.json").write_text(json.dumps(record_to_json(own)), "utf-8")


@contextmanager
def published_weights(folder: Path) -> Iterator[Path]:
    """Four published checkpoints, ``Cnn14`` and its kin and ``Cnn10``, on a local server, and their manifest.

    Yields the path of the manifest; weights and manifest lie in ``folder``.
    """
    with local_hub() as hub:
        with narrow_networks():
            entries = json.loads(manifest.manifest_path().read_text("utf-8"))
            by_name: dict[str, Any] = {entry["name"]: entry for entry in entries["checkpoints"]}
            for entry in by_name.values():
                entry["sources"] = [source for source in entry["sources"] if source["type"] == "bundled"]
            weights = _weights("Cnn14")
            _publish(hub, folder, by_name["Cnn14"], weights)
            _publish(hub, folder, by_name["Cnn14_DecisionLevelMax"], weights)  # the two have the same keys
            _publish(hub, folder, by_name["Cnn14_16k"], _weights("Cnn14_16k"))
            _publish(hub, folder, by_name["Cnn10"], _weights("Cnn10"))
            by_name["Cnn14"]["example"]["top"] = _answer(folder, by_name["Cnn14"])
            path = folder / "manifest.json"
            path.write_text(json.dumps(entries), "utf-8")
        yield path


@contextmanager
def narrow_networks() -> Iterator[None]:
    """The architectures of the published stand-ins have narrow layers."""
    with pytest.MonkeyPatch.context() as patch:
        for name, n_blocks in _NARROW.items():
            pools = (2, 2, 2, 2, 2, 1)[:n_blocks]
            narrow = replace(ARCHITECTURES[name], trunk=CnnSettings((CHANNELS,) * n_blocks, pools))
            patch.setitem(ARCHITECTURES, name, narrow)
        yield


def _answer(folder: Path, entry: dict[str, Any]) -> dict[str, float]:
    """What the weights in the folder say of the record's example."""
    tagger = AudioTagger(entry["name"], checkpoint=folder / entry["filename"])
    result = tagger.inference(folder / EXAMPLE)
    return {label: result.probability(label) for label in entry["example"]["top"]}


def _weights(name: str) -> bytes:
    """A published file of random weights, in float16."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = to_published(create_model(name))
    file = io.BytesIO()
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    torch.save({"model": half}, file)
    return file.getvalue()


def _publish(hub: LocalHub, folder: Path, entry: dict[str, Any], weights: bytes) -> None:
    path = folder / entry["filename"]
    path.write_bytes(weights)
    hub.put(f"/{entry['name']}.pth", path)
    entry["sources"] = [{"type": "url", "url": f"{hub.url}/{entry['name']}.pth"}]
    entry["size_bytes"] = len(weights)
    entry["sha256"] = hashlib.sha256(weights).hexdigest()


@contextmanager
def manifest_at(path: Path) -> Iterator[None]:
    """The package reads this manifest instead of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "manifest_path", lambda: path)
        manifest.load_manifest.cache_clear()
        try:
            yield
        finally:
            manifest.load_manifest.cache_clear()


def put_weights(weights: Path, folder: Path, home: Path) -> None:
    """Published files where the pages suppose that a reader has them."""
    cnn10, cnn14 = manifest.find("Cnn10").filename, manifest.find("Cnn14").filename
    for source, target in (
        (cnn14, folder / "Cnn14.pth"),
        (cnn14, home / "panns_data" / str(cnn14)),
        (cnn10, folder / "downloads" / str(cnn10)),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(weights / str(source), target)

"""From a run to a checkpoint that the taggers load: evaluated, exported, converted, published."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import COMMIT, Client
from hub_uploads import upload_hub
from packing import LABELS
from seeded_models import seeded_state
from training import RATE, last_state, make_store, overrides, tone

from pannsx import AudioTagger, weights
from pannsx.errors import WeightsError
from pannsx.labels import audioset
from pannsx.metrics import tagging_scores
from pannsx.weights.manifest import read_record
from train import convert_published as convert
from train import evaluate, export, plots, run
from train.data.encoding import as_float
from train.data.store import Store
from train.loop import checkpoints, log
from train.loop.trained import trained_model
from train.publish import publish

SVG = "{http://www.w3.org/2000/svg}"
TOKEN = "hf_of_the_tests"
PROBABILITY_TOLERANCE = 1e-5
"""Between a model as trained and the same prepared for the CPU: float32, other algorithms."""
HALF_TOLERANCE = 2e-3
"""Between float32 and float16 weights: eleven bits, through some layers."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("packed") / "store")


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder."""
    folder = tmp_path_factory.mktemp("runs") / "tones"
    given = overrides(
        store, data__workers=0, data__evaluation=store, run__steps=20, keep__save_every=10, name="tones"
    )
    assert run.main(["LeeNet11", *given, "--folder", str(folder), "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def exported(trained: Path, tmp_path: Path) -> Path:
    export.export(trained, tmp_path / "exported", licence="MIT", description="Nine tones")
    return tmp_path / "exported"


def test_exported_is_what_the_tagger_loads(trained: Path, exported: Path) -> None:
    tagger = AudioTagger(checkpoint=exported)
    assert tuple(tagger.labels) == LABELS.names
    waveform = as_float(tone(3))
    state = last_state(trained)
    with torch.inference_mode():
        expected = trained_model(state)(torch.from_numpy(waveform)[None]).logits.sigmoid().numpy()[0]
    got = tagger.inference(waveform, RATE).clipwise
    np.testing.assert_allclose(got, expected, atol=PROBABILITY_TOLERANCE)
    averaged = weights.load(checkpoint=exported).model.state_dict()
    for key, tensor in state["average"].items():
        assert torch.equal(averaged[key], tensor), "the average is what is exported"


def test_the_record_says_where_it_comes_from(trained: Path, exported: Path) -> None:
    record = read_record(exported / "tones.json")
    state = last_state(trained)
    assert (record.name, record.architecture, record.licence) == ("tones", "LeeNet11", "MIT")
    assert record.labels == "tones.labels.csv"
    assert record.trained_on is not None
    for said in (
        "20 of 20 steps of 4 clips",
        "seed 1234",
        state["data"]["train"],
        state["versions"]["torch"],
    ):
        assert said in record.trained_on
    (entry,) = [entry for entry in log.read(trained) if entry["kind"] == "evaluate"]
    assert record.scores is not None
    assert record.scores.mAP == entry["mAP"]
    card = (exported / "README.md").read_text("utf-8")
    assert card.startswith('---\nlicense: "mit"\nlibrary_name: pannsx\n')
    for said in ("# tones", "Nine tones", f"| mAP | {entry['mAP']:.4f} |", '"batch_size": 4'):
        assert said in card


def test_half_precision_is_half_as_large_and_near(trained: Path, exported: Path, tmp_path: Path) -> None:
    arguments = [str(trained), str(tmp_path / "half"), "--half", "--name", "halved"]
    assert export.main(arguments) == 0
    whole = (exported / "tones.safetensors").stat().st_size
    assert (tmp_path / "half" / "halved.safetensors").stat().st_size < 0.51 * whole
    waveform = as_float(tone(3))
    one, other = (
        AudioTagger(checkpoint=folder).inference(waveform, RATE).clipwise
        for folder in (exported, tmp_path / "half")
    )
    np.testing.assert_allclose(one, other, atol=HALF_TOLERANCE)


def test_what_cannot_be_exported_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "holds no checkpoint of a run" in capsys.readouterr().err
    assert export.main([str(tmp_path / "step.pt"), str(tmp_path / "out")]) == 1
    assert "cannot read the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["run", "checkpoint", "exported"])
def test_evaluation_of_every_form_is_the_same(
    form: str, trained: Path, exported: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    which = {"run": trained, "checkpoint": checkpoints.path_of(trained, 20), "exported": exported}[form]
    report = tmp_path / "report.csv"
    arguments = [str(which), str(store), "--report", str(report), "--workers", "0", "--device", "cpu"]
    assert evaluate.main(arguments) == 0
    (entry,) = [entry for entry in log.read(trained) if entry["kind"] == "evaluate"]
    assert f"mAP {entry['mAP']:.4f}" in capsys.readouterr().out
    with report.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(LABELS)
    values = [float(row["average_precision"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert np.mean(values) == pytest.approx(entry["mAP"], abs=1e-6)


def test_evaluation_tells_what_does_not_fit(
    exported: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["Cnn_14", str(store), "--device", "cpu"]) == 1
    assert evaluate.main([str(exported), "nowhere.npz", "--device", "cpu"]) == 1
    assert capsys.readouterr().err.count("train.evaluate: ") == 2


def test_classes_without_positive_clips_are_left_empty(tmp_path: Path) -> None:
    scores = tagging_scores([[1, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.3]])
    evaluate.write_report(tmp_path / "report.csv", scores, ["dog", "cat"])
    assert (tmp_path / "report.csv").read_text().splitlines()[1:] == [
        "dog,1,1.000000,1.000000,inf",
        "cat,0,,,",
    ]


def test_the_papers_plots(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plots.main([str(tmp_path / "plots"), str(trained)]) == 0
    curves, scatter = (ElementTree.parse(tmp_path / "plots" / name) for name in ("mAP.svg", "classes.svg"))
    assert [text.text for text in curves.iter(f"{SVG}text")][-1] == "tones"
    assert len(list(scatter.iter(f"{SVG}circle"))) == len(LABELS)
    assert plots.main([str(tmp_path / "plots"), str(tmp_path)]) == 1
    assert "nothing to draw" in capsys.readouterr().err


@pytest.mark.parametrize("high", [0.0003, 0.431, 1.0, 7.0, 600_000.0])
def test_ticks_are_round_and_few(high: float) -> None:
    ticks = plots._round_steps(0.0, high)
    assert 4 <= len(ticks) <= 8
    assert ticks[-1] <= high * (1 + 1e-9)


def test_a_published_file_is_converted(tmp_path: Path) -> None:
    torch.save({"model": seeded_state("MobileNetV2")}, tmp_path / "MobileNetV2.pth")
    for options in ([], ["--constants"]):
        folder = tmp_path / f"converted{len(options)}"
        assert convert.main(["MobileNetV2", str(tmp_path / "MobileNetV2.pth"), str(folder), *options]) == 0
        loaded = weights.load(checkpoint=folder)
        assert loaded.labels == audioset()
        assert loaded.record.notes is not None
        assert "Converted from MobileNetV2.pth, sha256 " in loaded.record.notes
        state = weights.read_state_dict(folder / "MobileNetV2.safetensors")
        assert ("logmel_extractor.melW" in state) == bool(options)
        for key, tensor in seeded_state("MobileNetV2").items():
            assert torch.equal(state[key], tensor)


def test_conversion_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": seeded_state("MobileNetV2")}, tmp_path / "some.pth")
    assert convert.main(["MobileNetV1", str(tmp_path / "some.pth"), str(tmp_path / "out")]) == 1
    assert "does not fit MobileNetV1" in capsys.readouterr().err
    assert convert.main(["MobileNet", str(tmp_path / "some.pth"), str(tmp_path / "out")]) == 1
    assert "unknown model 'MobileNet'; did you mean" in capsys.readouterr().err


# A process of its own, since the client reads its endpoint once: publishes with a wrong token, with the right
# one, then loads what is there.
PUBLISHES = """
import os, sys
from huggingface_hub import hf_hub_download
from pannsx import AudioTagger
from train.publish import main
folder, copy, token = sys.argv[1:]
os.environ["HF_TOKEN"] = "hf_of_another"
print(main([folder, "me/tones"]))
os.environ["HF_TOKEN"] = token
print(main([folder, "me/tones", "--private"]))
names = ["tones.safetensors", "tones.json", "tones.labels.csv"]
paths = [hf_hub_download("me/tones", name, local_dir=copy) for name in names]
print(",".join(AudioTagger(checkpoint=paths[0]).labels))
"""


def test_published_and_loaded_from_the_hub(exported: Path, tmp_path: Path) -> None:
    (exported / "notes.txt").write_text("for myself")
    with upload_hub(TOKEN) as hub:
        done = subprocess.run(
            [sys.executable, "-c", PUBLISHES, str(exported), str(tmp_path / "copy"), TOKEN],
            env=Client(hub, tmp_path).environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        refused, source, published, labels = done.stdout.splitlines()
        assert (refused, published, labels) == ("1", "0", ",".join(LABELS))
        assert "cannot publish to me/tones" in done.stderr
        assert "log in with `hf auth login`" in done.stderr
        described = {"repo_id": "me/tones", "filename": "tones.safetensors", "revision": COMMIT}
        assert json.loads(source) == described
        assert hub.repositories == {"me/tones": True}
        (commit,) = hub.commits
        assert commit["message"] == "Add tones"
        assert set(commit["files"]) == {"tones.safetensors", "tones.json", "tones.labels.csv", "README.md"}


def test_an_altered_checkpoint_is_not_published(exported: Path) -> None:
    path = exported / "tones.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="altered"):
        publish(exported, "me/tones")


def test_a_bad_name_of_a_repository_is_refused(exported: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot publish to me/to/nes: Repo id must be"):
        publish(exported, "me/to/nes")


def test_the_digest_of_clips_is_that_of_their_ids_and_labels(
    store: Path, trained: Path, tmp_path: Path
) -> None:
    from train.loop.provenance import clips_digest

    again = make_store(tmp_path / "again")
    assert clips_digest(Store(again)) == clips_digest(Store(store)) == last_state(trained)["data"]["train"]
    assert clips_digest(Store(make_store(tmp_path / "other", 39))) != clips_digest(Store(store))

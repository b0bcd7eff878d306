"""``pannsx models``, ``info``, ``fetch`` and ``verify``: what is known of checkpoints, and what is true."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numba
import pytest
from cli_files import write_wav

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.cli.verify import SCORE_TOLERANCE
from pannsx.readable import file_size
from pannsx.version import __version__
from pannsx.weights import resolve
from pannsx.weights.manifest import DEFAULT_CHECKPOINT, find, load_manifest
from pannsx.weights.record import Example
from pannsx.weights.record_json import record_to_json

ROOT = Path(__file__).resolve().parent.parent

Captured = pytest.CaptureFixture[str]

WITHOUT_TORCH = """
import sys
from pannsx.cli import main
for command in "models", "models --format json", "info Cnn14", "fetch NAME", "verify NAME":
    assert main(command.split()) == 0, command
print(sorted({"torch", "numba"} & set(sys.modules)))
"""


@pytest.fixture
def nothing_cached(tmp_path: Path) -> dict[str, str]:
    """An environment without network and with empty caches."""
    empty = str(tmp_path / "caches")
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": empty,
        "HF_HUB_CACHE": empty,
        "PANNSX_HOME": empty,
    }


@pytest.fixture
def own_record(tmp_path: Path) -> Path:
    """The bundled checkpoint as a user's own, with the scores of a clip."""
    weights = tmp_path / "own.safetensors"
    shutil.copyfile(resolve(find(DEFAULT_CHECKPOINT)), weights)
    clip = write_wav(tmp_path / "clip.wav", 2)
    top = {tag.label: round(tag.probability, 3) for tag in AudioTagger().inference(clip).top(3)}
    record = replace(
        find(DEFAULT_CHECKPOINT),
        name="own",
        filename=weights.name,
        sources=(),
        example=Example(file="clip.wav", top=top),
    )
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record_to_json(record)))
    return path


def test_no_torch_for_what_computes_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH.replace("NAME", DEFAULT_CHECKPOINT)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == "[]"


def test_models_lists_every_checkpoint(capsys: Captured) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[1 : lines.index("")]]
    assert [row[0] for row in rows] == list(load_manifest())
    cnn14_16k = next(row for row in rows if row[0] == "Cnn14_16k")
    assert cnn14_16k[1:7] == ["Cnn14", "16", "kHz", "80.8", "M", "0.438"]
    states = {row[0]: row[-1] for row in rows}
    assert states[DEFAULT_CHECKPOINT] == "bundled"
    assert states["Cnn14_mel32"] == "unreleased"
    assert {line.partition(":")[0] for line in lines[lines.index("") + 1 :]} == {*states.values(), "default"}


def test_models_as_json(capsys: Captured) -> None:
    assert main(["models", "--format", "json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(found) == list(load_manifest())
    assert [name for name, entry in found.items() if entry["default"]] == [DEFAULT_CHECKPOINT]
    assert found["Cnn10"]["mAP"] == 0.38
    assert found["Cnn10"]["parameters"] == 5219279


def test_lists_and_records_are_written_to_files(tmp_path: Path, capsys: Captured) -> None:
    table, record = tmp_path / "models.tsv", tmp_path / "cnn14.json"
    assert main(["models", "-o", str(table)]) == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8")), delimiter="\t"))
    assert [row["name"] for row in rows] == list(load_manifest())
    assert next(row for row in rows if row["name"] == "Cnn10")["mAP"] == "0.38"
    assert main(["info", "Cnn14", "-o", str(record), "-q"]) == 0
    assert json.loads(record.read_text("utf-8")) == record_to_json(find("Cnn14"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        f"pannsx: wrote {table} ({file_size(table.stat().st_size)}, {len(rows)} checkpoints)"
    ]
    assert main(["info", "Cnn14", "-o", "cnn14.csv"]) == 2
    assert "has none of the extensions .json" in capsys.readouterr().err


def test_models_finds_what_lies_in_a_folder(tmp_path: Path, capsys: Captured) -> None:
    record = find("Cnn14_8k")
    (tmp_path / str(record.filename)).touch()
    assert main(["models", "--format", "json", "--cache-dir", str(tmp_path)]) == 0
    states = {entry["name"]: entry["weights"] for entry in json.loads(capsys.readouterr().out)}
    assert states["Cnn14_8k"] == "here"


def test_info_says_everything_the_manifest_says(capsys: Captured) -> None:
    for name, record in load_manifest().items():
        assert main(["info", name]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        for fact in (
            record.architecture,
            record.sha256,
            record.md5,
            record.licence,
            record.recipe,
            record.filename,
        ):
            assert fact is None or fact in shown
        for text in (record.description, record.trained_on, record.notes, *map(str, record.sources)):
            assert text is None or " ".join(text.split()) in shown
        if record.example is not None:
            assert all(f"{label} {score:.3f}" in shown for label, score in record.example.top.items())


def test_info_as_json(capsys: Captured) -> None:
    assert main(["info", "cnn14", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == record_to_json(find("Cnn14"))


def test_info_of_an_own_record(own_record: Path, capsys: Captured) -> None:
    assert main(["info", str(own_record)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("own\n")
    assert str(own_record.parent) in shown.replace("\n", "")


def test_info_of_own_weights(own_record: Path, capsys: Captured) -> None:
    shutil.copy(own_record, own_record.with_name("own.json"))
    assert main(["info", str(own_record.with_name("own.json"))]) == 0
    by_record = capsys.readouterr().out
    assert main(["info", str(own_record.with_name("own.safetensors"))]) == 0
    assert capsys.readouterr().out == by_record


def test_info_of_audio(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 1.5)
    assert main(["info", path, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["sample_rate"], found["n_channels"]) == (path, 32000, 1)
    assert found["duration_s"] == 1.5
    assert main(["info", path]) == 0
    assert "1.500 s" in capsys.readouterr().out
    bad = tmp_path / "bad.wav"
    bad.write_text("this is no sound")
    assert main(["info", str(bad)]) == 1
    assert capsys.readouterr().err.startswith(f"pannsx: {bad}: is not audio")


def test_info_of_the_installation(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path))
    assert main(["info", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pannsx"] == __version__
    assert facts["folder"] == str(ROOT / "pannsx")
    assert facts["downloads"] == str(tmp_path)
    assert facts["numba"] == numba.__version__
    assert Path(facts["machine_code"]).is_dir()
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert all(
        str(facts[key]) in shown for key in ("pannsx", "folder", "python", "downloads", "machine_code")
    )


def test_info_where_no_folder_is_writable(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pannsx.jit.cache.code_folder", lambda: None)
    assert main(["info", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine_code"] is None
    assert main(["info"]) == 0
    assert "not kept, compiled in every process" in capsys.readouterr().out
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    assert main(["info"]) == 0
    assert "none: NUMBA_DISABLE_JIT is set" in capsys.readouterr().out


def test_info_of_nothing_known(capsys: Captured) -> None:
    assert main(["info", "Cnn41"]) == 2
    assert "unknown model 'Cnn41'; did you mean" in capsys.readouterr().err
    assert main(["info", "missing.json"]) == 1
    assert "there is no file missing.json" in capsys.readouterr().err


def test_fetch_says_what_came_and_what_did_not(tmp_path: Path, capsys: Captured) -> None:
    assert main(["fetch", "Cnn14_mel32", DEFAULT_CHECKPOINT, "Cnn14_8k", "--to", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    name, _, path = shown.out.strip().partition(": ")
    assert name == DEFAULT_CHECKPOINT
    assert Path(path).is_file()
    unreleased, unverified = shown.err.splitlines()
    assert unreleased.startswith("pannsx: Cnn14_mel32: no weights were ever released")
    assert unverified.startswith("pannsx: Cnn14_8k: ")
    assert "--allow-unverified" in unverified


def test_fetch_knows_a_wrong_name_before_it_begins(capsys: Captured) -> None:
    assert main(["fetch", DEFAULT_CHECKPOINT, "Cnn41"]) == 2
    assert capsys.readouterr().out == ""
    assert main(["fetch", DEFAULT_CHECKPOINT, "--all"]) == 2
    assert "not both" in capsys.readouterr().err


def test_fetch_all_without_a_network_names_every_checkpoint(
    tmp_path: Path, nothing_cached: dict[str, str]
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pannsx", "fetch", "--all", "--to", str(tmp_path / "weights")],
        cwd=ROOT, env=nothing_cached, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 1
    assert [line.partition(":")[0] for line in run.stdout.splitlines()] == [DEFAULT_CHECKPOINT]
    refused = {line.split(": ")[1] for line in run.stderr.splitlines() if line.startswith("pannsx: ")}
    assert refused == set(load_manifest()) - {DEFAULT_CHECKPOINT}
    assert "HF_HUB_OFFLINE" in run.stderr


def test_verify_the_bundled_checkpoint(capsys: Captured) -> None:
    assert main(["verify", DEFAULT_CHECKPOINT]) == 0
    shown = capsys.readouterr().out
    assert str(find(DEFAULT_CHECKPOINT).sha256) in shown
    assert shown.count("as on record") == 2


def test_verify_an_altered_file(tmp_path: Path, capsys: Captured) -> None:
    altered = bytearray(resolve(find(DEFAULT_CHECKPOINT)).read_bytes())
    altered[-1] ^= 1
    path = tmp_path / "altered.safetensors"
    path.write_bytes(altered)
    assert main(["verify", DEFAULT_CHECKPOINT, "--checkpoint", str(path)]) == 1
    shown = capsys.readouterr()
    assert f"DIFFERS: {find(DEFAULT_CHECKPOINT).sha256} on record" in shown.out
    assert f"{path} is not the file that its record describes" in shown.err


def test_verify_what_cannot_be_verified(tmp_path: Path, capsys: Captured) -> None:
    assert main(["verify", "Cnn14_mel32"]) == 1
    assert "no weights were ever released for Cnn14_mel32" in capsys.readouterr().err
    assert main(["verify", "Cnn14", "--checkpoint", str(tmp_path / "none.pth")]) == 1
    assert "there is no file" in capsys.readouterr().err
    some = tmp_path / "some.pth"
    some.write_bytes(b"bytes")
    assert main(["verify", "Cnn14_8k", "--checkpoint", str(some)]) == 1
    capsys.readouterr()
    assert main(["verify", DEFAULT_CHECKPOINT, "clip.wav"]) == 2
    assert "no scores of a clip are published" in capsys.readouterr().err


def test_verify_published_scores(own_record: Path, capsys: Captured) -> None:
    clip = str(own_record.parent / "clip.wav")
    assert main(["verify", str(own_record), clip]) == 0
    shown = capsys.readouterr().out
    assert shown.count("  ok") == 3
    assert "published scores of clip.wav" in shown

    record = json.loads(own_record.read_text())
    label = next(iter(record["example"]["top"]))
    record["example"]["top"][label] -= 2 * SCORE_TOLERANCE
    own_record.write_text(json.dumps(record))
    assert main(["verify", str(own_record), clip]) == 1
    shown = capsys.readouterr()
    (differing,) = [line for line in shown.out.splitlines() if line.endswith("DIFFERS")]
    assert label in differing
    assert "1 of 3 scores differ" in shown.err


def test_verify_scores_of_a_clip_that_is_none(own_record: Path, capsys: Captured) -> None:
    assert main(["verify", str(own_record), "missing.wav"]) == 1
    assert "pannsx: missing.wav: there is no file" in capsys.readouterr().err
    assert main(["verify", str(own_record), "--checkpoint", "other.pth"]) == 2

"""``pannsx corpus``: from recordings to a table, with the bundled network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import write_wav
from small_models import SAME_ALONE

from pannsx import AudioTagger
from pannsx.cli import main

pa = pytest.importorskip("pyarrow")

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for i, seconds in enumerate((1.0, 0.5, 11.0)):
        write_wav(tmp_path / "clips" / f"{i}.wav", seconds, seed=i)
    (tmp_path / "clips" / "bad.wav").write_text("no sound")
    return tmp_path / "clips"


def table_of(folder: Path) -> dict[str, list[Any]]:
    import pyarrow.dataset  # here: with it comes pandas, which takes 30 MB in each of the tests' processes

    found: dict[str, list[Any]] = pyarrow.dataset.dataset(folder).to_table().to_pydict()
    return found


def test_a_table(clips: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "table"
    command = ["corpus", str(clips), "-o", str(out), "--outputs", "tags,embedding", "--top", "2"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"pannsx: wrote {out} (1 part, " in said
    assert '): 4 rows, 1 failed (status "error"); 4 in ' in said
    found = table_of(out)
    assert list(found) == ["id", "path", "offset_s", "duration_s", "status", "error", "tags", "embedding"]
    assert found["id"] == [str(clips / name) for name in ("0.wav", "1.wav", "2.wav", "bad.wav")]
    assert found["status"] == ["ok", "ok", "ok", "error"]
    assert "is not audio" in found["error"][3]
    tagger = AudioTagger()
    for i in range(3):
        alone = tagger.inference(found["path"][i])
        assert [tag["label"] for tag in found["tags"][i]] == [tag.label for tag in alone.top(2)]
        scale = np.abs(alone.embedding).max()
        np.testing.assert_allclose(found["embedding"][i], alone.embedding, rtol=0, atol=SAME_ALONE * scale)

    write_wav(clips / "bad.wav", 1.0, seed=3)
    assert main([*command, "--retry-failed"]) == 0
    assert table_of(out)["status"] == ["ok"] * 4
    assert "): 4 rows, 4 of them before; 1 tried again in " in capsys.readouterr().err
    assert main([*command, "--resume", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*command]) == 1
    assert "go on with it by --resume, or name another folder" in capsys.readouterr().err
    assert main([*command, "--resume", "--split", "5"]) == 1
    assert "other settings (split: none then, 5.0 now)" in capsys.readouterr().err


def test_a_corpus_without_a_sound(tmp_path: Path, capsys: Captured) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"audio_filepath": "none.wav"}\n')
    assert main(["corpus", str(manifest), "-o", str(tmp_path / "table"), "--format", "jsonl"]) == 1
    assert '1 rows, 1 failed (status "error")' in capsys.readouterr().err
    (part,) = (tmp_path / "table").glob("part-*.jsonl")
    assert "there is no file" in json.loads(part.read_text())["error"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--outputs", "tag"], 2, "no output 'tag'"),
        (["--shard", "8/8"], 2, "'8/8' is no share; 0/8 to 7/8"),
        (["--split", "3600"], 2, "--split is 3600.0; a number of seconds up to 300"),
        (["--model", "Cnn41"], 2, "did you mean"),
        (["--engine", "spark"], 2, "'spark' is none of local"),
        (["--gpus", "0.5"], 2, "--gpus is for --engine ray; elsewhere --device chooses the GPU"),
        (["--checkpoint", "none.pth"], 1, "there is no file none.pth"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], status: int, message: str, clips: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "table"
    assert main(["corpus", str(clips), "-o", str(out), *arguments]) == status
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("table/part-*"))


def test_manifests_that_say_nothing(tmp_path: Path, capsys: Captured) -> None:
    manifest = tmp_path / "m.jsonl"
    for text, message in (("{\n", "line 1: it is not JSON"), ("", "the manifest has no rows")):
        manifest.write_text(text)
        assert main(["corpus", str(manifest), "-o", str(tmp_path / "table")]) == 1
        assert message in capsys.readouterr().err
    assert main(["corpus", str(tmp_path / "none*.wav"), "-o", str(tmp_path / "table")]) == 1
    assert "no file matches the pattern" in capsys.readouterr().err
    assert not list(tmp_path.glob("table/*"))


def test_a_run_that_is_interrupted(
    clips: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*sources: Any, **how: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pannsx.corpus.local.process", interrupted)
    out = tmp_path / "table"
    assert main(["corpus", str(clips), "-o", str(out)]) == 130
    assert f"interrupted; what is done is in {out}, and --resume goes on with it" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_runs_that_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pannsx", "corpus", str(tmp_path / "clips"), "--resume"]
    command += ["--workers", "2", "-o"]
    for i in range(200):
        write_wav(tmp_path / "clips" / f"{i:03}.wav", 0.5 + 0.01 * i, seed=i)
    command = [
        sys.executable,
        "-m",
        "pannsx",
        "corpus",
        str(tmp_path / "clips"),
        "--resume",
        "--workers",
        "2",
        "-o",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    out = tmp_path / "killed"
    for wait_s in (4, 6, 8):
        run = subprocess.Popen(
            [*command, str(out)], env=environment, start_new_session=True, stderr=subprocess.PIPE
        )
        try:
            run.wait(wait_s)
        except subprocess.TimeoutExpired:
            (os.killpg if wait_s == 6 else os.kill)(run.pid, signal.SIGKILL)
        run.communicate()
    subprocess.run([*command, str(out)], env=environment, check=True, capture_output=True)
    whole, killed = (table_of(folder) for folder in (tmp_path / "whole", out))
    assert killed["id"] == whole["id"]
    np.testing.assert_array_equal(killed["embedding"], whole["embedding"])
    assert {path.name for path in out.glob("_*")} == {"_manifest.rows", "_run.json"}

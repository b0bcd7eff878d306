"""``pannsx score`` and ``pannsx statistics``: the report, its JSON, refusals and exit statuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from cli_files import write_wav

from pannsx import GenerationScorer
from pannsx.cli import main
from pannsx.scoring import read_av_bench, read_kadtk, read_statistics
from pannsx.weights.manifest import DEFAULT_CHECKPOINT

Captured = pytest.CaptureFixture[str]
SMALL = ("--model", DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("sets")
    for which, seed in (("reference", 0), ("generated", 50)):
        for i in range(3):
            write_wav(root / which / f"clip{i}.wav", 0.5, seed + i)
    return str(root / "reference"), str(root / "generated")


def test_table(sets: tuple[str, str], capsys: Captured) -> None:
    assert main(["score", *sets, *SMALL, "--resamples", "5"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    scores = GenerationScorer(DEFAULT_CHECKPOINT).score(*sets, n_resamples=0)
    lines = {line.split("  ")[0]: line for line in said.out.splitlines()}
    assert f"{sets[0]}: 3 clips" in lines["reference"]
    assert "first channel, mean removed, resampled with hann6" in lines["preparation"]
    assert f"{scores['FD']:.4f}" in lines["FD"]
    assert "(95 %)" in lines["FD"]
    assert "1e-6 added inside of the logarithm" in lines["KL (softmax)"]
    assert "not computed: 3 generated clips; at least 10" in lines["IS"]
    assert "note: FD of 3 and 3 clips" in said.out


def test_json_and_a_bad_file(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    for i in range(2):
        write_wav(tmp_path / f"clip{i}.wav", 0.5, 50 + i)
    (tmp_path / "clip2.wav").write_bytes(b"no audio")
    command = ["score", sets[0], str(tmp_path / "*.wav"), *SMALL, "--json", "--resamples", "0"]
    assert main([*command, "--preset", "pannsx", "--convention", "audioldm_eval"]) == 1
    told = json.loads(capsys.readouterr().out)
    (problem,) = told["problems"]
    assert problem["file"] == str(tmp_path / "clip2.wav")
    assert (problem["set"], problem["kind"], problem["kept"]) == ("generated", "unreadable", False)
    assert told["generated"]["n_clips"] == 2
    scores = {score["name"]: score for score in told["scores"]}
    assert scores["FD"]["value"] > 0
    assert scores["FD"]["interval"] is None
    assert "audioldm_eval" in scores["KL (softmax)"]["convention"]
    assert main([*command[:-3], "--resamples", "0"]) == 1
    table = capsys.readouterr().out
    assert "1 left out" in table
    assert "unreadable, left out" in table


def test_silent_files_are_listed(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    import soundfile

    for i in range(2):
        write_wav(tmp_path / f"clip{i}.wav", 0.5, 50 + i)
    soundfile.write(tmp_path / "clip2.wav", np.zeros(16_000), 32_000)
    command = ["score", sets[0], str(tmp_path), *SMALL, "--resamples", "0"]
    assert main(command) == 0
    assert "1 of 3 generated clips are silent and are in the scores" in capsys.readouterr().out
    assert main([*command, "--leave-out-silent"]) == 0
    out = capsys.readouterr().out
    assert "silent, left out" in out
    assert ": 2 clips, 1 left out" in out


def test_statistics_stand_for_their_folder(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "made" / "ref.npz"
    assert main(["statistics", sets[0], "-o", str(path), *SMALL, "--preset", "av_bench:3"]) == 0
    said = capsys.readouterr().err
    assert f"wrote {path} (" in said
    assert "): 3 clips, av_bench" in said
    assert read_statistics(path).origin.preparation.longest_s == 3
    # Model and preparation are those of the statistics.
    assert main(["score", str(path), sets[1], "--json", "--resamples", "0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["generated"]["model"] == DEFAULT_CHECKPOINT
    assert told["generated"]["preparation"]["longest_s"] == 3
    assert "exact" in told["scores"][-2]["convention"]
    assert main(["score", str(path), sets[1], "--preset", "kadtk"]) == 1
    error = capsys.readouterr().err
    assert "resampler 'hann6' and 'kaiser64'" in error
    assert "ref.npz and what these options make cannot be compared" in error
    table = tmp_path / "scores.csv"
    assert main(["score", str(path), str(path), "--resamples", "0", "-o", str(table)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"wrote {table} (" in shown.err
    rows = {row["score"]: row for row in csv.DictReader(io.StringIO(table.read_text("utf-8")))}
    assert abs(float(rows["FD"]["value"])) < 1e-6
    assert rows["FD"]["low"] == ""
    assert main(["score", str(path), str(path), "--preset", "kadtk"]) == 2
    assert "both sets are ready" in capsys.readouterr().err


def test_caches_of_other_tools(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    folder, file = tmp_path / "embeddings" / "small", tmp_path / "pann_features.pth"
    for out in (folder, file):
        assert main(["statistics", sets[0], "-o", str(out), *SMALL, "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert read_kadtk(folder).n_clips == read_av_bench(file).n_clips == 3
    assert main(["score", str(folder), str(folder), "--resamples", "0"]) == 0
    assert "small, by the cache of kadtk: weights and preparation are not known" in capsys.readouterr().out
    assert main(["score", str(folder), str(file)]) == 1
    assert "one is a cache of" in capsys.readouterr().err
    assert main(["score", str(folder), sets[1], *SMALL]) == 1
    assert "one is a cache of kadtk, which tells neither weights nor preparation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (["--preset", "kaldi"], 2, "no preparation 'kaldi'"),
        (["--model", "Cnn15"], 2, "did you mean"),
        (["--resamples", "-1"], 2, "'-1' is not a whole number from 0 up"),
        (["--resamples", "1"], 2, "one resample has no spread"),
    ],
)
def test_bad_options(
    sets: tuple[str, str], more: list[str], status: int, said: str, capsys: Captured
) -> None:
    assert main(["score", *sets, *more]) == status
    assert said in capsys.readouterr().err


def test_bad_sets(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    assert main(["score", str(tmp_path), sets[1], *SMALL]) == 1
    assert "has no audio files in it" in capsys.readouterr().err


def test_both_sets_are_looked_for_before_the_work_on_one(
    sets: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(GenerationScorer, "__init__", lambda *_, **__: pytest.fail("the network was loaded"))
    for wrong, said in (("nothing", "there is no file or folder"), ("*.wav", "no file matches the pattern")):
        assert main(["score", sets[0], str(tmp_path / wrong), *SMALL]) == 1
        assert said in capsys.readouterr().err
    for name in ("a/1.wav", "b/1.wav"):
        write_wav(tmp_path / name, 0.5)
    assert main(["statistics", str(tmp_path), "-o", str(tmp_path / "cache"), *SMALL]) == 1
    assert "several clips named '1'" in capsys.readouterr().err


def test_files_passed_over_are_counted(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    for i in range(2):
        write_wav(tmp_path / f"clip{i}.wav", 0.5, 50 + i)
    (tmp_path / "clip2.wav").write_bytes(b"no audio")
    (tmp_path / ".hidden.wav").touch()
    (tmp_path / "readme.md").touch()
    assert main(["score", sets[0], str(tmp_path), *SMALL, "--resamples", "0"]) == 1
    line = f"{tmp_path}: 2 of 3 heard, 1 failed, 2 skipped (1 hidden, 1 not named as audio)"
    assert line in " ".join(capsys.readouterr().err.split("\n"))


def test_files_that_are_no_sets(sets: tuple[str, str], tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "x.npz").write_bytes(b"nothing")
    assert main(["score", str(tmp_path / "x.npz"), sets[1]]) == 1
    assert "holds no statistics of pannsx" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "y.npz"), sets[1]]) == 1
    assert "y.npz" in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.npz").mkdir()
    assert main(["statistics", sets[0], "-o", str(tmp_path / "x.npz" / "deeper.npz"), *SMALL]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert main(["statistics", sets[0], "-o", str(tmp_path / "folder.npz"), *SMALL]) == 2
    assert "folder.npz is a folder" in capsys.readouterr().err

"""A synthetic AudioSet the whole way: fetched, packed, indexed, trained, killed, resumed, scored, tagged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packing import LABELS, clip_ids, write_label_file, write_list
from training import RATE, command, environment, overrides, tone

from pannsx import AudioTagger
from train import download, evaluate, export, index, pack
from train.data.ledger import Ledger
from train.data.store import Store
from train.loop import log

N_TRAIN, N_EVALUATION = 45, 18
GONE, BLACK = 3, 10
"""The training clip whose video is gone, and the one on the black list."""

YT_DLP = """
import os, pathlib, shutil, sys
arguments = sys.argv[1:]
video = arguments[-1].partition("watch?v=")[2]
source = pathlib.Path(os.environ["STAND_IN_FOLDER"]) / f"{video}.flac"
if not source.exists():
    sys.exit("ERROR: [youtube] " + video + ": Video unavailable")
stem = arguments[arguments.index("--output") + 1]
shutil.copy(source, stem.replace("%(ext)s", "flac"))
"""


@pytest.fixture
def sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The videos, and a ``yt-dlp`` on the PATH that fetches them."""
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "stand_in.py").write_text(YT_DLP, encoding="utf-8")
    if os.name == "nt":
        (folder / "yt-dlp.bat").write_text(f'@"{sys.executable}" -S "{folder / "stand_in.py"}" %*\n')
    else:
        (folder / "yt-dlp").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/stand_in.py" "$@"\n')
        (folder / "yt-dlp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_FOLDER", str(folder))
    ids = clip_ids(N_TRAIN + N_EVALUATION)
    for number, clip_id in enumerate(ids):
        if number != GONE:
            soundfile.write(folder / f"{clip_id}.flac", tone(number), RATE, subtype="PCM_16")
    return folder


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.slow
def test_from_segment_lists_to_a_tagger(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = clip_ids(N_TRAIN + N_EVALUATION)
    numbers = {"balanced_train_segments": range(N_TRAIN), "eval_segments": range(N_TRAIN, len(ids))}
    lists = {
        name: write_list(tmp_path / f"{name}.csv", {ids[i]: [i % len(LABELS)] for i in chosen})
        for name, chosen in numbers.items()
    }
    label_file = write_label_file(tmp_path / "class_labels_indices.csv")

    audio = tmp_path / "audios"
    assert download.main([str(audio), *map(str, lists.values()), "--per-second", "1000"]) == 0
    with Ledger(audio / "ledger.jsonl") as ledger:
        states = [entry.state if (entry := ledger[clip_id]) else None for clip_id in ids]
    assert states == ["gone" if number == GONE else "have" for number in range(len(ids))]

    for name, path in lists.items():
        arguments = [str(tmp_path / name), str(audio / name), "--segments", str(path), "--workers", "1"]
        settings = ["--labels", str(label_file), "--sample-rate", str(RATE), "--duration", "0.5"]
        assert pack.main([*arguments, *settings]) == 0
    assert len(Store(tmp_path / "balanced_train_segments")) == N_TRAIN - 1, "a missing clip leaves no row"

    (tmp_path / "black.csv").write_text(f"Y{ids[BLACK]}.wav\n")
    train, evaluation = tmp_path / "train.npz", tmp_path / "evaluation.npz"
    black_list = ["--black-list", str(tmp_path / "black.csv")]
    assert index.main([str(train), str(tmp_path / "balanced_train_segments"), *black_list]) == 0
    assert index.main([str(evaluation), str(tmp_path / "eval_segments")]) == 0

    run = tmp_path / "run"
    given = overrides(
        train, data__evaluation=evaluation, data__workers=1, run__steps=80, run__batch_size=8,
        keep__save_every=10, keep__evaluate_every=40, average__decay=0.9, augment__mixup="none",
        optimiser__learning_rate=3e-3, name="synthetic",
    )  # fmt: skip
    process = subprocess.Popen(command(run, given), env=environment(), stderr=subprocess.DEVNULL)
    while not any(entry["step"] > 15 for entry in log.read(run)) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == (1 if os.name == "nt" else -signal.SIGKILL), "it was killed on the way"
    resumed = subprocess.run(
        command(run, given), env=environment(), capture_output=True, text=True, timeout=120
    )
    assert resumed.returncode == 0, resumed.stderr
    steps = [entry["step"] for entry in log.read(run) if entry["kind"] == "train"]
    assert steps == list(range(1, 81))

    assert export.main([str(run), str(tmp_path / "exported"), "--licence", "MIT"]) == 0
    capsys.readouterr()
    report = tmp_path / "classes.csv"
    arguments = [str(tmp_path / "exported"), str(evaluation), "--workers", "0", "--report", str(report)]
    assert evaluate.main([*arguments, "--device", "cpu"]) == 0
    mAP = float(capsys.readouterr().out.split()[1].rstrip(","))
    assert mAP > 0.9, "unheard clips of the nine tones are told apart"

    tagger = AudioTagger(checkpoint=tmp_path / "exported")
    answers = tagger.inference([sounds / f"{ids[i]}.flac" for i in range(N_TRAIN, len(ids))])
    right = [answers.clipwise[i].argmax() == (N_TRAIN + i) % len(LABELS) for i in range(N_EVALUATION)]
    assert np.mean(right) > 0.8
    assert len(report.read_text().splitlines()) == 1 + len(LABELS)

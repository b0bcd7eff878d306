"""Packing: every kind of source, killed and resumed, with faults told apart."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import soundfile
from numpy.typing import NDArray
from packing import LABELS, clip_ids, noise, write_audio, write_label_file, write_list
from pyarrow import parquet

from pannsx.audio.resample import resample
from train.data.clips import Wanted
from train.data.encoding import as_float, as_pcm
from train.data.segments import Listing, read_segments
from train.data.store import Store
from train.data.store_writer import PartWriter
from train.pack import PackError, Report, main, pack

RATE = 8000
WANTED = Wanted(sample_rate=RATE, duration_s=0.1)
ROOT = Path(__file__).resolve().parent.parent

Sounds = dict[str, NDArray[np.int16]]


def sounds(n_clips: int, n_samples: int = 800) -> Sounds:
    return {name: noise(i, n_samples) for i, name in enumerate(clip_ids(n_clips))}


def targets(n_clips: int) -> dict[str, list[int]]:
    return {name: [i % 9, 8] for i, name in enumerate(clip_ids(n_clips))}


def flac(pcm: NDArray[np.int16]) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, pcm, RATE, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def assert_holds(folder: Path, expected: Sounds, labels: dict[str, list[int]]) -> None:
    store = Store(folder)
    assert sorted(store.ids) == sorted(expected)
    for row, name in enumerate(store.ids):
        np.testing.assert_array_equal(store.read(row)[: len(expected[name])], expected[name])
        assert set(np.flatnonzero(store.targets[row])) == set(labels[name])


def kinds(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for fault in report.faults:
        found.setdefault(fault.kind, set()).add(fault.id)
    return found


@pytest.mark.parametrize("variant", ["raw", "flac"])
def test_published_folders(tmp_path: Path, variant: str) -> None:
    """Parts of folders, two lists, names that begin with Y before the id."""
    every, labels = sounds(11), targets(11)
    names = list(every)
    write_audio(tmp_path / "audios" / "balanced_train_segments", {n: every[n] for n in names[:4]}, RATE)
    for part, some in enumerate((names[4:7], names[7:])):
        deep = tmp_path / "audios" / "unbalanced_train_segments" / f"unbalanced_train_segments_part{part:02d}"
        write_audio(deep, {n: every[n] for n in some}, RATE, ".flac")
    (tmp_path / "audios" / "notes.txt").write_text("no audio")
    lists = [
        write_list(tmp_path / "balanced.csv", {n: labels[n] for n in names[:4]}),
        write_list(tmp_path / "unbalanced.csv", {n: labels[n] for n in names[4:]}),
    ]
    wanted = Wanted(RATE, 0.1, variant=variant)
    report = pack(
        tmp_path / "store", [tmp_path / "audios"], labels=LABELS, lists=lists, wanted=wanted, clips_per_part=4
    )
    assert (report.n_packed, report.faults) == (11, ())
    assert_holds(tmp_path / "store", every, labels)
    assert len(list((tmp_path / "store" / "parts").glob("*.bin"))) == 3


def test_workers_change_nothing(tmp_path: Path) -> None:
    audio = write_audio(tmp_path / "audios", sounds(9), RATE)
    lists = [write_list(tmp_path / "list.csv", targets(9))]
    for name, n_workers in (("alone", 0), ("together", 2)):
        pack(
            tmp_path / name,
            [audio],
            labels=LABELS,
            lists=lists,
            wanted=WANTED,
            n_workers=n_workers,
            clips_per_part=3,
        )
    for path in ("rows.npy", "store.json", "parts/00002.bin", "report.csv"):
        assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "together" / path).read_bytes()


@pytest.mark.parametrize("label_form", ["ids", "names", "numbers", "list"])
def test_webdataset_tars(tmp_path: Path, label_form: str) -> None:
    """Labels beside the audio in the forms they have on the Hub, or from a list."""
    every, labels = sounds(6), targets(6)
    given = {"ids": LABELS.ids, "names": LABELS.names, "numbers": range(9)}.get(label_form)
    for number, names in enumerate((list(every)[:3], list(every)[3:])):
        with tarfile.open(tmp_path / f"{number:06d}.tar", "w") as archive:
            for name in names:
                said = {"labels": [given[k] for k in labels[name]]} if given else {"text": "no labels here"}
                for suffix, content in ((".flac", flac(every[name])), (".json", json.dumps(said).encode())):
                    member = tarfile.TarInfo(f"audio/bal_train/{name}{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    lists = [] if given else [write_list(tmp_path / "list.csv", labels)]
    report = pack(tmp_path / "store", [tmp_path], labels=LABELS, lists=lists, wanted=WANTED)
    assert report.faults == ()
    assert_holds(tmp_path / "store", every, labels)


def write_parquet(path: Path, every: Sounds, labels: dict[str, list[int]], **columns: Any) -> Path:
    ids = LABELS.ids or ()
    table = {
        "video_id": list(every),
        "audio": [
            {"bytes": flac(pcm), "path": f"audio/bal_train/{name}.flac"} for name, pcm in every.items()
        ],
        "labels": [[ids[k] for k in labels[name]] for name in every],
        "human_labels": [[LABELS[k] for k in labels[name]] for name in every],
    }
    parquet.write_table(pyarrow.table({**table, **columns}), path, row_group_size=4)
    return path


def test_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "00.parquet", sounds(6), targets(6))
    assert pack(tmp_path / "store", [path], labels=LABELS, wanted=WANTED).faults == ()
    assert_holds(tmp_path / "store", sounds(6), targets(6))
    assert len(list((tmp_path / "store" / "parts").glob("*.bin"))) == 2, "a row group is a part"


def test_a_list_wins_over_the_source(tmp_path: Path) -> None:
    """Only what is on it is packed, with its labels."""
    path = write_parquet(tmp_path / "00.parquet", sounds(6), targets(6))
    chosen = {name: [0] for name in clip_ids(6)[2:5]}
    lists = [write_list(tmp_path / "list.csv", chosen)]
    pack(tmp_path / "store", [path], labels=LABELS, lists=lists, wanted=WANTED)
    assert_holds(tmp_path / "store", {name: sounds(6)[name] for name in chosen}, chosen)


def write_hdf5(path: Path, every: Sounds, labels: dict[str, list[int]], rate: int, dtype: type) -> Path:
    """A pack as the published code makes it, with a missing clip in the middle: zeros without a name."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    rows = list(every.items())
    rows.insert(2, ("", np.zeros(len(rows[0][1]), np.int16)))
    with h5py.File(path, "w") as file:
        file.attrs["sample_rate"] = rate
        file["audio_name"] = np.array([f"Y{name}.wav".encode() if name else b"" for name, _ in rows], "S20")
        waveforms = np.stack([pcm for _, pcm in rows])
        file["waveform"] = waveforms if dtype is np.int16 else as_float(waveforms)
        file["target"] = np.array([[k in labels.get(name, ()) for k in range(9)] for name, _ in rows])
    return path


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_published_hdf5(tmp_path: Path, dtype: type) -> None:
    path = write_hdf5(tmp_path / "balanced_train.h5", sounds(6), targets(6), RATE, dtype)
    report = pack(tmp_path / "store", [path], labels=LABELS, wanted=WANTED, clips_per_part=3)
    assert (report.n_packed, report.faults) == (6, ()), "the row without a clip is left out"
    assert_holds(tmp_path / "store", sounds(6), targets(6))


def test_published_decimation(tmp_path: Path) -> None:
    """Exactly every second sample of the published pack, aliases and all."""
    every = sounds(3, 3200)
    path = write_hdf5(tmp_path / "pack.h5", every, targets(3), 32000, np.int16)
    wanted = Wanted(16000, 0.1, decimated=True)
    pack(tmp_path / "store", [path], labels=LABELS, wanted=wanted)
    assert_holds(tmp_path / "store", {name: pcm[::2] for name, pcm in every.items()}, targets(3))
    with pytest.raises(ValueError, match="32000 Hz cannot be decimated to 22050 Hz; use 16000 or 8000"):
        Wanted(22050, decimated=True)


@pytest.mark.parametrize("decimated", [False, True])
def test_other_rates_are_filtered_unless_decimated(tmp_path: Path, decimated: bool) -> None:
    """A tone of 5 kHz is not to be heard at 8 kHz; decimated, it comes back as one of 3 kHz."""
    tone = as_pcm(0.5 * np.sin(2 * np.pi * 5000 / 32000 * np.arange(32000)))
    name = clip_ids(1)[0]
    audio = write_audio(tmp_path / "audios", {name: tone}, 32000)
    lists = [write_list(tmp_path / "list.csv", targets(1))]
    pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=Wanted(8000, 1.0, decimated))
    pcm = Store(tmp_path / "store").read(0)
    assert len(pcm) == 8000
    if decimated:
        np.testing.assert_array_equal(pcm, tone[::4])
    else:
        np.testing.assert_array_equal(pcm, as_pcm(resample(as_float(tone), 32000, 8000)))
        assert np.abs(pcm[100:-100]).max() < 0.001 * 32768


def test_long_clips_are_cut_and_short_ones_padded(tmp_path: Path) -> None:
    long, short = clip_ids(2)
    audio = write_audio(tmp_path / "audios", {long: noise(0, 2000), short: noise(1, 300)}, RATE)
    lists = [write_list(tmp_path / "list.csv", targets(2))]
    pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED)
    store = Store(tmp_path / "store")
    assert dict(zip(store.ids, store.lengths.tolist(), strict=True)) == {long: 800, short: 300}
    assert_holds(tmp_path / "store", {long: noise(0, 2000)[:800], short: noise(1, 300)}, targets(2))


def test_faults_are_told_apart(tmp_path: Path) -> None:
    missing, corrupt, cut, empty, silent, one, same = clip_ids(7)
    every = {
        silent: np.ones(800, np.int16),
        one: noise(1),
        same: noise(1),
        cut: noise(3, 4000),
        empty: np.zeros(0, np.int16),
    }
    audio = write_audio(tmp_path / "audios", every, RATE)
    (audio / f"Y{corrupt}.wav").write_bytes(b"this is not a sound")
    whole = (audio / f"Y{cut}.wav").read_bytes()
    (audio / f"Y{cut}.wav").write_bytes(whole[:400])
    write_audio(tmp_path / "audios" / "again", {one: noise(1)}, RATE)
    lists = [write_list(tmp_path / "list.csv", targets(7))]
    report = pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED)
    assert kinds(report) == {
        "missing": {missing},
        "corrupt": {corrupt, cut, empty},
        "silent": {silent},
        "duplicate": {max(one, same)},
        "repeated": {one},
    }
    assert str(report) == "3 clips packed, 3 corrupt, 1 duplicate, 1 missing, 1 repeated, 1 silent"
    with (tmp_path / "store" / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["id"], row["fault"]) for row in rows} == {(fault.id, fault.kind) for fault in report.faults}
    assert sorted(Store(tmp_path / "store").ids) == sorted([silent, one, same])


def test_a_damaged_source_stops_or_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_parquet(tmp_path / "good.parquet", sounds(3), targets(3))
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"not a tar at all" * 100)
    with pytest.raises(PackError, match=r"finished parts are kept.*--keep-going.*bad\.tar is damaged"):
        pack(tmp_path / "store", [good, bad], labels=LABELS, wanted=WANTED)
    assert not (tmp_path / "store" / "store.json").exists()
    report = pack(tmp_path / "store", [good, bad], labels=LABELS, wanted=WANTED, keep_going=True)
    assert report.n_packed == 3
    assert "left out: bad.tar" in capsys.readouterr().err


def test_a_full_disk_stops_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = write_audio(tmp_path / "audios", sounds(9), RATE)
    lists = [write_list(tmp_path / "list.csv", targets(9))]
    add, room = PartWriter.add, [5]

    def fill(writer: PartWriter, *clip: Any) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(writer, *clip)

    monkeypatch.setattr(PartWriter, "add", fill)
    with pytest.raises(PackError, match=r"finished parts are kept.*No space left on device"):
        pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED, clips_per_part=3)
    assert [path.name for path in sorted((tmp_path / "store" / "parts").iterdir())] == [
        "00000.bin",
        "00000.json",
    ]
    monkeypatch.undo()
    pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED, clips_per_part=3)
    assert_holds(tmp_path / "store", sounds(9), targets(9))


def test_a_lost_part_is_packed_anew(tmp_path: Path) -> None:
    audio = write_audio(tmp_path / "audios", sounds(8), RATE)
    lists = [write_list(tmp_path / "list.csv", targets(8))]
    for _ in range(2):
        pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED, clips_per_part=4)
        assert_holds(tmp_path / "store", sounds(8), targets(8))
        (tmp_path / "store" / "parts" / "00001.bin").unlink()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    audio = write_audio(tmp_path / "audios", sounds(4), RATE)
    lists = [write_list(tmp_path / "list.csv", targets(4))]
    pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED)
    with pytest.raises(PackError, match="was started with other sample_rate; repeat the original command"):
        pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=Wanted(4000, 0.1))
    write_audio(tmp_path / "audios" / "more", {clip_ids(5)[4]: noise(9)}, RATE)
    lists = [write_list(tmp_path / "list.csv", targets(5))]
    with pytest.raises(PackError, match="was started with other sources"):
        pack(tmp_path / "store", [audio], labels=LABELS, lists=lists, wanted=WANTED)


SLOW_PACK = """
import sys, time
from train import pack
inner = pack.samples_of
def slowly(clip, wanted):
    time.sleep(0.05)
    return inner(clip, wanted)
pack.samples_of = slowly
sys.exit(pack.main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_and_resumed(tmp_path: Path) -> None:
    """Killed while a part is being written; what follows is what would have been."""
    audio = write_audio(tmp_path / "audios", sounds(40), RATE)
    segments, labels = (
        write_list(tmp_path / "list.csv", targets(40)),
        write_label_file(tmp_path / "labels.csv"),
    )
    arguments = [str(audio), "--segments", str(segments), "--labels", str(labels), "--clips-per-part", "5"]
    arguments += ["--sample-rate", str(RATE), "--duration", "0.1", "--variant", "raw", "--workers", "0"]
    assert main([str(tmp_path / "whole"), *arguments]) == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", SLOW_PACK, str(killed), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not list(killed.glob("parts/00002.bin.*.tmp")) and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "store.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("parts/*.bin")}
    assert 2 <= len(kept) < 8
    assert main([str(killed), *arguments]) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items()), (
        "finished parts are not packed again"
    )
    for path in sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")):
        assert (killed / path).read_bytes() == (tmp_path / "whole" / path).read_bytes(), path
    assert not list(killed.rglob("*.tmp"))


def test_a_dead_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from train.data import workers

    class Dying:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Dying:
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, *_: object) -> None:
            raise BrokenProcessPool

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Dying)
    path = write_parquet(tmp_path / "00.parquet", sounds(3), targets(3))
    with pytest.raises(
        PackError, match=r"one of 2 workers died.*run the same command again, with fewer workers"
    ):
        pack(tmp_path / "store", [path], labels=LABELS, wanted=WANTED, n_workers=2)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "store"), str(tmp_path / "nowhere")]) == 1
    assert "there is no" in capsys.readouterr().err
    audio = write_audio(tmp_path / "audios", sounds(2), RATE)
    assert main([str(tmp_path / "store"), str(audio)]) == 1
    assert "give the segment list" in capsys.readouterr().err
    wrong = write_list(tmp_path / "list.csv", targets(2))
    wrong.write_text(wrong.read_text().replace("/m/00", "/m/xx"))
    label_file = write_label_file(tmp_path / "labels.csv")
    arguments = [str(tmp_path / "store"), str(audio), "--segments", str(wrong), "--labels", str(label_file)]
    assert main(arguments) == 1
    assert "unknown label '/m/xx' among 9 labels" in capsys.readouterr().err


def test_segment_lists(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.csv", {"--PJHxphWEs": [0, 3]})
    segment = next(read_segments(path))
    assert segment == ("--PJHxphWEs", 30.0, 40.0, ("/m/00", "/m/03"))
    path.write_text("empty\nempty\nempty\n" + path.read_text().splitlines()[-1])
    assert list(read_segments(path)) == [segment], "the published code's parts of lists"
    path.write_text("# a\nx, 1, two, y\n")
    with pytest.raises(ValueError, match=r"list.csv, line 2: got .* is needed"):
        list(read_segments(path))


def test_ids_in_file_names(tmp_path: Path) -> None:
    ids = clip_ids(3)
    listing = Listing(LABELS, [write_list(tmp_path / "list.csv", {name: [0] for name in ids})])
    for name in ids:
        for stem in (name, f"Y{name}", f"{name}_30.000_40.000"):
            assert listing.identify(stem) == (name, (0,))
    assert listing.identify("Yunknown0000") is None
    unlisted = Listing(LABELS)
    assert unlisted.identify("Yabcdefghijk", ["Rain", 0, "/m/01"]) == ("abcdefghijk", (0, 1))
    with pytest.raises(ValueError, match="label 9 of 9 labels"):
        unlisted.identify("a", [9])


def test_real_lists() -> None:
    """All 22,160 balanced segments, each with labels of the package's own 527."""
    from pannsx.labels import audioset

    path = Path(os.environ.get("PANNSX_TEST_DATA", ROOT.parent / "shared" / "data")) / "audioset"
    if not path.is_dir():
        pytest.skip(f"the segment lists are not in {path} (set PANNSX_TEST_DATA)")
    listing = Listing(audioset(), [path / "balanced_train_segments.csv"])
    assert listing.targets is not None
    assert len(listing.targets) == 22160
    assert sum(map(len, listing.targets.values())) == 52882

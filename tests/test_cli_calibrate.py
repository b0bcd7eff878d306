"""``pannsx calibrate`` by the bundled checkpoint: strong and weak truth, and truth that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_files import assert_same_events, long_scene, write_wav

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.events import Event, read_operating_points
from pannsx.events.formats import Recording, read_events, write_events

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No operating points of whoever runs the tests."""
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "home"))


def test_calibrated_points_become_the_default(tmp_path: Path, capsys: Captured) -> None:
    long = long_scene(tmp_path)
    truth = tmp_path / "truth.tsv"
    events = [Event("Speech", 6.95, 9.2, 1.0), Event("Speech", 27.95, 30.2, 1.0)]
    write_events([Recording("long.flac", events)], truth)
    assert main(["calibrate", str(truth), long]) == 0
    shown = capsys.readouterr()
    place = tmp_path / "home" / "MobileNetV1_distilled.operating_points.json"
    assert f"wrote {place}" in shown.err
    assert shown.out.splitlines()[1].split()[0] == "Speech"
    points = read_operating_points(place)
    assert set(points.points) == {"Speech"}
    threshold = points.points["Speech"].threshold
    tagger = AudioTagger()
    assert tagger.operating_points == points
    result = tagger.inference(long)
    assert result.events(classes=["Speech"]) == result.events(classes=["Speech"], threshold=threshold)
    assert main(["events", long, "-q", "-c", "Speech", "-o", str(tmp_path / "e.jsonl")]) == 0
    assert_same_events(read_events(tmp_path / "e.jsonl")[0].events, result.events(classes=["Speech"]))
    output = tmp_path / "p.json"
    assert main(["calibrate", str(truth), long, "-q", "--wanted-precision", "1", "-o", str(output)]) == 0
    assert read_operating_points(output).rule == "precision of at least 1"
    assert main(["events", long, "-q", "--operating-points", str(output), "--format", "csv"]) == 0


def test_truth_from_a_folder_of_selection_tables(tmp_path: Path, capsys: Captured) -> None:
    """Tables made on Windows, one for each recording, as Raven and BirdNET write them."""
    folder = tmp_path / "truth"
    folder.mkdir()
    head = "Selection\tBegin Time (s)\tEnd Time (s)\tCommon Name\tConfidence\tBegin Path\n"
    row = "1\t0\t1\tWhite noise\t0.9\tD:\\cards\\a.1.wav\n"
    (folder / "a.1.BirdNET.selection.table.txt").write_text(head + row, "utf-8")
    (folder / "b.Table.1.selections.txt").write_text(head, "utf-8")
    files = [write_wav(tmp_path / f"{name}.wav", 1.0, seed) for seed, name in enumerate(("a.1", "b"))]
    output = tmp_path / "p.json"
    assert main(["calibrate", str(folder), *files, "-o", str(output)]) == 0
    assert read_operating_points(output).points["White noise"].n_positive
    assert capsys.readouterr().err.splitlines()[-1] == "pannsx: 2 of 2 used"
    assert main(["calibrate", str(tmp_path / "no"), *files, "-o", str(output)]) == 1
    assert "there is no file or folder" in capsys.readouterr().err
    assert main(["calibrate", str(folder), *files, "-o", files[0]]) == 1
    assert "is one of the sources" in capsys.readouterr().err


def test_weak_labels_count_by_recording(tmp_path: Path) -> None:
    files = [write_wav(tmp_path / f"{name}.wav", 1.0, seed) for seed, name in enumerate("ab")]
    truth = tmp_path / "weak.tsv"
    truth.write_text("filename\tevent_labels\na.wav\tWhite noise\nb.wav\t\n", "utf-8")
    output = tmp_path / "p.json"
    assert main(["calibrate", str(truth), *files, "-q", "-o", str(output)]) == 0
    assert read_operating_points(output).points["White noise"].n_positive == 1


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ("filename\tonset\toffset\tevent_label\nb.wav\t0\t1\tDog\n", "1 are not in"),
        ("filename\tonset\toffset\tevent_label\na.wav\t0\t1\tDgo\n", "unknown label 'Dgo'"),
        ("filename\tonset\toffset\tevent_label\na.wav\t\t\t\n", "holds no events"),
        ("filename\tonset\toffset\tevent_label\na.wav\t1\t0\tDog\n", "from 1 to 0 s"),
        ("filename\tevent_labels\na.wav\tDgo\n", "did you mean 'Dog'"),
    ],
)
def test_truth_that_does_not_fit(truth: str, said: str, tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.5)
    place = tmp_path / "truth.tsv"
    place.write_text(truth, "utf-8")
    output = tmp_path / "p.json"
    assert main(["calibrate", str(place), path, "-o", str(output)]) == 2
    assert said in capsys.readouterr().err
    assert not output.exists()

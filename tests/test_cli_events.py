"""``pannsx events`` by the bundled checkpoint: formats, options, being killed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_files import assert_same_events, long_scene, wav_bytes, write_wav

from pannsx import AudioTagger
from pannsx.cli import main
from pannsx.corpus import recordings as corpus_recordings
from pannsx.corpus.identity import Identity, identify
from pannsx.corpus.inputs import Item
from pannsx.corpus.journal import Journal, JournalError
from pannsx.corpus.outputs import OutputError, check_outputs, output_files
from pannsx.events import detect
from pannsx.events.formats import read_events
from pannsx.inference.fine_frames import FrameReader

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "examples" / "scene.flac"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tagger() -> AudioTagger:
    return AudioTagger()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No operating points of whoever runs the tests."""
    monkeypatch.setenv("PANNSX_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> str:
    return long_scene(tmp_path_factory.mktemp("audio"))


def test_a_table_for_people(long: str, tagger: AudioTagger, capsys: Captured) -> None:
    assert main(["events", long, str(SCENE), "--class", "Speech"]) == 0
    shown = capsys.readouterr()
    assert shown.err.endswith("pannsx: 2 of 2 analysed\n")
    first, second = shown.out.split("\n\n")
    head, *lines = first.splitlines()
    assert head == f"{long}  (40.0 s)"
    events = tagger.inference(long).events(classes=["Speech"])
    assert len(events) >= 2
    assert len(lines) == len(events)
    for line, event in zip(lines, events, strict=True):
        assert line.split()[:3] == [f"{event.onset_s:.2f}", "-", f"{event.offset_s:.2f}"]
        assert line.endswith("Speech")
    assert second.splitlines()[0].startswith(str(SCENE))


def test_options_are_those_of_the_library(long: str, tagger: AudioTagger, tmp_path: Path) -> None:
    pets = tmp_path / "pets.json"
    pets.write_text('{"Speech or dog": ["Speech", "Dog", "Bark"]}', "utf-8")
    how: dict[str, Any] = {
        "threshold": 0.3, "off_threshold": 0.1, "median_s": 0.9, "max_gap_s": 0.7, "min_duration_s": 0.4,
    }  # fmt: skip
    options = ["--threshold=0.3", "--off=0.1", "--median=0.9", "--gap=0.7", "--shortest=0.4"]
    output = str(tmp_path / "e.jsonl")
    for more, arguments in (
        ([], {}),
        (["--top-k", "1"], {"top_k": 1}),
        (["-c", "Speech", "-c", "Dog"], {"classes": ["Speech", "Dog"]}),
        (["--super-classes", str(pets)], {"super_classes": pets}),
        (["--leaves"], {"leaves": True}),
        (["-c", "all animals", "-c", "/m/09x0r"], {"classes": ["all Animal", "Speech"]}),
    ):
        assert main(["events", long, "-q", "-o", output, *options, *more]) == 0
        (found,) = read_events(output)
        assert_same_events(found.events, tagger.inference(long).events(**how, **arguments))
        assert found.duration_s == 40.0


def test_the_table_in_the_tree(tagger: AudioTagger, capsys: Captured) -> None:
    options = ["--threshold", "0.2", "-c", "Bark", "-c", "Animal", "-c", "speech"]
    assert main(["events", str(SCENE), "-q", *options, "--group"]) == 0
    lines = capsys.readouterr().out.splitlines()
    events = tagger.inference(SCENE).events(threshold=0.2, classes=["Bark", "Animal", "Speech"])
    assert {event.label for event in events} == {"Bark", "Animal", "Speech"}
    assert len(lines) == 1 + len(events) + 2  # the name, and what stands between or above the classes
    column = lines[1].index("Human")
    texts = [line[column:] for line in lines[1:]]
    assert texts[0] == "Human sounds > Human voice"
    assert lines[1][:column].isspace()
    assert texts.index("Animal") < texts.index("  Domestic animals, pets > Dog") < texts.index("    Bark")
    speech = next(event for event in events if event.label == "Speech")
    assert f"{speech.onset_s:.2f} - {speech.offset_s:9.2f} s  {speech.probability:.3f}    Speech" in lines[2]


def test_a_finished_journal_knows_all_events(tmp_path: Path) -> None:
    good, bad = str(SCENE), tmp_path / "b.wav"
    bad.write_text("this is no sound", "utf-8")  # so that the journal stays
    output = tmp_path / "e.jsonl"
    found = []
    for more in (["--leaves"], [], ["--leaves"]):
        assert main(["events", good, str(bad), "-q", "-t", "0.3", "-o", str(output), *more]) == 1
        found.append([event.label for event in read_events(output)[0].events])
    assert found[0] == found[2]
    assert {"Dog", "Bark"} <= set(found[1])
    assert "Dog" not in found[0]


def test_a_finer_hop(tagger: AudioTagger, tmp_path: Path) -> None:
    output = str(tmp_path / "e.csv")
    assert main(["events", str(SCENE), "-q", "--hop", "0.1", "-o", output, "-c", "Speech"]) == 0
    (found,) = read_events(output)
    assert_same_events(found.events, tagger.inference(SCENE, hop_s=0.1).events(classes=["Speech"]))
    assert main(["events", str(SCENE), "--hop", "2"]) == 2


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "rttm"])
def test_formats_on_standard_output(form: str, capsys: Captured, tmp_path: Path) -> None:
    assert main(["events", str(SCENE), "--format", form]) == 0
    shown = capsys.readouterr().out
    path = tmp_path / f"e.{form}"
    assert main(["events", str(SCENE), "-q", "-o", str(path)]) == 0
    assert path.read_text("utf-8") == shown
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_of_label_tracks(tmp_path: Path, capsys: Captured) -> None:
    files = [write_wav(tmp_path / f"{name}.wav", 0.4) for name in "ab"]
    out = tmp_path / "labels"
    assert main(["events", *files, "--format", "audacity", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "b.txt"]
    assert "wrote" in capsys.readouterr().err


def test_folders_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.wav", "b/day/1.wav"):
        write_wav(Path(name), 0.4)
    assert main(["events", "a", "b", "--format", "raven", "-o", "lab", "--keep-folders"]) == 0
    written = sorted(path.relative_to("lab").as_posix() for path in Path("lab").rglob("*.txt"))
    assert written == ["a/1.selections.txt", "b/day/1.selections.txt"]
    assert "wrote lab, 2 files (" in capsys.readouterr().err
    # Below a single folder, its own name is not repeated; any format may have a file for each recording.
    assert main(["events", "-q", "b", "--format", "csv", "-o", "single", "--keep-folders"]) == 0
    assert [path.as_posix() for path in Path("single").rglob("*.csv")] == ["single/day/1.csv"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["a", "b", "--format", "audacity", "-o", "lab"],
            "and b/1.wav -> 1.txt; give --keep-folders",
        ),
        (["c", "--format", "audacity", "-o", "lab"], "c/1.flac and c/1.wav -> 1.txt; rename"),
        (["a", "--format", "csv", "-o", "a/1.wav"], "a/1.wav is one of the sources"),
        (["a", "-o", "text/e.csv"], "text is not a folder"),
        (["a", "--format", "csv", "-o", "b"], "b is a folder; name a file"),
        (
            ["a", "b", "--format", "jams", "-o", "text", "--keep-folders"],
            "text is a file; a folder is",
        ),
        (["a", "--keep-folders"], "name the folder with --output"),
    ],
)
def test_outputs_are_checked_before_the_work(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.wav", "b/1.wav", "c/1.flac", "c/1.wav", "text"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("no sound", "utf-8")
    before = sorted(tmp_path.rglob("*"))
    assert main(["events", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert said.replace("/", os.sep) in error
    assert len(error.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_too_long_for_its_output(tmp_path: Path) -> None:
    items = [Item("x", str(tmp_path / f"{'x' * 240}.wav"), 1, str(tmp_path))]
    files = output_files(items, tmp_path, ".selections.txt")
    with pytest.raises(OutputError, match=r"name of 2\d\d bytes, and \d+ are possible"):
        check_outputs(files, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_that_a_format_cannot_hold(tmp_path: Path, capsys: Captured) -> None:
    """It fails alone, before the work, and is tried again by the same command."""
    good, bad = write_wav(tmp_path / "a.wav", 0.4), write_wav(tmp_path / "x\ny.wav", 0.4)
    output = tmp_path / "e.tsv"
    assert main(["events", good, bad, "-o", str(output)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("pannsx: thresholds calibrated for ")
    assert said[1].startswith(f"pannsx: {tmp_path}/x\\ny.wav: the file name")
    assert said[-1].endswith("1 of 2 analysed, 1 failed")
    assert [each.name for each in read_events(output)] == [good]
    assert main(["events", good, bad, "--format", "tsv"]) == 1
    assert good in capsys.readouterr().out
    assert main(["events", "-q", good, bad, "-o", str(output.with_suffix(".csv"))]) == 0


def test_the_thresholds_are_said(tmp_path: Path, capsys: Captured) -> None:
    recording = write_wav(tmp_path / "a.wav", 0.4)
    assert main(["events", recording]) == 0
    said = capsys.readouterr().err
    assert re.search(r"calibrated for \d+ classes, 0\.\d+ for the others; --threshold sets one for all", said)
    assert main(["events", recording, "--threshold", "0.5"]) == 0
    assert "thresholds" not in capsys.readouterr().err


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(wav_bytes(1.0))))
    assert main(["events", "-", "--format", "jsonl"]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (found["file"], found["duration_s"]) == ("-", 1.0)


def test_bad_files_do_not_stop_the_others(tmp_path: Path, capsys: Captured) -> None:
    good = write_wav(tmp_path / "a.wav", 0.5)
    bad = tmp_path / "b.wav"
    bad.write_text("this is no sound", "utf-8")
    output = tmp_path / "e.jsonl"
    assert main(["events", good, str(bad), "-o", str(output)]) == 1
    assert [each.name for each in read_events(output)] == [good]
    assert f"pannsx: {bad}: is not audio" in capsys.readouterr().err
    output.unlink()
    assert main(["events", str(bad), "-o", str(output)]) == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--class", "Dgo"], "unknown class 'Dgo' among 527 classes; did you mean 'Dog'"),
        (["--threshold", "0.3", "--off", "0.4"], "above its threshold 0.3"),
        (["--hop", "0.001"], "0.02 to 1.0 s is possible"),
        (["-o", "events.doc"], "has none of the extensions"),
        (["--group", "-o", "e.tsv"], "--group is for the table format"),
        (["--class", "all dgos"], "unknown class 'dgos' among 527 classes; did you mean 'Dog'"),
        (["-o", "e.tsv", "--format", "table"], "the table format goes to standard output only"),
        (["--format", "parquet"], "parquet is a binary format"),
        (["--operating-points", "missing.json"], "cannot read missing.json"),
        (["--super-classes", "missing.json"], "cannot read missing.json"),
    ],
)
def test_impossible_options_end_with_one_line(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["events", str(SCENE), *options]) in (1, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# killed and resumed


@pytest.mark.parametrize("hop", [[], ["--hop", "0.25"]])
def test_what_was_interrupted_goes_on(
    hop: list[str], long: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Interrupted in the second file after each of its blocks in turn; the answer is that of one run."""
    monkeypatch.setattr(corpus_recordings, "SAVE_EVERY_S", 0.0)
    options = [*hop, "--median", "0.9", "--gap", "1", "--off", "0.1", "--window", "4"]
    whole, output = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    files = [str(SCENE), long]
    assert main(["events", *files, "-q", "-o", str(whole), *options]) == 0
    n_runs = 0
    given = FrameReader.blocks

    def interrupted(self: FrameReader, *arguments: Any, **keywords: Any) -> Any:
        for n_blocks, block in enumerate(given(self, *arguments, **keywords)):
            if n_blocks == 2:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(FrameReader, "blocks", interrupted)
    while main(["events", *files, "-o", str(output), *options]) == 130:
        n_runs += 1
        assert not output.exists()
        assert n_runs < 30
    assert n_runs >= 4
    assert "resuming from" in capsys.readouterr().err
    for one, other in zip(read_events(output), read_events(whole), strict=True):
        assert (one.name, one.duration_s) == (other.name, other.duration_s)
        assert_same_events(one.events, other.events)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.jsonl", "whole.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_what_was_killed_goes_on(long: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pannsx.cli import main; from pannsx.corpus import recordings; "
        "recordings.SAVE_EVERY_S = 0; "
        "sys.exit(main(sys.argv[1:]))"
    )
    output = tmp_path / "e.jsonl"
    journal = tmp_path / "e.jsonl.journal"
    arguments = ["events", long, "-q", "-o", str(output), "--window", "1", "--hop", "0.04"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    assert not output.exists()
    with journal.open("ab") as file:
        file.write(b'{"file": "cut of')  # as where a line was being written
    assert main(arguments) == 0
    assert not journal.exists()
    tagger = AudioTagger(window_s=1.0)
    assert_same_events(read_events(output)[0].events, tagger.inference(long, hop_s=0.04).events())


def test_a_journal_of_other_options_is_not_used(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.5)
    output = tmp_path / "e.jsonl"
    place = tmp_path / "e.jsonl.journal"
    with Journal(place, {"hop": 1}) as journal:
        journal.add(identify(path), [], duration_s=0.5)
    before = place.read_bytes()
    assert main(["events", path, "-o", str(output)]) == 1
    assert "left from a run with another" in capsys.readouterr().err
    assert place.read_bytes() == before
    place.write_text("not ours\n", "utf-8")
    assert main(["events", path, "-o", str(output)]) == 1
    assert "is not a journal of this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("size_bytes", 8, "size 7 and 8 bytes"),
        ("mtime_ns", 2, "modification time"),
        ("sha256", "ff", "content"),
    ],
)
def test_a_journal_forgets_a_file_that_has_changed(
    field: str, value: object, said: str, tmp_path: Path
) -> None:
    before = Identity("/a", 7, 1, "00")
    after = before._replace(**{field: value})
    with Journal(tmp_path / "j", {}) as journal:
        journal.add(before, [["Dog", 0.0, 1.0, 0.5]], state={"levels": np.eye(3)})
    with Journal(tmp_path / "j", {}) as journal:
        assert journal.is_begun
        progressed, differences = journal.progress_of(before)
        assert progressed is not None
        assert progressed.state is not None
        assert (progressed.state["levels"] == np.eye(3)).all()
        assert differences == []
        assert journal.progress_of(after) == (None, [said])
        journal.add(after, [], duration_s=2.0)
    with Journal(tmp_path / "j", {}) as journal:
        assert journal.files["/a"].events == []
        assert journal.files["/a"].duration_s == 2.0
        assert journal.files["/a"].identity == after
        journal.remove()
    assert list(tmp_path.glob("j*")) == []


def test_a_journal_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "j").write_text('{"format": "pannsx journal 1", "settings": {}}\n', "utf-8")
    with pytest.raises(JournalError, match=r"is from another version of pannsx .*journal 1"):
        Journal(tmp_path / "j", {})


def test_a_journal_whose_output_is_written_gives_way_to_other_settings(tmp_path: Path) -> None:
    one = Identity("/a", 7, 1, "00")
    with Journal(tmp_path / "j", {"hop": 1}) as journal:
        journal.add(one, [], duration_s=2.0)
        journal.output_written()
    with Journal(tmp_path / "j", {"hop": 1}) as journal:
        assert journal.progress_of(one)[0] is not None
        journal.add(one._replace(path="/b"), [], duration_s=2.0)
    with pytest.raises(JournalError, match="another hop"):  # begun again
        Journal(tmp_path / "j", {"hop": 2})
    with Journal(tmp_path / "j", {"hop": 1}) as journal:
        journal.output_written()
    with Journal(tmp_path / "j", {"hop": 2}) as journal:
        assert not journal.is_begun
    assert list(tmp_path.glob("j*")) == []


def test_identity_is_of_head_middle_and_tail_or_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = bytearray(1_000_000)
    path.write_bytes(content)
    seen = {digest: {identify(str(path), digest).sha256} for digest in ("parts", "full")}
    for changed in (0, 500_000, 999_999, 250_000):
        content[changed] = 1
        path.write_bytes(content)
        for digest in seen:
            seen[digest].add(identify(str(path), digest).sha256)
    assert len(seen["full"]) == 5
    assert len(seen["parts"]) == 4
    with pytest.raises(OSError, match="not a regular file"):
        identify(str(tmp_path))


def test_a_resumed_run_knows_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Files that are the same go on; those of other folders, times or contents are done again."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    kept, changed = Path("here/kept.wav"), Path("here/changed.wav")
    monkeypatch.chdir(tmp_path)
    for path in (kept, changed):
        write_wav(path, 0.4)
    bad = Path("bad.wav")
    bad.write_text("no sound", "utf-8")
    output = tmp_path / "e.jsonl"
    given = FrameReader.blocks
    read: list[str] = []

    def watched(self: FrameReader, source: Any, *arguments: Any, **keywords: Any) -> Any:
        read.append(Path(source).name)
        return given(self, source, *arguments, **keywords)

    monkeypatch.setattr(FrameReader, "blocks", watched)
    command = ["events", str(kept), str(changed), str(bad), "-o", str(output), "-t", "0.001"]
    assert main(command) == 1
    assert read == ["kept.wav", "changed.wav", "bad.wav"]
    said = capsys.readouterr().err
    assert "e.jsonl.journal keeps the finished work" in said
    assert said.splitlines()[-1].endswith("events): 2 of 3 analysed, 1 failed")
    first = read_events(output)

    # The same length to the byte, and the same time: only the content tells.
    times = changed.stat()
    write_wav(changed, 0.4, seed=1)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    read.clear()
    assert main(command) == 1
    assert read == ["changed.wav", "bad.wav"]
    assert f"{changed} has changed (content) and is done again" in capsys.readouterr().err
    second = read_events(output)
    assert second[0] == first[0]
    assert second[1] != first[1]

    # The same name in another folder is another file.
    write_wav(bad, 0.4)
    write_wav(Path("there") / "here" / "kept.wav", 0.4, seed=2)
    monkeypatch.chdir(tmp_path / "there")
    read.clear()
    assert main(["events", str(kept), "-o", str(output), "-t", "0.001"]) == 0
    assert read == ["kept.wav"]
    assert read_events(output)[0] != first[0]
    assert not output.with_name("e.jsonl.journal").exists()


def test_the_detector_of_the_command_is_that_of_a_result(tagger: AudioTagger, long: str) -> None:
    result = tagger.inference(long)
    assert result.framewise is not None
    direct = detect(
        result.framewise, result.hop_s, labels=result.labels, offset_s=result.offset_s,
        duration_s=result.duration_s, threshold=result.operating_points,
    )  # fmt: skip
    assert result.events() == direct
    assert max(event.offset_s for event in direct) <= result.duration_s
    assert {event.label for event in direct} >= {"Speech"}

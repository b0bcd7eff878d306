"""The command line as a whole: arguments, exit statuses, what it finds, how it goes on past bad files."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_files import write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

import pannsx
from pannsx.cli import main, progress
from pannsx.cli.progress import Progress
from pannsx.corpus import batches
from pannsx.corpus.batches import each_answer
from pannsx.corpus.inputs import GIVEN_TWICE, HIDDEN, LINKED_TWICE, NOT_AUDIO, UNREADABLE, Item, find_inputs
from pannsx.errors import AudioError

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("tag", "embed", "models", "info", "fetch", "verify")
WIDEST_HELP = 104  # columns; beyond this a help page breaks in an ordinary terminal window


def names(arguments: list[str]) -> list[str]:
    return [item.name for item in find_inputs(arguments).items]


# --- arguments and exit statuses


def test_without_a_command_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert all(f"    {command} " in shown.err for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pannsx {pannsx.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    examples = shown.partition("examples:\n")[2].splitlines()
    assert len(examples) >= 2
    assert sum(f"pannsx {command} " in line or line == f"  pannsx {command}" for line in examples) >= 2
    assert "standard output" in shown or "-o OUT" in shown, "where do results go?"
    assert max(map(len, shown.splitlines())) <= WIDEST_HELP


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tag"], "FILE"),
        (["tag", "a.wav", "--top", "0"], "'0' is not a whole number from 1 up"),
        (["tag", "a.wav", "--top", "some"], "'some' is not a whole number"),
        (["tag", "a.wav", "--threshold", "2"], "not a probability"),
        (["tag", "a.wav", "--window", "0"], "not above 0"),
        (["tag", "a.wav", "--overlap", "-1"], "below 0"),
        (["tag", "a.wav", "--window", "nan"], "not a number"),
        (["tag", "a.wav", "--format", "xml"], "xml"),
        (["tag", "a.wav", "--model", "Cnn_14"], "unknown model 'Cnn_14'; did you mean 'Cnn14'"),
        (["embed", "a.wav"], "--output"),
        (["embed", "a.wav", "-o", "out.txt"], "'out.txt' ends in '.txt'; .npz, .parquet or .csv is needed"),
        (["embed", "a.wav", "-o", "out.npz", "-m", "Cnn15"], "unknown model 'Cnn15'"),
        (["fetch"], "give --all"),
        (["nonsense"], "nonsense"),
    ],
)
def test_unusable_arguments_are_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pannsx.cli.tag.find_inputs", interrupt)
    assert main(["tag", "a.wav"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no broken pipes, only failed writes")
def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pannsx", "models"],
            cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(write_end)
    assert run.stderr == ""
    assert run.returncode == 141


# --- what is found


def test_files_patterns_and_folders_in_order_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.wav",
        "a.wav",
        "in/deep/d.WAV",
        "in/c.flac",
        "in/notes.txt",
        "in/._c.flac",
        "in/.h/e.wav",
    ):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    deep, flat = str(Path("in/deep/d.WAV")), str(Path("in/c.flac"))
    assert names(["b.wav", "a.wav"]) == ["b.wav", "a.wav"]
    assert names(["*.wav"]) == ["a.wav", "b.wav"]
    assert names(["in"]) == [flat, deep]
    assert names([f"**{os.sep}*.[fW]*"]) == [flat, deep]
    assert names(["b.wav", str(tmp_path / "b.wav"), f".{os.sep}b.wav", "*.wav"]) == ["b.wav", "a.wav"]
    assert names([f"in{os.sep}notes.txt"]) == [f"in{os.sep}notes.txt"]


def test_a_file_may_look_like_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "take [1].wav"
    path.touch()
    assert names([str(path)]) == [str(path)]


def test_nothing_found_is_named(tmp_path: Path) -> None:
    pattern = str(tmp_path / "*.wav")
    assert find_inputs([pattern]).problems == [f"no file matches the pattern {pattern!r}"]
    (tmp_path / "readme.txt").touch()
    found = find_inputs([str(tmp_path)])
    assert found.items == []
    assert f"the folder {str(tmp_path)!r} has no audio files in it" in found.problems[0]


def test_everything_passed_over_is_counted(tmp_path: Path) -> None:
    for name in ("a.wav", "notes.txt", "cover.jpg", ".DS_Store", "._a.wav", ".git/b.wav", "more/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_inputs([str(tmp_path), str(tmp_path / "a.wav"), str(tmp_path / "*.wav")])
    assert [Path(item.name).name for item in found.items] == ["a.wav", "c.wav"]
    assert found.skipped == {HIDDEN: 3, NOT_AUDIO: 2, GIVEN_TWICE: 2}
    assert {item.root for item in found.items} == {str(tmp_path)}


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sound")))
    assert find_inputs(["-", "-"]).items == [Item("-", b"sound", 5)]


def test_a_terminal_is_no_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert "standard input is a terminal" in find_inputs(["-"]).problems[0]


# --- past the bad files


@settings(derandomize=True, deadline=None)
@given(
    bad=st.lists(st.booleans(), max_size=40),
    n_waiting=st.integers(0, 10),
    chunk_files=st.integers(1, 20),
)
def test_every_item_is_answered_in_order_whatever_is_bad(
    bad: list[bool], n_waiting: int, chunk_files: int
) -> None:
    items = [Item(str(i), str(i), 1) for i in range(len(bad))]
    n_reads = [0] * len(bad)

    def analyse(sources: list[str], on_progress: object) -> Iterator[str]:
        """Like the pipeline: answers lag behind by ``n_waiting``, and are lost at a bad source."""
        waiting = []
        for source in sources:
            n_reads[int(source)] += 1
            if bad[int(source)]:
                raise AudioError(f"{source} is bad")
            waiting.append(source)
            if len(waiting) > n_waiting:
                yield waiting.pop(0)
        yield from waiting

    with pytest.MonkeyPatch.context() as patch, Progress(items, quiet=True) as bar:
        patch.setattr(batches, "_CHUNK_FILES", chunk_files)
        answered = list(each_answer(items, analyse, bar))
    assert [item for item, _ in answered] == items
    for item, answer in answered:
        if bad[int(item.name)]:
            assert isinstance(answer, AudioError)
        else:
            assert answer == item.name
    assert max(n_reads, default=0) <= 2


def test_chunks_are_bounded_in_bytes() -> None:
    items = [Item(str(i), str(i), 40_000_000) for i in range(5)]
    sizes = []

    def analyse(sources: list[str], on_progress: object) -> list[str]:
        sizes.append(len(sources))
        return sources

    with Progress(items, quiet=True) as bar:
        assert len(list(each_answer(items, analyse, bar))) == 5
    assert sizes == [1] * 5


# --- the progress bar


class Terminal(io.StringIO):
    """A standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


@contextmanager
def at_a_terminal() -> Iterator[Terminal]:
    """Not a fixture: pytest puts its own standard error in place after those, and takes it away before."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setattr(progress, "_LONG_S", 1.0)  # so that this is long work
        yield terminal


def test_bar_on_long_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write_wav(tmp_path / "a.wav"), write_wav(tmp_path / "b.wav", 0.2)]
    with at_a_terminal() as terminal:
        assert main(["tag", *paths, "--format", "csv", "--top", "1"]) == 0
    assert "%|" in terminal.getvalue()
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_bar_counts_seconds_of_sound(tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / name, 100.0) for name in ("a.wav", "a very long name of a recording.wav")]
    items = find_inputs(paths).items
    with at_a_terminal() as terminal, Progress(items, quiet=False) as bar:
        bar.reached(items[0], 50.0)
        bar.reached(items[0], 20.0)  # run again beside a bad one
        with bar.writing():
            pass
        assert "1/2 a.wav:  25%|" in terminal.getvalue()
        assert "50.0 s of 3:20 min" in terminal.getvalue()
        bar.finished(items[0])
        bar.reached(items[1], 1000.0)
        with bar.writing():
            pass
    assert "2/2 ...me of a recording.wav: 100%|" in terminal.getvalue()
    assert "3:20 min of 3:20 min" in terminal.getvalue()


def test_the_bar_counts_the_part_that_is_read(tmp_path: Path) -> None:
    items = find_inputs([write_wav(tmp_path / "a.wav", 30.0)]).items
    with at_a_terminal() as terminal, Progress(items, quiet=False, start_s=5.0, duration_s=20.0) as bar:
        bar.reached(items[0], 10.0)
        with bar.writing():
            pass
    assert "a.wav:  50%|" in terminal.getvalue()


def test_lengths_that_no_header_states_are_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write_wav(tmp_path / "a.wav", 3.0)
    bad = tmp_path / "b.wav"
    bad.write_bytes(bytes(Path(good).stat().st_size * 2))
    items = find_inputs([good, str(bad)]).items
    assert progress._lengths_s(items) == pytest.approx([3.0, 6.0])
    monkeypatch.setattr(progress, "_LOOKING_S", -1.0)
    size = items[0].size_bytes
    assert progress._lengths_s(items) == pytest.approx([size / 100_000, size / 50_000])


def test_no_bar_when_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with at_a_terminal() as terminal:
        assert main(["tag", write_wav(tmp_path / "a.wav"), "--quiet"]) == 0
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out != ""


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    card, place = tmp_path / "card", tmp_path / "place"
    for folder in (card / "day", place / "own"):
        folder.mkdir(parents=True)
        (folder / "r.wav").touch()
    (place / "site").symlink_to(card)
    (place / "again").symlink_to(card / "day")
    (place / "before_own").symlink_to(place / "own")
    (place / "own" / "loop").symlink_to(place)
    (card / "back").symlink_to(place)
    inputs = find_inputs([str(place)])
    assert [Path(item.name).relative_to(place) for item in inputs.items] == [
        Path("own/r.wav"),
        Path("again/r.wav"),
    ]
    # The links before_own, loop and back, and the folder day within site.
    assert inputs.skipped == {LINKED_TWICE: 4}
    # A link given by name is that folder.
    assert [Path(name).name for name in names([str(place / "site")])] == ["r.wav", "r.wav"]


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="needs a folder that this user may not read; administrators may read all",
)
def test_a_folder_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    (tmp_path / "a.wav").touch()
    items, problems, skipped = find_inputs([str(tmp_path)])
    assert len(items) == 1
    assert "cannot read the folder" in problems[0]
    assert skipped == {UNREADABLE: 1}


def test_a_failing_folder_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost").mkdir()
    (tmp_path / "a.wav").touch()
    scandir = os.scandir

    def failing(path: str) -> Any:
        if path.endswith("lost"):
            raise OSError(5, "Input/output error", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    items, problems, skipped = find_inputs([str(tmp_path)])
    assert [Path(item.name).name for item in items] == ["a.wav"]
    assert problems == [f"cannot read the folder {str(tmp_path / 'lost')!r}: Input/output error"]
    assert skipped == {UNREADABLE: 1}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_a_name_that_is_not_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (b"a.wav", b"mod\xe0.wav", b"z.wav"):
        shutil.copy(write_wav(tmp_path / "sound", 1.0), os.fsencode(tmp_path) + b"/" + name)
    (tmp_path / "sound").unlink()
    for command in (["tag", "-n", "1", "--format", "csv"], ["events", "-t", "0.0001", "--format", "csv"]):
        assert main([*command, "-q", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in ("a.wav", "mod\\udce0.wav", "z.wav"))
    for suffix in (".csv", ".npz"):
        assert main(["embed", "-q", str(tmp_path), "-o", str(tmp_path / f"e{suffix}")]) == 0
        assert (tmp_path / f"e{suffix}").stat().st_size

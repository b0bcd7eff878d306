"""Finding one's way in the command line: help, suggestions, labels, completion, and a light start."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pannsx.cli import _parser, completion, main
from pannsx.cli.completion import completion_script
from pannsx.cli.completion_scripts import SCRIPTS
from pannsx.cli.parser import subparsers
from pannsx.labels import audioset
from pannsx.readable import clock, duration, file_size
from pannsx.weights.manifest import load_manifest

ROOT = Path(__file__).resolve().parent.parent

Captured = pytest.CaptureFixture[str]


# --- help and version


def test_short_version(capsys: Captured) -> None:
    assert main(["-V"]) == 0
    short = capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == short != ""


@pytest.mark.parametrize("command", subparsers(_parser()))
def test_help_command_is_the_help_option(command: str, capsys: Captured) -> None:
    assert main(["help", command]) == 0
    shown = capsys.readouterr().out
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == shown
    assert f"usage: pannsx {command} " in shown


def test_help_of_all(capsys: Captured) -> None:
    assert main(["help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {command} " in shown for command in subparsers(_parser()))


# --- what was meant


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tga"], "unknown command 'tga'; did you mean 'tag'?"),
        (["evnts", "a.wav"], "did you mean 'events'?"),
        (["help", "evnts"], "unknown command 'evnts'; did you mean 'events'?"),
        (["xyzzy"], "unknown command 'xyzzy'"),
        (["tag", "a.wav", "--treshold", "0.3"], "unknown option '--treshold'; did you mean '--threshold'?"),
        (["events", "a.wav", "--top_k=3"], "unknown option '--top_k'; did you mean '--top-k'"),
        (["tag", "a.wav", "--xyzzy"], "unknown option '--xyzzy' (see `pannsx tag --help`)"),
        (["--verison"], "unknown option '--verison'; did you mean '--version'?"),
        (["--quiet", "tag", "a.wav"], "stands after the command"),
        (["tag", "a.wav", "--format", "jsno"], "'jsno' is none of table"),
        (["tag", "a.wav", "--format", "jsno"], "did you mean 'json'"),
        (["models", "Cnn14"], "unexpected argument 'Cnn14'"),
        (["completion", "bsh"], "did you mean 'bash'"),
        (["info", "Cnn_14"], "did you mean 'Cnn14'"),
    ],
)
def test_a_mistake_is_one_line_that_suggests(arguments: list[str], said: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("pannsx: ")
    assert len(shown.err.splitlines()) == 1
    assert said in shown.err


# --- labels


def test_all_labels_with_mids(capsys: Captured) -> None:
    assert main(["labels", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    labels = audioset()
    assert [row["label"] for row in rows] == list(labels.names)
    assert [row["mid"] for row in rows] == list(labels.ids or ())
    assert [int(row["index"]) for row in rows] == list(range(527))


def test_labels_by_word_and_by_mid(capsys: Captured) -> None:
    assert main(["labels", "GUITAR", "/m/0bt9lr", "--format", "jsonl"]) == 0
    found = [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()]
    assert found == ["Dog", *(name for name in audioset() if "guitar" in name.lower())]
    assert main(["labels", "dog"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["74", "/m/0bt9lr", "Dog"]
    assert main(["labels", "all crows", "/m/09x0r", "--group"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    column = header.index("label")
    assert [line[column:] for line in lines] == [
        "Human sounds > Human voice", "  Speech", "Animal > Wild animals > Bird", "  Crow", "    Caw",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines if line[0:column].strip()] == [
        ["0", "/m/09x0r"], ["117", "/m/04s8yn"], ["118", "/m/07r5c2p"],
    ]  # fmt: skip
    assert main(["labels", "--group", "--format", "csv"]) == 2
    assert "--group is for the table format" in capsys.readouterr().err
    assert main(["labels", "gutar"]) == 1
    assert "did you mean 'Guitar'" in capsys.readouterr().err


def test_labels_of_a_record_of_ones_own(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "doors.labels.txt").write_text("Open\nShut\n", "utf-8")
    record = {
        "name": "doors", "architecture": "Cnn14", "sample_rate": 32000, "labels": "doors.labels.txt",
        "n_classes": 2, "filename": "doors.safetensors",
        "frontend": {"n_fft": 1024, "hop_length": 320, "n_mels": 64, "fmin": 50, "fmax": 14000},
    }  # fmt: skip
    path = tmp_path / "doors.json"
    path.write_text(json.dumps(record), "utf-8")
    assert main(["labels", "--model", str(path), "--format", "tsv"]) == 0
    assert capsys.readouterr().out == "index\tmid\tlabel\n0\t\tOpen\n1\t\tShut\n"
    (tmp_path / "doors.labels.txt").unlink()
    assert main(["labels", "--model", str(path)]) == 1
    assert "cannot read the labels" in capsys.readouterr().err


# --- completion

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_pannsx
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_every_option_is_in_every_script() -> None:
    options = {
        option for parser in subparsers(_parser()).values() for option in parser._option_string_actions
    } - {"-h", "--help"}
    for shell in SCRIPTS:
        script = completion_script(_parser(), shell)
        words = {option: option if shell != "fish" else f"{option.lstrip('-')}" for option in options}
        assert not [option for option, word in words.items() if word not in script]
        assert all(name in script for name in load_manifest())


def test_every_placeholder_is_known_to_completion() -> None:
    # Numbers and free text.
    free = {"C", "HZ", "I/N", "KEY", "LIST", "N", "P", "PRESET", "R", "REV", "S", "TOKEN"}
    unknown = {
        f"{name} {action.metavar}"
        for name, parser in subparsers(_parser()).items()
        for action in parser._actions
        if action.nargs != 0 and not completion._kind(action) and not completion._choices(action)
        if action.metavar not in free
    }
    assert not unknown, "add the placeholder to pannsx/cli/completion.py, or here if nothing can complete it"


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="needs bash")
def test_bash_completes(tmp_path: Path, capsys: Captured) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "pannsx.bash"
    script.write_text(capsys.readouterr().out, "utf-8")

    def completed(*words: str) -> list[str]:
        run = subprocess.run(
            ["bash", "--norc", "-c", BASH, "bash", str(script), "pannsx", *words],
            capture_output=True, encoding="utf-8", check=True, timeout=60,
        )  # fmt: skip
        assert run.stderr == ""
        return run.stdout.split("\n")[:-1]

    assert completed("ta") == ["tag"]
    assert completed("") == list(subparsers(_parser()))
    assert completed("--v") == ["--version"]
    assert completed("tag", "--thr") == ["--threshold"]
    assert completed("tag", "--format", "") == ["table", *completed("tag", "--format", "=", "")[1:]]
    assert completed("tag", "-m", "cnn14_16") == ["Cnn14_16k"]
    assert completed("events", "--class", "acoustic") == [r"Acoustic\ guitar"]
    assert completed("events", "--class", "Acoustic\\ g") == [r"Acoustic\ guitar"]
    assert completed("events", "--class", '"Acoustic g') == ["Acoustic guitar"]
    assert completed("help", "ev") == ["events"]
    assert completed("tag", "street") == [""], "bash completes the names of files where there is nothing"
    assert completed("tag", "--top", "") == [""]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(completion_script(_parser(), shell), "utf-8")
    subprocess.run([shell, "-n", str(script)], check=True, timeout=60)
    if shell == "fish":
        complete = f"source {script}; complete -C 'pannsx events --class acoustic'"
        run = subprocess.run(["fish", "-c", complete], capture_output=True, encoding="utf-8", timeout=60)
        assert run.stdout.startswith("Acoustic guitar\t")


# --- a light start


@pytest.mark.parametrize(
    "arguments", [["-V"], ["help"], ["help", "tag"], ["labels", "dog"], ["completion", "bash"], ["tga"]]
)
def test_looking_things_up_imports_no_torch(arguments: list[str]) -> None:
    program = (
        "import sys; from pannsx.cli import main; main(sys.argv[1:]); "
        "loaded = {'torch', 'numba', 'scipy', 'soundfile', 'huggingface_hub', 'pyarrow'} & set(sys.modules); "
        "sys.exit(f'imported: {sorted(loaded)}' if loaded else 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


def test_sizes_and_times_for_people() -> None:
    sizes = (0, 999, 1000, 123_456, 999_999_999_999, 5 * 10**15)
    assert [file_size(size) for size in sizes] == [
        "0 bytes", "999 bytes", "1.0 kB", "123.5 kB", "1000.0 GB", "5000.0 TB",
    ]  # fmt: skip
    times_s = (0, 8.6, 59.94, 60, 3599.7, 3729.1, 360_000)
    assert [duration(time_s) for time_s in times_s] == [
        "0.0 s", "8.6 s", "59.9 s", "1:00 min", "1:00:00 h", "1:02:09 h", "100:00:00 h",
    ]  # fmt: skip
    assert [clock(time_s, 2) for time_s in (0, 59.999, 3729.354)] == ["0:00.00", "1:00.00", "1:02:09.35"]

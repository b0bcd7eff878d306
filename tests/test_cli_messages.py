"""What the command line says on standard error: its words, how much, and in which colour."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from pathlib import Path

import pytest
from cli_files import write_wav

from pannsx.cli import _parser, colours, main
from pannsx.cli.colours import coloured
from pannsx.cli.console import complain_of
from pannsx.cli.parser import subparsers
from pannsx.cli.verbosity import speaking
from pannsx.cli.words import OPTIONS, in_options
from pannsx.errors import AudioError

Captured = pytest.CaptureFixture[str]


# --- its words


@pytest.mark.parametrize(
    ("python", "command_line"),
    [
        ("hop_s is 3.0; 0.02 to 1.0 s is possible", "--hop is 3.0; 0.02 to 1.0 s is possible"),
        ("a window_s and overlap_s below it", "a --window and --overlap below it"),
        ("pass allow_unverified=True to accept it", "pass --allow-unverified to accept it"),
        ("given as checkpoint=, or in cache_dir=.", "given as --checkpoint, or in --cache-dir."),
        ("use device='auto'", "use --device auto"),
        ("hop_s=0.3 needs frames", "--hop 0.3 needs frames"),
        ("as well, such as model='Cnn14'", "as well, such as --model Cnn14"),
        ("give checkpoint=./a.pth", "give --checkpoint ./a.pth"),
        ("the threshold is 3 for this model", "the threshold is 3 for this model"),
        ("hop_seconds is no keyword", "hop_seconds is no keyword"),
        ("hop_s.wav, 'hop_s'", "hop_s.wav, 'hop_s'"),
        ("clips/hop_s/a.wav, hop_s/a.wav", "clips/hop_s/a.wav, hop_s/a.wav"),
    ],
)
def test_keywords_become_options(python: str, command_line: str) -> None:
    assert in_options(python) == command_line


def test_there_are_these_options() -> None:
    known = {option for parser in subparsers(_parser()).values() for option in parser._option_string_actions}
    assert set(OPTIONS.values()) <= known


@pytest.mark.parametrize(
    "arguments",
    [
        ["tag", "--window", "0.001"],
        ["tag", "--overlap", "10"],
        ["tag", "--device", "cuda:99"],
        ["tag", "--model", "Cnn14_no_dropout", "--cache-dir", "."],
        ["events", "--hop", "0.001"],
        ["events", "--threshold", "0.3", "--off", "0.4"],
    ],
)
def test_a_message_speaks_of_options(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main([*arguments, write_wav(tmp_path / "a.wav", 0.5)]) in (1, 2)
    said = capsys.readouterr().err
    assert said
    assert not [name for name in OPTIONS if "_" in name and name in said]


# --- how much


def test_verbose_says_what_is_loaded_and_why_files_fail(tmp_path: Path, capsys: Captured) -> None:
    path = write_wav(tmp_path / "a.wav", 0.5)
    assert main(["tag", path]) == 0
    assert capsys.readouterr().err == ""
    assert main(["tag", path, "-v"]) == 0
    assert "pannsx: MobileNetV1_distilled: loading the weights of" in capsys.readouterr().err
    assert main(["tag", path, "-q", "-v"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_causes_are_said_when_asked_for(verbose: int, capsys: Captured) -> None:
    try:
        try:
            raise OSError("the disk is gone")
        except OSError as cause:
            raise AudioError("'a.wav' cannot be read") from cause
    except AudioError as error:
        with speaking(quiet=False, verbose=verbose):
            complain_of("a.wav", error)
    said = capsys.readouterr().err
    assert said.startswith("pannsx: a.wav: cannot be read\n")
    assert ("because of OSError: the disk is gone" in said) == (verbose >= 1)
    assert ("Traceback" in said) == (verbose == 2)


def test_warnings_and_the_log_are_lines_like_others(capsys: Captured) -> None:
    logger = logging.getLogger("pannsx")
    before = logger.handlers.copy(), logger.level, logger.propagate
    with speaking(quiet=True, verbose=0), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("the samples are large; see window_s", stacklevel=1)
        logger.warning("not said when quiet")
    assert capsys.readouterr().err == "pannsx: warning: the samples are large; see --window\n"
    with speaking(quiet=False, verbose=0):
        logger.warning("compiling")
        logger.info("not said unless verbose")
    assert capsys.readouterr().err == "pannsx: compiling\n"
    assert before == (logger.handlers, logger.level, logger.propagate)


# --- colour


class Terminal(io.StringIO):
    """A file that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(colours, "_console_understands", lambda descriptor: True)
    monkeypatch.setattr(Terminal, "fileno", lambda self: 1)
    assert coloured("x", "red", Terminal()) == "\x1b[1;31mx\x1b[0m"
    assert coloured("x", "red", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", "red", Terminal()) == "x"
    monkeypatch.setenv("NO_COLOR", "")
    assert coloured("x", "red", Terminal()) != "x"
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("x", "red", Terminal()) == "x"


def test_a_command_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("the console of a test takes no escape sequences there")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    path = write_wav(tmp_path / "a.wav", 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal := Terminal())
        assert main(["tag", path, "--top", "1"]) == 0
        shown = terminal.getvalue()
        patch.setattr(sys, "stdout", terminal := Terminal())
        patch.setenv("NO_COLOR", "1")
        assert main(["tag", path, "--top", "1"]) == 0
    assert shown.startswith(f"\x1b[1m{path}\x1b[0m  (0.5 s)\n")
    plain = terminal.getvalue()
    assert "\x1b" not in plain
    assert shown.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "") == plain

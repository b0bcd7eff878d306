"""As much of a shell as the documentation uses, alike on every system: ``&&``, ``|``, ``<``, ``>``, comments.

``pannsx`` runs in this process.  ``pip`` and ``python -m`` do not run (``.ci/run`` runs README's in
earnest); it is checked that what is to be installed, and the steps of ``train``, exist.  ``ffmpeg`` is
played by a file.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from docs_pages import ROOT

from pannsx.cli import _parser, main

FFMPEG_OUTPUT = "street.wav"
"""The file of the current folder that any ``ffmpeg`` command of the documentation writes to its output."""


_OF_EXAMPLES = {"fastapi", "uvicorn", "python-multipart"}
"""What programs of the documentation need beside this package."""

_STEPS = ("train.", "benchmarks.")

_A_REPOSITORY = "owner/name"
"""Stands for any on the Hub; tests/test_cli_hub.py runs these commands on one."""


class Shell:
    """Runs the lines of a block; a command that fails is an AssertionError."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, text: str) -> None:
        """Run a block."""
        for line in text.replace("\\\n", " ").splitlines():
            for pipeline in _split(_words(line), "&&"):
                self._pipeline(pipeline)

    def _pipeline(self, words: list[str]) -> None:
        commands = _split(words, "|")
        stdin = b""
        for command in commands[:-1]:
            stdin = self._captured(command, stdin)
        words = commands[-1] if commands else []
        if "<" in words:
            at = words.index("<")
            stdin = Path(words[at + 1]).read_bytes()
            words = words[:at] + words[at + 2 :]
        if ">" in words:
            at = words.index(">")
            Path(words[at + 1]).write_bytes(self._captured(words[:at] + words[at + 2 :], stdin))
        elif words:
            self._run(words, stdin)

    def _captured(self, words: list[str], stdin: bytes) -> bytes:
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
        with redirect_stdout(stdout):
            self._run(words, stdin)
        return bytes(stdout.buffer.getvalue())  # type: ignore[attr-defined]

    def _run(self, words: list[str], stdin: bytes) -> None:
        program = Path(words[0]).name
        if program == "pannsx" and words[1] == "export" and importlib.util.find_spec("onnx") is None:
            _parser().parse_args(words[1:])  # the page of export runs where its party is
        elif program == "pannsx" and _A_REPOSITORY in words:
            _parser().parse_args(words[1:])
        elif program == "pannsx":
            with self._monkeypatch.context() as patch:
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
                status = main(words[1:])
            assert status == 0, f"{shlex.join(words)} has status {status}"
        elif program == "python" and words[1].endswith(".py"):
            _run_script(words[1:])
        elif program in {"python", "torchrun"} and any(word.startswith(_STEPS) for word in words):
            _check_step(words)
        elif program == "python":
            assert words[1:3] in (["-m", "venv"], ["-m", "pytest"]), f"unknown command {shlex.join(words)}"
        elif program == "pip":
            _check_install(words[1:])
        elif program == "git":
            assert words[1] == "clone", f"unknown command {shlex.join(words)}"
        elif program == "cd":
            assert words[1:] == ["pannsx"], "the folder of the clone, in which the pages run already"
        elif program in {"ffmpeg", "arecord"}:
            sys.stdout.buffer.write(Path(FFMPEG_OUTPUT).read_bytes())
        else:
            raise AssertionError(f"the documentation's shell does not know {words[0]!r}")


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|<>")
    lexer.whitespace_split = True
    return list(lexer)


def _split(words: list[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == separator:
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def _run_script(words: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout)


def _check_step(words: list[str]) -> None:
    """These take minutes to hours, and tests of theirs run them; here: they exist, and so do options."""
    step = next(word for word in words if word.startswith(_STEPS))
    path = ROOT / step.replace(".", "/")
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_text("utf-8")
    for option in words[words.index(step) + 1 :]:
        if option.startswith("--"):
            assert f'"{option}"' in text, f"{step} has no option {option}"


def _check_install(words: list[str]) -> None:
    """What is installed is this package, with extras that it has."""
    assert words[0] == "install"
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for word in words[1:]:
        extra = re.fullmatch(r"(?:pannsx|\.)\[(\w+)\]", word)
        assert extra or word in {"-e", ".", "torch==2.13.0", *_OF_EXAMPLES}, f"pip install {word}?"
        assert extra is None or f"\n{extra[1]} = [" in project, f"there is no extra {extra[1]!r}"

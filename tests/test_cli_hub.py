"""Repositories of the Hub on the command line: wherever a model is named, by the real client, locally."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from cli_files import write_wav
from hub_server import COMMIT, Client
from hub_uploads import UploadHub, upload_hub

import pannsx
from pannsx.cli import _parser, main
from pannsx.weights import manifest

TOKEN = "hf_of_the_tests"

# Runs several commands in one process and says in JSON what came of each: the endpoint is read at import.
_COMMANDS = """
import contextlib, io, json, os, sys
from pannsx.cli import main

said = []
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(argv)
    said.append([status, out.getvalue(), err.getvalue()])
    assert "HF_TOKEN" not in os.environ
print(json.dumps(said))
"""


def commands(hub: UploadHub, home: Path, *argvs: list[str], **environment: str) -> list[tuple[int, str, str]]:
    """Status, output and errors of each command."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS, json.dumps(argvs)],
        cwd=home, env=Client(hub, home).environment(**environment), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small checkpoint with labels of its own."""
    folder = tmp_path_factory.mktemp("own")
    model = pannsx.create_model("MobileNetV1", n_classes=2)  # which runs without torch
    pannsx.save(model, folder / "model.safetensors", labels=["creak", "slam"], name="doors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[UploadHub]:
    """A private repository with the checkpoint, whose newest commit is on the branch next."""
    with upload_hub(TOKEN) as served:
        served.repositories["me/doors"] = True
        for revision in ("next", COMMIT):
            for name, content in files.items():
                served.put_hub_file("me/doors", name, content, revision, token=TOKEN)
        yield served


def test_every_command_of_a_model_takes_repositories() -> None:
    """Where a model is named, a repository is: with its revision and a token."""
    (subparsers,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    with_model = {
        name: {option for action in parser._actions for option in action.option_strings}
        for name, parser in subparsers.choices.items()
        if any(action.dest == "model" for action in parser._actions)
    }
    assert set(with_model) >= {
        "tag", "events", "embed", "corpus", "stream", "plot", "report", "calibrate", "score", "statistics",
        "finetune", "labels", "info", "fetch", "verify", "export",
    }  # fmt: skip
    for name, options in with_model.items():
        assert {"--revision", "--token"} <= options, name


def test_from_the_network_and_then_without_it(hub: UploadHub, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", 1.0)
    (tmp_path / "truth.tsv").write_text("filename\tonset\toffset\tevent_label\na.wav\t0\t0.5\tcreak\n")
    at = ["--revision", "next", "--token", TOKEN]
    refused, labels, info, tag, verify, embed, events, journal, calibrate, score = commands(
        hub, tmp_path,
        ["tag", wav, "-m", "me/doors@next"],
        ["labels", "-m", "me/doors", *at],
        ["info", "me/doors", *at],
        ["tag", wav, "-m", "me/doors", *at, "--format", "csv"],
        ["verify", "me/doors", *at],
        ["embed", wav, "-o", "a.npz", "-m", "me/doors", *at],
        ["events", wav, "missing.wav", "-o", "a.tsv", "-m", "me/doors", *at],
        ["events", "bad.wav", wav, "-o", "b.tsv", "-m", "me/doors", *at],
        ["calibrate", "truth.tsv", wav, "-m", "me/doors", *at],
        ["statistics", ".", "-o", "s.npz", "-m", "me/doors", *at],
    )  # fmt: skip
    assert refused[0] == 1
    assert "the Hub refused access (401)" in refused[2]
    assert "creak" in labels[1]
    assert "slam" in labels[1]
    assert info[1].startswith("doors\n")
    assert "me/doors" in info[1]
    assert tag[0] == 0, tag[2]
    assert ",creak," in tag[1]
    assert verify[0] == 0, verify[2]
    assert verify[1].count("as on record") == 2
    assert embed[0] == 0, embed[2]
    assert calibrate[0] == 2
    assert "choose a path with --output" in calibrate[2]
    assert "at least 2 are needed" in score[2]
    for said in (*events, *journal, *(path.read_bytes() for path in tmp_path.glob("*.journal"))):
        assert TOKEN not in str(said)

    offline, unknown, both, published = commands(
        hub, tmp_path,
        ["tag", wav, "-m", "me/doors@next", "--format", "csv"],
        ["labels", "-m", "me/windows"],
        ["tag", wav, "-m", "me/doors@next", "--revision", "next"],
        ["tag", wav, "-m", "Cnn14", "--revision", "next"],
        HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert offline[:2] == tag[:2]
    assert unknown[0] == 1
    assert "cannot use the repository me/windows" in unknown[2]
    assert both[0] == published[0] == 2
    assert "leave one out" in both[2]
    assert "owner/name" in published[2]


def test_fetched_to_a_folder_for_use_without_a_network(hub: UploadHub, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", 1.0)
    name = str(manifest.find("MobileNetV1").filename)
    hub.repositories["them/panns"] = False
    for revision in ("main", COMMIT):
        hub.put_hub_file("them/panns", quote(name), b"something else", revision)
        hub.put_hub_file("them/panns", ".gitattributes", b"", revision)
    (wrong, fetched) = commands(
        hub, tmp_path,
        ["fetch", "them/panns", "--to", "weights"],
        ["fetch", "me/doors", "--revision", "next", "--token", TOKEN, "--to", "weights"],
    )  # fmt: skip
    assert wrong[0] == 1
    assert wrong[2].startswith("pannsx: them/panns: cannot use the repository them/panns")
    assert fetched[0] == 0, fetched[2]
    label, _, path = fetched[1].strip().partition(": ")
    assert label == "me/doors@next"
    assert Path(tmp_path, path).is_file()
    (tag,) = commands(
        hub, tmp_path,
        ["tag", wav, "-m", "me/doors@next", "--cache-dir", "weights", "--format", "csv"],
        HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert tag[0] == 0, tag[2]


def test_own_files_on_the_command_line(
    files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    wav = write_wav(tmp_path / "a.wav", 1.0)
    said = []
    for model in ("model.safetensors", "model.json", "."):
        assert main(["tag", wav, "--model", str(tmp_path / model), "--format", "csv"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == said[2]
    assert main(["labels", "-m", str(tmp_path / "model.safetensors")]) == 0
    assert "creak" in capsys.readouterr().out
    assert main(["fetch", str(tmp_path / "model.safetensors")]) == 2
    assert "nothing is to be fetched" in capsys.readouterr().err
    assert main(["tag", wav, "-m", "me/doors", "--checkpoint", "model.safetensors"]) == 2
    assert "--checkpoint model.safetensors is given, too" in capsys.readouterr().err

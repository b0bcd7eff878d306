"""Checkpoints in repositories: pushed and loaded by name, by the Hub's client on a local server."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hub_server import COMMIT, Client
from hub_uploads import UploadHub, upload_hub

import pannsx
from pannsx.errors import WeightsError
from pannsx.integrations.hub import config_of, save_pretrained
from pannsx.weights import load, manifest
from pannsx.weights.repository import is_repository, record_files

TOKEN = "hf_of_the_tests"

# Says in JSON what comes of each call, as the endpoint and the token are read at the client's import.
_CALLS = """
import json, sys
import pannsx
from pannsx.integrations.hub import push_to_hub
from pannsx.weights import load

def model():
    return load(checkpoint=sys.argv[1])

said = []
for call in sys.argv[2:]:
    try:
        value = eval(call)
        said.append(value if isinstance(value, str) else repr(value))
    except (ValueError, RuntimeError) as error:
        said.append(f"{type(error).__name__}: {error}")
print(json.dumps(said))
"""


def say(hub: UploadHub, home: Path, checkpoint: Path, *calls: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _CALLS, str(checkpoint), *calls],
        env=Client(hub, home).environment(**environment), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with labels of its own."""
    path = tmp_path_factory.mktemp("own") / "doors.safetensors"
    model = pannsx.create_model("LeeNet11", n_classes=2)
    pannsx.save(model, path, labels=["creak", "slam"], description="Doors")
    return path


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with upload_hub(TOKEN) as served:
        yield served


def test_pushed_and_loaded_by_name(hub: UploadHub, checkpoint: Path, tmp_path: Path) -> None:
    refused, pushed, labels, pinned, offline = say(
        hub, tmp_path, checkpoint,
        "push_to_hub(model(), 'me/doors', private=True, token='wrong')",
        "push_to_hub(model(), 'me/doors', private=True).revision",
        "','.join(pannsx.AudioTagger('me/doors').labels)",
        f"pannsx.AudioTagger('me/doors@{COMMIT}').record.name",
        "str(load('me/doors').record.digest)",
        HF_TOKEN=TOKEN,
    )  # fmt: skip
    assert refused.startswith("WeightsError: cannot publish to me/doors")
    assert "log in with `hf auth login`" in refused
    assert pushed == COMMIT
    assert labels == "creak,slam"
    assert pinned == "doors"
    (commit,) = hub.commits
    files = commit["files"]
    assert set(files) == {
        "model.safetensors", "model.json", "model.labels.txt", "README.md", "config.json",
        "preprocessor_config.json",
    }  # fmt: skip
    assert offline == f"sha256 {hashlib.sha256(files['model.safetensors']).hexdigest()}"
    assert 'AudioTagger("me/doors")' in files["README.md"].decode()
    assert "library_name: pannsx" in files["README.md"].decode()
    assert "audio-classification" in files["README.md"].decode()

    (without_network,) = say(
        hub, tmp_path, checkpoint, "pannsx.AudioTagger('me/doors').record.name", HF_HUB_OFFLINE="1"
    )
    assert without_network == "doors"
    (stranger,) = say(hub, tmp_path / "stranger", checkpoint, "pannsx.AudioTagger('me/doors')")
    assert "cannot use the repository me/doors: the Hub refused access (401)" in stranger
    assert "HF_TOKEN" in stranger


def test_altered_weights_are_refused(hub: UploadHub, checkpoint: Path, tmp_path: Path) -> None:
    say(hub, tmp_path / "a", checkpoint, "push_to_hub(model(), 'me/doors')", HF_TOKEN=TOKEN)
    served = hub.files[f"/me/doors/resolve/{COMMIT}/model.safetensors"]
    assert isinstance(served.content, bytes)
    served.content = served.content[:-1] + b"x"
    altered, away = say(
        hub, tmp_path / "b", checkpoint, "load('me/doors')", "load('me/windows')", HF_TOKEN=TOKEN
    )
    assert altered.startswith("WeightsError")
    assert "altered" in altered
    assert "cannot use the repository me/windows" in away
    assert "`pannsx models`" in away


def test_a_branch(hub: UploadHub, checkpoint: Path, tmp_path: Path) -> None:
    branch, main = say(
        hub, tmp_path, checkpoint,
        "push_to_hub(model(), 'me/doors', branch='next') and load('me/doors@next').record.name",
        "load('me/doors').record.name",
        HF_TOKEN=TOKEN,
    )  # fmt: skip
    assert branch == "doors"
    assert hub.commits[0]["branch"] == "next"
    assert "cannot use the repository me/doors: the Hub does not have it (404)" in main


def test_a_published_file_is_checked_against_the_manifest(
    hub: UploadHub, checkpoint: Path, tmp_path: Path
) -> None:
    name = str(manifest.find("MobileNetV1").filename)
    hub.repositories.update({"them/panns": False, "them/two": False, "them/none": False})
    for revision in ("main", COMMIT):
        hub.put_hub_file("them/panns", quote(name), b"something else", revision)
        for file in (name, str(manifest.find("Cnn6").filename)):
            hub.put_hub_file("them/two", quote(file), b"", revision)
        hub.put_hub_file("them/none", "pytorch_model.bin", b"", revision)
    wrong, several, none = say(
        hub, tmp_path, checkpoint, "load('them/panns')", "load('them/two')", "load('them/none')"
    )
    assert "cannot use the repository them/panns" in wrong
    assert "14 bytes" in wrong
    assert "it holds " in several
    assert "give it as checkpoint=" in several
    assert "it has neither our record nor a published file" in none
    assert not any(seen.path.endswith("pytorch_model.bin") for seen in hub.seen)


def test_a_record_cannot_point_outside(hub: UploadHub, checkpoint: Path, tmp_path: Path) -> None:
    record = json.loads(checkpoint.with_suffix(".json").read_text("utf-8"))
    hub.repositories["them/evil"] = False
    for revision in ("main", COMMIT):
        hub.put_hub_file(
            "them/evil", "model.json", json.dumps({**record, "filename": "../../x"}).encode(), revision
        )
    (said,) = say(hub, tmp_path, checkpoint, "load('them/evil')")
    assert "a path inside the record's folder is needed" in said


def test_names_of_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_repository("me/doors")
    assert is_repository("me/do-ors.v2@refs/pr/1")
    for name in ("Cnn14", "a/b/c", "/etc/passwd", "../doors", "me/", "me/doors@", "C:\\weights\\mine.pth"):
        assert not is_repository(name) or name == "../doors", name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "doors").touch()
    assert not is_repository("me/doors")
    with pytest.raises(WeightsError, match=r"there is no record me.doors.json"):
        load("me/doors")


def test_a_folder_of_a_repository_is_a_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    folder = tmp_path / "doors"
    record = save_pretrained(load(checkpoint=checkpoint), folder)
    assert record.name == "doors"
    assert [path.name for path in record_files(folder)] == ["model.json"]
    assert pannsx.AudioTagger(checkpoint=folder).labels == ("creak", "slam")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    assert config == config_of(record)
    assert config["id2label"] == {"0": "creak", "1": "slam"}
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot write"):
        save_pretrained(load(checkpoint=checkpoint), tmp_path / "file")

"""``import pannsx`` is light and silent, and what needs no torch loads none: seen in fresh interpreters."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pannsx

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(pannsx.__file__).resolve().parent

WATCHED_IMPORT = """
import json, sys
opened, connected = [], []
before = set(sys.modules)

def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event.startswith("socket."):
        connected.append(event)

sys.addaudithook(watch)
import pannsx
seen = {"modules": sorted(set(sys.modules) - before), "opened": list(opened), "connected": list(connected)}
print("MARK" + json.dumps(seen))
"""


def python(program: str) -> str:
    """Standard output of a fresh interpreter; what it writes to standard error fails the test."""
    run = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stderr == ""
    assert run.returncode == 0
    return run.stdout


def test_import_is_light_and_silent() -> None:
    said, _, seen_json = python(WATCHED_IMPORT).partition("MARK")
    seen = json.loads(seen_json)
    assert said == ""
    assert {name.partition(".")[0] for name in seen["modules"]} <= sys.stdlib_module_names | {"pannsx"}
    assert not seen["connected"]
    libraries = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    homes = {PACKAGE, Path(sys.base_prefix).resolve(), *libraries}
    for name in seen["opened"]:
        path = Path(name).resolve()
        assert any(home in path.parents for home in homes), f"the import opened {name}"


@pytest.mark.parametrize(
    "module",
    [
        "audio", "audio.resample", "cli", "errors", "frontend.settings", "inference.windows", "labels",
        "results", "weights", "weights.manifest",
    ],
)  # fmt: skip
def test_loads_without_torch(module: str) -> None:
    program = f"import sys, pannsx.{module}; print('torch' in sys.modules)"
    assert python(program).strip() == "False"


def test_every_public_name_is_there_and_no_other() -> None:
    assert dir(pannsx) == sorted(pannsx.__all__)
    for name in pannsx.__all__:
        assert getattr(pannsx, name) is getattr(pannsx, name)
    with pytest.raises(AttributeError, match="has no attribute 'audio_tagger'"):
        _ = pannsx.audio_tagger

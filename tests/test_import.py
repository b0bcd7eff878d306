"""``import pannsx`` is light and silent, and what needs no torch loads none: seen in fresh interpreters."""

from __future__ import annotations

import ast
import importlib
import inspect
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
        "metrics", "results", "types", "weights", "weights.manifest",
    ],
)  # fmt: skip
def test_loads_without_torch(module: str) -> None:
    program = f"import sys, pannsx.{module}; print('torch' in sys.modules)"
    assert python(program).strip() == "False"


WITHOUT_TORCH = [
    "list_models()", "TaggingResult", "BatchResult", "AudioError", "WeightsError", "audio.load",
    "errors.AudioError", "events.detect", "events.formats.write_events", "frontend.FrontEnd",
    "labels.audioset()", "metrics.tagging_scores", "results.Tag", "types.Source",
    "weights.manifest.find('Cnn14')",
]  # fmt: skip
WITH_TORCH = ["inference.fine_frames.FrameReader", "models.convert.to_published", "streaming.StreamUpdate"]

EVALUATED = """
import json, sys, pannsx
seen = {}
for expression in EXPRESSIONS:
    assert eval("pannsx." + expression) is not None
    seen[expression] = "torch" in sys.modules
print(json.dumps(seen))
"""


def test_import_pannsx_is_enough_and_few_names_take_torch() -> None:
    """Submodules come by themselves, and no network's library with those that do without."""
    expressions = [*WITHOUT_TORCH, *WITH_TORCH]
    seen = json.loads(python(EVALUATED.replace("EXPRESSIONS", repr(expressions))))
    assert [expression for expression, torch_loaded in seen.items() if not torch_loaded] == WITHOUT_TORCH


def test_names_of_models_take_no_numpy() -> None:
    program = "import sys, pannsx; assert pannsx.list_models(); print('numpy' in sys.modules)"
    assert python(program).strip() == "False"


LAZY = ["", "events", "frontend", "inference", "models", "weights"]


def for_type_checkers(package: str) -> dict[str, set[str]]:
    """The names that a lazy package has below ``if TYPE_CHECKING:`` and submodules among them."""
    source = PACKAGE.joinpath(*package.split("."), "__init__.py").read_text("utf-8")
    blocks = [
        n for n in ast.parse(source).body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    ]
    statements = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    here = f"pannsx.{package}".rstrip(".")
    return {
        "submodules": {alias.name for n in statements if n.module == here for alias in n.names},
        "names": {alias.name for n in statements if n.module != here for alias in n.names},
    }


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_what_is_there(package: str) -> None:
    """The two tables of a lazy package, for type checkers and for the interpreter, say the same."""
    module = importlib.import_module(f"pannsx.{package}".rstrip("."))
    seen = for_type_checkers(package)
    assert seen["submodules"]
    assert seen["submodules"] | seen["names"] <= set(dir(module))
    assert set(dir(module)) == {*seen["submodules"], *getattr(module, "__all__", ())}
    for name in dir(module):
        assert getattr(module, name) is getattr(module, name)
    for name in seen["submodules"]:
        assert inspect.ismodule(getattr(module, name))


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(pannsx.__all__) < set(dir(pannsx))
    for name in set(dir(pannsx)) - set(pannsx.__all__):
        assert getattr(pannsx, name) is importlib.import_module(f"pannsx.{name}")
    with pytest.raises(AttributeError, match="has no attribute 'audio_tagger'") as caught:
        _ = pannsx.audio_tagger
    assert (caught.value.name, caught.value.obj) == ("audio_tagger", pannsx)  # so that Python suggests a name
    with pytest.raises(ImportError, match="cannot import name 'Tagger'"):
        from pannsx import Tagger  # noqa: F401


def test_import_takes_no_time() -> None:
    """What `import pannsx` executes: its own three files, and little of the standard library."""
    _, _, seen_json = python(WATCHED_IMPORT).partition("MARK")
    modules = set(json.loads(seen_json)["modules"])
    assert {name for name in modules if name.startswith("pannsx")} == {
        "pannsx",
        "pannsx.lazy",
        "pannsx.version",
    }
    assert not modules & {"typing", "re", "inspect", "pathlib", "dataclasses"}

"""The house rules, read off the syntax trees: who may import whom, print, or touch the network."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pannsx"

# The floors of the house, from the ground up: a module imports from its own floor and from those beneath.
FLOORS = (
    {"config", "errors", "compiling", "lanes", "ahead"},
    {"audio", "resample", "polyphase", "frontend", "manifest", "record_json", "records", "labels"},
    {"models"},
    {
        "engine", "prepared", "windows", "events", "formats", "metrics",
        "weights", "fetch", "verify", "places", "atomic", "download", "hub", "partial_file", "digests",
        "state_dict",
    },
    {"tagger", "features", "streaming", "pipeline", "results", "fine_frames"},
    {"cli", "hear", "compat", "export", "report", "corpus", "__main__"},
)  # fmt: skip
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ADAPTERS = FLOORS[-1]

WITHOUT_TORCH = {
    "audio", "resample", "windows", "events", "formats", "metrics", "manifest", "labels", "config", "errors",
}  # fmt: skip
NETWORK = {
    "aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "socket", "ssl", "urllib", "urllib3",
}  # fmt: skip
NETWORKED = {"weights", "download", "hub", "partial_file"}
OUTSIDE = {"benchmarks", "docs", "examples", "tests", "tools", "train"}

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"  # names its public modules lazily; tests/test_import.py watches it
)


def room(module: str) -> str:
    return module.partition(".")[0]


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text("utf-8"))


def statements(node: ast.AST, *, at_run_time: bool) -> Iterator[ast.AST]:
    """Every node; with ``at_run_time`` without the bodies of ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if at_run_time and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from statements(child, at_run_time=at_run_time)


def imports(module: str, *, at_run_time: bool = False) -> set[str]:
    """Absolute dotted names of all that the module imports, inside functions too."""
    found = set()
    for node in statements(tree(module), at_run_time=at_run_time):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_used(module: str) -> set[str]:
    used = {name.split(".")[1] for name in imports(module) if name.startswith("pannsx.")} - {"__version__"}
    assert used <= set(FLOOR_OF), f"{module}: import from the module that defines the name"
    return used


def test_every_module_has_a_floor() -> None:
    assert {room(module) for module in MODULES} <= set(FLOOR_OF), "give the new module its place in FLOORS"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    here = room(module)
    for used in rooms_used(module) - {here}:
        assert FLOOR_OF[used] <= FLOOR_OF[here], f"{module} imports {used}, which stands above it"
        assert used not in ADAPTERS or here == "__main__", f"{module} imports the adapter {used}"


def test_no_circle_of_rooms() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        graph.setdefault(room(module), set()).update(rooms_used(module) - {room(module)})
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", MODULES)
def test_forbidden_imports(module: str) -> None:
    tops = {room(name) for name in imports(module, at_run_time=True)}
    assert not tops & OUTSIDE
    if room(module) in WITHOUT_TORCH:
        assert "torch" not in tops
    if room(module) not in NETWORKED:
        assert not tops & NETWORK, "only what fetches weights may touch the network"


def calls(module: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("module", MODULES)
def test_forbidden_calls(module: str) -> None:
    for name, call in calls(module):
        where = f"{module}, line {call.lineno}: {name}"
        if room(module) != "cli":
            assert name != "print", f"{where}: only cli prints"
            assert not name.startswith(("sys.stdout.", "sys.stderr.")), f"{where}: only cli prints"
        if room(module) == "models":
            assert name not in {"open", "torch.load", "torch.save"}, f"{where}: models touch no files"
        if name.endswith("load_state_dict"):
            loose = [k for k in call.keywords if k.arg == "strict" and ast.unparse(k.value) != "True"]
            assert not loose, f"{where}: state dicts load strictly"


def test_every_library_is_declared() -> None:
    declared = set(
        re.findall(r'^ +"([\w-]+)>=', (PACKAGE.parent / "pyproject.toml").read_text("utf-8"), re.M)
    )
    declared |= {"av", "pyarrow", "pannsx"}  # the optional extras
    used = {room(name) for module in MODULES for name in imports(module)} - sys.stdlib_module_names
    assert {name.replace("_", "-") for name in used} <= declared

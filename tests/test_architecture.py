"""The house rules, read off the syntax trees: who may import whom, print, or touch the network."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The floors of the house, from the ground up: a module imports from its own floor and from those beneath.
FLOORS = (
    {
        "labels", "class_tree", "jit", "atomic", "errors", "lazy", "readable", "types", "strict", "table",
        "table_files", "version",
    },
    {"audio", "frontend", "metrics", "tags"},
    {"events", "models"},
    {"report", "weights"},
    {"results"},
    {"inference"},
    {"estimator", "tagger", "features"},
    {"corpus", "export", "streaming", "scoring", "transfer"},
    {"cli", "integrations", "__main__"},
)  # fmt: skip
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FRONT_DOORS = {"cli", "integrations"}  # nobody imports them

# The same for what trains: scripts stand above all libraries, and only scripts import scripts.
TRAIN_FLOORS = ({"recipe"}, {"data", "pool", "teacher"}, {"loop"}, {"transfer"})
TRAIN_FLOOR_OF = {room: floor for floor, rooms in enumerate(TRAIN_FLOORS) for room in rooms}

WITHOUT_TORCH = {
    "atomic", "audio", "class_tree", "cli", "corpus", "errors", "estimator", "events", "features", "frontend",
    "inference", "jit", "labels", "lazy", "metrics", "models.__init__", "models.layout", "models.settings",
    "models.structure", "models.timing", "models.zoo", "readable", "report", "results", "scoring",
    "streaming", "strict", "table", "table_files", "tagger", "tags", "types", "version", "weights",
}  # fmt: skip
"""Rooms and modules that load no torch when they are imported: the whole way of a sound on the CPU."""

TORCH_ALONE = {
    "frontend.torch_logmel", "inference.cpu.bfloat16", "inference.cpu.traced", "inference.module",
}  # fmt: skip
"""Modules of these rooms that are torch's: the others import them inside functions, where they need them."""
NETWORK = {
    "aiohttp", "ftplib", "http", "httpx", "huggingface_hub", "requests", "socket", "ssl", "urllib", "urllib3",
}  # fmt: skip
NETWORKED = {"integrations.hub", "weights.download", "weights.hub", "weights.partial_file"}
OUTSIDE = {"benchmarks", "docs", "examples", "tests", "tools", "train"}


def modules_of(package: str) -> list[str]:
    """Dotted names below the package; that of a folder ends in ``__init__``."""
    folder = ROOT / package
    return sorted(".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py"))


MODULES = [module for module in modules_of("pannsx") if module != "__init__"]
TRAIN_MODULES = modules_of("train")
SCRIPTS = {module for module in TRAIN_MODULES if "." not in module}
TRAIN_LIBRARIES = [module for module in TRAIN_MODULES if module not in SCRIPTS]


def room(module: str) -> str:
    return module.partition(".")[0]


def tree(module: str, package: str = "pannsx") -> ast.Module:
    return ast.parse((ROOT / package / (module.replace(".", "/") + ".py")).read_text("utf-8"))


def statements(node: ast.AST, *, at_run_time: bool, at_import: bool = False) -> Iterator[ast.AST]:
    """Every node; ``at_run_time`` leaves out ``if TYPE_CHECKING:``, ``at_import`` the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if at_run_time and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if at_import and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        yield child
        yield from statements(child, at_run_time=at_run_time, at_import=at_import)


def imported(node: ast.AST, module: str) -> set[str]:
    """Absolute dotted names that a statement imports, or that a string names, as tables of lazy names do."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}: write imports in full"
        return {f"{node.module}.{alias.name}" for alias in node.names}
    if isinstance(node, ast.Constant) and re.fullmatch(r"(pannsx|train)(\.[A-Za-z_]\w*)+", str(node.value)):
        return {str(node.value)}
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        (name,) = node.args[:1] or [None]
        return {name.value} if isinstance(name, ast.Constant) and isinstance(name.value, str) else set()
    return set()


@cache  # of names: the trees of all modules take 100 MB
def imports(module: str, package: str = "pannsx", *, at_run_time: bool = False) -> frozenset[str]:
    """All that the module imports: inside functions too, by name in a string too."""
    nodes = statements(tree(module, package), at_run_time=at_run_time)
    return frozenset().union(*(imported(node, module) for node in nodes))


@cache
def imports_of_import(module: str) -> frozenset[str]:
    """What importing a module of the package imports itself."""
    nodes = statements(tree(module), at_run_time=True, at_import=True)
    kinds = (ast.Import, ast.ImportFrom)
    return frozenset().union(*(imported(node, module) for node in nodes if isinstance(node, kinds)))


def rooms_used(module: str, package: str = "pannsx") -> set[str]:
    """The rooms of a package that a module of ``pannsx`` or ``train`` imports."""
    prefix = f"{package}."
    return {name.split(".")[1] for name in imports(module, package) if name.startswith(prefix)}


def test_every_module_has_a_floor() -> None:
    assert {room(module) for module in MODULES} <= set(FLOOR_OF), "give the new module its place in FLOORS"
    rooms = {room(module) for module in TRAIN_LIBRARIES}
    assert rooms <= set(TRAIN_FLOOR_OF), "give the new folder its place in TRAIN_FLOORS"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    here = room(module)
    assert rooms_used(module) <= set(FLOOR_OF), f"{module}: import from the module that defines the name"
    for used in rooms_used(module) - {here}:
        assert FLOOR_OF[used] <= FLOOR_OF[here], f"{module} imports {used}, which stands above it"
        assert used not in FRONT_DOORS or here == "__main__", f"{module} imports the front door {used}"


@pytest.mark.parametrize("module", TRAIN_LIBRARIES)
def test_imports_of_training_go_down(module: str) -> None:
    here = room(module)
    for used in rooms_used(module, "train") - {here}:
        assert used not in SCRIPTS, f"{module} imports the script {used}"
        assert TRAIN_FLOOR_OF[used] <= TRAIN_FLOOR_OF[here], f"{module} imports {used}, which stands above it"


@pytest.mark.parametrize("package", ["pannsx", "train"])
def test_no_circle_of_rooms(package: str) -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES if package == "pannsx" else TRAIN_MODULES:
        graph.setdefault(room(module), set()).update(rooms_used(module, package) - {room(module)})
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_are_seen_however_they_are_written() -> None:
    source = """
    import pannsx.audio
    from pannsx import labels
    if TYPE_CHECKING:
        from pannsx.results import Tag
    HOMES = {"load": "pannsx.weights.loading"}
    def later():
        import_module("pannsx.report")
        importlib.import_module("torch")
    """
    nodes = list(statements(ast.parse(textwrap.dedent(source)), at_run_time=False))
    assert set().union(*(imported(node, "here") for node in nodes)) == {
        "pannsx.audio", "pannsx.labels", "pannsx.results.Tag", "pannsx.weights.loading", "pannsx.report",
        "torch",
    }  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_forbidden_imports(module: str) -> None:
    tops = {room(name) for name in imports(module, at_run_time=True)}
    assert not tops & OUTSIDE
    if module not in NETWORKED:
        assert not tops & NETWORK, "only what fetches weights may touch the network"


@pytest.mark.parametrize("module", TRAIN_MODULES)
def test_training_imports_the_package_alone(module: str) -> None:
    assert not {room(name) for name in imports(module, "train")} & (OUTSIDE - {"train"})


def loaded(module: str) -> set[str]:
    """The package's modules that importing one of them executes, itself among them; libraries by name."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        here = waiting.pop()
        if here in found:
            continue
        found.add(here)
        if here not in MODULES:
            continue
        parents = here.split(".")[:-1]
        waiting += [".".join([*parents[: i + 1], "__init__"]) for i in range(len(parents))]
        waiting += map(module_of, imports_of_import(here))
    return found


def module_of(name: str) -> str:
    """The module that an imported name is, or is of; of other libraries their top."""
    top, *parts = name.split(".")
    if top != "pannsx":
        return top
    for n in range(len(parts), 0, -1):
        for candidate in (".".join(parts[:n]), ".".join([*parts[:n], "__init__"])):
            if candidate in MODULES:
                return candidate
    return "__init__"


@pytest.mark.parametrize("module", [m for m in MODULES if {m, room(m)} & WITHOUT_TORCH])
def test_loads_no_torch(module: str) -> None:
    assert ("torch" in loaded(module)) == (module in TORCH_ALONE)


def test_loading_is_followed() -> None:
    assert "torch" in loaded("inference.module")  # itself
    assert "torch" in loaded("models.convert")  # itself, and by way of models.pann
    assert "torch" in loaded("transfer.study")  # by way of transfer.head


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
    # Dependencies and extras; scikit-learn and pylance are imported by other names.
    declared = set(re.findall(r'"([\w-]+)(?:\[\w+\])?>=', (ROOT / "pyproject.toml").read_text("utf-8"))) | {
        "pannsx",
        "sklearn",
        "lance",
    }
    used = {room(name) for module in MODULES for name in imports(module)} - sys.stdlib_module_names
    assert {name.replace("_", "-") for name in used} <= declared

"""Pages of the documentation as programs: their blocks in order, run in a folder, with what they print.

What a fenced block is, its language says:

* ``python`` runs, all blocks of a page in one namespace; ``sh`` runs, by the small shell of `docs_shell`;
* ``text`` is what the block before it prints;
* ``json`` is parsed; ``py`` is a signature, which is compiled; ``bibtex`` is compared with ``CITATION.cff``;
* ``yaml`` is for another program, whose tests read it;
* below ``<!-- file: NAME -->`` a block of any language is written to that file and not run.

``<!-- needs: PACKAGE ... -->`` names the optional packages of a page, and ``<!-- data: NAME ... -->`` the
published data sets that its output is of.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE_DOCS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md")
PAGES = sorted([*OUTSIDE_DOCS, *(ROOT / "docs").rglob("*.md")])

LANGUAGES = frozenset({"python", "sh", "text", "json", "csv", "py", "bibtex", "yaml"})

OUTPUT_TOLERANCE = 0.02
"""Between a printed number and the page's: rounding to two decimals takes 0.005 of it, other processors'
convolutions and other decoders far less; a tag that moved is seen."""

_FENCE = re.compile(r"^```(\w*)\s*$")
_FILE = re.compile(r"^<!-- file: (\S+) -->$")
_NEEDS = re.compile(r"^<!-- needs: (.+) -->$", re.M)
_DATA = re.compile(r"^<!-- data: (.+) -->$", re.M)
_NUMBER = re.compile(r"\d+\.\d+")


class Block(NamedTuple):
    """A fenced block: its language, its text, the line its text begins on, and the file it stands for."""

    language: str
    text: str
    line: int
    file: str | None


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        if fence := _FENCE.match(lines[number]):
            end = lines.index("```", number + 1)
            marker = _FILE.match(lines[number - 1]) if number else None
            text = "\n".join(lines[number + 1 : end]) + "\n"
            yield Block(fence[1], text, number + 2, marker[1] if marker else None)
            number = end
        number += 1


def file_of(page: Path, name: str) -> str:
    """The block of a page that stands for a file."""
    (text,) = (block.text for block in blocks_of(page) if block.file == name)
    return text


def needs(page: Path) -> list[str]:
    """The optional packages that the page's blocks import."""
    return [package for packages in _NEEDS.findall(page.read_text("utf-8")) for package in packages.split()]


def data_of(page: Path) -> list[str]:
    """The data sets that the page's blocks read."""
    return [name for names in _DATA.findall(page.read_text("utf-8")) for name in names.split()]


def without_blocks(page: Path) -> str:
    """The prose of a page."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)


def run_page(page: Path, shell: Callable[[str], None], *, compares: bool = True) -> None:
    """Run the blocks of a page in the current folder; ``compares`` its output with the page's.

    Raises:
        AssertionError: a block printed something else than the page says.
        Exception: whatever a block raises, with the page's line in the traceback.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks_of(page):
        where = f"{name_of(page)}, line {block.line}"
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8", newline="\n")
            continue
        if block.language == "text":
            assert printed is not None, f"{where}: there is no block whose output this could be"
            if not compares:
                assert printed.strip(), f"{where}: the block before prints nothing"
                continue
            assert same_text(block.text, printed), f"{where}: it prints\n{printed}"
            printed = None
            continue
        # Lines of the code are lines of the page, for a traceback that leads there.
        code = "\n" * (block.line - 1) + block.text
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
        with redirect_stdout(stdout):
            if block.language == "python":
                _run(ast.parse(code, str(page)), str(page), namespace)
            elif block.language == "sh":
                shell(block.text)
            elif block.language == "json":
                json.loads(block.text)
            elif block.language == "py":
                compile(code, str(page), "exec")
        printed = stdout.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def _run(code: ast.Module, name: str, namespace: dict[str, Any]) -> None:
    """Run a block, statement by statement: a network whose name another one takes is not kept beside it."""
    for statement in code.body:
        if isinstance(statement, ast.Assign):
            read = {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id not in read:
                    namespace.pop(target.id, None)
        exec(compile(ast.Module([statement], []), name, "exec"), namespace)


def same_text(expected: str, printed: str) -> bool:
    """Whether two texts say the same: white space and bars aside, decimals within the tolerance."""

    def words(text: str) -> list[str]:
        return _NUMBER.sub("0.0", text.replace("█", " ")).split()

    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(printed), strict=False)
    return words(expected) == words(printed) and all(
        abs(float(a) - float(b)) <= OUTPUT_TOLERANCE for a, b in pairs
    )

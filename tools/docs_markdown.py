"""Docstrings of the project as Markdown."""

from __future__ import annotations

import re

_SECTION_NAMES = {
    "Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises",
}  # fmt: skip


def markdown(docstring: str) -> str:
    """A docstring of the project -> Markdown: sections as lists, ``code`` as `code`, examples as blocks."""
    lines: list[str] = []
    in_section = in_example = False
    for line in _with_whole_names(docstring).splitlines():
        if line.startswith((">>> ", "... ")) or line == ">>>":
            if not in_example:
                lines.append("```python")
            in_example = True
            lines.append(line[4:])
            continue
        if in_example and line.strip():
            lines.append(f"# {line}")  # the example's purpose
            continue
        if in_example:
            in_example = False
            lines.append("```")
        if match := re.match(r"(\w+):$", line):
            in_section = match[1] in _SECTION_NAMES
            lines += [f"**{_SECTION_NAMES.get(match[1], match[1])}**", ""]
        elif in_section and line.startswith("    "):
            lines.append(_section_line(line[4:]))
        else:
            in_section = in_section and not line.strip()
            lines.append(line)
    if in_example:
        lines.append("```")
    return _inline("\n".join(lines))


def _with_whole_names(docstring: str) -> str:
    """The docstring with the names of each entry on one line, where a list of names fills more than one."""
    n_joined = 1
    while n_joined:
        docstring, n_joined = re.subn(
            r"^(    (?:\w+, )*\w+,|    \w+(?:, \w+)*:)\n {8}(?=\S)", r"\1 ", docstring, flags=re.MULTILINE
        )
    return docstring


def _section_line(line: str) -> str:
    if line.startswith("    "):  # continues the entry above
        return f"  {line.strip()}"
    if match := re.match(r"(\w+(?:, \w+)*): (.*)", line):
        names = ", ".join(f"`{name}`" for name in match[1].split(", "))
        return f"* {names}: {match[2]}"
    return line


def _inline(text: str) -> str:
    """Roles and double backquotes as plain code; a single-quoted name stays code."""
    text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text)
    text = re.sub(r"(?<=[.:;])  (?=\S)", " ", text)
    return re.sub(r"(?<!`)``(?!`)", "`", text)

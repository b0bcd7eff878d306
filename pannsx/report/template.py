"""Filling of the templates of pages, piece by piece, so that a page is never in memory as a whole."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

from pannsx.atomic import replacing

Content: TypeAlias = str | Iterable[str]


def part(name: str) -> str:
    """The text of a file beside this module."""
    return resources.files("pannsx.report").joinpath(name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, Content]) -> Iterator[str]:
    """The template with ``{{name}}`` replaced, in one pass: inserted text is not searched again."""
    first, *pieces = template.split("{{")
    yield first
    for piece in pieces:
        name, _, rest = piece.partition("}}")
        content = parts[name]
        if isinstance(content, str):
            yield content
        else:
            yield from content
        yield rest


def write_page(pieces: Iterable[str], path: Path) -> None:
    """Write the pieces of a page, whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)


def json_in_page(data: Any) -> str:
    """JSON that is safe in a script element, whatever is in a label or name."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def source_hash(script: str) -> str:
    """A script's name in a Content-Security-Policy: only scripts named there run."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

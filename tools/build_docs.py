"""Write the generated pages of ``docs/reference``: models, recipes, API and command line.

Models come from the manifest and the architecture table, recipes from their headers, the API from signatures
and docstrings, the command line from its parser.

    python tools/build_docs.py

``tests/test_docs.py`` fails where a committed page is not what this writes.
"""

from __future__ import annotations

from pathlib import Path

import docs_api
import docs_cli
import docs_models
import docs_recipes

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def pages() -> dict[str, str]:
    """The text of every generated page by its file name."""
    return {
        "api.md": docs_api.page(),
        "cli.md": docs_cli.page(),
        "models.md": docs_models.page(),
        "recipes.md": docs_recipes.page(),
    }


def main() -> None:
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

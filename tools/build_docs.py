"""Write the generated pages of ``docs``: architecture, models, recipes, API and command line.

The architecture comes from the docstrings of modules, models from the manifest and the architecture table,
recipes from their headers, the API from signatures and docstrings, the command line from its parser.

    python tools/build_docs.py

``tests/test_docs.py`` fails if a committed page differs from the output of this script.
"""

from __future__ import annotations

from pathlib import Path

import docs_api
import docs_architecture
import docs_cli
import docs_models
import docs_recipes

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[str, str]:
    """The text of every generated page by its path below ``docs``."""
    return {
        "explanation/architecture.md": docs_architecture.page(),
        **{f"reference/{name}": text for name, text in docs_api.pages().items()},
        "reference/cli.md": docs_cli.page(),
        "reference/models.md": docs_models.page(),
        "reference/recipes.md": docs_recipes.page(),
    }


def main() -> None:
    for name, text in pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

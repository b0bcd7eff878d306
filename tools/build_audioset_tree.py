"""Makes ``pannsx/data/audioset_tree.csv`` from AudioSet's ``ontology.json``.

    python tools/build_audioset_tree.py ontology.json

The table has a line for each class, in the order of the source: ``mid``, ``name``, and, separated by spaces,
the ids of its ``parents`` and its ``restrictions``. Descriptions, citations and examples are left out.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "pannsx" / "data" / "audioset_tree.csv"


def table_of(entries: list[dict[str, Any]]) -> str:
    """The text of the table."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["mid", "name", "parents", "restrictions"])
    rows.writerows(_rows(entries))
    return text.getvalue()


def _rows(entries: list[dict[str, Any]]) -> Iterator[list[str]]:
    parents: dict[str, list[str]] = {entry["id"]: [] for entry in entries}
    for entry in entries:
        for child in entry["child_ids"]:
            parents[child].append(entry["id"])
    for entry in entries:
        yield [entry["id"], entry["name"], " ".join(parents[entry["id"]]), " ".join(entry["restrictions"])]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    TABLE.write_text(table_of(json.loads(Path(sys.argv[1]).read_text("utf-8"))), "utf-8", newline="\n")
    print(f"wrote {TABLE}")

"""The page of the training recipes, from the headers of ``train/recipes``."""

from __future__ import annotations

import re
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "train" / "recipes"

INTRODUCTION = """# Training recipes

One recipe for each checkpoint, and some for a budget, `train/recipes/NAME.toml`;
[how to run one](../how-to/rebuild-a-checkpoint.md).

Operations are computed from the architecture: three times those of one pass, for the batch of every step
(32 clips, mixed from 64 drawn clips, unless the recipe says otherwise). One pass has two operations for each
[multiply-accumulate](models.md#cost-and-score), without the log-mel. Hours are computed, not measured: the
time for these operations at a sustained 100 TFLOP/s, without loading and evaluation. Scores are the published
ones of the recipe's checkpoint on AudioSet's evaluation set, from the paper or from a file's name. **None of
them has been reached with this code yet**: that takes the whole of AudioSet. The four recipes for a budget
(eight GPUs, one GPU, the balanced list, and with later methods) have not been run to the end.

This page is generated from the recipes' headers by `tools/build_docs.py`.
"""


def page() -> str:
    """``docs/reference/recipes.md``."""
    rows = [_row(path) for path in sorted(RECIPES.glob("*.toml"), key=_order) if not _is_base(path)]
    table = [
        "| recipe | steps | operations | hours | published score |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([INTRODUCTION, *table, *rows]) + "\n"


def _is_base(path: Path) -> bool:
    return path.stem.startswith("published")


def _order(path: Path) -> tuple[str, int, str]:
    """Models side by side in the order of their depths."""
    match = re.match(r"([A-Za-z]+?)(\d*)(\D.*)?$", path.stem)
    return (match[1], int(match[2] or 0), match[3] or "") if match else (path.stem, 0, "")


def header(path: Path) -> dict[str, str]:
    """The labelled lines of a recipe's header, continued lines joined."""
    found: dict[str, str] = {}
    label = ""
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        if match := re.match(r"# (\w+): +(.*)", line):
            label = match[1]
            found[label] = match[2]
        elif line.strip() == "#":
            label = ""
        elif label:
            found[label] += " " + line[1:].strip()
    return found


def _row(path: Path) -> str:
    lines = header(path)
    cost = lines["Cost"]
    steps = re.search(r"([\d,]+) steps", cost)
    operations = re.search(r"([\d.]+e\d+) operations", cost)
    if steps is None or operations is None:
        raise ValueError(f"{path.name}: its Cost lacks steps or operations: {cost!r}")
    hours = float(operations[1]) / 100e12 / 3600
    score = re.sub(r" on AudioSet's evaluation set", "", lines["Score"]).rstrip(".")
    shown = f"{hours:.1f}" if hours >= 0.1 else "under 0.1"
    return f"| `{path.stem}` | {steps[1]} | {operations[1]} | {shown} | {score} |"

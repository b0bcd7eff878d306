"""Write ``docs/reference/benchmarks.md`` and its plots from the stored results.

python -m benchmarks.report
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.conditions import ROOT
from benchmarks.results import FOLDER, read_all
from benchmarks.runs import Row, Runs, Table, gather_runs
from pannsx.atomic import replacing

PAGE = "reference/benchmarks.md"
ORDER = (
    "frontend", "resampler", "models", "end_to_end", "files", "ragged", "callers", "memory", "corpus",
    "startup", "yamnet", "metrics", "generation", "events", "packing", "train_loader", "train_startup",
    "train_index", "quantisation",
)  # fmt: skip

_HEAD = """# Benchmarks

Speed and accuracy of pannsx and of other software. `python -m benchmarks.report` generates this page from the
results in `benchmarks/results`. [The benchmarks' README](../../benchmarks/README.md) explains how they are
measured, and how to measure on your own machine.

A **ratio** is a candidate's time divided by that of the first row; above 1, the candidate is slower. It is
the median over the rounds of the quotient of two neighbours in time, one number for each run, the oldest
first. Times are medians of the latest run. Ratios are more similar between machines than times, but not
equal.
"""


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="The documentation's page, from the stored results."
    )
    arguments.add_argument("--results", type=Path, default=FOLDER, help="folder of results to read")
    arguments.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of pages to write to")
    given = arguments.parse_args()
    for name, text in pages(read_all(given.results)).items():
        path = given.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        print(path)


def pages(results: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The text of the page and of every plot, by its path in ``docs``; results in order, the oldest first."""
    found = sorted(gather_runs(results), key=lambda runs: _rank(runs.benchmark))
    parts = [_HEAD, "## Targets\n", *_targets(found)]
    written: dict[str, str] = {}
    question = ""
    for runs in found:
        if runs.question != question:
            question = runs.question
            parts.append(f"## {question}\n")
        image = f"images/benchmark_{runs.benchmark}.svg"
        # The picture shows the machine of the latest run.
        if image not in written and (panels := plots.plotted(runs.tables())):
            written[image] = plots.picture(panels, f"{question} Times of other candidates, of ours.")
            picture = f"![{question}](../{image})"
        else:
            picture = ""
        parts += _section(runs, picture)
    if found:
        parts += ["## Versions\n", *_versions(found)]
    return {PAGE: "\n".join(parts).rstrip("\n") + "\n", **written}


def _rank(benchmark: str) -> int:
    return ORDER.index(benchmark) if benchmark in ORDER else len(ORDER)


def _targets(found: Sequence[Runs]) -> list[str]:
    """A table for each machine: target, measured numbers of each run, and verdict."""
    lines: list[str] = []
    for machine in dict.fromkeys(runs.machine for runs in found):
        lines += [f"**{machine}**\n", "| target | threads | bound | measured | verdict |"]
        lines.append("| --- | ---: | --- | --- | --- |")
        for runs in found:
            if runs.machine != machine:
                continue
            for target in runs.targets():
                cells = (target.what, str(runs.threads), target.bound, _numbers(target.measured))
                lines.append(_line((*cells, _verdict(target.held))))
        lines.append("")
    return lines


def _verdict(held: Sequence[bool]) -> str:
    """Held in every run or missed, with a note if there is only one run."""
    if all(held):
        return "held" if len(held) > 1 else "held in the one run so far"
    return "**missed**" if not any(held) else f"**missed** in {held.count(False)} of {len(held)} runs"


def _section(runs: Runs, picture: str) -> list[str]:
    parts = [f"### {_heading(runs)}\n", *([f"{picture}\n"] if picture else [])]
    grouped: dict[str, list[Table]] = {}
    for table in runs.tables():
        if table.group:
            grouped.setdefault(table.group, []).append(table)
        else:
            parts += _comparison(table)
    for group, tables in grouped.items():
        parts += _group(group, tables)
    if facts := runs.facts():
        lines = ["| | measured |", "| --- | --- |"]
        lines += [_line((what, f"{_numbers(values)} {unit}".rstrip())) for what, unit, values in facts]
        parts += [*lines, ""]
    if absent := runs.absent():
        reasons = "; ".join(f"{peer['name']} ({_one_line(peer['reason'])})" for peer in absent)
        parts.append(f"Not in the latest run: {reasons}.\n")
    return [*parts, f"{_conditions(runs)}\n"]


def _heading(runs: Runs) -> str:
    return f"{runs.benchmark.replace('_', ' ').capitalize()}: {runs.where}"


def _comparison(table: Table) -> list[str]:
    columns = list(dict.fromkeys(what for row in table.rows for what in row.errors))
    lines = [
        f"**{table.title}.** {table.note}".rstrip() + "\n",
        _line(("", "median", "ratio", *columns)),
        _line(("---", "---:", "---:", *["---:"] * len(columns))),
    ]
    for row in table.rows:
        errors = [_error(row, what) for what in columns]
        lines.append(_line((row.name, _milliseconds(row.median_s), _numbers(row.ratios), *errors)))
    return [*lines, ""]


def _group(group: str, tables: Sequence[Table]) -> list[str]:
    """Several comparisons of the same candidates: a line for each, with the others' ratios in columns."""
    first = tables[0].rows[0].name
    others = list(dict.fromkeys(row.name for table in tables for row in table.rows[1:]))
    columns = list(dict.fromkeys(what for table in tables for row in table.rows for what in row.errors))
    lines = [
        f"**{group}.** Errors of each candidate, in the order of the columns.\n",
        _line(("", first, *(f"{other}, ratio" for other in others), *columns)),
        _line(("---", "---:", *["---:"] * (len(others) + len(columns)))),
    ]
    for table in tables:
        rows = {row.name: row for row in table.rows}
        ratios = [_numbers(rows[other].ratios) if other in rows else "" for other in others]
        errors = ["; ".join(filter(None, (_error(row, what) for row in table.rows))) for what in columns]
        lines.append(_line((table.title, _milliseconds(table.rows[0].median_s), *ratios, *errors)))
    return [*lines, ""]


def _conditions(runs: Runs) -> str:
    """Times and commits of the runs."""
    stamps = []
    for result in runs.results:
        conditions = result["conditions"]
        commit = conditions["commit"] or "unknown"
        dirty = ", with changes" if commit.endswith("-dirty") else ""
        stamps.append(f"{conditions['time_utc'][:16].replace('T', ' ')} UTC (commit {commit[:9]}{dirty})")
    alone = " One run so far." if len(runs.results) == 1 else ""
    return f"Runs: {'; '.join(stamps)}.{alone} Rounds in the latest: {runs.latest['conditions']['rounds']}."


def _versions(found: Sequence[Runs]) -> list[str]:
    """Versions in the latest runs, each set once."""
    users: dict[str, list[str]] = {}
    for runs in found:
        latest = runs.latest["conditions"]
        installed = {**latest["libraries"], **latest["peers"]}
        versions = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
        system = f"{latest['cpu_capability']}, {latest['system']}, Python {latest['python']}"
        users.setdefault(f"{runs.machine}, {system}; {versions}", []).append(runs.benchmark.replace("_", " "))
    return [f"* {', '.join(dict.fromkeys(names))}: {text}" for text, names in users.items()]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _numbers(values: Sequence[float | None]) -> str:
    return ", ".join("–" if value is None else _three_digits(value) for value in values)


def _error(row: Row, what: str) -> str:
    return f"{row.errors[what]:.1e}" if what in row.errors else ""


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _three_digits(value: float) -> str:
    """Three digits that count, without an exponent for large numbers: 12,300."""
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def _one_line(text: str, longest: int = 160) -> str:
    """A peer's message on one line, shortened."""
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= longest else f"{line[:longest]}…"


if __name__ == "__main__":
    main()

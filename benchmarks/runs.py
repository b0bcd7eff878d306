"""Results of several runs side by side: the same question, machine and threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Goal

RUNS_SHOWN = 2
"""Number of latest runs shown: enough to see whether a ratio is repeatable, without outdated ones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate of a comparison over all runs; None for a run without it.

    Attributes:
        name: name of the candidate.
        median_s: median time in the latest run with the candidate.
        ratios: time divided by that of the comparison's first candidate, for each run, the oldest first.
        errors: errors in the latest run with the candidate.
    """

    name: str
    median_s: float
    ratios: tuple[float | None, ...]
    errors: dict[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison over all runs; the first row is the reference of the others."""

    title: str
    group: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One goal over all runs, the oldest first."""

    what: str
    bound: str
    measured: tuple[float | None, ...]
    held: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one benchmark on one machine, the oldest first."""

    benchmark: str
    question: str
    results: tuple[dict[str, Any], ...]

    @property
    def latest(self) -> dict[str, Any]:
        """The latest result."""
        return self.results[-1]

    @property
    def machine(self) -> str:
        """The processor or device."""
        conditions = self.latest["conditions"]
        return str(conditions["cpu"] if conditions["device"] == "cpu" else conditions["device_name"])

    @property
    def threads(self) -> int:
        """Threads of every candidate."""
        return int(self.latest["conditions"]["threads"])

    @property
    def where(self) -> str:
        """Processor and threads, for a heading."""
        return f"{self.machine}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def tables(self) -> list[Table]:
        """Every comparison of any run, those of the latest first."""
        return [self._table(*key) for key in _keys(self.results, "comparisons", "group", "title")]

    def targets(self) -> list[Target]:
        """Every goal of any run."""
        targets = []
        for (what,) in _keys(self.results, "goals", "what"):
            found = [_pick(result["goals"], what=what) for result in self.results]
            present = [goal for goal in found if goal is not None]
            targets.append(
                Target(
                    what,
                    _bound(present[-1]),
                    tuple(None if goal is None else goal["measured"] for goal in found),
                    tuple(goal["held"] for goal in present),
                )
            )
        return targets

    def facts(self) -> list[tuple[str, str, list[float | None]]]:
        """Description, unit and the number in each run."""
        facts = []
        for what, unit in _keys(self.results, "facts", "what", "unit"):
            found = [_pick(result["facts"], what=what) for result in self.results]
            facts.append((what, unit, [None if fact is None else fact["value"] for fact in found]))
        return facts

    def absent(self) -> list[dict[str, str]]:
        """Peers absent from the latest run, with the reasons."""
        return list(self.latest["absent"])

    def _table(self, group: str, title: str) -> Table:
        found = [_pick(result["comparisons"], group=group, title=title) for result in self.results]
        present = [comparison for comparison in found if comparison is not None]
        names = list(dict.fromkeys(entry["name"] for c in reversed(present) for entry in c["entries"]))
        rows = []
        for name in names:
            entries = [None if c is None else _pick(c["entries"], name=name) for c in found]
            latest = next(entry for entry in reversed(entries) if entry is not None)
            ratios = tuple(None if entry is None else entry["ratio_to_first"] for entry in entries)
            rows.append(Row(name, latest["median_s"], ratios, latest["errors"]))
        return Table(title, group, present[-1]["note"], tuple(rows))


def gather_runs(results: Sequence[dict[str, Any]], shown: int = RUNS_SHOWN) -> list[Runs]:
    """Results, the oldest first -> the latest ``shown`` of each question, machine and number of threads.

    The latest measured machine of a question comes first.
    """
    by_place: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for result in reversed(results):
        conditions = result["conditions"]
        place = (
            result["benchmark"],
            conditions["device"],
            conditions.get("device_name"),
            conditions["cpu"],
            conditions["threads"],
        )
        by_place.setdefault(place, []).append(result)
    return [
        Runs(found[0]["benchmark"], found[0]["question"], tuple(reversed(found[:shown])))
        for found in by_place.values()
    ]


def _bound(goal: dict[str, Any]) -> str:
    """The bound of a stored goal, in words."""
    return Goal(goal["what"], goal["measured"], goal["at_least"], goal["at_most"], aim=goal.get("aim")).bound


def _keys(results: Sequence[dict[str, Any]], kind: str, *names: str) -> list[tuple[str, ...]]:
    """Identifiers of the items of a kind, each once, those of the latest result first."""
    return list(
        dict.fromkeys(
            tuple(item[name] for name in names) for result in reversed(results) for item in result[kind]
        )
    )


def _pick(items: Iterable[dict[str, Any]], **wanted: str) -> dict[str, Any] | None:
    """The first item with these values."""
    return next((item for item in items if all(item[key] == value for key, value in wanted.items())), None)

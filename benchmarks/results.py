"""Results of a benchmark: their structure, and their file, named by the conditions of measurement."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Times, paired_ratio
from pannsx.atomic import replacing

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate of a comparison.

    Attributes:
        name: name of the candidate.
        times: seconds of one call.
        errors: errors by name; they accompany speed because speed alone is easy to reach.
    """

    name: str
    times: Times
    errors: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidates timed in alternation on the same work.

    Attributes:
        title: the work.
        entries: the candidates; the first is pannsx, the reference of the ratios.
        group: shared by comparisons of the same candidates on other work, for a common table.
        audio_s: seconds of audio processed in one call, if relevant.
        note: remark for readers.
    """

    title: str
    entries: tuple[Entry, ...]
    group: str = ""
    audio_s: float | None = None
    note: str = ""

    def ratio(self, name: str, to: str | None = None) -> float:
        """Time of candidate ``name`` over that of ``to`` (ours by default): median of paired ratios."""
        times = {entry.name: entry.times.seconds for entry in self.entries}
        return paired_ratio(times[name], times[self.entries[0].name if to is None else to])

    def as_json(self) -> dict[str, Any]:
        """The stored form: every time in seconds, with the statistics of the page."""
        entries = [
            {
                "name": entry.name,
                "median_s": _rounded(entry.times.median),
                "min_s": _rounded(entry.times.least),
                "max_s": _rounded(entry.times.most),
                "n": len(entry.times.seconds),
                "ratio_to_first": _rounded(self.ratio(entry.name)),
                "errors": {what: _rounded(error) for what, error in entry.errors.items()},
                "seconds": [_rounded(seconds) for seconds in entry.times.seconds],
            }
            for entry in self.entries
        ]
        return {
            "title": self.title,
            "group": self.group,
            "audio_s": self.audio_s,
            "note": self.note,
            "entries": entries,
        }


@dataclass(frozen=True, slots=True)
class Fact:
    """A single number without a comparison: bytes, a ratio, seconds of a start."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Goal:
    """A target and the measured number; one of the two bounds is given.

    Attributes:
        what: description of the number.
        measured: the number.
        at_least: its lower bound.
        at_most: its upper bound.
        aim: a more ambitious bound.
    """

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None

    @property
    def held(self) -> bool:
        """Whether the measured number keeps the bound."""
        above = self.at_least is None or self.measured >= self.at_least
        return above and (self.at_most is None or self.measured <= self.at_most)

    @property
    def bound(self) -> str:
        """The bound in words."""
        bound = f"at most {self.at_most:g}" if self.at_least is None else f"at least {self.at_least:g}"
        return bound if self.aim is None else f"{bound}, aim {self.aim:g}"


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that could not take part, with the reason: none is omitted silently."""

    name: str
    reason: str


@dataclass(slots=True)
class Findings:
    """All results of a benchmark."""

    comparisons: list[Comparison] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "facts": [asdict(fact) for fact in self.facts],
            "goals": [{**asdict(goal), "held": goal.held} for goal in self.goals],
            "absent": [asdict(absent) for absent in self.absent],
        }


def _rounded(number: float) -> float:
    """Rounded to five digits, far more than the accuracy of timings."""
    return float(f"{number:.5g}")


def slug(text: str) -> str:
    """Text as part of a file name: lower case, words of letters and digits joined by ``-``."""
    without_marks = re.sub(r"\((?:r|tm|c)\)", " ", text.lower())
    return "-".join(re.findall(r"[a-z0-9]+", without_marks)) or "unknown"


def file_name(benchmark: str, conditions: dict[str, Any]) -> str:
    """``frontend_cpu-2threads_some-processor_2026-01-31T0930.json``: the question and its conditions."""
    if conditions["device"] == "cpu":
        where = f"cpu-{conditions['threads']}threads_{slug(conditions['cpu'])}"
    else:
        where = f"{slug(conditions['device'])}_{slug(conditions['device_name'])}"
    when = conditions["time_utc"][:16].replace(":", "")
    return f"{benchmark}_{where}_{when}.json"


def write(
    benchmark: str, question: str, conditions: dict[str, Any], found: Findings, folder: Path = FOLDER
) -> Path:
    """Store the results atomically; returns the file."""
    path = folder / file_name(benchmark, conditions)
    content = {"benchmark": benchmark, "question": question, "conditions": conditions, **found.as_json()}
    with replacing(path) as temporary:
        temporary.write_text(as_text(content), encoding="utf-8", newline="\n")
    return path


def as_text(content: dict[str, Any]) -> str:
    """Readable JSON: one line for each entry, and one line for a list of numbers."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[[-+.\de,\s]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def read_all(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Every stored result, the oldest first."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda result: result["conditions"]["time_utc"])

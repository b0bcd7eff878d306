"""The common part of all benchmarks: arguments, a process with its threads set, and the result's file."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import conditions, results
from pannsx.inference.cpu.cores import n_processors

PREPARED = "--threads-are-set"  # argument of the measuring process


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a benchmark, and its number of repetitions.

    Attributes:
        name: name of the benchmark and its module, used in the names of its results.
        text: the question.
        rounds: number of timings of each candidate.
        quick_rounds: the same in a trial run.
        one_thread: measure on one thread, whatever the number of cores.
    """

    name: str
    text: str
    rounds: int
    quick_rounds: int = 3
    one_thread: bool = False

    def arguments(self) -> argparse.ArgumentParser:
        """The arguments common to all benchmarks."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.text)
        parser.add_argument(
            "--threads",
            type=int,
            default=1 if self.one_thread else n_processors(),
            help="of every candidate (default: %(default)s)",
        )
        parser.add_argument(
            "--rounds",
            type=int,
            help=f"timings of each candidate (default: {self.rounds}, or {self.quick_rounds} with --quick)",
        )
        parser.add_argument(
            "--quick", action="store_true", help="a trial: fewer rounds and less work; nothing is stored"
        )
        parser.add_argument(
            "--folder",
            type=Path,
            help="folder for the result, also of a trial (default: benchmarks/results)",
        )
        parser.add_argument(PREPARED, action="store_true", help=argparse.SUPPRESS)
        return parser


def run(
    question: Question,
    measure: Callable[[argparse.Namespace], results.Findings],
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda _: None,
) -> None:
    """Measure in a separate process, print the findings and store them.

    Libraries read their number of threads from the environment at import, so it must be set before the
    process starts.
    """
    parser = question.arguments()
    add_arguments(parser)
    given = parser.parse_args()
    if given.rounds is None:
        given.rounds = question.quick_rounds if given.quick else question.rounds
    if given.threads < 1 or given.rounds < 1:
        parser.error(f"--threads {given.threads} --rounds {given.rounds}: both must be at least 1")
    if not given.threads_are_set:
        command = [sys.executable, "-m", f"benchmarks.{question.name}", *sys.argv[1:], PREPARED]
        environment = conditions.thread_environment(given.threads)
        sys.exit(subprocess.run(command, cwd=conditions.ROOT, env=environment, check=False).returncode)
    import torch

    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")  # of peers, about each other's versions
    begin = time.perf_counter()
    found = measure(given)
    took_s = time.perf_counter() - begin
    if torch.get_num_threads() != given.threads:
        raise RuntimeError(
            f"torch was left with {torch.get_num_threads()} threads, {given.threads} were set: "
            "a candidate changed them under the others, so the times cannot be compared"
        )
    print(summary(found))
    print(f"({took_s:.0f} s)")
    folder = given.folder or (None if given.quick else results.FOLDER)
    if folder is not None and found != results.Findings():
        measured_under = conditions.current(given.threads, given.rounds, took_s)
        print(results.write(question.name, question.text, measured_under, found, folder))


def summary(found: results.Findings) -> str:
    """The findings as text for a terminal."""
    lines = []
    for comparison in found.comparisons:
        lines.append(comparison.title)
        for entry in comparison.entries:
            errors = ", ".join(f"{what}: {value:.2g}" for what, value in entry.errors.items())
            milliseconds = (entry.times.median, entry.times.least, entry.times.most)
            middle, least, most = (f"{1000 * seconds:.4g}" for seconds in milliseconds)
            lines.append(
                f"  {entry.name:40} {middle:>8} ms ({least} to {most}), "
                f"ratio {comparison.ratio(entry.name):.3g}  {errors}"
            )
    lines += [f"{fact.what}: {fact.value:.4g} {fact.unit}" for fact in found.facts]
    lines += [f"absent: {absent.name}: {absent.reason}" for absent in found.absent]
    lines += [
        f"{'held' if goal.held else 'MISSED':6} {goal.what}: {goal.measured:.3g} ({goal.bound})"
        for goal in found.goals
    ]
    return "\n".join(lines)

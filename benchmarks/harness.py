"""The frame around a question: arguments, a process with its threads set, and the file of the result."""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable

from benchmarks import conditions, results

PREPARED = "--threads-are-set"  # what the process that measures is started with


def parser(question: str, *, rounds: int, one_thread: bool = False) -> argparse.ArgumentParser:
    """Arguments that every benchmark has.

    Args:
        question: what it answers, in one line.
        rounds: default number of timings of each candidate.
        one_thread: the question is about one thread, whatever the number of cores.
    """
    arguments = argparse.ArgumentParser(description=question)
    threads = 1 if one_thread else conditions.n_cores()
    arguments.add_argument(
        "--threads", type=int, default=threads, help="of every candidate (default: %(default)s)"
    )
    arguments.add_argument(
        "--rounds", type=int, default=rounds, help="timings of each candidate (default: %(default)s)"
    )
    arguments.add_argument(PREPARED, action="store_true", help=argparse.SUPPRESS)
    return arguments


def run(
    benchmark: str,
    arguments: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], results.Findings],
) -> None:
    """Measure in a process of its own and store the result.

    Libraries read their number of threads from the environment when they are loaded, so it must be
    set before the process starts.
    """
    given = arguments.parse_args()
    if given.threads < 1 or given.rounds < 1:
        arguments.error(f"--threads {given.threads} --rounds {given.rounds}: both must be at least 1")
    if not given.threads_are_set:
        command = [sys.executable, "-m", f"benchmarks.{benchmark}", *sys.argv[1:], PREPARED]
        environment = conditions.thread_environment(given.threads)
        sys.exit(subprocess.run(command, cwd=conditions.ROOT, env=environment, check=False).returncode)
    import torch

    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore")  # of the peers, about each other's ages
    found = measure(given)
    if torch.get_num_threads() != given.threads:
        raise RuntimeError(
            f"torch was left with {torch.get_num_threads()} threads, {given.threads} were set: "
            "a candidate changed them under the others, so the times cannot be compared"
        )
    measured_under = conditions.current(given.threads, given.rounds)
    path = results.write(benchmark, arguments.description or "", measured_under, found)
    print(summary(found))
    print(path.relative_to(conditions.ROOT))


def summary(found: results.Findings) -> str:
    """What was found, as text for a terminal."""
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
    for goal in found.goals:
        bound = f"at most {goal.at_most:g}" if goal.at_least is None else f"at least {goal.at_least:g}"
        lines.append(f"{'held' if goal.held else 'MISSED':6} {goal.what}: {goal.measured:.3g} ({bound})")
    return "\n".join(lines)

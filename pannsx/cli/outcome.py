"""The closing line of a command over many files: how many were done, failed, or were skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pannsx.cli.console import FAILED, complain, complain_of, remark
from pannsx.cli.output import written
from pannsx.corpus.inputs import Inputs


class Outcome:
    """Counts what becomes of each source, and says it at the end.

    Args:
        inputs: the sources; a message is printed for each problem with them.
        done: what the command does with a file, such as ``"tagged"``.
        quiet: leave out the closing line; failures are reported all the same.
    """

    def __init__(self, inputs: Inputs, done: str, *, quiet: bool) -> None:
        self._n_asked = len(inputs.items)
        self._n_problems = len(inputs.problems)
        self._skipped = inputs.skipped
        self._done = done
        self._quiet = quiet
        self.n_done = 0
        self.n_failed = 0
        for problem in inputs.problems:
            complain(problem)

    def failed(self, name: str, error: Exception) -> None:
        """Report and count a file without a result."""
        complain_of(name, error)
        self.n_failed += 1

    def close(self, output: Path | None = None, files: Sequence[Path] = (), content: str = "") -> int:
        """Print the closing line; returns the exit status.

        Args:
            output: the file or folder written; None: results went to standard output.
            files: the files written, if ``output`` is a folder.
            content: the content in words, such as ``"12 events"``.
        """
        what = "" if output is None else f"{written(output, files, content)}: "
        if (what or self._n_asked > 1 or self._skipped.total()) and not self._quiet:
            remark(what + self.counts())
        return self.status

    @property
    def status(self) -> int:
        """The exit status: 0 if every file was done and every argument found."""
        return FAILED if self.n_failed or self._n_problems else 0

    def counts(self) -> str:
        """See :func:`counts`."""
        return counts(self._done, self.n_done, self._n_asked, self.n_failed, self._skipped)


def counts(done: str, n_done: int, n_asked: int, n_failed: int, skipped: Counter[str]) -> str:
    """The counts, such as ``"10 of 14 tagged, 4 failed, 2 skipped (2 hidden)"``."""
    parts = [f"{n_done} of {n_asked} {done}"]
    if n_failed:
        parts.append(f"{n_failed} failed")
    if n_skipped := skipped.total():
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items() if n)
        parts.append(f"{n_skipped} skipped ({reasons})")
    return ", ".join(parts)

"""Ranges of the rows of a run that another process leads, as in Ray: its worker, and its parts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pannsx.corpus.folder import RunView
from pannsx.corpus.run import Run
from pannsx.corpus.sinks import Part


class RangeDone(NamedTuple):
    """The finished part of a range: rows, failed rows among them, and seconds of audio."""

    n_rows: int
    n_failed: int
    audio_s: float


class RangeRunner:
    """Runs ranges of the rows of a run that another process leads, and writes their parts.

    Its worker is started once, and again if it ends. The ends of parts do not depend on time: a range that is
    run again, because its process was presumed lost, has the same parts.

    Args:
        view: the folder of the run.
        stage: the stage.
        threads: threads of the worker.
    """

    def __init__(self, view: RunView, stage: Any, threads: int) -> None:
        self._run = Run(view, [], 1, threads, stage, None, part_s=math.inf)
        self._run.start()

    def run(self, first: int, stop: int) -> RangeDone:
        """Compute the rows ``first`` to ``stop``, regardless of existing parts.

        Raises:
            RunError: a part cannot be written, or workers end again and again.
        """
        run = self._run
        run.begin([(first, stop)])
        run.fill()
        n_failed = sum(part.n_failed for part in run.parts.values() if part)
        return RangeDone(sum(n for _, n in run.parts), n_failed, run.audio_s)

    def retry(self, first: int, n: int) -> RangeDone:
        """Run the rows of a part that failed again.

        Raises:
            RunError: as :meth:`run`, or the part is damaged.
        """
        run = self._run
        run.begin([(first, first + n)])
        run.parts[first, n] = Part(n, n)
        run.retry()
        return RangeDone(
            run.n_retried, sum(part.n_failed for part in run.parts.values() if part), run.audio_s
        )

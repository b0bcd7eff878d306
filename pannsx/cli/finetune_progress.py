"""Progress of ``pannsx finetune``: a bar for the clips, one for each training of the whole network."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from pannsx.cli.console import remark
from pannsx.transfer.watching import Watcher


class Bars(Watcher):
    """Draws bars on a terminal, or remarks each epoch elsewhere, and the score of each fold.

    Args:
        n_clips: clips of the data set.
        quiet: no bar and no remarks.
    """

    def __init__(self, n_clips: int, *, quiet: bool) -> None:
        self._quiet, self._n_clips = quiet, n_clips
        self._draws = not quiet and sys.stderr.isatty()
        self._bar: Any = None
        self._n_epochs = 0

    def clip(self) -> None:
        """See :class:`Watcher`."""
        if self._draws:
            if self._bar is None:
                self._open("reading clips", self._n_clips, " clips")
            self._bar.update()
            if self._bar.n >= self._n_clips:
                self._close()

    def begin(self, n_epochs: int, n_steps: int, *, done: int) -> None:
        """See :class:`Watcher`."""
        self._n_epochs = n_epochs
        if self._draws:
            self._close()
            self._open(
                f"training, epoch {min(n_epochs, done * n_epochs // n_steps + 1)}/{n_epochs}",
                n_steps,
                " steps",
            )
            self._bar.update(done)

    def step(self) -> None:
        """See :class:`Watcher`."""
        if self._bar is not None:
            self._bar.update()

    def epoch(self, epoch: int, loss: float, score: float | None) -> None:
        """See :class:`Watcher`."""
        said = f"loss {loss:.3f}" + ("" if score is None else f", validation {score:.3f}")
        if self._bar is not None:
            self._bar.set_description_str(
                f"training, epoch {min(epoch + 1, self._n_epochs)}/{self._n_epochs}"
            )
            self._bar.set_postfix_str(said)
        elif not self._quiet:
            remark(f"epoch {epoch}/{self._n_epochs}: {said}")

    def end(self, best_epoch: int | None) -> None:
        """See :class:`Watcher`."""
        self._close()
        if best_epoch is not None and not self._quiet:
            remark(f"the best epoch is {best_epoch} of {self._n_epochs}")

    def score(self, split: str, score: float) -> None:
        """See :class:`Watcher`."""
        self._close()
        if not self._quiet:
            remark(f"{split}: {score:.3f}")

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _open(self, what: str, total: int, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=what, total=total, unit=unit, file=sys.stderr, leave=False)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

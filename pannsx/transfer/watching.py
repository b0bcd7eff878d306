"""Callbacks for the progress of fine-tuning."""

from __future__ import annotations


class Watcher:
    """Receives the progress of a study, and ignores it: override the methods of interest."""

    def clip(self) -> None:
        """A clip was read for the first time."""

    def begin(self, n_epochs: int, n_steps: int, *, done: int) -> None:
        """A training begins; ``done`` of its steps were made by an interrupted run."""

    def step(self) -> None:
        """A step was made."""

    def epoch(self, epoch: int, loss: float, score: float | None) -> None:
        """An epoch, from 1, ended with this mean loss and, with a validation part, this score of it."""

    def end(self, best_epoch: int | None) -> None:
        """A training ended; with a validation part, the weights are those of this epoch, from 1."""

    def score(self, split: str, score: float) -> None:
        """A split has this score."""

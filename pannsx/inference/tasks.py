"""Results of the tasks of a network with several heads: its columns, by task."""

from __future__ import annotations

from dataclasses import replace

from pannsx.results import FrameGrid, TaggingResult
from pannsx.weights.heads import Task, Tasks


def grid_of(task: Task, grid: FrameGrid) -> FrameGrid:
    """The grid of a network's frames with the classes of one task."""
    labels = task.labels
    return replace(grid, labels=labels.names, label_ids=labels.ids, model=task.record.name)


def by_task(result: TaggingResult, tasks: Tasks) -> TaggingResult:
    """A result with the classes of all tasks -> that of the checkpoint's own, with those of the others."""
    others = {name: _of(task, result) for name, task in tasks.others.items()}
    return replace(_of(tasks.own, result), tasks=others)


def _of(task: Task, result: TaggingResult) -> TaggingResult:
    columns, framewise, greatest = task.columns, result.framewise, result.clipwise_max
    return replace(
        result,
        clipwise=result.clipwise[columns],
        logits=result.logits[columns],
        framewise=None if framewise is None else framewise[:, columns],
        clipwise_max=None if greatest is None else greatest[columns],
        grid=grid_of(task, result.grid),
        operating_points=task.operating_points,
    )

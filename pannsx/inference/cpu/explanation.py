"""What a prepared network does, step by step: form, product, time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a network, as it ran.

    Attributes:
        layer: channels in and out, and the filter's size.
        form: how the layer is computed.
        product: whose matrix products it takes: ``own``, ``numpy``, ``torch``, or ``-`` for none.
        n_operations: additions and multiplications of the direct sums, whatever the form saves; 0: unknown.
        duration_s: wall time.
    """

    layer: str
    form: str
    product: str
    n_operations: int
    duration_s: float

    @property
    def gflop_s(self) -> float:
        """``n_operations`` in the time, in 1e9 a second, on all threads; Winograd's can exceed the peak."""
        return self.n_operations / self.duration_s / 1e9


@dataclass(frozen=True, slots=True)
class Explanation:
    """The steps of one pass, in their order; ``str()`` of it is a table.

    Attributes:
        title: the network, its input and the threads.
        steps: in the order in which they ran.
    """

    title: str
    steps: tuple[Step, ...]

    @property
    def duration_s(self) -> float:
        """Of all steps together."""
        return sum(step.duration_s for step in self.steps)

    def __str__(self) -> str:
        head = ("layer", "form", "product", "ms", "GFLOP/s")
        rows = [
            (
                step.layer,
                step.form,
                step.product,
                f"{1000 * step.duration_s:.2f}",
                f"{step.gflop_s:.0f}" if step.n_operations else "-",
            )
            for step in self.steps
        ]
        rows.append(("all", "", "", f"{1000 * self.duration_s:.2f}", ""))
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

        def line(row: tuple[str, ...]) -> str:
            cells = [
                cell.ljust(width) if i < len(head) - 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        return "\n".join([self.title, *map(line, [head, *rows])])

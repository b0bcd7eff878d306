"""Where the prepared networks keep their activations: channels last, with a border of zeros.

A plane of ``H`` frames by ``W`` bands by ``C`` channels stands in an array ``(B, H', W', C)``, one cell in
from every edge, ``H'`` and ``W'`` two more than the next multiples of four.  Convolutions then read their
neighbourhood, and Winograd tiles their 6 x 6 cells, without asking where the edge is.  Cells outside
the plane are never written: they stay the zeros that the convolutions pad with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FloatArray = npt.NDArray[np.float32]

TILE = 4


@dataclass(frozen=True, slots=True)
class Plane:
    """Activations of one layer.

    Attributes:
        cells: ``(B, H', W', C)``, contiguous.
        height: ``H``, in frames.
        width: ``W``, in bands.
    """

    cells: FloatArray
    height: int
    width: int

    @property
    def batch(self) -> int:
        """``B``."""
        return int(self.cells.shape[0])

    @property
    def channels(self) -> int:
        """``C``."""
        return int(self.cells.shape[3])

    @property
    def row(self) -> int:
        """Floats from one frame to the next."""
        return int(self.cells.shape[2] * self.cells.shape[3])

    @property
    def image(self) -> int:
        """Floats from one item of the batch to the next."""
        return int(self.cells.shape[1]) * self.row

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles of 4 x 4 cells down and across."""
        return -(-self.height // TILE), -(-self.width // TILE)

    @property
    def inside(self) -> Tensor:
        """``(B, H, W, C)`` view without the border."""
        return torch.from_numpy(self.cells)[:, 1 : self.height + 1, 1 : self.width + 1]


def make_plane(batch: int, height: int, width: int, channels: int) -> Plane:
    """A plane of zeros."""
    padded = [-(-size // TILE) * TILE + 2 for size in (height, width)]
    return Plane(np.zeros((batch, *padded, channels), np.float32), height, width)


class Planes:
    """Planes by shape, kept from one pass to the next: their zeros are written once.

    Holds those of the shapes seen last, at most ``limit`` of them.
    """

    def __init__(self, limit: int = 40) -> None:
        self._limit = limit
        self._kept: dict[tuple[int, ...], Plane] = {}

    def get(self, layer: int, batch: int, height: int, width: int, channels: int) -> Plane:
        """The plane of ``layer``, as the last pass of this shape left it: the inside is to be overwritten."""
        key = (layer, batch, height, width, channels)
        plane = self._kept.pop(key, None)
        if plane is None:
            while len(self._kept) >= self._limit:
                self._kept.pop(next(iter(self._kept)))
            plane = make_plane(batch, height, width, channels)
        self._kept[key] = plane
        return plane

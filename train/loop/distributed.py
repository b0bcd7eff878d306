"""Single-process and distributed training: ranks, as started by ``torchrun``, and their communication."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pannsx.types import FloatArray


@dataclass(frozen=True)
class Ranks:
    """This process among all ranks.

    Attributes:
        rank: its number.
        world_size: number of ranks.
        device: its device.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and messages."""
        return self.rank == 0

    def share(self, n: int) -> tuple[int, int]:
        """Begin and end of this rank's part of ``n`` items; parts are as equal as possible."""
        return n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size


@contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """This process among its ranks: alone, or as set by the environment of ``torchrun``.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``; None: a GPU if there is one. Of several ranks on GPUs, each
            uses that of its local rank.

    Raises:
        ValueError: the device does not exist.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ValueError(f"device is {kind!r}, but torch finds no GPU; leave it out, or give cpu")
        chosen = torch.device("cuda", local_rank) if kind == "cuda" else torch.device(kind)
        torch.cuda.set_device(chosen)
    else:
        chosen = torch.device(kind)
    if world_size == 1:
        yield Ranks(0, 1, chosen)
        return
    on_gpu = chosen.type == "cuda"
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        rank=rank,
        world_size=world_size,
        device_id=chosen if on_gpu else None,
    )
    try:
        yield Ranks(rank, world_size, chosen)
    finally:
        dist.destroy_process_group()


def sums(values: list[float], ranks: Ranks) -> list[float]:
    """Numbers, each summed over ranks."""
    if ranks.world_size == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=ranks.device)
    dist.all_reduce(tensor)
    return [float(value) for value in tensor.tolist()]


def gathered(rows: FloatArray, n_rows: int, ranks: Ranks) -> FloatArray:
    """``(n_r, K)`` rows of each rank's share -> all ``(n_rows, K)`` of them, in order, on every rank."""
    if ranks.world_size == 1:
        return rows
    longest = -(-n_rows // ranks.world_size)
    own = torch.zeros(longest, rows.shape[1], device=ranks.device)
    own[: len(rows)] = torch.from_numpy(rows)
    parts: list[Tensor] = [torch.empty_like(own) for _ in range(ranks.world_size)]
    dist.all_gather(parts, own)
    lengths = [
        end - begin
        for begin, end in (Ranks(r, ranks.world_size, ranks.device).share(n_rows) for r in range(len(parts)))
    ]
    kept = [part[:length].cpu().numpy() for part, length in zip(parts, lengths, strict=True)]
    return np.concatenate(kept)


def share_buffers(model: nn.Module, ranks: Ranks) -> None:
    """Copy the first rank's buffers to all: unsynchronised batch statistics differ between ranks."""
    if ranks.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def wait_for_all(ranks: Ranks) -> None:
    """Barrier: wait for every rank."""
    if ranks.world_size > 1:
        dist.barrier()

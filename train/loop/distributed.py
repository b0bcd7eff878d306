"""One process or many: ranks, as ``torchrun`` starts them, and what they say to each other."""

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
    """Where this process stands.

    Attributes:
        rank: its number.
        world_size: how many there are.
        device: what it computes on.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and talks."""
        return self.rank == 0

    def share(self, n: int) -> tuple[int, int]:
        """Begin and end of this rank's part of ``n`` things, the parts as equal as may be."""
        return n * self.rank // self.world_size, n * (self.rank + 1) // self.world_size


@contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """This process among its ranks: alone, or as the environment of ``torchrun`` says.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``; None takes a GPU where there is one. Of several ranks on
            GPUs, each takes that of its number on its node.

    Raises:
        ValueError: the device is not there.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ValueError(f"device {kind!r} is wanted, and torch finds no GPU; leave it out, or say cpu")
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
    """Each of some numbers, summed over ranks."""
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
    """Give every rank the first one's buffers: batch statistics differ where they are not synchronised."""
    if ranks.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def wait_for_all(ranks: Ranks) -> None:
    """Go on when every rank has come here."""
    if ranks.world_size > 1:
        dist.barrier()

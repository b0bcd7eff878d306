"""Single-process and distributed training: ranks, as started by ``torchrun``, and their communication."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


def sums(values: list[float] | Tensor, ranks: Ranks) -> list[float]:
    """Numbers, each summed over ranks; of a tensor on a GPU, with a single wait for it."""
    if isinstance(values, list) and ranks.world_size == 1:
        return values
    tensor = torch.as_tensor(values, dtype=torch.float64, device=ranks.device)
    if ranks.world_size > 1:
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


def shared_tree(tree: Any, ranks: Ranks) -> Any:
    """The first rank's value on every rank: nested lists and dictionaries of tensors and plain values.

    Tensors are sent one by one, so that no rank holds the whole twice. They arrive on the CPU.
    """
    if ranks.world_size == 1:
        return tree
    tensors: list[Tensor] = []
    outline = _outline(tree, tensors) if ranks.first else None
    outline = _loaded(_sent(_saved(outline) if ranks.first else b"", ranks))
    return _filled(outline, iter(tensors), ranks)


def texts_of_ranks(text: str, ranks: Ranks) -> list[str]:
    """Every rank's text, in their order, on every rank."""
    if ranks.world_size == 1:
        return [text]
    texts = []
    for rank in range(ranks.world_size):
        texts.append(_sent(text.encode() if rank == ranks.rank else b"", ranks, source=rank).decode())
    return texts


_MARK = "tensor of shape and type"


def _outline(tree: Any, tensors: list[Tensor]) -> Any:
    """The tree with the shapes and types of its tensors in their place; the tensors are appended."""
    if isinstance(tree, Tensor):
        tensors.append(tree)
        return {_MARK: [list(tree.shape), str(tree.dtype).removeprefix("torch.")]}
    if isinstance(tree, dict):
        return {key: _outline(value, tensors) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_outline(value, tensors) for value in tree]
    return tree


def _filled(outline: Any, own: Iterator[Tensor], ranks: Ranks) -> Any:
    """The tree of an outline; every tensor is sent by the first rank."""
    if isinstance(outline, dict) and _MARK in outline:
        shape, dtype = outline[_MARK]
        kind = getattr(torch, dtype)
        tensor = next(own) if ranks.first else torch.empty(shape, dtype=kind)
        moved = tensor.to(ranks.device).contiguous()
        dist.broadcast(moved, 0)
        return moved.cpu()
    if isinstance(outline, dict):
        return {key: _filled(value, own, ranks) for key, value in outline.items()}
    if isinstance(outline, list):
        return [_filled(value, own, ranks) for value in outline]
    return outline


def _sent(content: bytes, ranks: Ranks, source: int = 0) -> bytes:
    """Bytes of one rank on every rank."""
    length = torch.tensor([len(content)], dtype=torch.int64, device=ranks.device)
    dist.broadcast(length, source)
    buffer = torch.zeros(int(length), dtype=torch.uint8)
    if ranks.rank == source:
        buffer = torch.tensor(list(content), dtype=torch.uint8)
    buffer = buffer.to(ranks.device)
    if len(buffer):
        dist.broadcast(buffer, source)
    return bytes(buffer.cpu().tolist())


def _saved(outline: Any) -> bytes:
    file = io.BytesIO()
    torch.save(outline, file)  # keeps numbers as keys, which JSON does not
    return file.getvalue()


def _loaded(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


def share_buffers(model: nn.Module, ranks: Ranks) -> None:
    """Copy the first rank's buffers to all: unsynchronised batch statistics differ between ranks."""
    if ranks.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)

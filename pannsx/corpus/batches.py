"""Many sources through a network: in batches, in order, with bounded memory, skipping unreadable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from pannsx.corpus.inputs import Item
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.types import OnProgress, Source

T = TypeVar("T")

# A chunk is finished before the next one starts; its size bounds the memory of pending results and the time
# to the first result. It holds enough short clips to fill an accelerator's batches, and few long recordings.
_CHUNK_FILES = 64
_CHUNK_BYTES = 64_000_000


class Progress(Protocol):
    """Receives the progress of items."""

    def reached(self, item: Item, done_s: float) -> None:
        """``done_s`` seconds of the item are done."""

    def finished(self, item: Item) -> None:
        """The item is done or has failed."""


def each_answer(
    items: Sequence[Item], analyse: Callable[[list[Source], OnProgress], Iterable[T]], progress: Progress
) -> Iterator[tuple[Item, T | AudioError]]:
    """Each item with its result or its error, in the order of ``items``.

    ``analyse`` takes sources and yields their results in order.  An :class:`AudioError` from it concerns one
    of the sources still without a result, without naming it.  These are then run one by one up to the bad
    source, and in batches again after it, so a good source costs at most two passes.
    """
    for chunk in _chunks(items):
        rest = chunk
        together = True
        while rest:
            batch = rest if together else rest[:1]
            n_answered = 0

            def reached(number: int, done_s: float, batch: Sequence[Item] = batch) -> None:
                progress.reached(batch[number], done_s)

            try:
                for answer in analyse([item.source for item in batch], reached):
                    progress.finished(batch[n_answered])
                    yield batch[n_answered], answer
                    n_answered += 1
            except AudioError as error:
                together = len(batch) == 1
                if together:
                    progress.finished(batch[0])
                    yield batch[0], error
                    n_answered = 1
            rest = rest[n_answered:]


def _chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    n_bytes = 0
    for item in items:
        if chunk and (len(chunk) == _CHUNK_FILES or n_bytes + item.size_bytes > _CHUNK_BYTES):
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(item)
        n_bytes += item.size_bytes
    if chunk:
        yield chunk

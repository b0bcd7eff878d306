"""Many sources through a network: in batches, in order, at bounded memory, and past the bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from pannsx.corpus.inputs import Item
from pannsx.errors import AudioError

if TYPE_CHECKING:
    from pannsx.types import Source

T = TypeVar("T")

# A chunk is answered in full before the next is begun: it bounds what waits for an answer, and how long
# the first result takes. Enough short clips to fill the batches of an accelerator; few long recordings.
_CHUNK_FILES = 64
_CHUNK_BYTES = 64_000_000


class Progress(Protocol):
    """Told what is read and what is done."""

    def source(self, item: Item) -> Source:
        """What to read for an item: its source, or an open file that reports how far it is."""

    def finished(self, item: Item) -> None:
        """The item is answered or has failed."""


def each_answer(
    items: Sequence[Item], analyse: Callable[[list[Source]], Iterable[T]], progress: Progress
) -> Iterator[tuple[Item, T | AudioError]]:
    """Each item with its answer, or with the reason why it has none, in the order of ``items``.

    ``analyse`` takes sources and gives their answers in order; an :class:`AudioError` from it concerns one of
    those not yet answered, without saying which.  They are then taken one by one up to the bad one, and
    together again after it, so that every good source costs at most two passes.
    """
    for chunk in _chunks(items):
        rest = chunk
        together = True
        while rest:
            batch = rest if together else rest[:1]
            n_answered = 0
            try:
                for answer in analyse([progress.source(item) for item in batch]):
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

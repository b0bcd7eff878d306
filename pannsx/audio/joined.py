"""Files joined one after another within one file, read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pannsx.audio.reader import Reader, blocks_of
from pannsx.errors import AudioError
from pannsx.types import FloatArray


class JoinedReader(Reader):
    """The samples of several readers, one after the other; one of them is open at a time.

    Args:
        openers: each opens one reader, at its beginning.
        name: name of the source in messages.

    Raises:
        AudioError: the readers have different sample rates, or one of them cannot be opened.
    """

    def __init__(self, openers: Sequence[Callable[[], Reader]], name: str) -> None:
        self.name = name
        self._openers = openers
        self._current: Reader | None = None
        self._last: tuple[Reader, int] | None = None  # the last reader, and the frames before it
        self._lengths: list[int | None] = []
        self._durations_s: list[float | None] = []
        remarks: dict[str, None] = {}
        for i, opener in enumerate(openers):
            reader = opener()
            reader.close()
            if i == 0:
                self.format, self.sample_rate = reader.format, reader.sample_rate
                self.n_channels = reader.n_channels
            self._lengths.append(reader.n_frames)
            self._durations_s.append(reader.duration_s)
            remarks.update(dict.fromkeys(reader.remarks))
            if reader.sample_rate != self.sample_rate:
                raise AudioError(self._describe_change(reader))
            self.n_channels = min(self.n_channels, reader.n_channels)
        self.remarks = tuple(remarks)
        self.n_frames = _sum(self._lengths)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, if all parts state theirs, else None."""
        if self.n_frames is not None:
            return super().duration_s
        return None if None in self._durations_s else sum(each or 0.0 for each in self._durations_s)

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        """Frames ``[start, stop)``, or to the end, as float32 blocks ``(n, C)``.

        Raises:
            AudioError: a part cannot be decoded, or one before the last ends too early.
        """
        position = 0
        for i, (opener, length) in enumerate(zip(self._openers, self._lengths, strict=True)):
            if stop is not None and position >= stop:
                return
            if length is not None and position + length <= start and i + 1 < len(self._openers):
                position += length
                continue
            reader = self._current = opener()
            reader.salvage = self.salvage
            self._last = (reader, position)
            # Without a length, the end is found by reading from the beginning.
            end = 0 if length is None else max(0, start - position)
            last = None if stop is None else stop - position
            for block in blocks_of(reader, end, last):
                n_before = max(0, start - position - end)
                end += len(block)
                if n_before < len(block):
                    yield block[n_before:]
            reader.close()
            if i + 1 < len(self._openers) and (last is None or end < last):
                reader.check_whole(end)
            position += end
        if stop is None or position < stop:
            self.n_frames = max(position, self.n_frames or 0)

    def check_whole(self, end: int) -> None:
        """Check a source that ended at frame ``end``, which lies in its last part."""
        if self._last is not None:
            reader, first = self._last
            reader.check_whole(max(0, end - first))

    def close(self) -> None:
        """Close the part that is open."""
        if self._current is not None:
            self._current.close()

    def _describe_change(self, reader: Reader) -> str:
        before = _sum(self._durations_s[:-1])
        length = "" if before is None else f" after {before:.3f} s"
        rest = "" if reader.duration_s is None else f", which lasts {reader.duration_s:.3f} s"
        return (
            f"{self.name} holds {len(self._openers)} files, and changes from {self.sample_rate} to "
            f"{reader.sample_rate} Hz{length}, with file {len(self._lengths)}{rest}; convert them to one "
            "rate first"
        )


def _sum(lengths: Sequence[float | None]) -> int | None:
    return None if None in lengths else sum(each or 0 for each in lengths)  # type: ignore[return-value]

"""A progress bar on standard error, in seconds of sound, for work of more than a few seconds."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from pannsx.corpus.inputs import Item
from pannsx.readable import duration

_FEW_FILES = 8
_LONG_S = 60.0  # of sound: seconds of work
_LOOKING_S = 1.0  # at most, to read the lengths of files; the others are estimated by their sizes
_BYTES_A_SECOND = 100_000  # where no file states its length
_NAME_WIDTH = 24


class Progress:
    """Draws a bar where it is useful: the sound that is done, of all files together.

    There is no bar if ``quiet``, if standard error is not a terminal, or for a few short files.
    ``start_s`` and ``duration_s`` are the part of each file that is read.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        quiet: bool,
        start_s: float = 0.0,
        duration_s: float | None = None,
    ) -> None:
        self._bar: Any = None
        if quiet or not sys.stderr.isatty():
            return
        most_s = math.inf if duration_s is None else duration_s
        lengths_s = [min(max(length_s - start_s, 0.0), most_s) for length_s in _lengths_s(items)]
        if len(items) <= _FEW_FILES and sum(lengths_s) < _LONG_S:
            return
        self._lengths_s = {item.name: length_s for item, length_s in zip(items, lengths_s, strict=True)}
        self._numbers = {item.name: number for number, item in enumerate(items, start=1)}
        self._done_s: dict[str, float] = {}
        self._bar = _sound_bar(sum(lengths_s))

    def reached(self, item: Item, done_s: float) -> None:
        """``done_s`` seconds of the item are done."""
        if self._bar is None:
            return
        done_s = min(done_s, self._lengths_s[item.name])
        new_s = done_s - self._done_s.get(item.name, 0.0)
        if new_s > 0:  # a source may be run again beside one that cannot be read
            self._done_s[item.name] = done_s
            name = Path(item.name).name
            name = name if len(name) <= _NAME_WIDTH else f"...{name[3 - _NAME_WIDTH :]}"
            files = f"{self._numbers[item.name]}/{len(self._numbers)} " if len(self._numbers) > 1 else ""
            self._bar.set_description_str(f"{files}{name}", refresh=False)
            self._bar.update(new_s)

    def finished(self, item: Item) -> None:
        """The item is done or has failed."""
        if self._bar is not None:
            self.reached(item, self._lengths_s[item.name])

    def writing(self) -> AbstractContextManager[Any]:
        """Hides the bar while something is printed."""
        return nullcontext() if self._bar is None else self._bar.external_write_mode()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[], object]]:
    """A bar that counts files, for work whose files are all short; gives the function to call for each."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit=" files", file=sys.stderr, leave=False) as bar:
        yield bar.update


def _lengths_s(items: Sequence[Item]) -> list[float]:
    """Seconds of each item, by what its header states or by its size; for a bar only."""
    from pannsx import audio
    from pannsx.errors import AudioError

    stated: dict[int, float] = {}
    until = time.monotonic() + _LOOKING_S
    for number, item in enumerate(items):
        if time.monotonic() > until:
            break
        try:
            length_s = audio.info(item.source).duration_s
        except AudioError:
            continue
        if length_s is not None:
            stated[number] = length_s
    seconds, n_bytes = sum(stated.values()), sum(items[number].size_bytes for number in stated)
    a_byte_s = seconds / n_bytes if seconds and n_bytes else 1 / _BYTES_A_SECOND
    return [stated.get(number, item.size_bytes * a_byte_s) for number, item in enumerate(items)]


def _sound_bar(total_s: float) -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        """The length of the finished sound, and the speed relative to playing it."""

        @property
        def format_dict(self) -> dict[str, Any]:
            found: dict[str, Any] = super().format_dict
            rate = found["rate"] or (found["n"] / found["elapsed"] if found["elapsed"] else 0.0)
            found |= {
                "done": duration(found["n"]),
                "whole": duration(found["total"]),
                "speed": f"{rate:.0f}x",
            }
            return found

    form = "{desc}: {percentage:3.0f}%|{bar}| {done} of {whole} [{elapsed}<{remaining}, {speed}]"
    return Bar(total=total_s, bar_format=form, file=sys.stderr, leave=False)

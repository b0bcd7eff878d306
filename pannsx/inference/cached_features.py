"""Features of many sources: each is computed once, then read from the cache."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from pannsx.audio import Selection
from pannsx.errors import AudioError
from pannsx.inference.embedding_cache import EmbeddingCache, Entry
from pannsx.inference.levels import Level
from pannsx.inference.pipeline import Pipeline, WindowSettings, open_pipeline
from pannsx.inference.sources import at_source
from pannsx.types import FloatArray, OnProgress, Source


class OpenOnce:
    """A network that is opened when it is first needed, once for all copies with its parameters."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None

    @property
    def is_open(self) -> bool:
        """Whether the network is open."""
        return self._pipeline is not None

    def pipeline(self, settings: WindowSettings, *, progress: bool) -> Pipeline:
        """The network with settings of windows."""
        with self._lock:
            if self._pipeline is None:
                self._pipeline = open_pipeline(settings=settings, progress=progress, **self.parameters)
            if self._pipeline.settings != settings:
                return self._pipeline.with_settings(settings)
            return self._pipeline


def cached_features(
    pipeline: Pipeline,
    sources: Sequence[Source],
    level: Level,
    selection: Selection,
    cache: EmbeddingCache | None,
    on_progress: OnProgress | None,
    *,
    with_bar: bool,
) -> list[FloatArray]:
    """``(n,)`` features of each source, in order.

    Args:
        pipeline: the open network.
        sources: the sources.
        level: level of the network, and pooling.
        selection: the part and channel to read.
        cache: where features are kept; None: nowhere.
        on_progress: called with the number of a source, and the seconds of it that are done.
        with_bar: show a progress bar, on a terminal.

    Raises:
        AudioError: a source cannot be used; features of those before it are kept.
    """
    entries: list[Entry | None] = [None] * len(sources)
    if cache is not None:
        entries = [cache.entry_of(source) for source in sources]
    rows: dict[int, FloatArray] = {}
    for i, entry in enumerate(entries):
        if cache is not None and entry is not None and (kept := cache.get(entry)) is not None:
            rows[i] = kept
    first_of = {entry.name: i for i, entry in reversed(list(enumerate(entries))) if entry is not None}
    missing = [
        i for i, entry in enumerate(entries) if i not in rows and (entry is None or first_of[entry.name] == i)
    ]
    done = _Bar(len(sources), len(sources) - len(missing), shown=with_bar)

    def reached(number: int, seconds: float) -> None:
        if on_progress is not None:
            on_progress(missing[number], seconds)

    n_done = 0
    with done:
        try:
            for found in pipeline.features([sources[i] for i in missing], level, selection, reached):
                i = missing[n_done]
                rows[i] = found
                if cache is not None and (entry := entries[i]) is not None:
                    cache.put(entry, found)
                n_done += 1
                done.advance()
        except AudioError as error:
            raise _numbered(error, missing, n_done, sources) from error.__cause__
    for i, entry in enumerate(entries):
        if i not in rows:
            rows[i] = rows[first_of[cast(Any, entry).name]]
    return [rows[i] for i in range(len(sources))]


def _numbered(
    error: AudioError, missing: Sequence[int], n_done: int, sources: Sequence[Source]
) -> AudioError:
    """An error of one of the missing sources with its number among all of them."""
    if len(sources) == 1:
        return error
    # Of several, the pipeline has put its own number before the words.
    plain = error.__cause__ if len(missing) > 1 and isinstance(error.__cause__, AudioError) else error
    number = missing[n_done]
    return at_source(number, sources[number], plain)


class _Bar:
    """A progress bar on a terminal, with a step for each source."""

    def __init__(self, total: int, initial: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown and total > initial:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=initial, unit="clip", desc="embedding", disable=None)

    def advance(self) -> None:
        """One more source is done."""
        if self._bar is not None:
            self._bar.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

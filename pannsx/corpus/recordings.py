"""The events of one recording after another, resumed from a journal where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pannsx.audio import Selection
from pannsx.corpus.identity import Digest, Identity, identify
from pannsx.corpus.inputs import Item
from pannsx.corpus.journal import Journal
from pannsx.events import Event, EventDetector, EventList
from pannsx.events.formats import Recording

if TYPE_CHECKING:
    from pannsx.inference.fine_frames import FrameReader

SAVE_EVERY_S = 5.0
"""Seconds of work lost at most when the command is killed."""


class RecordingReader:
    """Finds the events of recordings.

    Args:
        reader: reads frames.
        detector: turns frames into events.
        journal: saves finished work; None: nothing is saved.
        digest: how the journal recognises a file, see :func:`pannsx.corpus.identity.identify`.
        on_change: called with an item that is restarted, and how its file differs from that in the journal.
        leaves: hide the parents of the classes found; the journal keeps all events.
        selection: the part of each recording to read; times of events are those of the whole recording.
    """

    def __init__(
        self,
        reader: FrameReader,
        detector: EventDetector,
        journal: Journal | None = None,
        *,
        digest: Digest = "parts",
        on_change: Callable[[Item, list[str]], None] = lambda item, differences: None,
        leaves: bool = False,
        selection: Selection | None = None,
    ) -> None:
        self._reader = reader
        self._detector = detector
        self._journal = journal
        self._digest: Digest = digest
        self._on_change = on_change
        self._leaves = leaves
        self._selection = selection or Selection()

    def read(self, item: Item, on_progress: Callable[[float], None] = lambda done_s: None) -> Recording:
        """The events of a recording; ``on_progress`` is called with the seconds of it that are done.

        Raises:
            AudioError: it cannot be read.
        """
        # Before the file is read: one that changes meanwhile is recognised as changed afterwards.
        identity = self._identity(item)
        found: list[Event] = []
        position = None
        self._detector.reset()
        if self._journal is not None and identity is not None:
            progressed, differences = self._journal.progress_of(identity)
            if differences:
                self._on_change(item, differences)
            if progressed is not None:
                found = [Event(*each) for each in progressed.events]
                if progressed.duration_s is not None:
                    return self._recording(item, found, progressed.duration_s)
                position = self._restored(progressed.state or {})
        save = self._saver(identity)
        duration_s = None
        for block in self._reader.blocks(item.source, **asdict(self._selection), position=position):
            on_progress((block.first_frame + len(block.framewise)) * self._reader.hop_s)
            new = self._detector.push(block.framewise)
            if block.duration_s is not None:
                duration_s = block.duration_s
                new += self._detector.close(duration_s)
            found += new
            save(new, block)
        return self._recording(item, found, duration_s)

    def _recording(self, item: Item, found: list[Event], duration_s: float | None) -> Recording:
        shown = self._detector.without_parents(found) if self._leaves else found
        start_s = self._selection.start_s
        if start_s:
            shown = [
                event._replace(onset_s=event.onset_s + start_s, offset_s=event.offset_s + start_s)
                for event in shown
            ]
            duration_s = None if duration_s is None else start_s + duration_s
        events = EventList(self._detector.in_order(shown), file=item.name, mids=self._reader.grid.mids())
        return Recording(item.name, events, duration_s)

    def _identity(self, item: Item) -> Identity | None:
        """None for standard input, which differs from run to run, and for a file that cannot be read."""
        if self._journal is None or isinstance(item.source, bytes):
            return None
        try:
            return identify(item.source, self._digest)
        except (OSError, ValueError):
            return None  # reading it will report the error

    def _restored(self, state: dict[str, Any]) -> Any:
        """Put the detector into a saved state; the position to read on from."""
        from pannsx.inference.fine_frames import Position

        state = dict(state)
        position = Position(**{name: state.pop(f"position_{name}") for name in Position.__slots__})
        self._detector.restore(state)
        return position

    def _saver(self, identity: Identity | None) -> Callable[[list[Event], Any], None]:
        """A function that saves new events and the state to resume from, every few seconds and at the end."""
        journal = self._journal
        if journal is None or identity is None:
            return lambda new, block: None
        waiting: list[list[Any]] = []
        saved_at = time.monotonic()

        def save(new: list[Event], block: Any) -> None:
            nonlocal saved_at
            waiting.extend(list(event) for event in new)
            is_done = block.duration_s is not None
            if not is_done and time.monotonic() - saved_at < SAVE_EVERY_S:
                return
            position = {
                f"position_{name}": getattr(block.position, name) for name in block.position.__slots__
            }
            state = None if is_done else {**position, **self._detector.state()}
            journal.add(identity, waiting.copy(), state=state, duration_s=block.duration_s)
            waiting.clear()
            saved_at = time.monotonic()

        return save

"""Groups of rows through an open network: decoded by threads, computed in the order of their lengths.

Long recordings are read beside that, while the network runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pannsx.corpus.answers import Answered, Found
from pannsx.corpus.decoding import Failure, Long, decode, opened, reason_of, selection_of
from pannsx.corpus.rows import Row, rows_of
from pannsx.corpus.schema import Output
from pannsx.errors import AudioError
from pannsx.types import Channel, FloatArray

if TYPE_CHECKING:
    from pannsx.corpus.row_events import RowEvents
    from pannsx.events import Event, EventSettings
    from pannsx.results import TaggingResult
    from pannsx.tagger import AudioTagger

Batch = Mapping[str, Sequence[Any]]

_MOST_READERS = 16  # of long recordings; each holds windows for two batches: on a GPU 82 MB


class Pending(NamedTuple):
    """A group of rows whose waveforms are being decoded; a row that names nothing to read has failed."""

    rows: list[Row]
    waveforms: list[Future[FloatArray | Long | Failure]]


class Groups:
    """Runs groups of rows through a network; see :class:`pannsx.corpus.Stage` for the arguments.

    Args:
        tagger: the network.
        outputs, top_k, split_s, channel, salvage, event_settings: as of the stage.
        n_threads: threads that decode.
    """

    def __init__(
        self,
        tagger: AudioTagger,
        outputs: Sequence[Output],
        *,
        top_k: int,
        split_s: float | None,
        channel: Channel,
        salvage: bool,
        event_settings: EventSettings | None,
        n_threads: int,
    ) -> None:
        self._tagger = tagger
        self._outputs = outputs
        self._top_k = top_k
        self._split_s = split_s
        self._channel: Channel = channel
        self._salvage = salvage
        self._event_settings = event_settings
        self._decoders = ThreadPoolExecutor(n_threads, "pannsx-decoder")
        self._readers = ThreadPoolExecutor(min(n_threads, _MOST_READERS), "pannsx-long")

    def begin(self, batch: Batch) -> Pending:
        """Start to decode the rows of a batch."""
        rows: list[Row] = []
        waveforms: list[Future[FloatArray | Long | Failure]] = []
        for row in rows_of(batch):
            if isinstance(row, Row):
                rows.append(row)
                waveforms.append(
                    self._decoders.submit(
                        decode, row, self._tagger.sample_rate, self._channel, salvage=self._salvage
                    )
                )
            else:
                rows.append(Row(row[0], None))
                waveforms.append(_done(Failure(str(row[1]))))
        return Pending(rows, waveforms)

    def finish(self, pending: Pending) -> list[Answered]:
        """The results of a batch of :meth:`begin`, in the order of its rows."""
        decoded = [each.result() for each in pending.waveforms]
        found: dict[int, list[Answered]] = {}
        # Several at a time, as each is decoded by one thread.
        long = {
            i: self._readers.submit(self._long, row)
            for i, row in enumerate(pending.rows)
            if isinstance(decoded[i], Long)
        }
        short: list[tuple[int, float, FloatArray]] = []
        for i, (row, each) in enumerate(zip(pending.rows, decoded, strict=True)):
            if isinstance(each, Failure):
                found[i] = [Answered(row, row.offset_s, each)]
            elif not isinstance(each, Long):
                found[i] = []
                short += [(i, offset_s, part) for offset_s, part in self._parts(row, each)]
        order = sorted(range(len(short)), key=lambda n: len(short[n][2]))
        results = self._results([short[n][2] for n in order])
        by_part = {n: self._found(result) for n, result in zip(order, results, strict=True)}
        for n, (i, offset_s, _) in enumerate(short):
            found[i].append(Answered(pending.rows[i], offset_s, by_part[n]))
        found |= {i: each.result() for i, each in long.items()}
        return [answered for i in range(len(decoded)) for answered in found[i]]

    def _parts(self, row: Row, waveform: FloatArray) -> Iterator[tuple[float, FloatArray]]:
        """The parts of a waveform with their offsets."""
        if self._split_s is None:
            yield row.offset_s, waveform
            return
        rate = self._tagger.sample_rate
        n = max(1, round(self._split_s * rate))
        for start in range(0, len(waveform), n):
            yield row.offset_s + start / rate, waveform[start : start + n]

    def _results(self, waveforms: list[FloatArray]) -> Iterator[TaggingResult]:
        if not waveforms:
            return iter(())
        return self._tagger.iter_inference(waveforms, self._tagger.sample_rate, framewise=self._needs_frames)

    def _long(self, row: Row) -> list[Answered]:
        """The results of a recording that is read while the network runs."""
        try:
            with opened(row) as source:
                if self._split_s is not None:
                    return list(self._long_parts(row, source))
                return [Answered(row, row.offset_s, self._whole(row, source))]
        except Exception as error:
            if not _is_of_audio(error):
                raise
            return [Answered(row, row.offset_s, Failure(reason_of(error)))]

    def _whole(self, row: Row, source: Any) -> Found:
        selection = asdict(selection_of(row, self._channel, salvage=self._salvage))
        tagger = self._tagger
        if "framewise" in self._outputs or "events" not in self._outputs:
            return self._found(tagger.inference(source, framewise=self._needs_frames, **selection))
        from pannsx.inference.fine_frames import FrameReader

        detector = self._events().detector()
        found: list[Event] = []
        result = FrameReader(tagger).tag(
            source, **selection, on_frames=lambda frames: found.extend(detector.push(frames))
        )
        found += detector.close(result.duration_s)
        return self._found(result, events=self._events().chosen(detector, found))

    def _long_parts(self, row: Row, source: Any) -> Iterator[Answered]:
        """A row for each part; if the recording breaks off, a last one with the reason."""
        tagger = self._tagger
        selection = selection_of(row, self._channel, salvage=self._salvage)
        failures: list[Failure] = []
        rate = tagger.sample_rate
        n = max(1, round((self._split_s or 0.0) * rate))

        def parts() -> Iterator[FloatArray]:
            try:
                with selection.open(source, rate, n / rate) as blocks:
                    yield from blocks
            except Exception as error:
                if not _is_of_audio(error):
                    raise
                failures.append(Failure(reason_of(error)))

        start = 0
        for result in tagger.iter_inference(parts(), rate, framewise=self._needs_frames):
            yield Answered(row, row.offset_s + start / rate, self._found(result))
            start += n
        for failure in failures:
            yield Answered(row, row.offset_s + start / rate, failure)

    @property
    def _needs_frames(self) -> bool:
        return "events" in self._outputs or "framewise" in self._outputs

    def _found(self, result: TaggingResult, events: Sequence[Event] | None = None) -> Found:
        cells: dict[str, Any] = {}
        mids = result.grid.mids()
        for name in self._outputs:
            if name == "tags":
                k = min(self._top_k, len(result.labels))
                cells[name] = [
                    {"label": tag.label, "mid": mids.get(tag.label), "probability": tag.probability}
                    for tag in result.top(k)
                ]
            elif name == "events":
                events = self._events().of(result) if events is None else events
                cells[name] = [{**each._asdict(), "mid": mids.get(each.label)} for each in events]
            else:
                cells[name] = getattr(result, name)
        return Found(result.duration_s, cells)

    def _events(self) -> RowEvents:
        from pannsx.corpus.row_events import RowEvents

        return RowEvents(self._tagger, self._event_settings)


def _is_of_audio(error: Exception) -> bool:
    """Whether an error concerns the recording, not the network or this program."""
    return isinstance(error, (AudioError, OSError))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future

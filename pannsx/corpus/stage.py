"""`Stage`: a batch of rows in, a row of results for each out, whatever engine runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from pannsx.corpus.answers import Answered, Found, columns_of
from pannsx.corpus.decoding import Failure, Long, decode, opened, reason_of, selection_of
from pannsx.corpus.rows import Row, rows_of
from pannsx.corpus.schema import EmbeddingType, Output, check_outputs, output_schema
from pannsx.errors import AudioError
from pannsx.inference.cpu.cores import n_processors, threads_of_environment
from pannsx.types import Channel, FloatArray, PathLike

if TYPE_CHECKING:
    import pyarrow as pa

    from pannsx.corpus.row_events import RowEvents
    from pannsx.events import Event, EventSettings
    from pannsx.inference.engine import Precision
    from pannsx.results import TaggingResult
    from pannsx.tagger import AudioTagger

Batch = Mapping[str, Sequence[Any]]

LONGEST_SPLIT_S = 300.0
"""A part is held in memory as a whole: 38 MB at 32 kHz."""

_MOST_READERS = 16  # of long recordings; each holds windows for two batches: on a GPU 82 MB

_GROUP_BATCHES = 8  # of the network, in a group of rows that are decoded together and sorted by length


class _Pending(NamedTuple):
    """A group of rows whose waveforms are being decoded; a row that names nothing to read has failed."""

    rows: list[Row]
    waveforms: list[Future[FloatArray | Long | Failure]]


class Stage:
    """Tags, embeds and finds events in the recordings of a batch; for the engines of large corpora.

    >>> from pannsx.corpus import Stage
    >>> import numpy as np
    >>>
    >>> stage = Stage(outputs=["tags", "embedding"])
    >>> found = stage({"path": np.array(["dog.wav", "rain.flac", "missing.wav"])})
    >>> print(found["status"])
    ['ok' 'ok' 'error']

    A stage is small and can be pickled: the network is opened at the first batch, in the process that runs
    it. A row has the numbers of :class:`pannsx.AudioTagger` for its recording alone, independent of the rest
    of the batch: recordings are sorted by length, and none is padded. A recording that cannot be read is a
    row with ``status`` ``"error"`` and the reason in ``error``.

    Args:
        model: as for :class:`pannsx.AudioTagger`, None for the bundled checkpoint, or an ``AudioTagger``,
            whose network is then pickled with the stage.
        outputs: the columns to compute: ``"tags"`` (the ``top_k`` most probable), ``"embedding"``,
            ``"events"`` (with onset and offset), ``"logits"`` (of all classes) and ``"framewise"`` (the
            probabilities over time).
        top_k: number of tags.
        split_s: divide each recording into rows of this many seconds, with the offset in ``offset_s`` and the
            same ``id``; None: one row for each recording. At most 300.
        threads: threads that decode; None: as many as ``OMP_NUM_THREADS`` says, which Ray, Spark and torchrun
            set to the share of a process, or else one for each processor that this process may use.
        embedding_dtype: ``"float16"`` halves the size of embeddings.
        event_settings: settings of the events; None: as ``TaggingResult.events()``.
        channel: the channel to read, for rows without one; ``"mean"``: the mean of all.
        salvage: read truncated and damaged recordings as far as possible, with a warning.
        window_s, overlap_s, checkpoint, prefix, device, precision, cache_dir, allow_unverified, progress,
            batch_size, low_memory: as for :class:`pannsx.AudioTagger`; with an open ``AudioTagger``, leave
            out those of the network.

    Raises:
        ValueError: an unknown output, or an invalid number. Arguments of the network are checked when it is
            opened.
    """

    def __init__(
        self,
        model: str | AudioTagger | None = None,
        *,
        outputs: Sequence[str] = ("tags", "embedding"),
        top_k: int = 10,
        split_s: float | None = None,
        threads: int | None = None,
        embedding_dtype: EmbeddingType = "float32",
        event_settings: EventSettings | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        window_s: float = 10.0,
        overlap_s: float = 0.0,
        checkpoint: PathLike | None = None,
        prefix: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        cache_dir: PathLike | None = None,
        allow_unverified: bool = False,
        progress: bool = False,
        batch_size: int | None = None,
        low_memory: bool = False,
    ) -> None:
        self.outputs: tuple[Output, ...] = check_outputs(outputs)
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; ask for at least one tag")
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; at least one is needed")
        if split_s is not None and not 0 < split_s <= LONGEST_SPLIT_S:
            raise ValueError(f"split_s is {split_s}; a number of seconds up to {LONGEST_SPLIT_S:g} is needed")
        if embedding_dtype not in ("float32", "float16"):
            raise ValueError(f"embedding_dtype is {embedding_dtype!r}; use 'float32' or 'float16'")
        self.top_k = top_k
        self.split_s = split_s
        self.embedding_dtype: EmbeddingType = embedding_dtype
        self._threads = threads
        self._event_settings = event_settings
        self._channel: Channel = channel
        self._salvage = salvage
        self._model = model
        self._network: dict[str, Any] = {
            "checkpoint": checkpoint,
            "prefix": prefix,
            "device": device,
            "precision": precision,
            "cache_dir": cache_dir,
            "allow_unverified": allow_unverified,
            "batch_size": batch_size,
            "low_memory": low_memory,
        }
        self._others: dict[str, Any] = {"progress": progress, "window_s": window_s, "overlap_s": overlap_s}
        self._close()

    def _close(self) -> None:
        self._tagger: AudioTagger | None = None
        self._open_pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor] | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_tagger", "_open_pools", "_lock"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._close()

    @property
    def tagger(self) -> AudioTagger:
        """The open network.

        Raises:
            ValueError, WeightsError: as :class:`pannsx.AudioTagger`.
        """
        from pannsx.tagger import AudioTagger

        with self._lock:
            if self._tagger is None:
                tagger = AudioTagger(self._model, **self._network, **self._others)
                if tagger.tasks:
                    raise ValueError(
                        f"the tagger has the further tasks {', '.join(tagger.tasks)}, for which the table of "
                        "a corpus has no columns; give a tagger without heads, or run each task by itself"
                    )
                self._tagger = tagger
            return self._tagger

    @property
    def is_accelerated(self) -> bool:
        """Whether the network is on a GPU or another accelerator."""
        return self.tagger._pipeline.engine.device.type != "cpu"

    @property
    def group_rows(self) -> int:
        """Rows that are decoded together; a larger batch is divided into groups."""
        return _GROUP_BATCHES * self.tagger._pipeline.engine.batch_size

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the results, with :meth:`describe` as its metadata.

        Raises:
            ImportError: pyarrow, the extra ``pannsx[parquet]``, is not installed.
        """
        tagger = self.tagger
        return output_schema(
            self.outputs,
            embedding_size=tagger.embedding_size,
            n_classes=len(tagger.labels),
            embedding_dtype=self.embedding_dtype,
            about=self.describe(),
        )

    def describe(self) -> dict[str, Any]:
        """Everything that the results depend on, except the recordings, as plain values."""
        from pannsx.corpus.row_events import digest
        from pannsx.version import __version__
        from pannsx.weights.local import digest_of_weights

        tagger, record = self.tagger, self.tagger.record
        pipeline = tagger._pipeline
        checkpoint = self._network["checkpoint"]
        found: dict[str, Any] = {
            "version": __version__,
            "model": record.name,
            "weights": digest_of_weights(
                record,
                given=Path(checkpoint) if checkpoint and isinstance(self._model, str) else pipeline._path,
                cache_dir=self._network["cache_dir"],
            ),
            "front end": None if record.frontend is None else asdict(record.frontend),
            "labels": digest("\n".join(tagger.labels).encode()),
            "precision": pipeline.engine.precision,
            "window": pipeline.settings.window_s,
            "overlap": pipeline.settings.overlap_s,
            "outputs": list(self.outputs),
            "embedding type": self.embedding_dtype,
            "split": self.split_s,
            "channel": self._channel,
            "salvage": self._salvage,
            "hop": tagger.hop_s,
            "first frame": pipeline.grid.offset_s,
        }
        if "tags" in self.outputs:
            found["top"] = self.top_k
        if "events" in self.outputs:
            found["events"] = self._events.describe()
        return found

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Columns of rows -> columns of results, in the order of the rows.

        Args:
            batch: NumPy arrays, or sequences, of equal length, read only: ``path``, or ``bytes`` with ``id``;
                ``offset_s`` and ``duration_s`` choose a part. NeMo's and Lhotse's names ``audio_filepath``,
                ``offset`` and ``duration`` are known, and so is a column ``audio`` of Hugging Face datasets.
                Other columns are left out; join them by ``id``.

        Returns:
            the columns ``id, path, offset_s, duration_s, status, error`` and the outputs. In a row that
            failed, numbers are NaN and other outputs None. :func:`pannsx.corpus.to_table` makes a table of
            fixed types.

        Raises:
            ValueError: no column names the recordings.
        """
        columns = {name: list(values) for name, values in batch.items()}
        n_rows = len(next(iter(columns.values()), []))
        n = self.group_rows
        waiting: deque[_Pending] = deque()
        answered: list[Answered] = []
        for start in range(0, max(n_rows, 1), n):
            waiting.append(self._begin({name: values[start : start + n] for name, values in columns.items()}))
            if len(waiting) > 1:
                answered += self._finish(waiting.popleft())
        answered += self._finish(waiting.popleft())
        return self._columns(answered)

    def begin(self, batch: Batch) -> _Pending:
        """Start to decode a batch of at most `group_rows` rows, for :meth:`finish`.

        Beginning a batch before finishing the previous one keeps decoders and network busy.
        """
        return self._begin(batch)

    def finish(self, pending: _Pending) -> dict[str, Any]:
        """The results of a batch of :meth:`begin`, as :meth:`__call__` gives them."""
        return self._columns(self._finish(pending))

    def _begin(self, batch: Batch) -> _Pending:
        tagger = self.tagger
        pool, _ = self._pools()
        rows: list[Row] = []
        waveforms: list[Future[FloatArray | Long | Failure]] = []
        for row in rows_of(batch):
            if isinstance(row, Row):
                rows.append(row)
                waveforms.append(
                    pool.submit(decode, row, tagger.sample_rate, self._channel, salvage=self._salvage)
                )
            else:
                rows.append(Row(row[0], None))
                waveforms.append(_done(Failure(str(row[1]))))
        return _Pending(rows, waveforms)

    def _finish(self, pending: _Pending) -> list[Answered]:
        _, readers = self._pools()
        decoded = [each.result() for each in pending.waveforms]
        found: dict[int, list[Answered]] = {}
        # Several at a time, as each is decoded by one thread.
        long = {
            i: readers.submit(self._long, row)
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
        if self.split_s is None:
            yield row.offset_s, waveform
            return
        rate = self.tagger.sample_rate
        n = max(1, round(self.split_s * rate))
        for start in range(0, len(waveform), n):
            yield row.offset_s + start / rate, waveform[start : start + n]

    def _results(self, waveforms: list[FloatArray]) -> Iterator[TaggingResult]:
        if not waveforms:
            return iter(())
        return self.tagger.iter_inference(waveforms, self.tagger.sample_rate, framewise=self._needs_frames)

    def _pools(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        """The threads that decode recordings, and those that read long ones while the network runs."""
        n = self._threads or _n_decoders()
        with self._lock:
            if self._open_pools is None:
                self._open_pools = (
                    ThreadPoolExecutor(n, "pannsx-decoder"),
                    ThreadPoolExecutor(min(n, _MOST_READERS), "pannsx-long"),
                )
            return self._open_pools

    def _long(self, row: Row) -> list[Answered]:
        """The results of a recording that is read while the network runs."""
        try:
            with opened(row) as source:
                if self.split_s is not None:
                    return list(self._long_parts(row, source))
                return [Answered(row, row.offset_s, self._whole(row, source))]
        except Exception as error:
            if not _is_of_audio(error):
                raise
            return [Answered(row, row.offset_s, Failure(reason_of(error)))]

    def _whole(self, row: Row, source: Any) -> Found:
        selection = asdict(selection_of(row, self._channel, salvage=self._salvage))
        tagger = self.tagger
        if "framewise" in self.outputs or "events" not in self.outputs:
            return self._found(tagger.inference(source, framewise=self._needs_frames, **selection))
        from pannsx.inference.fine_frames import FrameReader

        detector = self._events.detector()
        found: list[Event] = []
        result = FrameReader(tagger).tag(
            source, **selection, on_frames=lambda frames: found.extend(detector.push(frames))
        )
        found += detector.close(result.duration_s)
        return self._found(result, events=self._events.chosen(detector, found))

    def _long_parts(self, row: Row, source: Any) -> Iterator[Answered]:
        """A row for each part; if the recording breaks off, a last one with the reason."""
        tagger = self.tagger
        selection = selection_of(row, self._channel, salvage=self._salvage)
        failures: list[Failure] = []
        rate = tagger.sample_rate
        n = max(1, round((self.split_s or 0.0) * rate))

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
        return "events" in self.outputs or "framewise" in self.outputs

    def _found(self, result: TaggingResult, events: Sequence[Event] | None = None) -> Found:
        cells: dict[str, Any] = {}
        mids = result.grid.mids()
        for name in self.outputs:
            if name == "tags":
                k = min(self.top_k, len(result.labels))
                cells[name] = [
                    {"label": tag.label, "mid": mids.get(tag.label), "probability": tag.probability}
                    for tag in result.top(k)
                ]
            elif name == "events":
                events = self._events.of(result) if events is None else events
                cells[name] = [{**each._asdict(), "mid": mids.get(each.label)} for each in events]
            else:
                cells[name] = getattr(result, name)
        return Found(result.duration_s, cells)

    def _columns(self, answered: list[Answered]) -> dict[str, Any]:
        widths = {"embedding": self.tagger.embedding_size, "logits": len(self.tagger.labels)}
        return columns_of(answered, self.outputs, widths, self.embedding_dtype)

    @property
    def _events(self) -> RowEvents:
        from pannsx.corpus.row_events import RowEvents

        return RowEvents(self.tagger, self._event_settings)


def _n_decoders() -> int:
    """Threads that this process should take, of the processors that it may use."""
    n = n_processors()
    return min(threads_of_environment() or n, n)


def _is_of_audio(error: Exception) -> bool:
    """Whether an error concerns the recording, not the network or this program."""
    return isinstance(error, (AudioError, OSError))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future

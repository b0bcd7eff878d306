"""`Stage`: a batch of rows in, a row of results for each out, whatever engine runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pannsx.corpus.answers import Answered, columns_of
from pannsx.corpus.groups import Batch, Groups, Pending
from pannsx.corpus.schema import EmbeddingType, Output, check_outputs, output_schema
from pannsx.inference.cpu.cores import n_processors, threads_of_environment
from pannsx.types import Channel, PathLike

if TYPE_CHECKING:
    import pyarrow as pa

    from pannsx.events import EventSettings
    from pannsx.inference.engine import Precision
    from pannsx.tagger import AudioTagger

LONGEST_SPLIT_S = 300.0
"""A part is held in memory as a whole: 38 MB at 32 kHz."""

_GROUP_BATCHES = 8  # of the network, in a group of rows that are decoded together and sorted by length


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
        self._open_groups: Groups | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_tagger", "_open_groups", "_lock"):
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
        from pannsx.corpus.row_events import RowEvents, digest
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
            found["events"] = RowEvents(tagger, self._event_settings).describe()
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
        waiting: deque[Pending] = deque()
        answered: list[Answered] = []
        for start in range(0, max(n_rows, 1), n):
            group = {name: values[start : start + n] for name, values in columns.items()}
            waiting.append(self._groups.begin(group))
            if len(waiting) > 1:
                answered += self._groups.finish(waiting.popleft())
        answered += self._groups.finish(waiting.popleft())
        return self._columns(answered)

    def begin(self, batch: Batch) -> Pending:
        """Start to decode a batch of at most `group_rows` rows, for :meth:`finish`.

        Beginning a batch before finishing the previous one keeps decoders and network busy.
        """
        return self._groups.begin(batch)

    def finish(self, pending: Pending) -> dict[str, Any]:
        """The results of a batch of :meth:`begin`, as :meth:`__call__` gives them."""
        return self._columns(self._groups.finish(pending))

    @property
    def _groups(self) -> Groups:
        tagger = self.tagger
        with self._lock:
            if self._open_groups is None:
                self._open_groups = Groups(
                    tagger,
                    self.outputs,
                    top_k=self.top_k,
                    split_s=self.split_s,
                    channel=self._channel,
                    salvage=self._salvage,
                    event_settings=self._event_settings,
                    n_threads=self._threads or _n_decoders(),
                )
            return self._open_groups

    def _columns(self, answered: list[Answered]) -> dict[str, Any]:
        widths = {"embedding": self.tagger.embedding_size, "logits": len(self.tagger.labels)}
        return columns_of(answered, self.outputs, widths, self.embedding_dtype)


def _n_decoders() -> int:
    """Threads that this process should take, of the processors that it may use."""
    n = n_processors()
    return min(threads_of_environment() or n, n)

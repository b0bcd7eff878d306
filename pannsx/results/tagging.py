"""The result for one source: its tags, events, table, figure and page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy.typing as npt

from pannsx.results.grid import FrameGrid, OnGrid
from pannsx.table import Row, data_frame
from pannsx.tags import Tag, top_tags
from pannsx.types import Channel, FloatArray, PathLike, Source

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from pannsx.events.detector import EventSettings
    from pannsx.events.event_list import EventList
    from pannsx.events.operating_points import OperatingPoints
    from pannsx.events.super_classes import SuperClasses
    from pannsx.events.thresholds import Threshold
    from pannsx.report import Codec, Player

N_TAGS = 5
"""Tags of a result unless another number is asked for."""


@dataclass(frozen=True, eq=False)
class TaggingResult(OnGrid):
    """The result for one source.

    Attributes:
        clipwise: ``(K,)`` probability of each class in the whole source.
        logits: ``(K,)`` float32; ``clipwise`` is their sigmoid, which rounds to 1 above 16.
        embedding: ``(D,)`` the layer before the classifier.
        framewise: ``(T', K)`` probability of each class in each frame; None with ``framewise=False``.
        grid: times and labels of the frames: its ``hop_s``, ``offset_s``, ``labels``, ``label_ids`` and
            ``frame_source`` are attributes of the result, too.
        duration_s: length of the source that was read, in seconds.
        operating_points: calibrated thresholds of the checkpoint, the default of :meth:`events`, or None.
        file: the source's path as it was given, the name of an open file, or None.
        clipwise_max: ``(K,)`` greatest probability of each class in any window of a long source, beside the
            mean in ``clipwise``; None for a source of one window.
        tasks: the results of further heads, by task: see ``heads`` of :class:`pannsx.AudioTagger`.
    """

    clipwise: FloatArray
    logits: FloatArray = field(repr=False)
    embedding: FloatArray
    framewise: FloatArray | None
    grid: FrameGrid
    duration_s: float
    operating_points: OperatingPoints | None = field(default=None, repr=False)
    file: str | None = None
    clipwise_max: FloatArray | None = field(default=None, repr=False)
    tasks: Mapping[str, TaggingResult] = field(default_factory=dict, repr=False)

    def top(
        self,
        k: int = N_TAGS,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        leaves: bool = False,
    ) -> list[Tag]:
        """The ``k`` most probable tags, most probable first.

        Args:
            k: greatest number of tags.
            threshold: only tags of at least this probability.
            classes: only these classes, by name, id or ancestor: see :meth:`pannsx.labels.LabelSet.select`.
            leaves: leave out a class if one below it in AudioSet's tree remains, that is, reaches the
                threshold; without a threshold, if it has at least half the probability of the one above.

        Raises:
            ValueError: fewer than one tag, a threshold that is not a probability, an unknown class, or
                ``leaves`` for labels of which none is in AudioSet's tree.
        """
        return top_tags(
            self.clipwise, self.grid.label_set, k, threshold=threshold, classes=classes, leaves=leaves
        )

    def probability(self, label: str) -> float:
        """Probability of one class by its name, case ignored, or id.

        Raises:
            ValueError: no such label.
        """
        return float(self.clipwise[self.grid.label_set.index(label)])

    def to_pandas(
        self,
        top: int | None = None,
        *,
        threshold: float | None = None,
        classes: Sequence[str] | None = None,
        leaves: bool = False,
    ) -> DataFrame:
        """A row for each tag, most probable first: ``file, onset_s, offset_s, label, mid, probability``.

        >>> table = AudioTagger().inference("street.mp3").to_pandas(top=5)

        The events are another table of the same columns: ``result.events().to_pandas()``.

        Args:
            top: greatest number of tags; None: all ``K``.
            threshold, classes, leaves: as in :meth:`top`.

        Raises:
            ImportError: pandas, the extra ``pannsx[pandas]``, is not installed.
            ValueError: as :meth:`top`.
        """
        return data_frame(self._rows(top, threshold, classes, leaves))

    def _rows(
        self, top: int | None, threshold: float | None, classes: Sequence[str] | None, leaves: bool
    ) -> Iterator[Row]:
        mids = self.grid.mids()
        n_tags = len(self.labels) if top is None else top
        for tag in self.top(n_tags, threshold=threshold, classes=classes, leaves=leaves):
            yield Row(self.file, 0.0, self.duration_s, tag.label, mids.get(tag.label), tag.probability)

    def events(
        self,
        *,
        threshold: Threshold | None = None,
        off_threshold: Threshold | None = None,
        median_s: float | None = None,
        max_gap_s: float | None = None,
        min_duration_s: float | None = None,
        both_ends: bool | None = None,
        classes: Sequence[str] | None = None,
        super_classes: SuperClasses | PathLike | None = None,
        top_k: int | None = None,
        leaves: bool = False,
    ) -> EventList:
        """The sound events, by onset: each with its class, onset and offset; ``to_pandas`` makes a table.

        >>> result = AudioTagger().inference("street.mp3")
        >>> for event in result.events(threshold=0.3, max_gap_s=0.5):
        ...     print(event.label, event.onset_s, event.offset_s)

        Args:
            threshold: probability at which an event begins: one number, ``K`` numbers, a mapping from classes
                to numbers, operating points or the path of their file. Classes missing from a mapping have
                0.5; to leave them out, give ``classes``. None: the operating points of a calibrated
                checkpoint, else 0.5.
            off_threshold: probability below which it ends, in the same forms; None: that of the operating
                points, else ``threshold``.
            median_s, max_gap_s, min_duration_s, both_ends, classes, super_classes, top_k, leaves: see
                :class:`pannsx.events.EventSettings`.

        Raises:
            OSError: a file given as an argument cannot be read.
            ValueError: there are no frames, or an argument is invalid.
        """
        from pannsx.events.detector import EventSettings

        settings = EventSettings(
            super_classes=super_classes,
            classes=classes,
            top_k=top_k,
            threshold=threshold,
            off_threshold=off_threshold,
            median_s=median_s,
            max_gap_s=max_gap_s,
            min_duration_s=min_duration_s,
            both_ends=both_ends,
            leaves=leaves,
        )
        return self._events(settings)

    def _events(self, settings: EventSettings) -> EventList:
        from pannsx.events.detector import find_events
        from pannsx.events.event_list import EventList

        if settings.threshold is None:
            settings = replace(settings, threshold=self.operating_points)
        found = find_events(
            self._frames,
            self.hop_s,
            settings,
            labels=self.grid.label_set,
            offset_s=self.offset_s,
            duration_s=self.duration_s,
        )
        return EventList(found, file=self.file, mids=self.grid.mids())

    @property
    def frame_times(self) -> npt.NDArray[np.float64]:
        """``(T',)`` centre of each frame, in seconds."""
        return self.grid.times_s(len(self._frames))

    def plot(
        self,
        path: PathLike | None = None,
        audio: Source | None = None,
        source_rate: int | None = None,
        *,
        sample_rate: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        title: str | None = None,
        threshold: Threshold | None = None,
        max_gap_s: float | None = None,
        min_duration_s: float | None = None,
        n_classes: int = 8,
    ) -> Figure:
        """Draw the most probable classes over time and the events; with ``audio`` also waveform and log-mel.

        Args:
            path: file to write; the extension selects the format (.png, .svg, .pdf). None: no file.
            audio: the source of the result, as in :func:`pannsx.audio.load`.
            source_rate: rate of an array or tensor, in Hz; ``sample_rate`` is another name for it.
            start_s, duration_s, channel, salvage: the part of the result, as given to the inference.
            title: title line; None: the name of the audio's file.
            threshold, max_gap_s, min_duration_s: settings of the events, as in :meth:`events`.
            n_classes: number of classes to draw.

        Returns:
            a ``matplotlib.figure.Figure``.

        Raises:
            AudioError: the audio cannot be used.
            ImportError: matplotlib is not installed.
            ValueError: the result has no frames or is of other audio, or an argument is invalid.
        """
        from pannsx.audio import Selection
        from pannsx.audio.reader import rate_given
        from pannsx.events.detector import EventSettings
        from pannsx.report import FigureMaker
        from pannsx.report.plot import check_extension, save
        from pannsx.report.sound import sound_of

        rate = rate_given(source_rate, sample_rate)
        settings = EventSettings(threshold=threshold, max_gap_s=max_gap_s, min_duration_s=min_duration_s)
        maker = FigureMaker(self, settings, self.operating_points, n_classes=n_classes)
        if path is not None:
            check_extension(Path(path))
        maker.push(self._frames)
        sound = sound_of(audio, Selection(rate, start_s, duration_s, channel, salvage))
        figure = maker.figure(self, sound, title=title or (sound and sound.name))
        if path is not None:
            save(figure, Path(path))
        return figure

    def report(
        self,
        path: PathLike,
        audio: Source | None = None,
        source_rate: int | None = None,
        *,
        sample_rate: int | None = None,
        start_s: float = 0.0,
        duration_s: float | None = None,
        channel: Channel = "mean",
        salvage: bool = False,
        title: str | None = None,
        threshold: Threshold | None = None,
        max_gap_s: float | None = None,
        min_duration_s: float | None = None,
        player: Player = "embed",
        codec: Codec = "opus",
        groups: SuperClasses | PathLike | None = None,
    ) -> Path:
        """Write a self-contained page with the events and, with ``audio``, a player.

        Args:
            path: the ``.html`` file to write.
            audio: the source of the result, as in :func:`pannsx.audio.load`.
            source_rate: rate of an array or tensor, in Hz; ``sample_rate`` is another name for it.
            start_s, duration_s, channel, salvage: the part of the result, as given to the inference.
            title: the heading; None: the name of the audio's file.
            threshold: as in :meth:`events`. One number, from 0.05 to 0.99, is the initial position of the
                page's slider; with thresholds for each class, the page begins with these.
            max_gap_s, min_duration_s: settings of the events, as in :meth:`events`; None: as calibrated with
                calibrated thresholds, else 0.
            player: ``"embed"``: the page holds a compressed mono copy of the audio; ``"link"``: it plays the
                file itself, and must be moved together with it; ``"none"``: no player.
            codec: codec of the copy: ``"opus"``, or ``"mp3"`` for browsers without it (Safari before 18.4).
            groups: groups of classes, shown by colour, in the forms of ``super_classes`` in :meth:`events`;
                None: the top of AudioSet's tree.

        Returns:
            the path.

        Raises:
            AudioError: the audio cannot be used.
            OSError: the page cannot be written.
            ValueError: the result has no frames or is of other audio, or an argument is invalid.
        """
        from pannsx.audio import Selection
        from pannsx.audio.reader import rate_given
        from pannsx.events.detector import EventSettings
        from pannsx.report import PageMaker
        from pannsx.report.groups import groups_of
        from pannsx.report.sound import sound_of

        rate = rate_given(source_rate, sample_rate)
        settings = EventSettings(threshold=threshold, max_gap_s=max_gap_s, min_duration_s=min_duration_s)
        target = Path(path)
        maker = PageMaker(
            self,
            settings,
            self.operating_points,
            player=player,
            codec=codec,
            groups=groups_of(self.labels, groups),
        )
        maker.push(self._frames)
        sound = sound_of(audio, Selection(rate, start_s, duration_s, channel, salvage))
        maker.write(self, target, sound, title=title or (sound and sound.name) or target.stem)
        return target

    @property
    def _frames(self) -> FloatArray:
        if self.framewise is None:
            raise ValueError("there are no frames: the inference ran with framewise=False")
        return self.framewise

    def _repr_html_(self) -> str:
        """The display in Jupyter."""
        from pannsx.report import html_of

        return html_of(self)

    def __repr__(self) -> str:
        tags = ", ".join(f"{tag.label} {tag.probability:.3f}" for tag in self.top(3))
        frames = "no frames" if self.framewise is None else f"{len(self.framewise)} frames"
        return f"<TaggingResult {self.duration_s:.2f} s, {frames}: {tags}>"

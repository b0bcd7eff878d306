"""The steps from a file to a network's input waveform, as a named and frozen description.

Another resampler, channel or length changes a file's embedding, and can change scores of generated audio by
more than the differences between systems.  A :class:`Preparation` records all steps, so that scores state
their preparation, and scores of different preparations are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from pannsx.audio.reader import Reader
from pannsx.audio.resample import FilterName, resample
from pannsx.audio.sources import open_reader
from pannsx.audio.stream import Part
from pannsx.types import FloatArray, Source

Channels = Literal["mean", "first"]

_FULL_SCALE = 32768.0


@dataclass(frozen=True, slots=True)
class Preparation:
    """The steps from a source to a waveform ``(S,)``, in order.

    Attributes:
        name: name of the description, for reports.
        channels: ``"mean"`` over channels, or ``"first"``.
        remove_mean: subtract the waveform's mean, at the source's rate.
        resampler: filter of the rate conversion: ``"kaiser_best"`` (resampy's, of all of pannsx), ``"hann6"``
            (the default of ``torchaudio.functional.resample``) or ``"kaiser64"`` (torchaudio's Kaiser window
            with 64 crossings, with kadtk's parameters).
        longest_s: maximum length in seconds, longer waveforms are cut; None: no maximum.
        shortest_samples: minimum length in samples at the target rate; shorter waveforms are zero-padded.
        sixteen_bit: round to 16 bits, like an intermediate file; values beyond full scale are clipped.
    """

    name: str
    channels: Channels = "mean"
    remove_mean: bool = False
    resampler: FilterName = "kaiser_best"
    longest_s: float | None = None
    shortest_samples: int = 0
    sixteen_bit: bool = False

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.channels, get_args(Channels), "channels"),
            (self.resampler, get_args(FilterName), "resampler"),
        ):
            if value not in known:
                raise ValueError(f"{what} is {value!r}; use one of {', '.join(known)}")
        if self.longest_s is not None and not (np.isfinite(self.longest_s) and self.longest_s > 0):
            raise ValueError(f"longest_s is {self.longest_s}; seconds above 0 are needed, or None")
        if self.shortest_samples < 0:
            raise ValueError(f"shortest_samples is {self.shortest_samples}; 0 or more are needed")

    @classmethod
    def named(cls, name: str) -> Preparation:
        """A preset: ``audioldm_eval``, ``av_bench`` (``av_bench:10`` of 10 s), ``kadtk`` or ``pannsx``.

        Raises:
            ValueError: no such preset, or a length other than a number of seconds.
        """
        base, colon, length = name.partition(":")
        if base == "av_bench":
            try:
                return av_bench(float(length)) if colon else av_bench()
            except ValueError:
                raise ValueError(
                    f"the length in {name!r} is not a number of seconds above 0; av_bench:8 is an example"
                ) from None
        if name not in PRESETS:
            raise ValueError(
                f"there is no preparation {name!r}; use {', '.join(PRESETS)} or av_bench:SECONDS"
            )
        return PRESETS[name]

    def load(self, source: Source, sample_rate: int, *, source_rate: int | None = None) -> FloatArray:
        """Any source, as :func:`pannsx.audio.load` takes it -> ``(S,)`` float32 at ``sample_rate`` Hz.

        Raises:
            AudioError: the source cannot be used; see :func:`pannsx.audio.load`.
        """
        with open_reader(source, source_rate=source_rate, wanted_rate=sample_rate) as reader:
            heard = _FirstChannel(reader) if self.channels == "first" else reader
            waveform = np.concatenate(list(Part(heard, reader.sample_rate, 0.0, None).pieces()))
            rate = reader.sample_rate
        return self.apply(waveform, rate, sample_rate)

    def apply(self, waveform: FloatArray, from_rate: int, sample_rate: int) -> FloatArray:
        """Mono ``(S,)`` at ``from_rate`` -> ``(S',)`` at ``sample_rate``: all steps except channels."""
        if self.remove_mean:
            waveform = waveform - np.float32(waveform.mean(dtype=np.float64))
        waveform = resample(waveform, from_rate, sample_rate, filter=self.resampler)
        if self.longest_s is not None:
            waveform = waveform[: round(self.longest_s * sample_rate)]
        missing = self.shortest_samples - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        if self.sixteen_bit:
            steps = np.clip(np.rint(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
            waveform = np.asarray(steps / _FULL_SCALE, np.float32)
        return np.ascontiguousarray(waveform)

    def as_json(self) -> dict[str, Any]:
        """All attributes, for a file; :meth:`of_json` reads them."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Any) -> Preparation:
        """The description written by :meth:`as_json`.

        Raises:
            ValueError: it is not one.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != known or not isinstance(values["name"], str):
            raise ValueError(f"not a preparation, which has the keys {', '.join(sorted(known))}: {values!r}")
        return cls(**values)

    def differences(self, other: Preparation) -> list[str]:
        """The differences in words, except names; empty if both give the same waveforms."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [
            f"{name} {mine!r} and {theirs!r}"
            for name, mine, theirs in pairs
            if mine != theirs and name != "name"
        ]

    def __str__(self) -> str:
        steps = ["first channel" if self.channels == "first" else "mean of channels"]
        if self.remove_mean:
            steps.append("mean removed")
        steps.append(f"resampled with {self.resampler}")
        if self.longest_s is not None:
            steps.append(f"cut to {self.longest_s:g} s")
        if self.shortest_samples:
            steps.append(f"padded to {self.shortest_samples} samples")
        if self.sixteen_bit:
            steps.append("rounded to 16 bits")
        return f"{self.name} ({', '.join(steps)})"


def av_bench(longest_s: float = 8.0) -> Preparation:
    """The preparation of av-benchmark; its default ``audio_length`` is 8 s."""
    return Preparation("av_bench", remove_mean=True, resampler="hann6", longest_s=longest_s)


PRESETS = {
    "audioldm_eval": Preparation(
        "audioldm_eval", channels="first", remove_mean=True, resampler="hann6", shortest_samples=32_000
    ),
    "av_bench": av_bench(),
    "kadtk": Preparation("kadtk", resampler="kaiser64", sixteen_bit=True),
    "pannsx": Preparation("pannsx"),
}
"""The preparations of the field's tools, and pannsx's own."""


class _FirstChannel(Reader):
    """A reader's first channel."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.name, self.format = reader.name, reader.format
        self.sample_rate, self.n_channels = reader.sample_rate, 1
        self.n_frames, self.defect = reader.n_frames, reader.defect

    @property
    def duration_s(self) -> float | None:
        return self._reader.duration_s

    def read(self, start: int, stop: int | None) -> Iterator[FloatArray]:
        for block in self._reader.read(start, stop):
            yield block[:, :1]
        self.n_frames, self.defect = self._reader.n_frames, self._reader.defect  # known after reading

    def check_whole(self, end: int) -> None:
        self._reader.check_whole(end)

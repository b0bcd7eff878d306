"""The structure of a network, read off the architecture table: all facts about it that need no weights.

A network stands in two forms: a :class:`Structure` with its arrays (:class:`ArrayModel`), which the CPU form
is made of without torch, and the torch module :class:`~pannsx.models.pann.Pann`. Both know their times and
sizes (:class:`Network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy.typing as npt

from pannsx.errors import did_you_mean
from pannsx.frontend.settings import FrontEnd
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings, WavegramSettings
from pannsx.models.settings import (
    LOCAL_POOLING,
    CnnSettings,
    HeadKind,
    MobileNetSettings,
    ResNetSettings,
    Shape,
    head_tensors,
    norm_tensors,
)
from pannsx.models.timing import (
    FrameTimes,
    ReceptiveField,
    TimeGrid,
    TimeLayer,
    centred_stft,
    pooling,
    same,
)
from pannsx.types import FrameSource

if TYPE_CHECKING:
    from pannsx.models.pann import Pann

WAVEGRAM_HOP = 640
"""Samples between the frames of a wavegram."""

Arrays = Mapping[str, npt.NDArray[Any]]
StemKind = Literal["log_mel", "raw", "wavegram", "wavegram_log_mel"]
TrunkSettings = (
    CnnSettings | ResNetSettings | MobileNetSettings | LeeNetSettings | DaiNet19Settings | Res1dNetSettings
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The parts of a model; its front end comes with the checkpoint.

    Attributes:
        trunk: settings of the trunk.
        embedding: size ``D`` of the embedding.
        head: ``"clip"`` pools over time, then decides; the others decide for each frame, and combine the
            decisions by the maximum, the mean or attention.
        head_dropout: dropout probability before a clip head.
        stem: the representations of the waveform that the trunk takes.
        unused: prefixes of the tensors in published checkpoints that the published code never uses.
    """

    trunk: TrunkSettings
    embedding: int
    head: HeadKind = "clip"
    head_dropout: float = 0.5
    stem: StemKind = "log_mel"
    unused: tuple[str, ...] = ()

    @property
    def takes_log_mel(self) -> bool:
        """Whether the model has a front end; the others work on the waveform alone."""
        return self.stem in ("log_mel", "wavegram_log_mel")

    @property
    def frame_source(self) -> FrameSource:
        """Origin of the frame logits: see :mod:`pannsx.models.heads`."""
        return "local_pooling" if self.head == "clip" else "native"

    def wavegram(self, frontend: FrontEnd | None) -> WavegramSettings | None:
        """Settings of its wavegram, if it takes one; a log-mel joins it after its own bands are halved."""
        if self.stem == "wavegram_log_mel" and frontend is not None:
            return WavegramSettings(frontend.n_mels // 2)
        return WavegramSettings() if self.stem == "wavegram" else None

    def stem_paths(self, frontend: FrontEnd | None) -> tuple[tuple[TimeLayer, ...], ...]:
        """Layers from the samples to each representation, as of :mod:`pannsx.models.stems`."""
        stft = () if frontend is None else (centred_stft(frontend.hop_length, frontend.n_fft),)
        wavegram = self.wavegram(frontend)
        if wavegram is None:
            return (stft,)
        if frontend is None:
            return (wavegram.time_layers,)
        return (*stft, same(3), same(3), pooling(2)), wavegram.time_layers


class Network(Protocol):
    """The facts about a network in either form; see :class:`pannsx.models.pann.Pann`."""

    @property
    def architecture(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def frontend(self) -> FrontEnd | None: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def embedding_size(self) -> int: ...
    @property
    def grid(self) -> TimeGrid: ...
    @property
    def receptive_field(self) -> ReceptiveField: ...
    @property
    def min_samples(self) -> int: ...
    @property
    def frame_source(self) -> FrameSource: ...
    def n_frames(self, n_samples: int, /) -> int: ...


@dataclass(frozen=True)
class Structure:
    """The parts and sizes of a network; attributes as of ``Pann``.

    Attributes:
        architecture: a key of ``ARCHITECTURES``.
        row: its row there.
        sample_rate: samples per second of its waveforms, in Hz.
        frontend: its log-mel; None for networks on raw samples.
        n_classes: number ``K`` of classes.
        hidden: sizes of further layers between embedding and classes, as in fine-tuned checkpoints.
    """

    architecture: str
    row: Architecture
    sample_rate: int
    frontend: FrontEnd | None
    n_classes: int
    hidden: tuple[int, ...] = ()
    _times: FrameTimes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        stem = self.row.stem_paths(self.frontend)
        times = FrameTimes([(*path, *self.trunk.time_layers) for path in stem], LOCAL_POOLING)
        object.__setattr__(self, "_times", times)

    @property
    def trunk(self) -> TrunkSettings:
        """Settings of its trunk."""
        return self.row.trunk

    @property
    def embedding_size(self) -> int:
        """``D``."""
        return self.row.embedding

    @property
    def grid(self) -> TimeGrid:
        """Times of its frames."""
        return self._times.grid

    @property
    def receptive_field(self) -> ReceptiveField:
        """Range of samples that a frame depends on."""
        return self._times.receptive_field

    @property
    def min_samples(self) -> int:
        """Shortest input in samples."""
        return self._times.min_samples

    @property
    def frame_source(self) -> FrameSource:
        """Origin of its frame logits."""
        return self.row.frame_source

    def n_frames(self, n_samples: int) -> int:
        """Number ``T'`` of frames of a waveform of ``n_samples`` samples."""
        return self._times.n_frames(n_samples)

    def shapes(self) -> dict[str, Shape]:
        """The shape of each tensor by published key, without front-end constants and unused tensors."""
        row, trunk = self.row, self.trunk
        wavegram = row.wavegram(self.frontend)
        return dict(
            [
                *(() if self.frontend is None else norm_tensors("bn0", self.frontend.n_mels)),
                *(() if wavegram is None else wavegram.tensors()),
                *trunk.tensors(),
                *head_tensors(row.head, trunk.out_channels, row.embedding, self.hidden, self.n_classes),
            ]
        )


@dataclass(frozen=True)
class ArrayModel:
    """A network as its structure and its tensors in NumPy, by published key, of any floating type.

    Attributes:
        structure: its structure.
        arrays: its tensors.
        int8_steps: see :class:`pannsx.weights.record.Checkpoint`; empty: not calibrated.
    """

    structure: Structure
    arrays: Arrays
    int8_steps: Mapping[str, float] = field(default_factory=dict)

    def as_module(self) -> Pann:
        """The same network as a torch module, in float32."""
        from pannsx.models.convert import module_of_arrays

        own = self.structure
        facts = (own.architecture, own.sample_rate, own.frontend, own.n_classes)
        module = module_of_arrays(self.arrays, *facts, own.hidden)
        module.int8_steps = dict(self.int8_steps)
        return module


def row_of(architectures: Mapping[str, Architecture], architecture: str) -> Architecture:
    """A row of the table by its name.

    Raises:
        ValueError: there is none; close names are suggested.
    """
    if architecture not in architectures:
        raise ValueError(
            f"unknown architecture {architecture!r}{did_you_mean(architecture, architectures)}; "
            f"the known ones are {', '.join(architectures)}"
        )
    return architectures[architecture]


def check_frontend(architecture: str, row: Architecture, sample_rate: int, frontend: FrontEnd | None) -> None:
    """Check that a front end suits an architecture.

    Raises:
        ValueError: it does not, is missing, or is of another rate.
    """
    if not row.takes_log_mel:
        if frontend is not None:
            raise ValueError(f"{architecture} works on the waveform and takes no front end; got {frontend}")
        return
    if frontend is None:
        raise ValueError(f"{architecture} works on a log-mel and needs its front end; got None")
    if frontend.sample_rate != sample_rate:
        raise ValueError(
            f"the front end is for {frontend.sample_rate} Hz and the model for {sample_rate} Hz; "
            "the two must be equal"
        )
    if row.stem == "wavegram_log_mel" and 2 * frontend.hop_length != WAVEGRAM_HOP:
        raise ValueError(
            f"{architecture} joins its log-mel with a wavegram of a frame every {WAVEGRAM_HOP} samples: "
            f"hop_length must be {WAVEGRAM_HOP // 2}, got {frontend.hop_length}"
        )

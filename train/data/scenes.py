"""Scenes: mixtures with known onsets, composed as they are read, never stored.

A scene is one to three clips of some banks (:mod:`train.data.banks`), each with a position and a level,
sometimes with a room or a codec, over faint noise or none. It depends only on the seed and its number. The
positions of its parts are known. So the frame targets of a scene are the teacher's probabilities of the parts
that sound in a frame, as the maximum over the parts. Its clip targets are the teacher's probabilities of the
finished scene (:class:`train.loop.distil.LiveTeacher`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pannsx import labels
from pannsx.models.timing import TimeGrid
from pannsx.types import FloatArray
from train.data import effects
from train.data.banks import RATE, Bank, open_banks
from train.data.encoding import as_float, as_pcm
from train.data.packed import Clips
from train.data.probabilities import sigmoid
from train.data.targets import Targets
from train.recipe import Scenes as Settings

Rng = np.random.Generator

BLOCK = RATE // 50
"""Samples of a block; a part is audible or silent in each."""

_AUDIBLE_DB = -40.0  # relative to a part's loudest block: below it is silence
_LONGEST_GAP = 25  # blocks of silence within a sound: half a second
HEARD = 0.3
"""Minimum probability of a class that the teacher gives its clips."""

_BACKGROUNDS = frozenset({"music", "surroundings", "noise", "tones and noises", "environment", "crowds"})
_SHORT_S = 2.5  # clips up to this length may be repeated


class Frames(NamedTuple):
    """Positions of a network's frames, for frame targets.

    Attributes:
        grid: centres of the frames.
        n_of: number of frames of a number of samples.
    """

    grid: TimeGrid
    n_of: dict[int, int]


class Scene(NamedTuple):
    """A composed scene.

    Attributes:
        waveform: ``(S,)`` in [-1, 1].
        clips: indices of its parts among the clips of all banks.
        sounding: ``(n_parts, ceil(S / BLOCK))``, whether a part is audible in a block.
    """

    waveform: FloatArray
    clips: tuple[int, ...]
    sounding: NDArray[np.bool_]


class Scenes(Clips):
    """Scenes by number, with the interface of a :class:`train.data.store.Store`.

    All scenes of a batch have one length, drawn for its first number.

    Attributes:
        sample_rate: 32,000 Hz.
        n_samples: length of the longest scene.
        labels: AudioSet's.
        digest: digest of the banks' lists and logits, and of the settings.
        frames: positions of a network's frames, to be set for frame targets.

    Raises:
        ValueError: there is no bank, or no clip in the training split.
    """

    def __init__(self, folder: str | Path, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.frames: Frames | None = None
        self.sample_rate = RATE
        self.labels: tuple[str, ...] = labels.audioset().names
        self.label_ids = labels.audioset().ids
        self.n_samples = round(max(settings.durations_s) * RATE)
        banks = open_banks(folder)
        if banks[0].logits.shape[1] != len(self.labels):
            raise ValueError(
                f"{folder}: the teacher's logits have {banks[0].logits.shape[1]} classes; 527 are needed"
            )
        text = repr([(bank.name, bank.digest) for bank in banks]) + repr(settings)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._choose_from(banks)

    def _choose_from(self, banks: Sequence[Bank]) -> None:
        places, kinds, tables = [], [], []
        for number, bank in enumerate(banks):
            for row in range(len(bank)):
                if bank.splits[row] == "train" and bank.lengths[row] >= RATE // 4:
                    places.append((number, row))
                    kinds.append(bank.kinds[row])
                    tables.append(bank.logits[row])
        if not places:
            raise ValueError(
                "none of the banks' clips is for training: no row of index.csv has the split 'train'"
            )
        self._banks = banks
        self._places = np.array(places)
        logits = np.array(tables, np.float32)
        self._probabilities = sigmoid(logits).astype(np.float16)
        kind_of = np.array(kinds)
        self._by_kind = [np.flatnonzero(kind_of == kind) for kind in sorted(set(kinds))]
        self._backgrounds = np.flatnonzero(np.isin(kind_of, sorted(_BACKGROUNDS)))
        self._speech = np.flatnonzero(np.char.find(kind_of.astype(str), "speech") >= 0)
        heard = self._probabilities >= HEARD
        self._by_class = [np.flatnonzero(column) for column in heard.T if column.any()]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Possible lengths of scenes, in samples."""
        return tuple(round(duration_s * RATE) for duration_s in self.settings.durations_s)

    def __len__(self) -> int:
        return self.settings.n_scenes

    @property
    def ids(self) -> Sequence[str]:
        """The numbers of the scenes, as text."""
        return Numbers(len(self))

    @property
    def targets(self) -> Targets:
        """``(N, K)``, all false: the targets are those of a teacher."""
        return Targets.none(len(self), len(self.labels))

    def read(self, index: int) -> NDArray[np.int16]:
        """``(S,)`` of a scene, of the length drawn for it."""
        return as_pcm(self.compose(index, self.length_of(index)).waveform)

    def read_batch(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int16], NDArray[np.float16] | None]:
        """``(B,)`` numbers -> ``(B, S)`` samples and ``(B, T', K)`` frame targets, None without frames."""
        n_samples = self.length_of(int(rows[0]))
        scenes = [self.compose(int(row), n_samples) for row in rows]
        pcm = np.stack([as_pcm(scene.waveform) for scene in scenes])
        if self.frames is None:
            return pcm, None
        return pcm, np.stack([self.frame_targets(scene) for scene in scenes])

    def length_of(self, index: int) -> int:
        """Length in samples of the batch beginning with a scene."""
        rng = np.random.default_rng((self.seed, 7, index))
        duration_s = rng.choice(self.settings.durations_s, p=_shares(self.settings.duration_shares))
        return round(float(duration_s) * RATE)

    def compose(self, index: int, n_samples: int) -> Scene:
        """The scene of a number, with a given number of samples."""
        rng = np.random.default_rng((self.seed, 6, index))
        n_parts = 1 + int(rng.choice(3, p=_shares(self.settings.part_shares)))
        clips = self._draw(n_parts, rng)
        mixed = np.zeros(n_samples, np.float32)
        sounding = np.zeros((n_parts, -(-n_samples // BLOCK)), np.bool_)
        loudest_rms = 0.0
        for number, clip in enumerate(clips):
            part = self._part(clip, n_samples, rng, is_background=number > 0)
            if rng.random() < self.settings.room_share:
                part = effects.room(part, rng)
            sounding[number] = audible(part)
            if number and n_parts > 1:
                below_db = rng.uniform(0.0, self.settings.below_db)
                part = part * np.float32(
                    loudest_rms * 10.0 ** (-below_db / 20.0) / max(_loud_rms(part), 1e-5)
                )
            else:
                loudest_rms = max(_loud_rms(part), 1e-4)
            mixed += part
        if rng.random() < self.settings.noise_share:
            noise = coloured_noise(n_samples, rng)
            mixed += noise * np.float32(_loud_rms(mixed) * 10.0 ** (-rng.uniform(20.0, 60.0) / 20.0))
        for share, effect in (
            (self.settings.tilt_share, effects.tilt),
            (self.settings.band_share, effects.band),
            (self.settings.codec_share, effects.codec),
        ):
            if rng.random() < share:
                mixed = effect(mixed, rng)
        peak = float(np.abs(mixed).max())
        if peak > 0.99:
            mixed = mixed * np.float32(0.99 / peak)
        return Scene(mixed, tuple(int(clip) for clip in clips), sounding)

    def heard_in(self, clip: int) -> list[str]:
        """The classes of a clip: those of which the teacher gives it at least ``HEARD``."""
        return [self.labels[k] for k in np.flatnonzero(self._probabilities[clip] >= HEARD)]

    def frame_targets(self, scene: Scene) -> NDArray[np.float16]:
        """``(T', K)``: the teacher's probability of a part, times its share of a frame."""
        if self.frames is None:
            raise ValueError("frame targets need positions of frames; set frames")
        grid, n_frames = self.frames.grid, self.frames.n_of[len(scene.waveform)]
        centres = grid.offset_samples + grid.hop_samples * np.arange(n_frames)
        edges = np.concatenate(([0.0], np.cumsum(np.ones(scene.sounding.shape[1])))) * BLOCK
        filled = np.concatenate(
            (np.zeros((len(scene.clips), 1)), np.cumsum(scene.sounding, axis=1) * float(BLOCK)), axis=1
        )
        first, last = centres - grid.hop_samples / 2, centres + grid.hop_samples / 2
        targets = np.zeros((n_frames, len(self.labels)), np.float32)
        for part, clip in enumerate(scene.clips):
            share = (
                np.interp(last, edges, filled[part]) - np.interp(first, edges, filled[part])
            ) / np.maximum(np.minimum(last, edges[-1]) - np.maximum(first, 0.0), 1.0)
            heard = self._probabilities[clip].astype(np.float32)
            np.maximum(targets, share[:, None].astype(np.float32) * heard, out=targets)
        return targets.astype(np.float16)

    def _draw(self, n_parts: int, rng: Rng) -> list[int]:
        """Clips of a scene; the second of several is often a background, as in speech over music."""
        settings = self.settings
        clips = [self._one(rng)]
        if n_parts > 1 and rng.random() < settings.pairing_share and len(self._backgrounds):
            if len(self._speech) and rng.random() < 0.4:
                clips[0] = int(rng.choice(self._speech))
            clips.append(int(rng.choice(self._backgrounds)))
        while len(clips) < n_parts:
            clips.append(self._one(rng))
        return clips

    def _one(self, rng: Rng) -> int:
        by_class, by_kind, _ = _shares(self.settings.draw_shares)
        which = rng.random()
        if which < by_class and self._by_class:
            return int(rng.choice(self._by_class[rng.integers(len(self._by_class))]))
        if which < by_class + by_kind:
            return int(rng.choice(self._by_kind[rng.integers(len(self._by_kind))]))
        return int(rng.integers(len(self._places)))

    def _part(self, clip: int, n_samples: int, rng: Rng, *, is_background: bool) -> FloatArray:
        """``(S,)`` with a clip placed in it, perhaps more than once."""
        bank, row = self._places[clip]
        length = int(self._banks[bank].lengths[row])
        waveform: FloatArray = as_float(np.asarray(self._banks[bank].clips[row, :length]))
        if is_background and length < n_samples and rng.random() < 0.5:
            waveform = np.tile(waveform, -(-n_samples // length))  # a background continues
            length = len(waveform)
        if length >= n_samples:
            begin = int(rng.integers(length - n_samples + 1))
            cropped: FloatArray = waveform[begin : begin + n_samples].copy()
            return cropped
        part = np.zeros(n_samples, np.float32)
        at = 0 if rng.random() < self.settings.at_start_share else int(rng.integers(n_samples - length + 1))
        part[at : at + length] = waveform
        if length < _SHORT_S * RATE and rng.random() < self.settings.repeat_share:
            at += length + int(rng.exponential(0.5) * RATE)
            while at + length <= n_samples:
                part[at : at + length] += waveform * np.float32(10.0 ** (rng.uniform(-6.0, 0.0) / 20.0))
                at += length + int(rng.exponential(0.5) * RATE)
        return part


class Numbers(Sequence[str]):
    """The sequence ``"0", "1", ...`` without a list in memory."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return str(range(self._n)[index])


def audible(waveform: FloatArray) -> NDArray[np.bool_]:
    """``(S,)`` -> ``(ceil(S / BLOCK),)`` audible blocks; half a second of silence ends a sound."""
    n = -(-len(waveform) // BLOCK)
    blocks = np.pad(waveform, (0, n * BLOCK - len(waveform))).reshape(n, BLOCK)
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    if power.max() <= 1e-12:
        return np.zeros(n, np.bool_)
    on: NDArray[np.bool_] = power >= power.max() * 10 ** (_AUDIBLE_DB / 10)
    places = np.flatnonzero(on)
    for before, after in pairwise(places):
        if 1 < after - before <= _LONGEST_GAP:
            on[before:after] = True
    return on


def coloured_noise(n_samples: int, rng: Rng) -> FloatArray:
    """``(S,)`` of unit root mean square: noise whose power falls with frequency by 0 to 6 dB an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.maximum(np.arange(len(spectrum)), 1.0)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0.0, 1.0), n_samples)
    normal: FloatArray = (noise / np.sqrt(np.square(noise).mean())).astype(np.float32)
    return normal


def _loud_rms(waveform: FloatArray) -> float:
    """Root mean square of the louder half of the audible blocks: a level independent of pauses."""
    n = len(waveform) // BLOCK
    power = np.sort(np.square(waveform[: n * BLOCK].reshape(n, BLOCK), dtype=np.float64).mean(axis=1))
    sounding = power[power >= power[-1] * 10 ** (_AUDIBLE_DB / 10)]
    return float(np.sqrt(sounding[len(sounding) // 2 :].mean())) if len(sounding) else 0.0


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.array(weights, np.float64) / np.sum(weights)
    return shares

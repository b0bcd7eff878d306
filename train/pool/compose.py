"""Compose clips from the clips of banks: repeated, layered, in rooms, over backgrounds.

python -m train.pool.compose COMPOSITIONS FOLDER BANK...

COMPOSITIONS is a table (``.csv``) with the columns

    kind      one of ``loop``, ``pace``, ``layer``, ``many``, ``room``, ``over``
    seed      seed of all random choices
    sources   clips of the banks, ``package|file|start_s``, separated by `` ; ``

The project's table is ``train/pool/compositions.csv``; its clips were chosen like those of
`synthesis.chosen`.

FOLDER becomes a bank (:mod:`train.pool.bank`): its clips depend only on the table and their sources. The
licences of all sources apply to a clip, of "a or b" the freer one, so its tier is the strictest of them. All
sources of a clip belong to one split, and so does the clip.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.data.banks import INDEX_COLUMNS, read_clips
from train.data.encoding import as_float
from train.pool.bank import write_csv, write_samples
from train.pool.cutting import CLIP_SAMPLES, SAMPLE_RATE, as_samples
from train.pool.errors import PoolError
from train.pool.licences import freest, tier_of
from train.pool.synthesis.blocks import level, noise, put, rms, room, shape, wet
from train.pool.synthesis.waves import RATE, SIZE, Wave

KINDS = ("loop", "pace", "layer", "many", "room", "over")
_LONG_SAMPLES = 3.5 * RATE  # clips of this length or longer are not repeated
_FLOOR = 10 ** (-45 / 20)


class Composition(NamedTuple):
    """A row of the table.

    Attributes:
        kind: one of `KINDS`.
        seed: seed of all random choices.
        sources: names of clips.
    """

    kind: str
    seed: int
    sources: tuple[str, ...]


class _Clip(NamedTuple):
    bank: int
    row: int
    licence: str
    split: str


class Sources:
    """The clips of banks by name: ``package|file|start_s``; for equal names, that of the first bank.

    Raises:
        ValueError: a bank is incomplete.
        OSError: a bank cannot be read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._clips: dict[str, _Clip] = {}
        columns = ("package", "file", "start_s", "licence", "split")
        self._banks = [read_clips(folder, columns) for folder in folders]
        for number, bank in enumerate(self._banks):
            for place, row in enumerate(bank.rows):
                name = f"{row['package']}|{row['file']}|{row['start_s']}"
                self._clips.setdefault(name, _Clip(number, place, row["licence"], row["split"]))

    def missing(self, names: Sequence[str]) -> list[str]:
        """The names missing from all banks."""
        return [name for name in names if name not in self._clips]

    def find(self, names: Sequence[str]) -> list[_Clip]:
        """Clips by their names; PoolError if one is missing."""
        if missing := self.missing(names):
            raise PoolError(
                f"no bank has the clip {missing[0]!r}; add the bank with it, or omit such "
                "compositions with --keep-going"
            )
        return [self._clips[name] for name in names]

    def read(self, clip: _Clip) -> NDArray[np.float32]:
        """``(n,)`` samples of a clip, without the zeros after its end."""
        pcm, lengths, _ = self._banks[clip.bank]
        return as_float(np.asarray(pcm[clip.row, : int(lengths[clip.row])]))


def read_compositions(path: Path) -> list[Composition]:
    """The rows of the table.

    Raises:
        PoolError: a row contains invalid values; the message names its line.
    """
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for cells in reader:
            kind, seed, sources = (cells.get(column) or "" for column in ("kind", "seed", "sources"))
            if kind not in KINDS or not seed.isdigit() or not sources:
                raise PoolError(
                    f"{path}, line {reader.line_num}: got {kind!r}, {seed!r} and {sources!r}; "
                    f"one of {', '.join(KINDS)}, a seed and names of clips are needed"
                )
            rows.append(Composition(kind, int(seed), tuple(sources.split(" ; "))))
    return rows


def compose(kind: str, seed: int, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Clips ``(n,)`` each -> ``(S,)``: five seconds, composed as one of `KINDS`."""
    rng = np.random.default_rng([seed, 17])
    trimmed = [_lively(clip.astype(np.float64)) for clip in clips]
    waves: list[Wave] = [clip / (np.abs(clip).max() + 1e-9) for clip in trimmed]
    first = waves[0]
    if kind == "loop":
        out = _looped(rng, first, rng.choice([-0.05, 0.0, 0.1, 0.3, 0.7]), 0.4)
    elif kind == "pace":
        paced = _paced(first, 2 ** rng.uniform(-0.6, 0.6))
        out = _looped(rng, paced, rng.choice([0.0, 0.15, 0.4]), 0.4, 0.02)
    elif kind == "layer":
        out = np.zeros(SIZE)
        for wave in waves:
            is_short = len(wave) < _LONG_SAMPLES
            layer = _looped(rng, wave, rng.uniform(-0.05, 0.8), 0.5) if is_short else _filled(wave)
            shift = int(rng.integers(SIZE)) if is_short else 0
            out += np.roll(layer, shift) / rms(layer) * rng.uniform(0.4, 1)
    elif kind == "many":
        out = np.zeros(SIZE)
        for _ in range(int(rng.integers(6, 30))):
            wave = waves[int(rng.integers(len(waves)))]
            at = int(rng.uniform(-0.5, 4.9) * RATE)
            put(out, at, _paced(wave, 2 ** rng.uniform(-0.35, 0.35)), rng.random() ** 1.5 + 0.05)
    elif kind == "room":
        dry = _looped(rng, first, rng.uniform(0, 0.5), 0.4) if len(first) < _LONG_SAMPLES else _filled(first)
        reverberation_s = float(np.exp(rng.uniform(np.log(0.15), np.log(3))))
        out = wet(dry, room(rng, reverberation_s, direct=rng.uniform(0.3, 1.5)))
    else:  # over: the last clip is the background
        front = (
            _looped(rng, first, rng.uniform(0, 0.6), 0.5) if len(first) < _LONG_SAMPLES else _filled(first)
        )
        back = _looped(rng, waves[-1], -0.1, 0.1, 0.01)
        out = front / rms(front) + rng.uniform(0.05, 0.5) * back / rms(back)
    return _recorded(rng, out)


def write_composed(folder: Path, rows: Sequence[Composition], sources: Sources) -> int:
    """Make the bank of compositions; returns its number of clips.

    Raises:
        PoolError: a source is missing, or the sources of a clip belong to both splits.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index: list[tuple[object, ...]] = []
    for number, row in enumerate(rows):
        clips = sources.find(row.sources)
        splits = sorted({clip.split for clip in clips})
        if len(splits) > 1:
            raise PoolError(f"{row.kind} {row.seed} has sources of both splits: {' ; '.join(row.sources)}")
        licence = " and ".join(dict.fromkeys(freest(clip.licence) for clip in clips))
        name = f"{row.kind} {row.seed} of {' ; '.join(row.sources)}"
        seconds = round(CLIP_SAMPLES / SAMPLE_RATE, 3)
        index.append(
            (
                number,
                "composed",
                name,
                0.0,
                seconds,
                licence,
                tier_of(licence),
                f"composed: {row.kind}",
                splits[0],
            )
        )
    composed = (
        as_samples(compose(row.kind, row.seed, [sources.read(clip) for clip in sources.find(row.sources)]))
        for row in rows
    )
    write_samples(folder, composed, len(rows))
    write_csv(folder / "index.csv", INDEX_COLUMNS, index)
    return len(rows)


def _lively(clip: Wave) -> Wave:
    """The audible part of a clip, relative to its peak."""
    loud = np.flatnonzero(np.abs(clip) > _FLOOR * np.abs(clip).max())
    return clip[max(int(loud[0]) - RATE // 100, 0) : int(loud[-1]) + RATE // 20] if len(loud) else clip


def _paced(wave: Wave, factor: float) -> Wave:
    """Played faster or slower, and therefore higher or lower."""
    paced: Wave = np.interp(np.arange(0, len(wave) - 1, factor), np.arange(len(wave)), wave)
    return paced


def _looped(rng: np.random.Generator, wave: Wave, gap_s: float, loose: float, pace: float = 0.06) -> Wave:
    """Repeated for five seconds, a little different each time."""
    out, at = np.zeros(SIZE), int(rng.uniform(0, 0.3) * RATE)
    while at < SIZE - RATE // 20:
        again = _paced(wave, rng.uniform(1 - pace, 1 + pace))
        put(out, at, again, rng.uniform(0.6, 1))
        at += max(int(len(again) + gap_s * RATE * rng.uniform(1 - loose, 1 + loose)), 2400)
    return out


def _filled(wave: Wave) -> Wave:
    return np.pad(wave, (0, SIZE))[:SIZE]


def _recorded(rng: np.random.Generator, out: Wave) -> NDArray[np.float32]:
    """As a recording: perhaps a room and a microphone, any level, a floor of noise."""
    if rng.random() < 0.4:
        share = rng.uniform(0.2, 0.8)
        out = out + share * wet(out, room(rng, rng.uniform(0.15, 1.2), direct=0.0))[:SIZE]
    if rng.random() < 0.5:
        low, warm, bright, air = (rng.uniform(*ends) for ends in ((-12, 0), (-4, 2), (-6, 4), (-16, 3)))
        out = shape(out, [(40, low), (150, warm), (1500, 0), (5000, bright), (14000, air)])
    out = level(out[:SIZE], rng.uniform(-34, -12))
    floor = noise(rng, [(30, 6), (200, 0), (1500, -10), (14000, -24)], SIZE)
    out = out + floor * 10 ** (rng.uniform(-85, -50) / 20)
    clipped: NDArray[np.float32] = np.clip(out, -1, 1).astype(np.float32)
    return clipped


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="train.pool.compose", description="Compose clips from the clips of banks."
    )
    parser.add_argument("compositions", type=Path, help="table of compositions (.csv)")
    parser.add_argument("folder", type=Path, help="bank to make")
    parser.add_argument("banks", type=Path, nargs="+", help="banks with the sources")
    parser.add_argument(
        "--keep-going", action="store_true", help="omit compositions with sources missing from all banks"
    )
    given = parser.parse_args(arguments)
    try:
        rows, sources = read_compositions(given.compositions), Sources(given.banks)
        incomplete = [row for row in rows if sources.missing(row.sources)] if given.keep_going else []
        for row in incomplete:
            missing = " ; ".join(sources.missing(row.sources))
            print(f"left out: {row.kind} {row.seed}, missing from all banks: {missing}", file=sys.stderr)
        left_out = set(incomplete)
        count = write_composed(given.folder, [row for row in rows if row not in left_out], sources)
    except (OSError, ValueError) as error:
        print(f"train.pool.compose: {error}", file=sys.stderr)
        return 1
    print(f"{given.folder}: {count} clips" + (f", {len(incomplete)} left out" if incomplete else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())

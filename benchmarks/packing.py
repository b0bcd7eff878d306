"""How fast are packed clips read, one at a time in any order, and how large are they?

    python -m benchmarks.packing [--recordings FOLDER]

One thread, clips of 10 s at 32 kHz, read in a shuffled order from the disk's cache: what the format
costs, not the disk. Times are processor time. Training of Cnn14 at batch 32 with mixup draws 64 clips a step.

The clips are a rising tone in noise, which compresses badly; with a folder of recordings, those. MP3 and Opus
lose samples and are no variants of packed clips; Opus has no 32 kHz, its clips are at 48 kHz. Zstandard and
LZ4 get the high bytes of all samples before the low ones.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.material import sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Fact, Findings
from benchmarks.timing import alternate
from pannsx import audio
from pannsx.audio.formats import AUDIO_SUFFIXES
from pannsx.audio.resample import resample
from pannsx.labels import LabelSet
from train.data.encoding import as_float, as_pcm
from train.data.store import Store
from train.data.store_writer import write_store

QUESTION = harness.Question(
    "packing", "How fast are packed clips read, one at a time in any order?", rounds=10, one_thread=True
)
RATE, SECONDS, N_CLIPS = 32_000, 10, 64
NAMES = {"raw": "raw int16", "rice": "Rice codes", "flac": "FLAC per clip"}
OPUS_RATE = 48_000

Clips = list[NDArray[np.int16]]


def main() -> None:
    harness.run(QUESTION, measure, _add_arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recordings", type=Path, help="folder of audio files to pack instead of noise")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    clips = _recorded(given.recordings) if given.recordings else _made()
    what = "recordings" if given.recordings else "a rising tone in noise"
    order = np.random.default_rng(0).permutation(N_CLIPS).tolist()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        makers = [(NAMES[variant], partial(_store, folder, clips, order, variant)) for variant in NAMES]
        others = {
            "Zstandard, bytes shuffled": _zstandard,
            "LZ4, bytes shuffled": _lz4,
            "MP3, with loss": partial(_by_soundfile, "MP3", "MPEG_LAYER_III", RATE),
            "Opus at 48 kHz, with loss": partial(_by_soundfile, "OGG", "OPUS", OPUS_RATE),
        }
        sizes: dict[str, int] = {}
        for title, codec in others.items():
            makers.append((title, partial(_in_memory, sizes, title, codec, clips, order)))
        makers.append(("HDF5, as published", partial(_hdf5, folder, clips, order)))
        calls = gather(makers, found.absent)
        times = alternate(calls, rounds=given.rounds, warm_ups=1, shortest_s=0, clock=time.process_time)
        for variant, title in NAMES.items():
            sizes[title] = sum(path.stat().st_size for path in (folder / variant / "parts").glob("*.bin"))
        for title in times:
            if title in sizes:
                found.facts.append(Fact(f"A clip of 10 s, {title}", sizes[title] / N_CLIPS / 1000, "kB"))
            found.facts.append(
                Fact(f"Clips a second and core, {title}", N_CLIPS / times[title].median, "clips")
            )
    entries = tuple(Entry(name, times[name]) for name in calls)
    title = f"{N_CLIPS} clips of {SECONDS} s in a shuffled order, {what}, as float32"
    note = "Processor time."
    found.comparisons.append(Comparison(title, entries, audio_s=float(N_CLIPS * SECONDS), note=note))
    return found


def _made() -> Clips:
    return [as_pcm(0.3 * sound(SECONDS * RATE, RATE, seed)) for seed in range(N_CLIPS)]


def _recorded(folder: Path) -> Clips:
    """Ten seconds each of files spread over a folder, one after the other: none is heard twice."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    wanted = N_CLIPS * SECONDS * RATE
    pieces: list[NDArray[np.float32]] = []
    for path in files[:: max(1, len(files) // (2 * N_CLIPS))]:
        if sum(map(len, pieces)) < wanted:
            pieces.append(audio.load(path, RATE, duration_s=SECONDS).waveform)
    sounds = np.concatenate(pieces)
    if len(sounds) < wanted:
        raise SystemExit(
            f"{folder} has {len(sounds) / RATE:.0f} s of audio; {N_CLIPS * SECONDS} s are needed"
        )
    return [as_pcm(sound) for sound in np.split(sounds[:wanted], N_CLIPS)]


Codec = tuple[Callable[[NDArray[np.int16]], bytes], Callable[[bytes], NDArray[np.int16]]]


def _in_memory(
    sizes: dict[str, int], title: str, make: Callable[[], Codec], clips: Clips, order: list[int]
) -> Call:
    encode, decode = make()
    encoded = [encode(clip) for clip in clips]
    sizes[title] = sum(map(len, encoded))
    return _reading(lambda row: decode(encoded[row]), order)


def _zstandard() -> Codec:
    import zstandard

    return (
        lambda pcm: zstandard.ZstdCompressor(level=3).compress(_shuffled(pcm)),
        lambda encoded: _unshuffled(zstandard.ZstdDecompressor().decompress(encoded)),
    )


def _lz4() -> Codec:
    import lz4.frame

    return (
        lambda pcm: lz4.frame.compress(_shuffled(pcm)),
        lambda encoded: _unshuffled(lz4.frame.decompress(encoded)),
    )


def _shuffled(pcm: NDArray[np.int16]) -> bytes:
    return pcm.view(np.uint8).reshape(-1, 2).T.tobytes()


def _unshuffled(content: bytes) -> NDArray[np.int16]:
    halves = np.frombuffer(content, np.uint8).reshape(2, -1)
    return np.ascontiguousarray(halves.T).view(np.int16)[:, 0]


def _by_soundfile(container: str, subtype: str, rate: int) -> Codec:
    import soundfile

    def encode(pcm: NDArray[np.int16]) -> bytes:
        stream = io.BytesIO()
        samples = pcm if rate == RATE else as_pcm(resample(as_float(pcm), RATE, rate))
        soundfile.write(stream, samples, rate, format=container, subtype=subtype)
        return stream.getvalue()

    def decode(encoded: bytes) -> NDArray[np.int16]:
        return np.asarray(soundfile.read(io.BytesIO(encoded), dtype="int16")[0])

    return encode, decode


def _store(folder: Path, clips: Clips, order: list[int], variant: str) -> Call:
    write_store(
        folder / variant,
        ((f"{number:011d}", [0], clip) for number, clip in enumerate(clips)),
        labels=LabelSet(("sound",)),
        sample_rate=RATE,
        n_samples=SECONDS * RATE,
        variant=variant,
    )
    store = Store(folder / variant)
    return _reading(store.read, order)


def _hdf5(folder: Path, clips: Clips, order: list[int]) -> Call:
    """A row of one dataset, the file opened for every clip."""
    import h5py

    path = folder / "pack.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("waveform", data=np.stack(clips))

    def read(row: int) -> NDArray[np.int16]:
        with h5py.File(path, "r") as file:
            return np.asarray(file["waveform"][row])

    return _reading(read, order)


def _reading(read: Callable[[int], NDArray[np.int16]], order: list[int]) -> Call:
    def call() -> None:
        for row in order:
            as_float(read(row))

    return call


if __name__ == "__main__":
    main()

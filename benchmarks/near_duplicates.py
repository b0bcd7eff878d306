"""From which cosine on are two clips the same recording?

    python -m benchmarks.near_duplicates --data FOLDER

FOLDER holds ``esc10`` and ``esc50_16k``. A clip is compared with copies of itself: louder and quieter, with
noise, as MP3, cropped; and clips of different recordings with each other. A threshold is good if it finds the
copies, and if pairs of different recordings hardly ever reach it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from pannsx import FeatureExtractor, audio

Samples = NDArray[np.float32]
RATE = 32_000
CLIP_S = 5.0
SILENCE = 1e-3
QUANTILES = (0.5, 0.99, 0.999, 0.9999)
THRESHOLDS = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)


def mp3(quality: float) -> Callable[[Samples], Samples]:
    def encode(waveform: Samples) -> Samples:
        file = io.BytesIO()
        soundfile.write(
            file, waveform, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=quality
        )
        return audio.load(file.getvalue(), RATE).waveform

    return encode


def gain(decibels: float) -> Callable[[Samples], Samples]:
    return lambda waveform: np.asarray(waveform * 10 ** (decibels / 20), np.float32)


def noise(ratio_db: float) -> Callable[[Samples], Samples]:
    def add(waveform: Samples) -> Samples:
        power = float(np.mean(waveform.astype(np.float64) ** 2))
        scale = np.sqrt(power / 10 ** (ratio_db / 10))
        rng = np.random.default_rng(len(waveform))
        return np.asarray(waveform + scale * rng.standard_normal(len(waveform)), np.float32)

    return add


def crop(share: float) -> Callable[[Samples], Samples]:
    return lambda waveform: waveform[round(share * len(waveform)) :]


COPIES = {
    "6 dB quieter": gain(-6), "20 dB quieter": gain(-20), "noise 40 dB below": noise(40),
    "noise 20 dB below": noise(20), "MP3, high quality": mp3(0.2), "MP3, low quality": mp3(0.9),
    "first 5 % cut": crop(0.05), "first 20 % cut": crop(0.2), "first 50 % cut": crop(0.5),
    "MP3, 6 dB quieter, first 5 % cut": lambda waveform: crop(0.05)(mp3(0.5)(gain(-6)(waveform))),
}  # fmt: skip


def measure(data: Path, most: int) -> dict[str, object]:
    """Shares of copies, and of pairs of different recordings, that reach each threshold."""
    names, clips = zip(*_clips(data, most), strict=True)
    extractor = FeatureExtractor(device="cpu")
    original = _unit(extractor.extract(clips, RATE))
    recordings = np.array([_recording(name) for name in names])
    first, second = np.triu_indices(len(clips), 1)
    differ = recordings[first] != recordings[second]
    pairs = (original @ original.T)[first[differ], second[differ]]
    found: dict[str, object] = {
        "clips": len(clips),
        "pairs of different recordings": len(pairs),
        "their quantiles": {str(q): round(float(np.quantile(pairs, q)), 4) for q in QUANTILES},
        "of them, reach": {str(t): int((pairs >= t).sum()) for t in THRESHOLDS},
    }
    for name, change in COPIES.items():
        changed = _unit(extractor.extract([change(clip) for clip in clips], RATE))
        cosines = np.einsum("nd,nd->n", original, changed)
        found[name] = {
            "median": round(float(np.median(cosines)), 4),
            **{str(t): round(float((cosines >= t).mean()), 3) for t in THRESHOLDS},
        }
    return found


def _clips(data: Path, most: int) -> Iterator[tuple[str, Samples]]:
    """Names of ESC-50 and their waveforms, in a shuffled order; silent clips are left out."""
    with (data / "esc10" / "index.csv").open(encoding="utf-8") as file:
        found = [(Path(row["file"]).stem, data / "esc10" / row["file"], 0.0) for row in csv.DictReader(file)]
        known = {name for name, _, _ in found}
    with (data / "esc50_16k" / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["name"].removesuffix(".wav").rpartition("-")[0]
            if name and name not in known:  # without a name, the recording is not known
                found.append((name, data / "esc50_16k" / row["file"], CLIP_S * int(row["chunk"])))
    for i in np.random.default_rng(0).permutation(len(found))[:most]:
        name, path, start_s = found[i]
        clip = audio.load(path, RATE, start_s=start_s, duration_s=CLIP_S).waveform
        if np.abs(clip).max() > SILENCE:
            yield name, clip


def _recording(name: str) -> str:
    """The recording that a clip of ESC-50 was cut from: its name is fold, recording, take."""
    return name.split("-")[1]


def _unit(embeddings: Samples) -> Samples:
    return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.near_duplicates",
        description="From which cosine on are two clips the same recording?",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with esc10 and esc50_16k")
    parser.add_argument("--most", type=int, default=2000, help="number of clips (default: %(default)s)")
    given = parser.parse_args()
    print(json.dumps(measure(given.data, given.most), indent=1))


if __name__ == "__main__":
    main()

"""Write ``examples/onnx/log_mel_vectors.json``: sound and its log-mel, for ports to other languages.

python tools/build_log_mel_vectors.py

The log-mel is the definition in float64 (`pannsx.frontend.definition`), for every front end of the manifest.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pannsx.atomic import replacing
from pannsx.frontend.definition import reference_log_mel
from pannsx.weights.manifest import load_manifest

PATH = Path(__file__).resolve().parents[1] / "examples" / "onnx" / "log_mel_vectors.json"
DECIMALS = 4
N_HOPS = 6

ABOUT = (
    "samples are of 16 bits: divide them by 32768. log_mel is in dB, (frames, bands), frame t centred on "
    "sample t * hop_length. A port in float32 is right within 0.01 dB."
)


def main() -> None:
    with replacing(PATH) as temporary:
        temporary.write_text(text(), encoding="utf-8", newline="\n")
    print(PATH)


def text() -> str:
    """The file's content."""
    fronts = {record.frontend for record in load_manifest().values() if record.frontend is not None}
    vectors = []
    for front in sorted(fronts, key=lambda each: (-each.sample_rate, each.n_mels)):
        n_samples = N_HOPS * front.hop_length + front.hop_length // 2
        samples = sound(n_samples, front.sample_rate)
        log_mel = reference_log_mel(samples / 32768, front).round(DECIMALS)
        vectors.append({"settings": asdict(front), "samples": samples.tolist(), "log_mel": log_mel.tolist()})
    return json.dumps({"about": ABOUT, "vectors": vectors}) + "\n"


def sound(n_samples: int, sample_rate: int) -> np.ndarray:
    """Noise in every band, and a tone that begins in the middle."""
    noise = np.random.default_rng(0).standard_normal(n_samples)
    times = np.arange(n_samples)
    tone = np.sin(2 * np.pi * 1000 * times / sample_rate) * (times > n_samples / 2)
    return np.rint(32768 * (0.05 * noise + 0.3 * tone)).astype(np.int64)


if __name__ == "__main__":
    main()

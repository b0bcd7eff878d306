"""A file in, tags out: how fast is the whole way, and what takes the time?

    python -m benchmarks.files

A FLAC file of 10 s, stereo, 16 bits, 44.1 kHz: decoded, mixed to one channel, converted to 32 kHz, its
log-mel computed, and the network run. The peers are chains that users build. The graphs of ONNX Runtime are
those of ``pannsx export`` and contain the log-mel. The error is the largest difference of a probability from
float64, after resampy's filter; other filters differ by design. Facts tell what each step takes, and how
fast a chain could be beside the fastest peer, if decoding, or decoding and our network, were all it does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks import harness
from benchmarks.material import Samples, sound
from benchmarks.networks import exact_probabilities
from benchmarks.peers import Call, gather
from benchmarks.published import panns_inference, published_home
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import LEAD_S, POOLS_REST_S, alternate, paired_difference
from benchmarks.torchaudio_stand_in import torchaudio_without_extension
from pannsx import AudioTagger, audio
from pannsx.audio.resample import resample
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.cpu.workers import Workers
from pannsx.weights import LoadedCheckpoint, load, manifest

QUESTION = harness.Question(
    "files", "A file in, tags out: how fast is the whole way, and what takes the time?", rounds=15
)
FILE_RATE, RATE, DURATION_S = 44_100, 32_000, 10
BUNDLED, CNN14 = "MobileNetV1_distilled", "Cnn14"
OURS = "pannsx"
LIBROSA = "librosa, panns_inference"
SOXR = "soundfile, soxr, ONNX Runtime"
TORCHCODEC = "torchcodec, ONNX Runtime"
TORCHAUDIO = "torchaudio, ONNX Runtime"
SINC = "soundfile, torchaudio's resampler, ONNX Runtime"
ERROR = "max error of a probability"
Waveform = Callable[[Path], Samples]


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "clip.flac"
        channels = [sound(DURATION_S * FILE_RATE, FILE_RATE, seed) for seed in range(2)]
        soundfile.write(path, np.stack(channels, axis=1), FILE_RATE, subtype="PCM_16")
        weights = stack.enter_context(published_home())
        for name, checkpoint in ((BUNDLED, None), (CNN14, weights)):
            comparison = _compare(name, checkpoint, path, folder, given, found)
            found.comparisons.append(comparison)
            found.facts += _stages(name, checkpoint, path, comparison, given)
            for entry in comparison.entries[1:]:
                what = f"{name}: times faster than {entry.name}, from a file to tags"
                found.goals.append(Goal(what, comparison.ratio(entry.name), at_least=3.0, aim=5.0))
    return found


def _compare(
    name: str, weights: Path | None, path: Path, folder: Path, given: argparse.Namespace, found: Findings
) -> Comparison:
    loaded = load(name) if weights is None else load(name, checkpoint=weights)
    makers: list[tuple[str, Callable[[], Call]]] = [(OURS, partial(_ours, name, weights, path))]
    if weights is not None:
        makers.append((LIBROSA, partial(_librosa, weights, path)))
    chains = {SOXR: _soxr, TORCHCODEC: _torchcodec, TORCHAUDIO: _torchaudio, SINC: _sinc}
    for peer, waveform in chains.items():
        makers.append((peer, partial(_onnxruntime, waveform, loaded, path, folder, given.threads)))
    calls = gather(makers, found.absent)
    times = alternate(calls, rounds=given.rounds, warm_ups=1, pause_s=POOLS_REST_S, lead_s=LEAD_S)
    samples, _ = soundfile.read(path)
    exact = exact_probabilities(loaded.model, resample(_mixed(samples), FILE_RATE, RATE))
    entries = tuple(
        Entry(peer, times[peer], {ERROR: float(np.abs(np.asarray(call()).reshape(-1) - exact).max())})
        for peer, call in calls.items()
    )
    return Comparison(
        f"{name}: FLAC of {DURATION_S} s, stereo, 44.1 kHz, to tags", entries, audio_s=DURATION_S
    )


def _stages(
    name: str, weights: Path | None, path: Path, comparison: Comparison, given: argparse.Namespace
) -> list[Fact]:
    """Our time of ways of growing length, and what decoding leaves of the distance to the fastest peer."""
    tagger = _tagger(name, weights)
    frontend = manifest.find(name).frontend
    if frontend is None:
        raise ValueError(f"{name} has no log-mel; choose another network")
    kernel, workers = LogMelKernel(frontend), Workers()
    waveform = audio.load(path, RATE).waveform
    decoding, log_mel, network = "decoding by libsndfile alone, one thread", "log-mel", "network"
    calls: dict[str, Call] = {
        "opening and checking": lambda: audio.info(path),
        decoding: lambda: soundfile.read(path, dtype="float32"),
        "file to waveform at its own rate, one thread": lambda: audio.load(path),
        "file to waveform at 32 kHz, one thread": lambda: audio.load(path, RATE),
        f"file to waveform at 32 kHz, {given.threads} threads": lambda: _in_sections(path, workers),
        log_mel: lambda: kernel(waveform, workers),
        network: lambda: tagger.inference(waveform, framewise=False),
        "whole": lambda: tagger.inference(path, framewise=False),
    }
    times = alternate(calls, rounds=given.rounds, pause_s=POOLS_REST_S, lead_s=LEAD_S)
    medians = {what: each.median for what, each in times.items()}
    medians[network] = paired_difference(times[network].seconds, times[log_mel].seconds)
    facts = [Fact(f"{name}, {what}", 1000 * seconds, "ms") for what, seconds in medians.items()]
    peer = min(comparison.entries[1:], key=lambda entry: entry.times.median)
    least_s = medians[decoding] / given.threads
    for what, seconds in (("decoding", least_s), ("decoding and the network", least_s + medians[network])):
        bound = (
            f"{name}: times faster than {peer.name}, if there were only {what}, on {given.threads} threads"
        )
        facts.append(Fact(bound, peer.times.median / seconds, "times"))
    return facts


def _in_sections(path: Path, workers: Workers) -> Samples:
    with audio.Selection().open(path, RATE, threads=workers) as blocks:
        return np.concatenate(list(blocks.pieces()))


def _tagger(name: str, weights: Path | None) -> AudioTagger:
    return AudioTagger(name, checkpoint=weights, device="cpu")


def _ours(name: str, weights: Path | None, path: Path) -> Call:
    tagger = _tagger(name, weights)
    return lambda: tagger.inference(path, framewise=False).clipwise


def _librosa(weights: Path, path: Path) -> Call:
    import librosa

    tagging = panns_inference(weights)

    def call() -> Any:
        waveform, _ = librosa.load(path, sr=RATE, mono=True)
        return tagging.inference(waveform[None])[0][0]

    return call


def _onnxruntime(
    waveform: Waveform, loaded: LoadedCheckpoint, path: Path, folder: Path, threads: int
) -> Call:
    import onnxruntime

    from pannsx.export import export

    waveform(path)  # a missing library is told before the export
    graph = folder / f"{loaded.record.name}.onnx"
    if not graph.exists():
        graph = export(loaded, folder).path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["probabilities"], {"waveform": waveform(path)[None]})[0][0]


def _mixed(samples: np.ndarray[Any, np.dtype[Any]]) -> Samples:
    # Channel by channel, in half a millisecond; ``samples.mean(axis=1)``, which users write, takes five.
    return np.asarray(sum(samples.T) / samples.shape[1], np.float32)


def _soxr(path: Path) -> Samples:
    import soxr

    samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(soxr.resample(_mixed(samples), rate, RATE, quality="HQ"))


def _torchcodec(path: Path) -> Samples:
    from torchcodec.decoders import AudioDecoder

    return np.asarray(AudioDecoder(path, sample_rate=RATE, num_channels=1).get_all_samples().data[0])


def _torchaudio(path: Path) -> Samples:
    samples, rate = torchaudio_without_extension().load(path)
    return np.asarray(_resampler(rate)(samples.mean(dim=0)))


def _sinc(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(_resampler(rate)(torch.from_numpy(_mixed(samples))))


@cache
def _resampler(rate: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """torchaudio's, its filter computed once."""
    resampler: Callable[[torch.Tensor], torch.Tensor]
    resampler = torchaudio_without_extension().transforms.Resample(rate, RATE)
    return resampler


if __name__ == "__main__":
    main()

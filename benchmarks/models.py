"""How fast do the networks run on the CPU, and how exact?

    python -m benchmarks.models          Cnn14 against ONNX Runtime, OpenVINO, OpenCV and ncnn
    python -m benchmarks.models --peers  and five other networks against the same
    python -m benchmarks.models --all    and every architecture, prepared against plain

One clip of 10 s, seeded weights; errors are of probabilities, against the same network in float64.
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import harness, networks
from benchmarks.material import forget_seeded_tensors, seeded_model, sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import LEAD_S, POOLS_REST_S, alternate
from pannsx.weights import list_models

QUESTION = harness.Question(
    "models", "How fast do the networks run on the CPU, and how exact?", rounds=15, quick_rounds=3
)
DURATION_S = 10
ENGINE, ENGINE_16 = "pannsx float32", "pannsx bfloat16"
PLAIN = "plain torch, float32"
RUNTIME, VINO, VINO_16 = "ONNX Runtime float32", "OpenVINO float32", "OpenVINO bfloat16"
OPENCV, NCNN = "OpenCV float32", "ncnn float32"
NETWORKS = (
    "Cnn14", "MobileNetV1", "MobileNetV2", "ResNet38", "Wavegram_Logmel_Cnn14", "Cnn14_16k",
)  # fmt: skip
ERROR = "max error of a probability"
EXACT = 2e-5


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="Cnn14", help="a model with a log-mel (default: %(default)s)")
    parser.add_argument("--peers", action="store_true", help=f"these, against peers: {', '.join(NETWORKS)}")
    parser.add_argument("--all", action="store_true", help="every architecture, prepared against plain")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    names = NETWORKS if given.peers else (given.model,)
    for name in names:
        found.comparisons.append(_against_peers(name, given.threads, given.rounds, found))
        found.goals += _goals(name, found.comparisons[-1])
    if given.all:
        models = list_models()[:: 7 if given.quick else 1]
        compared = _prepared_against_plain(max(3, given.rounds // 5), models)
        found.comparisons += compared
        least = min(comparison.ratio(PLAIN) for comparison in compared)
        found.goals.append(
            Goal(f"times faster than plain, the least of {len(models)} models", least, at_least=1.1, aim=2.0)
        )
    return found


def _against_peers(name: str, threads: int, rounds: int, found: Findings) -> Comparison:
    model = seeded_model(name)
    waveform = sound(DURATION_S * model.sample_rate, model.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        exported = partial(_exported, path, partial(networks.export, model, len(waveform), path))
        # Separate models: no candidate may affect another's layout of the weights.
        makers: list[tuple[str, Callable[[], Call]]] = [
            (ENGINE, lambda: networks.prepared(seeded_model(name), waveform)),
            (ENGINE_16, lambda: networks.prepared(seeded_model(name), waveform, "bfloat16")),
            (PLAIN, lambda: networks.plain(model, waveform)),
            (RUNTIME, lambda: networks.onnxruntime(exported(), model, waveform, threads)),
            (VINO, lambda: networks.openvino(exported(), model, waveform, threads, "f32")),
            (OPENCV, lambda: networks.opencv(exported(), model, waveform, threads)),
            (NCNN, lambda: networks.ncnn(model, waveform, threads)),
            (VINO_16, lambda: networks.openvino(exported(), model, waveform, threads, "bf16")),
        ]
        calls = gather(makers, found.absent)
        times = alternate(calls, rounds=rounds, pause_s=POOLS_REST_S, lead_s=LEAD_S)
    exact = networks.exact_probabilities(model, waveform)
    entries = tuple(Entry(who, times[who], networks.largest_change(calls[who], exact)) for who in calls)
    return Comparison(f"{name}, one clip of {DURATION_S} s", entries, audio_s=DURATION_S)


def _exported(path: Path, write: Callable[[], None]) -> Path:
    """The ONNX file, written on first use; a failure counts as that peer's."""
    if not path.exists():
        write()
    return path


def _goals(name: str, comparison: Comparison) -> list[Goal]:
    """The goals for a network against the available peers."""
    errors = {entry.name: entry.errors[ERROR] for entry in comparison.entries}
    times = {entry.name: entry.times.median for entry in comparison.entries}
    goals = [
        Goal(f"largest error of a probability, {name}, float32", errors[ENGINE], at_most=EXACT),
        Goal(f"largest error of a probability, {name}, bfloat16", errors[ENGINE_16], at_most=5e-3),
    ]
    # A conversion that computes something else is no peer: ncnn's of the wavegrams.
    exact = [peer for peer in (RUNTIME, VINO, OPENCV, NCNN) if errors.get(peer, math.inf) <= EXACT]
    if exact:
        best = min(exact, key=times.__getitem__)
        what = f"{name} in float32, of the time of the quickest of {', '.join(exact)}"
        most, aim = (0.7, 0.5) if name == "Cnn14" else (0.8, 0.6)
        goals.append(Goal(what, comparison.ratio(ENGINE, to=best), at_most=most, aim=aim))
    return goals


def _prepared_against_plain(rounds: int, names: list[str]) -> list[Comparison]:
    comparisons = []
    for name in names:
        model = seeded_model(name)
        waveform = sound(DURATION_S * model.sample_rate, model.sample_rate)
        calls = {
            ENGINE: networks.prepared(seeded_model(name), waveform),
            PLAIN: networks.plain(model, waveform),
        }
        times = alternate(calls, rounds=rounds, warm_ups=1, pause_s=POOLS_REST_S, lead_s=LEAD_S)
        exact = networks.exact_probabilities(model, waveform)
        entries = tuple(Entry(who, times[who], networks.largest_change(calls[who], exact)) for who in calls)
        group = f"Every model, one clip of {DURATION_S} s"
        comparisons.append(Comparison(name, entries, group=group, audio_s=DURATION_S))
        del model, calls
        gc.collect()
    forget_seeded_tensors()
    return comparisons


if __name__ == "__main__":
    main()

"""How fast do the networks run on the CPU, and how exact?

    python -m benchmarks.models          Cnn14 against ONNX Runtime and OpenVINO
    python -m benchmarks.models --all    and every architecture, prepared against plain

One clip of 10 s, seeded weights; errors are of probabilities, against the same network in float64.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import harness, networks
from benchmarks.material import forget_seeded_tensors, seeded_model, sound
from benchmarks.peers import Call, gather
from benchmarks.results import Comparison, Entry, Findings, Goal
from benchmarks.timing import alternate
from pannsx.weights import list_models

QUESTION = harness.Question(
    "models", "How fast do the networks run on the CPU, and how exact?", rounds=15, quick_rounds=3
)
DURATION_S = 10
ENGINE, ENGINE_16 = "pannsx float32", "pannsx bfloat16"
PLAIN = "plain torch, float32"
RUNTIME, VINO, VINO_16 = "ONNX Runtime float32", "OpenVINO float32", "OpenVINO bfloat16"
ERROR = "max error of a probability"
PAUSE_S = 0.02  # pools of OpenMP, ONNX Runtime and TBB spin for some milliseconds after a call


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="Cnn14", help="a model with a log-mel (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every architecture, prepared against plain")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    found.comparisons.append(_against_peers(given.model, given.threads, given.rounds, found))
    if given.model == "Cnn14":
        found.goals += _goals(found.comparisons[0])
    if given.all:
        names = list_models()[:: 7 if given.quick else 1]
        found.comparisons += _prepared_against_plain(max(3, given.rounds // 5), names)
        least = min(comparison.ratio(PLAIN) for comparison in found.comparisons[1:])
        found.goals.append(
            Goal(f"times faster than plain, the least of {len(names)} models", least, at_least=1.0)
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
            (VINO_16, lambda: networks.openvino(exported(), model, waveform, threads, "bf16")),
        ]
        calls = gather(makers, found.absent)
        times = alternate(calls, rounds=rounds, pause_s=PAUSE_S, shortest_s=0)
    exact = networks.exact_probabilities(model, waveform)
    entries = tuple(Entry(who, times[who], networks.largest_change(calls[who], exact)) for who in calls)
    return Comparison(f"{name}, one clip of {DURATION_S} s", entries, audio_s=DURATION_S)


def _exported(path: Path, write: Callable[[], None]) -> Path:
    """The ONNX file, written on first use; a failure counts as that peer's."""
    if not path.exists():
        write()
    return path


def _goals(comparison: Comparison) -> list[Goal]:
    """The goals for Cnn14 against the available peers."""
    errors = {entry.name: entry.errors[ERROR] for entry in comparison.entries}
    times = {entry.name: entry.times.median for entry in comparison.entries}
    goals = [
        Goal("largest error of a probability, Cnn14, float32", errors[ENGINE], at_most=2e-5),
        Goal("largest error of a probability, Cnn14, bfloat16", errors[ENGINE_16], at_most=5e-3),
    ]
    if peers := [name for name in (RUNTIME, VINO) if name in times]:
        best = min(peers, key=times.__getitem__)
        what = f"Cnn14 in float32, of the time of the quicker of {' and '.join(peers)}"
        goals.append(Goal(what, comparison.ratio(ENGINE, to=best), at_most=0.85, aim=0.65))
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
        times = alternate(calls, rounds=rounds, warm_ups=1, pause_s=PAUSE_S, shortest_s=0)
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

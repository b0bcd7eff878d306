"""How fast is the bundled model against YAMNet?

    python -m benchmarks.yamnet --tflite yamnet.tflite

The user supplies YAMNet's file.  It takes a waveform at 16 kHz, usually of a fixed length of 0.975 s; longer
audio is cut into pieces of that length, without overlap, for the least possible work.  Its 521 classes differ
from AudioSet's 527, so there is no error to compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.material import sound
from benchmarks.peers import Call, gather
from benchmarks.results import Absent, Comparison, Entry, Findings
from benchmarks.timing import LEAD_S, POOLS_REST_S, alternate
from pannsx import AudioTagger

QUESTION = harness.Question(
    "yamnet", "How fast is the bundled model against YAMNet?", rounds=20, quick_rounds=3
)
OURS, PEER = "pannsx MobileNetV1_distilled", "YAMNet, TFLite"
DURATION_S = 10
YAMNET_RATE = 16_000


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tflite", type=Path, help="YAMNet's file; without it only the bundled model runs")


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    makers = [(OURS, _ours)]
    if given.tflite is None:
        found.absent.append(Absent(PEER, "its file was not supplied (--tflite)"))
    else:
        path = given.tflite.resolve()
        makers.append((PEER, lambda: yamnet(interpreter_of(path, given.threads))))
    calls = gather(makers, found.absent)
    times = alternate(calls, rounds=given.rounds, pause_s=POOLS_REST_S, lead_s=LEAD_S)
    entries = tuple(Entry(name, times[name]) for name in calls)
    found.comparisons.append(Comparison(f"One clip of {DURATION_S} s", entries, audio_s=DURATION_S))
    return found


def _ours() -> Call:
    tagger = AudioTagger(device="cpu")
    waveform = sound(DURATION_S * tagger.sample_rate, tagger.sample_rate)
    return lambda: tagger.inference(waveform, framewise=False)


def interpreter_of(path: Path, threads: int) -> Any:
    """TFLite's interpreter of a file, from whichever package has it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter(model_path=str(path), num_threads=threads)


def yamnet(interpreter: Any) -> Call:
    """Ten seconds through an interpreter of YAMNet -> mean scores ``(521,)``."""
    waveform = sound(DURATION_S * YAMNET_RATE, YAMNET_RATE)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    scores = interpreter.get_output_details()[0]["index"]
    shape = tuple(source["shape"])
    length = shape[-1]
    if length <= 1:  # a file for waveforms of any length
        length = len(waveform)
        interpreter.resize_tensor_input(source["index"], [*shape[:-1], length])
        interpreter.allocate_tensors()
        shape = (*shape[:-1], length)
    pieces = [
        np.resize(waveform[begin : begin + length], shape)  # the last piece must be filled up
        for begin in range(0, len(waveform), length)
    ]

    def call() -> Any:
        total = 0.0
        for piece in pieces:
            interpreter.set_tensor(source["index"], piece)
            interpreter.invoke()
            total = total + interpreter.get_tensor(scores).mean(axis=0)
        return total / len(pieces)

    return call


if __name__ == "__main__":
    main()

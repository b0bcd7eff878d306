"""What does int8 gain, and what does it lose?

    python -m benchmarks.quantisation --data FOLDER
    python -m benchmarks.quantisation --data FOLDER --networks Cnn14 --work W --forms-only
    python -m benchmarks.quantisation --data FOLDER --networks Cnn14 --work W

The second makes and scores the int8 files, which takes most of the time, and leaves them in W with their
outputs; the third, on a quiet machine, then only measures their speed.

``pannsx, int8`` has the steps of the bundled checkpoint's record, calibrated on ESC-10's fold 1; its size is
that of the file of `pannsx quantise`. It is left out on processors without the instructions. Beside it,
static quantisation by ONNX Runtime's tools: weights in int8 per channel, activations in uint8, their ranges
calibrated on clips of fold 1; the log-mel is computed before. FOLDER holds ``esc10`` (clips, ``index.csv``,
``audioset_labels.json``). The bundled network is scored on the folds 4 and 5: first tags that stay, change of
the probabilities, and accuracy by the best of each class's AudioSet labels. The seeded Cnn14, whose answers
mean nothing, shows speed, size and change of the probabilities.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import harness
from benchmarks.material import seeded_model
from benchmarks.networks import prepared
from benchmarks.results import Absent, Comparison, Entry, Fact, Findings, Goal
from benchmarks.soundscapes import read_categories
from benchmarks.timing import alternate
from pannsx import audio, labels
from pannsx.atomic import replacing
from pannsx.export.int8_file import write_int8
from pannsx.export.onnx_file import open_session, write_onnx
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.cpu.network import computes_in_bytes
from pannsx.inference.engine import Engine, Precision, Wanted
from pannsx.models import Pann
from pannsx.types import FloatArray
from pannsx.weights import load
from pannsx.weights.loading import open_checkpoint

QUESTION = harness.Question(
    "quantisation", "What does int8 gain, and what does it lose?", rounds=21, quick_rounds=3
)
RATE, CLIP_SAMPLES, WINDOW_SAMPLES = 32_000, 160_000, 320_000
CALIBRATING_FOLD = 1
CALIBRATING_EVERY = {"MobileNetV1_distilled": 1, "Cnn14": 13}  # of the 80 clips of the fold
SCORED_FOLDS = (4, 5)
EVERY = {"MobileNetV1_distilled": 1, "Cnn14": 8}  # of their clips
FLOAT32 = "ONNX Runtime, float32"
OWN: dict[str, Precision] = {"pannsx, float32": "float32", "pannsx, int8": "int8"}
FIRST_TAGS, ACCURACY_LOSS, SPEED = 0.98, 0.01, 1.5


class Clips(NamedTuple):
    """ESC-10's clips: waveforms ``(N, S)``, log-mels ``(N, T, F)``, folds, and categories by number with the
    columns of each.
    """

    waveforms: FloatArray
    log_mels: FloatArray
    folds: np.ndarray
    categories: np.ndarray
    columns: list[list[int]]


class Form(NamedTuple):
    """A form of the network, with its size and what its answers lose; None: the engine's, without a file."""

    file: str | None
    errors: dict[str, float]


def main() -> None:
    harness.run(QUESTION, measure, add_arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--networks", nargs="+", choices=CALIBRATING_EVERY, default=list(CALIBRATING_EVERY), metavar="NAME",
        help="only these of MobileNetV1_distilled and Cnn14",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, required=True, help="folder with ESC-10")
    parser.add_argument(
        "--work",
        type=Path,
        help="folder that keeps the files and their answers, and has those of earlier runs",
    )
    parser.add_argument(
        "--forms-only", action="store_true", help="make the files and score them, and measure no speed"
    )


def measure(given: argparse.Namespace) -> Findings:
    logging.disable(logging.WARNING)  # the quantiser advises other preparation
    found = Findings()
    if not (given.data / "esc10" / "index.csv").is_file():
        found.absent.append(Absent("int8", f"there is no ESC-10 in {given.data}"))
        return found
    bundled = load()
    clips = cache(partial(read_clips, given.data / "esc10", bundled.model, 40 if given.quick else None))
    for name in given.networks:
        model = bundled.model if name == "MobileNetV1_distilled" else seeded_model(name)
        with tempfile.TemporaryDirectory() as temporary:
            folder = (given.work or Path(temporary)) / name
            forms = _forms(name, model, clips, folder, given)
            if not given.forms_only:
                _measure(name, model, forms, folder, given, found)
    return found


def read_clips(folder: Path, model: Pann, n_clips: int | None) -> Clips:
    """The clips at the model's rate, each of five seconds."""
    if model.frontend is None:
        raise TypeError(f"{model.architecture} has no log-mel")
    kernel = LogMelKernel(model.frontend)
    named = read_categories(folder)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows = rows[:: len(rows) // n_clips] if n_clips else rows
    waveforms, log_mels = [], []
    for row in rows:
        waveform = audio.load(folder / row["file"], sample_rate=RATE).waveform[:CLIP_SAMPLES]
        waveforms.append(np.pad(waveform, (0, CLIP_SAMPLES - len(waveform))))
        log_mels.append(kernel(waveforms[-1]))
    return Clips(
        np.stack(waveforms),
        np.stack(log_mels).astype(np.float32),
        np.array([int(row["fold"]) for row in rows]),
        np.array([list(named).index(row["category"]) for row in rows]),
        [[labels.audioset().index(label) for label in each] for each in named.values()],
    )


def _forms(
    name: str, model: Pann, clips: Callable[[], Clips], folder: Path, given: argparse.Namespace
) -> dict[str, Form]:
    """The network's forms by label, with files in a folder: those that are there, or made and scored."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "forms.json"
    labels_of_own = [label for label, precision in OWN.items() if precision != "int8" or _has_int8(model)]
    made_of = {"weights": _digest(model), "quick": given.quick, "own": labels_of_own}
    if done.is_file():
        kept = json.loads(done.read_text("utf-8"))
        if kept["made_of"] == made_of:
            return {label: Form(*form) for label, form in kept["forms"].items()}
    float32 = folder / "float32.onnx"
    write_onnx(model, float32, from_log_mel=True, n_samples=None)
    heard = clips()
    calibrating = heard.log_mels[heard.folds == CALIBRATING_FOLD][:: CALIBRATING_EVERY[name]]
    files = {FLOAT32: float32}
    for label, path in quantised(float32, calibrating, folder):
        files[f"ONNX Runtime, {label}"] = path
    scored = np.isin(heard.folds, SCORED_FOLDS)
    scored[np.flatnonzero(scored)[np.arange(scored.sum()) % EVERY[name] != 0]] = False
    answers: dict[str, FloatArray] = {}
    forms: dict[str, Form] = {}
    file: str | None
    size: int | None
    for label in (*labels_of_own, *files):
        if label in OWN:
            file, size = None, _own_size(name, OWN[label], folder)
            answers[label] = _own_probabilities(model, OWN[label], heard.waveforms[scored])
        else:
            file, size = files[label].name, files[label].stat().st_size
            answers[label] = _probabilities(open_session(files[label], given.threads), heard.log_mels[scored])
        probabilities, reference = answers[label], answers[_float32_of(label)]
        errors = {} if size is None else {"MB": size / 1e6}
        if label != _float32_of(label):
            errors |= {
                "mean change of a probability": float(np.abs(probabilities - reference).mean()),
                "largest change": float(np.abs(probabilities - reference).max()),
            }
        if name != "Cnn14":
            errors |= {
                "first tags that stay": float(np.mean(probabilities.argmax(1) == reference.argmax(1))),
                "ESC-10 accuracy": _accuracy(probabilities, heard, scored),
            }
        forms[label] = Form(file, errors)
        print(f"{name}, {label}: {errors}", file=sys.stderr)
    with replacing(done) as temporary:
        temporary.write_text(json.dumps({"made_of": made_of, "forms": forms}, indent=1), "utf-8")
    return forms


def _measure(
    name: str,
    model: Pann,
    forms: Mapping[str, Form],
    folder: Path,
    given: argparse.Namespace,
    found: Findings,
) -> None:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(WINDOW_SAMPLES)).astype(np.float32)
    kernel = LogMelKernel(model.frontend)  # type: ignore[arg-type]
    calls: dict[str, Any] = {}
    for label, form in forms.items():
        if form.file is None:
            calls[label] = prepared(model, waveform, OWN[label])
            continue
        session = open_session(folder / form.file, given.threads)
        calls[label] = lambda session=session: session.run(
            ["probabilities"], {"log_mel": np.asarray(kernel(waveform))[None]}
        )
    errors = {label: form.errors for label, form in forms.items()}
    times = alternate(calls, rounds=given.rounds)
    comparison = Comparison(
        f"{name}, 10 s", tuple(Entry(label, times[label], errors[label]) for label in calls), audio_s=10.0
    )
    found.comparisons.append(comparison)
    others = [label for label in calls if label not in (*OWN, FLOAT32)]
    best = min(others, key=lambda label: comparison.ratio(label))
    for label, precision in OWN.items():
        if label in calls:
            ratio = comparison.ratio(label, best)
            found.facts.append(Fact(f"{name}: time of pannsx in {precision} by that of {best}", ratio, ""))
    if "pannsx, int8" in calls:
        found.goals += _goals(comparison, errors)
    elif model.int8_steps:
        found.absent.append(Absent("pannsx, int8", "the processor has no instructions for products of bytes"))


def _digest(model: Pann) -> str:
    digest = sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _goals(comparison: Comparison, errors: dict[str, dict[str, float]]) -> list[Goal]:
    """Of pannsx."""
    float32, int8 = OWN
    loss = errors[float32]["ESC-10 accuracy"] - errors[int8]["ESC-10 accuracy"]
    return [
        Goal(f"{int8}: first tags that stay", errors[int8]["first tags that stay"], at_least=FIRST_TAGS),
        Goal(f"{int8}: loss of ESC-10 accuracy", loss, at_most=ACCURACY_LOSS),
        Goal(f"{int8}: times as fast as float32", comparison.ratio(float32, int8), at_least=SPEED),
    ]


def _has_int8(model: Pann) -> bool:
    return bool(model.int8_steps) and computes_in_bytes()


def _float32_of(label: str) -> str:
    """The form that a form is compared with: the same software's in float32."""
    return "pannsx, float32" if label in OWN else FLOAT32


def _own_size(name: str, precision: Precision, folder: Path) -> int | None:
    """Bytes of the checkpoint's file, or of that of `pannsx quantise`; None: seeded weights have no file."""
    if name == "Cnn14":
        return None
    opened = open_checkpoint(name)
    if precision == "float32":
        return opened.record.size_bytes
    return write_int8(opened, folder / "int8.safetensors", opened.model.int8_steps, "ESC-10").size_bytes


def _own_probabilities(model: Pann, precision: Precision, waveforms: FloatArray) -> FloatArray:
    engine = Engine(model, device="cpu", precision=precision)
    answers = (engine.run([waveform], Wanted(framewise=False))[0] for waveform in waveforms)
    return np.stack([answer.clipwise for answer in answers])


def quantised(float32: Path, calibrating: FloatArray, folder: Path) -> Iterator[tuple[str, Path]]:
    """int8 forms of a file, by the layers that stay in float32."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared_path = folder / "prepared.onnx"
    quant_pre_process(str(float32), str(prepared_path), skip_symbolic_shape=True)
    nodes = onnx.load(str(prepared_path)).graph.node
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    depthwise = [node.name for node in convolutions if _n_groups(node) > 1]
    outside = [node.name for node in nodes if not node.name.startswith("trunk")]
    around = [node.name for node in nodes if node.name.startswith(("norm", "output"))]
    first_and_head = [*outside, convolutions[0].name]
    forms = {"int8": around, "int8, first layer and head in float32": first_and_head}
    if depthwise:
        forms["int8, also depthwise in float32"] = [*first_and_head, *depthwise]
    for number, (label, excluded) in enumerate(forms.items()):
        path = folder / f"int8_{number}.onnx"
        quantize_static(
            str(prepared_path),
            str(path),
            _Reader(calibrating),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            calibrate_method=CalibrationMethod.MinMax,
        )
        yield label, path


class _Reader:
    """The calibrating clips, one after the other, as ONNX Runtime's tools ask for them."""

    def __init__(self, log_mels: FloatArray) -> None:
        self._left = iter(log_mels)

    def get_next(self) -> dict[str, FloatArray] | None:
        log_mel = next(self._left, None)
        return None if log_mel is None else {"log_mel": log_mel[None]}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, FloatArray]:
        given = self.get_next()
        if given is None:
            raise StopIteration
        return given


def _n_groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _probabilities(session: Any, log_mels: FloatArray) -> FloatArray:
    return np.concatenate([session.run(["probabilities"], {"log_mel": each[None]})[0] for each in log_mels])


def _accuracy(probabilities: FloatArray, clips: Clips, scored: Sequence[bool] | np.ndarray) -> float:
    scores = np.stack([probabilities[:, columns].max(axis=1) for columns in clips.columns], axis=1)
    return float(np.mean(scores.argmax(axis=1) == clips.categories[scored]))


if __name__ == "__main__":
    main()

"""The contract of an exported network: its input, its outputs, and their exactness.

It is written beside the network twice: ``.json`` for programs and ``.md`` for people. It states label order,
sample rate and scale, the most frequent errors of ports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pannsx.atomic import replacing
from pannsx.frontend.settings import FrontEnd

Numbers = Literal["float32", "float16", "int8"]
InputName = Literal["waveform", "log_mel"]
Size = int | str  # of an axis; a name where it may be any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """An input or output: its name, the sizes of its axes (a name where any number will do), its meaning."""

    name: str
    shape: tuple[Size, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Times of the frames: frame ``n`` is centred on ``offset_s + n * hop_s`` seconds."""

    hop_s: float
    offset_s: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Largest differences from the network in float32 in torch, on broadband sound.

    Attributes:
        probabilities: of the clip's probabilities.
        embedding: of the embedding, as a share of its largest value.
        frame_probabilities: of the frames' probabilities.
        runtime: the runtime of the exported file.
        reference: the runtime that it is compared with.
    """

    probabilities: float
    embedding: float
    frame_probabilities: float
    runtime: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All facts about an exported file.

    Attributes:
        file: its name; size and digest follow.
        format: ``onnx`` with its opset, or ``torch.export``.
        numbers: of trunk and head; front end, input and outputs are float32 always.
        checkpoint: name of the checkpoint; architecture, licence and digest of its weights follow.
        sample_rate: of the waveform, in Hz. Nothing in the file resamples.
        input: the input.
        shortest: its least length: samples, or frames of the log-mel.
        pads: whether the file itself pads a shorter waveform, with zeros at the end.
        log_mel: settings of the log-mel, or None for networks on the waveform alone.
        log_mel_in_graph: whether the file computes the log-mel.
        outputs: the outputs, in order.
        frames: times of ``frame_probabilities``.
        labels: name and machine id (MID) of each class, in the order of the last axis.
        measured: the largest differences found.
    """

    file: str
    size_bytes: int
    sha256: str
    format: str
    numbers: Numbers
    checkpoint: str
    architecture: str
    licence: str | None
    weights_digest: str
    sample_rate: int
    input: Array
    shortest: int
    pads: bool
    log_mel: FrontEnd | None
    log_mel_in_graph: bool
    outputs: tuple[Array, ...]
    frames: Frames
    labels: tuple[dict[str, str | None], ...]
    measured: Measured

    def as_json(self) -> dict[str, Any]:
        """The form of the ``.json`` file."""
        return asdict(self)


def write_contract(contract: Contract, folder: Path) -> tuple[Path, Path]:
    """Write ``<file>.json`` and ``<file>.md``; returns their paths."""
    paths = (folder / f"{contract.file}.json", folder / f"{contract.file}.md")
    texts = (json.dumps(contract.as_json(), indent=1, ensure_ascii=False) + "\n", page_of(contract))
    for path, text in zip(paths, texts, strict=True):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def page_of(contract: Contract) -> str:
    """The contract in Markdown."""
    c = contract
    rows = [
        ("file", f"{c.file}, {c.size_bytes:,} bytes, sha256 `{c.sha256}`"),
        ("format", f"{c.format}, {c.numbers}"),
        ("checkpoint", f"{c.checkpoint} ({c.architecture}), weights {c.weights_digest}"),
        ("licence of the weights", c.licence or "not known"),
        ("sample rate", f"{c.sample_rate:,} Hz, mono; nothing in the file resamples"),
        ("input", _of_array(c.input)),
        ("shortest input", _shortest(c)),
        ("log-mel", _log_mel(c)),
        *(("output", _of_array(each)) for each in c.outputs),
        (
            "frames",
            f"frame n is centred on {c.frames.offset_s:g} s + n x {c.frames.hop_s:g} s ({c.frames.source})",
        ),
        (
            "largest difference",
            f"{c.measured.probabilities:.1e} of a probability, {c.measured.embedding:.1e} of the embedding's "
            f"largest value, {c.measured.frame_probabilities:.1e} of a frame's probability: "
            f"{c.measured.runtime} against {c.measured.reference}, on broadband sound",
        ),
    ]
    lines = [f"# {c.file}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {text} |" for name, text in rows]
    lines += [
        "",
        "Classes, in the order of the last axis:",
        "",
        "| position | label | MID |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {i} | {each['name']} | {each['mid'] or ''} |" for i, each in enumerate(c.labels)]
    return "\n".join(lines) + "\n"


def _of_array(array: Array) -> str:
    return f"`{array.name}`, float32 ({', '.join(map(str, array.shape))}): {array.meaning}"


def _shortest(c: Contract) -> str:
    if c.input.name == "log_mel":
        return f"{c.shortest} frames"
    if isinstance(c.input.shape[1], int):
        return (
            f"{c.input.shape[1]:,} samples, neither more nor less: cut longer sound, pad shorter with zeros"
        )
    padded = "; shorter ones are padded with zeros at the end, in the file" if c.pads else ""
    return f"{c.shortest:,} samples{padded}"


def _log_mel(c: Contract) -> str:
    if c.log_mel is None:
        return "none: the network takes the waveform"
    front = c.log_mel
    where = "computed in the file" if c.log_mel_in_graph else "to be computed before"
    return (
        f"{where}: n_fft {front.n_fft}, hop {front.hop_length} samples, {front.n_mels} bands from "
        f"{front.fmin:g} to {front.fmax:g} Hz, periodic Hann window, centred with reflected edges, power, "
        "Slaney mel scale with unit area, 10 log10 of at least 1e-10"
    )

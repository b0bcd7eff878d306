"""Export of a checkpoint: the file, checked against torch, and its contract beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pannsx.atomic import replacing
from pannsx.errors import WeightsError
from pannsx.export import onnx_file, torch_file
from pannsx.export.contract import Array, Contract, Frames, InputName, Measured, Numbers, Size, write_contract
from pannsx.export.differences import TOLERANCE, Differences, Runner, measure
from pannsx.frontend.settings import FrontEnd
from pannsx.models.pann import Pann
from pannsx.models.stems import LogMelStem, WavegramLogMelStem
from pannsx.types import PathLike
from pannsx.weights import local
from pannsx.weights.digests import file_digest
from pannsx.weights.loading import LoadedCheckpoint, load

Form = Literal["onnx", "torch"]

_SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "torch": ".pt2"}


class Exported(NamedTuple):
    """The files of an export, and the contract that two of them hold."""

    path: Path
    contract_path: Path
    page_path: Path
    contract: Contract


def export(
    checkpoint: str | LoadedCheckpoint,
    folder: PathLike,
    *,
    form: Form = "onnx",
    input_name: InputName = "waveform",
    window_s: float | None = None,
    float16: bool = False,
) -> Exported:
    """Write a checkpoint as an ONNX or torch.export file, with its contract beside it.

    The file is run and compared with the network in torch before it takes its name. Its outputs are
    ``probabilities (B, K)``, ``embedding (B, D)`` and ``frame_probabilities (B, T', K)``.

    Args:
        checkpoint: a name of :func:`pannsx.list_models`, or a checkpoint of :func:`pannsx.weights.load`.
        folder: where to write; created if missing, and files of the same names are replaced.
        form: ``"onnx"``, for ONNX Runtime and others, or ``"torch"``, for ``torch.export.load``.
        input_name: ``"waveform"``: ``(B, S)`` samples at the checkpoint's rate, the log-mel is part of the
            file; ``"log_mel"``: ``(B, T, F)`` in dB.
        window_s: a fixed length of the sound, in seconds; None: any length.
        float16: trunk and head in float16, half the size; input, front end and outputs stay float32.

    Raises:
        ValueError: an unknown name, or settings that do not fit the checkpoint.
        WeightsError: the weights cannot be obtained, libraries are missing, or the file does not give the
            network's answers; it is then not kept.
        OSError: the folder cannot be written.
    """
    if form not in _SUFFIXES:
        raise ValueError(f"form is {form!r}; 'onnx' or 'torch' is needed")
    if form == "onnx":
        onnx_file.check_libraries()
    if isinstance(checkpoint, str):
        checkpoint = load(checkpoint)
    model = checkpoint.model
    from_log_mel = _takes_log_mel(model, input_name)
    n_samples = _window(model, window_s)
    if not from_log_mel:
        _check_reflection(model)
    name = _stem_of(checkpoint.record.name, input_name, window_s, float16=float16) + _SUFFIXES[form]
    path = Path(folder) / name
    with replacing(path) as temporary:
        run = _write(
            checkpoint, temporary, form, from_log_mel=from_log_mel, n_samples=n_samples, float16=float16
        )
        pads = form == "onnx" and not from_log_mel and n_samples is None
        found = measure(model, run, from_log_mel=from_log_mel, n_samples=n_samples, pads=pads)
        if not float16 and max(found) > TOLERANCE:
            raise WeightsError(
                f"{name} differs from the network in torch by {max(found):.1e}, where {TOLERANCE:g} is "
                "allowed; it is not kept. Report this, with the versions of the libraries"
            )
        contract = _contract(
            checkpoint, name, temporary, form, input_name, n_samples,
            numbers="float16" if float16 else "float32", pads=pads, found=found,
        )  # fmt: skip
        contract_path, page_path = write_contract(contract, path.parent)
    return Exported(path, contract_path, page_path, contract)


def _write(
    checkpoint: LoadedCheckpoint,
    path: Path,
    form: Form,
    *,
    from_log_mel: bool,
    n_samples: int | None,
    float16: bool,
) -> Runner:
    """Write the network itself; returns what runs it."""
    model = checkpoint.model
    if form == "torch":
        torch_file.write_torch(model, path, from_log_mel=from_log_mel, n_samples=n_samples, float16=float16)
        return torch_file.torch_runner(path)
    onnx_file.write_onnx(
        model,
        path,
        from_log_mel=from_log_mel,
        n_samples=n_samples,
        float16=float16,
        metadata={
            "checkpoint": checkpoint.record.name,
            "weights": weights_digest(checkpoint),
            "sample_rate": str(model.sample_rate),
            "labels": "\n".join(checkpoint.labels),
        },
    )
    return onnx_file.onnx_runner(path)


def weights_digest(checkpoint: LoadedCheckpoint) -> str:
    """The digest of the checkpoint's file, such as ``sha256 0123...``."""
    if checkpoint.record.digest is not None:
        return str(checkpoint.record.digest)
    path = local.find(checkpoint.record)
    return "not known" if path is None else f"sha256 {file_digest(path, 'sha256')}"


def _takes_log_mel(model: Pann, input_name: InputName) -> bool:
    if input_name not in ("waveform", "log_mel"):
        raise ValueError(f"input_name is {input_name!r}; 'waveform' or 'log_mel' is needed")
    if input_name == "log_mel" and not isinstance(model.stem, LogMelStem):
        why = (
            "needs the waveform beside the log-mel"
            if isinstance(model.stem, WavegramLogMelStem)
            else "works on the waveform and has no log-mel"
        )
        raise ValueError(f"{model.architecture} {why}; export it with the waveform as its input")
    return input_name == "log_mel"


def _window(model: Pann, window_s: float | None) -> int | None:
    if window_s is None:
        return None
    n_samples = round(window_s * model.sample_rate)
    if n_samples < model.min_samples:
        raise ValueError(
            f"window_s is {window_s:g}; {model.architecture} needs at least "
            f"{model.min_samples / model.sample_rate:g} s"
        )
    return n_samples


def _check_reflection(model: Pann) -> None:
    """ValueError if the edges of the shortest input cannot be reflected in one go."""
    front = model.frontend
    if front is not None and model.min_samples <= front.n_fft // 2:
        raise ValueError(
            f"the log-mel's window of {front.n_fft} samples is too long for the shortest input of "
            f"{model.min_samples}: export with the log-mel as input"
        )


def _stem_of(name: str, input_name: InputName, window_s: float | None, *, float16: bool) -> str:
    parts = [
        name,
        *(["log_mel"] if input_name == "log_mel" else []),
        *([f"{window_s:g}s"] if window_s is not None else []),
        *(["float16"] if float16 else []),
    ]
    return "_".join(parts)


def _contract(
    checkpoint: LoadedCheckpoint,
    name: str,
    path: Path,
    form: Form,
    input_name: InputName,
    n_samples: int | None,
    *,
    numbers: Numbers,
    pads: bool,
    found: Differences,
) -> Contract:
    record, model, labels = checkpoint.record, checkpoint.model, checkpoint.labels
    n_frames: Size = "frames" if n_samples is None else model.n_frames(n_samples)
    runtime = onnx_file.runtime_version() if form == "onnx" else torch_file.torch_version()
    front: FrontEnd | None = model.frontend
    shortest = model.min_samples
    if input_name == "log_mel" and front is not None:
        shortest = front.n_frames(shortest)
    mids = labels.ids or (None,) * len(labels)
    return Contract(
        file=name,
        size_bytes=path.stat().st_size,
        sha256=file_digest(path, "sha256"),
        format=onnx_file.FORMAT if form == "onnx" else torch_file.FORMAT,
        numbers=numbers,
        checkpoint=record.name,
        architecture=model.architecture,
        licence=record.licence,
        weights_digest=weights_digest(checkpoint),
        sample_rate=model.sample_rate,
        input=_input(model, input_name, n_samples),
        shortest=shortest,
        pads=pads,
        log_mel=front,
        log_mel_in_graph=front is not None and input_name == "waveform",
        outputs=(
            Array(
                name="probabilities",
                shape=("batch", model.n_classes),
                meaning="probability of each class in the clip; classes do not exclude one another",
            ),
            Array(
                name="embedding",
                shape=("batch", model.embedding_size),
                meaning="the layer before the classifier",
            ),
            Array(
                name="frame_probabilities",
                shape=("batch", n_frames, model.n_classes),
                meaning="probability of each class in each frame",
            ),
        ),
        frames=Frames(
            hop_s=model.grid.hop_samples / model.sample_rate,
            offset_s=model.grid.offset_samples / model.sample_rate,
            source=model.frame_source,
        ),
        labels=tuple({"name": each, "mid": mid} for each, mid in zip(labels, mids, strict=True)),
        measured=Measured(
            **found._asdict(),
            runtime=f"{runtime} on the CPU",
            reference=f"{torch_file.torch_version()} in float32",
        ),
    )


def _input(model: Pann, input_name: InputName, n_samples: int | None) -> Array:
    if input_name == "waveform" or model.frontend is None:
        return Array(
            name="waveform",
            shape=("batch", n_samples or "samples"),
            meaning=f"mono samples at {model.sample_rate} Hz, full scale is -1 to 1",
        )
    n_frames: Size = "frames" if n_samples is None else model.frontend.n_frames(n_samples)
    return Array(
        name="log_mel",
        shape=("batch", n_frames, model.frontend.n_mels),
        meaning=f"log-mel in dB of samples at {model.sample_rate} Hz",
    )

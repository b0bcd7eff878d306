"""ONNX files: written, and run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pannsx.errors import WeightsError
from pannsx.export.differences import Answers, Runner
from pannsx.export.graph import OPSET
from pannsx.export.network import make_onnx
from pannsx.models.pann import Pann
from pannsx.types import FloatArray

FORMAT = f"ONNX, opset {OPSET}"


def check_libraries() -> None:
    """WeightsError, with the remedy, if ``onnx`` or ``onnxruntime`` is not installed."""
    try:
        import onnx as onnx
        import onnxruntime as onnxruntime
    except ImportError as error:
        raise WeightsError(
            f"an export to ONNX needs onnx and onnxruntime ({error}): pip install 'pannsx[onnx]'"
        ) from error


def write_onnx(
    model: Pann,
    path: Path,
    *,
    from_log_mel: bool,
    n_samples: int | None,
    float16: bool = False,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write the network; arguments as in `pannsx.export.network.make_onnx`."""
    import onnx

    made = make_onnx(
        model, from_log_mel=from_log_mel, n_samples=n_samples, float16=float16, metadata=metadata or {}
    )
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())


def onnx_runner(path: Path) -> Runner:
    """Runs the file in ONNX Runtime on the CPU."""
    session = open_session(path)
    (given,) = session.get_inputs()

    def run(value: FloatArray) -> Answers:
        return tuple(session.run(None, {given.name: value}))

    return run


def open_session(path: Path, n_threads: int = 0) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU; 0 threads: the runtime decides."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runtime_version() -> str:
    """Name and version of the runtime."""
    import onnxruntime

    return f"ONNX Runtime {onnxruntime.__version__}"

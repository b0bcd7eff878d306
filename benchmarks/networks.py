"""One network in several runtimes: prepared, plain torch, ONNX Runtime, OpenVINO, OpenCV and ncnn.

Each takes the waveform and computes the log-mel with pannsx's kernel, so that only the network differs; each
returns probabilities and embedding, without frames.  Settings are those recommended by each documentation
for the lowest latency.
"""

from __future__ import annotations

import copy
import io
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.material import Samples
from benchmarks.peers import Call
from pannsx.frontend.definition import reference_log_mel
from pannsx.frontend.numba_logmel import LogMelKernel
from pannsx.inference.engine import Engine, Precision, Wanted
from pannsx.models import Pann
from pannsx.models.heads import ClipHead, Head
from pannsx.models.stems import LogMelStem

Inputs = Callable[[Samples], dict[str, np.ndarray[Any, Any]]]


class ClipNetwork(nn.Module):
    """Log-mel ``(B, T, F)``, waveform ``(B, S)``, or both, as the stem takes them (see :func:`inputs`) ->
    ``(B, K)`` probabilities and ``(B, D)`` embedding, for export.
    """

    def __init__(self, model: Pann) -> None:
        super().__init__()
        self.stem, self.trunk, self.head = model.stem, model.trunk, model.head

    def forward(self, log_mel: Tensor | None, waveform: Tensor | None) -> tuple[Tensor, Tensor]:
        """Stem, trunk and the clip's part of the head."""
        features = self.trunk(*self.stem(waveform, log_mel))
        logits, embedding = _clip(self.head, features)
        return logits.sigmoid(), embedding


def inputs(model: Pann) -> Inputs:
    """From a waveform ``(S,)`` to the inputs of an exported network: ``log_mel``, ``waveform``, or both."""
    kernel = None if model.frontend is None else LogMelKernel(model.frontend)
    takes_waveform = not isinstance(model.stem, LogMelStem)  # a wavegram is made of the samples

    def of(waveform: Samples) -> dict[str, np.ndarray[Any, Any]]:
        found: dict[str, np.ndarray[Any, Any]] = {}
        if kernel is not None:
            found["log_mel"] = kernel(waveform)[None]
        if takes_waveform:
            found["waveform"] = waveform[None]
        return found

    return of


def _clip(head: Head, features: Tensor) -> tuple[Tensor, Tensor]:
    """``(B, C, T')`` features -> ``(B, K)`` logits and ``(B, D)`` embedding, without frames if possible."""
    if isinstance(head, ClipHead):
        return head.clip(features)
    logits, embedding, _ = head(features)
    return logits, embedding


def prepared(model: Pann, waveform: Samples, precision: Precision = "float32") -> Call:
    """Through :class:`pannsx.inference.engine.Engine`, as `AudioTagger` does."""
    engine = Engine(model, device="cpu", precision=precision)
    wanted = Wanted(framewise=False)
    return lambda: engine.run([waveform], wanted)[0].clipwise


def plain(model: Pann, waveform: Samples) -> Call:
    """The plain torch module."""
    samples = model.pad(torch.from_numpy(waveform)[None])
    kernel = None if model.frontend is None else LogMelKernel(model.frontend)

    def call() -> Any:
        with torch.inference_mode():
            log_mel = None if kernel is None else torch.from_numpy(kernel(samples[0].numpy()))[None]
            logits, _ = _clip(model.head, model.forward_features(samples, log_mel))
            return logits.sigmoid()[0].numpy()

    return call


def export(model: Pann, n_samples: int, path: Path) -> None:
    """Write the network of a model as ONNX, for inputs of ``n_samples`` samples."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # about operators that are not used here
    given = inputs(model)(np.zeros(n_samples, np.float32))
    tensors = tuple(
        torch.from_numpy(given[name]) if name in given else None for name in ("log_mel", "waveform")
    )
    with redirect_stdout(io.StringIO()):
        program = torch.onnx.export(ClipNetwork(model).eval(), tensors, dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    program.save(path)


def onnxruntime(path: Path, model: Pann, waveform: Samples, threads: int) -> Call:
    """ONNX Runtime: every graph optimisation, one operator at a time on all threads."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = inputs(model)
    return lambda: session.run(None, feed(waveform))[0][0]


def openvino(path: Path, model: Pann, waveform: Samples, threads: int, precision: str) -> Call:
    """OpenVINO with its latency hint, one stream on all threads, computing in ``f32`` or ``bf16``."""
    import openvino as ov

    core = ov.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("OpenVINO says that this processor has no bfloat16")
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()
    feed = inputs(model)
    return lambda: request.infer(feed(waveform), share_inputs=True)[0][0].copy()


def opencv(path: Path, model: Pann, waveform: Samples, threads: int) -> Call:
    """OpenCV's DNN module on its own CPU backend."""
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(str(path))
    outputs = network.getUnconnectedOutLayersNames()
    feed = inputs(model)

    def call() -> Any:
        for name, array in feed(waveform).items():
            network.setInput(array, name)
        probabilities, _ = network.forward(outputs)
        return np.asarray(probabilities)[0].copy()

    return call


def ncnn(model: Pann, waveform: Samples, threads: int) -> Call:
    """ncnn in float32, converted by its own pnnx from a trace of the network."""
    import ncnn as runtime
    import pnnx

    feed = inputs(model)
    tensors = [torch.from_numpy(array) for array in feed(waveform).values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # lengths are constants, as they may be
        traced = torch.jit.trace(_Traceable(model), tensors, check_trace=False)
    network = runtime.Net()
    network.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pt"
        traced.save(path)  # type: ignore[no-untyped-call]
        shapes = ",".join(f"[{','.join(map(str, tensor.shape))}]" for tensor in tensors)
        command = [pnnx.EXEC_PATH, path.name, f"inputshape={shapes}", "fp16=0"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        network.load_param(str(path.with_suffix(".ncnn.param")))
        network.load_model(str(path.with_suffix(".ncnn.bin")))

    def call() -> Any:
        extractor = network.create_extractor()
        for i, array in enumerate(feed(waveform).values()):
            extractor.input(f"in{i}", runtime.Mat(array[0]))  # without the batch
        return np.array(extractor.extract("out0")[1])

    return call


class _Traceable(nn.Module):
    """:class:`ClipNetwork` with the inputs that it takes, and no others: a trace has no None."""

    def __init__(self, model: Pann) -> None:
        super().__init__()
        self.network = ClipNetwork(model).eval()
        self.has_log_mel = model.frontend is not None

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        """The log-mel, the waveform, or both, in this order."""
        log_mel = given[0] if self.has_log_mel else None
        waveform = given[-1] if len(given) > self.has_log_mel else None
        found: tuple[Tensor, Tensor] = self.network(log_mel, waveform)
        return found


def exact_probabilities(model: Pann, waveform: Samples) -> np.ndarray[Any, np.dtype[np.float64]]:
    """``(S,)`` waveform -> ``(K,)`` probabilities, in float64 from the definition of the log-mel on."""
    double = copy.deepcopy(model).double().eval()
    samples = model.pad(torch.from_numpy(waveform)[None]).double()
    log_mel = None
    if model.frontend is not None:
        log_mel = torch.from_numpy(reference_log_mel(samples[0].numpy(), model.frontend))[None]
    with torch.inference_mode():
        logits, _ = _clip(double.head, double.forward_features(samples, log_mel))
        return logits.sigmoid()[0].numpy()


def largest_change(call: Call, exact: np.ndarray[Any, Any]) -> dict[str, float]:
    """The error column: the largest difference of a probability from the exact one."""
    return {"max error of a probability": float(np.abs(np.asarray(call(), np.float64) - exact).max())}

"""The conditions of a measurement: machine, versions, commit, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from pannsx.inference.cpu.cores import n_processors

ROOT = Path(__file__).resolve().parents[1]

LIBRARIES = ("torch", "numpy", "scipy", "numba", "llvmlite", "safetensors", "soundfile")
PEERS = (
    "torchlibrosa", "librosa", "nnAudio", "resampy", "soxr", "panns-inference", "onnx", "onnxscript",
    "onnxruntime", "openvino", "ai-edge-litert", "tflite-runtime", "scikit-learn", "h5py",
    "opencv-python-headless", "ncnn", "pnnx", "torchaudio", "torchcodec",
)  # fmt: skip
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def thread_environment(threads: int) -> dict[str, str]:
    """This process's environment with every library's number of threads set, for a new process."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def current(threads: int, rounds: int, took_s: float) -> dict[str, Any]:
    """The conditions of a measurement on this machine's CPU that took ``took_s`` and ended now."""
    import torch

    import pannsx

    return {
        "device": "cpu",
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": n_processors(),
        "threads": threads,
        "rounds": rounds,
        "took_s": round(took_s, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "pannsx": pannsx.__version__,
        "commit": commit(),
        "libraries": versions(LIBRARIES),
        "peers": versions(PEERS),
        "time_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def cpu_model() -> str:
    """The processor's readable name, from the system."""
    if (cpuinfo := Path("/proc/cpuinfo")).is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin" and (name := _output("sysctl", "-n", "machdep.cpu.brand_string")):
        return name
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this checkout, with ``-dirty`` if the package differs from it; None outside git."""
    found = _output("git", "rev-parse", "HEAD")
    if found and _output("git", "status", "--porcelain", "--", "pannsx"):
        return f"{found}-dirty"
    return found


def versions(distributions: tuple[str, ...]) -> dict[str, str | None]:
    """Installed version of each, None if it is not installed."""
    return {name: _version(name) for name in distributions}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()

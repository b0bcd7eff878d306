"""Speed and errors on a GPU, in one run of at most eight minutes.

    python -m benchmarks.gpu [--minutes 8] [-o FOLDER]      on a machine with a GPU
    python -m benchmarks.gpu --device cpu --quick           a trial run

Needs the repository, torch, NumPy, SciPy and Numba; panns_inference and pytest are used where they are
installed. Each part has its share of the minutes. A part that fails, or that has no time left, says so in the
result, and the others go on. The result is one JSON file, named by the card:

    front_end        log-mel on the device against the golden values
    peak             TFLOP/s of a 3 x 3 convolution, of each dtype, for comparison with the networks
    networks         clips of 10 s a second, log-mel included: as modules, as CUDA graphs, compiled
    panns_inference  Cnn14 of that package on the same card
    training         steps of Cnn14 with 32 and 128 clips, and the hours of 600,000 steps
    loader           clips a second that the readers of training deliver beside it
    tests            the tests marked ``cuda``
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import conditions, results
from benchmarks.material import seeded_model
from benchmarks.train_step import step_seconds
from pannsx.atomic import replacing
from pannsx.frontend.definition import reference_log_mel
from pannsx.frontend.settings import FrontEnd
from pannsx.frontend.torch_logmel import LogMel
from pannsx.inference.cpu.cores import n_processors
from pannsx.models import Pann
from pannsx.models.cost import multiply_accumulates
from train.recipe import read_recipe

NAMES = ("Cnn14", "Cnn14_16k", "MobileNetV1", "Wavegram_Logmel_Cnn14")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CLIP_S, PUBLISHED_STEPS = 10, 600_000
GOLDEN = conditions.ROOT / "tests" / "golden"
AIM_CLIPS_PER_S, AIM_HOURS = 9_000, 12
FOLDER = Path(__file__).resolve().parent / "gpu_results"

SHARES = {
    "front_end": 0.05, "peak": 0.05, "networks": 0.35, "panns_inference": 0.1, "training": 0.25, "loader":
    0.1, "tests": 0.1,
}  # fmt: skip
"""Each part's share of the minutes; what one does not use is left for those after it."""


class Bench:
    """The device, the time left, and how to measure on it.

    Args:
        device: ``"cuda"``, ``"cpu"`` or a device of torch by its full name.
        quick: tiny sizes, to see that everything runs.
    """

    def __init__(self, device: str, quick: bool) -> None:
        self.device, self.quick = torch.device(device), quick
        self.deadline = float("inf")

    @property
    def left_s(self) -> float:
        """Seconds left for the current part."""
        return self.deadline - time.monotonic()

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def median_s(self, call: Callable[[], object], rounds: int = 10, warm_ups: int = 3) -> float:
        """Median seconds of a call; at least three rounds, fewer than ``rounds`` where the time is over."""
        seconds = []
        for number in range((1 if self.quick else warm_ups) + (3 if self.quick else rounds)):
            self.synchronise()
            begin = time.perf_counter()
            call()
            self.synchronise()
            if number >= (1 if self.quick else warm_ups):
                seconds.append(time.perf_counter() - begin)
            if self.left_s < 0 and len(seconds) >= 3:
                break
        return statistics.median(seconds)


def front_end(bench: Bench) -> dict[str, Any]:
    """Largest difference from the golden log-mel and from the float64 definition, in dB, by setting."""
    found = {}
    with np.load(GOLDEN / "frontend.npz") as golden, np.load(GOLDEN / "inputs.npz") as inputs:
        for key in golden.files:  # such as logmel/32k_mel64
            of_rate, _, of_bands = key.rpartition("/")[2].partition("k_mel")
            rate = 1000 * int(of_rate)
            waveform = inputs[f"w{rate}"].astype(np.float32) / 32768
            frontend = FrontEnd(
                sample_rate=rate, n_fft=rate * 1024 // 32_000, hop_length=rate // 100,
                n_mels=int(of_bands), fmin=50, fmax=min(14_000, rate // 2),
            )  # fmt: skip
            log_mel = LogMel(frontend).to(bench.device)
            got = log_mel(torch.from_numpy(waveform)[None].to(bench.device))[0].cpu().numpy()
            exact = reference_log_mel(waveform, frontend)
            found[key] = {
                "golden_db": float(np.abs(got - golden[key]).max()),
                "definition_db": float(np.abs(got - exact).max()),
            }
    return found


def peak(bench: Bench) -> dict[str, float]:
    """TFLOP/s of a convolution with 512 channels, by dtype; float32 without TF32."""
    channels, size = (32, 16) if bench.quick else (512, 64)
    batch = 2 if bench.quick else 64
    operations = 2 * 9 * channels * channels * size * size * batch
    found = {}
    with torch.inference_mode():
        for name, dtype in dtypes_of(bench).items():
            layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            layer = layer.to(bench.device, dtype).to(memory_format=torch.channels_last)
            x = torch.randn(batch, channels, size, size, device=bench.device, dtype=dtype)
            x = x.contiguous(memory_format=torch.channels_last)
            found[name] = round(operations / bench.median_s(lambda layer=layer, x=x: layer(x)) / 1e12, 3)
    return found


def networks(bench: Bench) -> dict[str, Any]:
    """Clips a second, share of the peak and change of a probability, by network, dtype and form."""
    peaks = peak(bench)
    found: dict[str, Any] = {}
    for name in ("MobileNetV1",) if bench.quick else NAMES:
        model = seeded_model(name)
        operations = 2 * multiply_accumulates(model, CLIP_S)
        found[name] = {"gflop_per_clip": round(operations / 1e9, 2)}
        exact = None
        for dtype in dtypes_of(bench):
            for form, make in forms(bench).items():
                if bench.left_s < 0:
                    found[name][f"{dtype}, {form}"] = {"skipped": "no time left"}
                    continue
                try:
                    row, exact = one_network(bench, model, DTYPES[dtype], make, exact)
                except Exception as error:
                    found[name][f"{dtype}, {form}"] = {"error": short(error)}
                    continue
                row["share_of_peak"] = round(row["clips_per_s"] * operations / 1e12 / peaks[dtype], 3)
                found[name][f"{dtype}, {form}"] = row
    return found


def one_network(
    bench: Bench,
    model: Pann,
    dtype: torch.dtype,
    make: Callable[[nn.Module, Tensor], Callable[[], Tensor]],
    exact: Tensor | None,
) -> tuple[dict[str, Any], Tensor]:
    """Measurements of a network in a dtype and a form, and the float32 probabilities to compare with."""
    batch = 2 if bench.quick else 128
    generator = torch.Generator().manual_seed(0)
    samples = (1 if bench.quick else CLIP_S) * model.sample_rate
    waveform = (0.1 * torch.randn(batch, samples, generator=generator)).to(bench.device)
    tagger = Probabilities(copy.deepcopy(model), dtype).to(bench.device).eval()
    with torch.inference_mode():
        call = make(tagger, waveform)
        probabilities = call().float().cpu()
        seconds = bench.median_s(call)
    exact = probabilities if exact is None else exact
    return {
        "clips_per_s": round(batch / seconds * samples / model.sample_rate / CLIP_S, 1),
        "change_of_a_probability": float((probabilities - exact).abs().max()),
    }, exact


class Probabilities(nn.Module):
    """``(B, S)`` waveforms -> ``(B, K)`` probabilities: log-mel in float32, network in a dtype.

    Args:
        model: the network.
        dtype: dtype of its computation.
    """

    def __init__(self, model: Pann, dtype: torch.dtype) -> None:
        super().__init__()
        self.frontend = next(each for each in model.stem.modules() if isinstance(each, LogMel))
        self.model, self.dtype = model, dtype
        for part in (model.trunk, model.head):
            part.to(dtype)
        model.stem.to(dtype)
        self.frontend.float()
        model.to(memory_format=torch.channels_last)

    def forward(self, waveform: Tensor) -> Tensor:
        """``(B, S)`` float32 -> ``(B, K)``."""
        log_mel = self.frontend(waveform).to(self.dtype)
        features = self.model.forward_features(waveform.to(self.dtype), log_mel)
        return self.model.head.clip(features)[0].sigmoid()


def forms(bench: Bench) -> dict[str, Callable[[nn.Module, Tensor], Callable[[], Tensor]]]:
    """How a network can be run on this device."""
    if bench.device.type != "cuda":
        return {"module": as_module}
    return {"module": as_module, "CUDA graph": as_graph, "compiled": as_compiled}


def as_module(network: nn.Module, waveform: Tensor) -> Callable[[], Tensor]:
    return lambda: network(waveform)


def as_graph(network: nn.Module, waveform: Tensor) -> Callable[[], Tensor]:
    """A CUDA graph of the network: its kernels are launched at once."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries choose their kernels before the capture
            network(waveform)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = network(waveform)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def as_compiled(network: nn.Module, waveform: Tensor) -> Callable[[], Tensor]:
    compiled = torch.compile(network, mode="reduce-overhead")

    def call() -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        found: Tensor = compiled(waveform)
        return found

    return call


def panns_inference(bench: Bench) -> dict[str, Any]:
    """Clips a second of panns_inference's Cnn14 with the weights of ours, in float32 and the same batches."""
    from benchmarks.published import panns_inference as open_panns_inference
    from benchmarks.published import published_home

    batch = 2 if bench.quick else 64
    audio = np.random.default_rng(0).normal(0, 0.1, (batch, (1 if bench.quick else CLIP_S) * 32_000))
    audio = audio.astype(np.float32)
    with published_home() as weights:
        tagging = open_panns_inference(weights, device=bench.device.type)
        seconds = bench.median_s(lambda: tagging.inference(audio), rounds=5, warm_ups=2)
    return {"clips_per_s": round(batch / seconds * audio.shape[1] / 32_000 / CLIP_S, 1), "batch": batch}


def training(bench: Bench) -> dict[str, Any]:
    """Steps of Cnn14 by its published recipe, and hours of 600,000 of them."""
    found = {}
    for batch in (2,) if bench.quick else (32, 128):
        for precision, tf32 in (("float32", "true"), ("bfloat16", "true")):
            key = f"{precision}{' with TF32' if precision == 'float32' else ''}, {batch} clips"
            if bench.left_s < 0:
                found[key] = {"skipped": "no time left"}
                continue
            given = [f"run.precision={precision}", f"run.tf32={tf32}", f"run.batch_size={batch}"]
            recipe = read_recipe("LeeNet11" if bench.quick else "Cnn14", [*given, "run.channels_last=true"])
            n_steps, n_warm_up, clip_s = (2, 1, 1) if bench.quick else (20, 5, CLIP_S)
            try:
                step_s = statistics.median(step_seconds(recipe, bench.device, n_steps, n_warm_up, clip_s))
            except Exception as error:  # too little memory, for example
                found[key] = {"error": short(error)}
                continue
            found[key] = {
                "step_ms": round(1000 * step_s, 2),
                "clips_drawn_per_s": round(2 * batch / step_s, 1),
                f"hours_of_{PUBLISHED_STEPS}_steps": round(step_s * PUBLISHED_STEPS / 3600, 2),
            }
    return found


def loader(bench: Bench) -> dict[str, Any]:
    """What ``benchmarks.train_loader`` finds on this machine."""
    command = [sys.executable, "-m", "benchmarks.train_loader", "--rounds", "1", "--quick"]
    with tempfile.TemporaryDirectory() as folder:
        done = run_command(bench, [*command, "-o", folder])
        written = sorted(Path(folder).glob("*.json"))
        if not written:
            raise RuntimeError(done)
        content: dict[str, Any] = json.loads(written[-1].read_text("utf-8"))
    return {key: content[key] for key in ("comparisons", "goals", "facts") if key in content}


def tests(bench: Bench) -> dict[str, Any]:
    """The tests marked ``cuda``: what pytest says at its end."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "tests"]
    return {"said": run_command(bench, command)}


def run_command(bench: Bench, command: list[str]) -> str:
    """The last lines that a command says, within the part's time."""
    try:
        done = subprocess.run(
            command, cwd=conditions.ROOT, capture_output=True, text=True, timeout=max(60.0, bench.left_s)
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(command[1:4])} took more than {error.timeout:.0f} s") from error
    lines = (done.stdout + done.stderr).strip().splitlines()
    return " | ".join(lines[-3:]) if done.returncode in (0, 5) else f"status {done.returncode}: {lines[-1:]}"


def dtypes_of(bench: Bench) -> dict[str, torch.dtype]:
    """float16 only where the device computes in it."""
    return {name: dtype for name, dtype in DTYPES.items() if bench.device.type == "cuda" or name != "float16"}


def short(error: BaseException) -> str:
    """The error's class and first line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:300]


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "front_end": front_end, "peak": peak, "networks": networks, "panns_inference": panns_inference,
    "training": training, "loader": loader, "tests": tests,
}  # fmt: skip


def measured(bench: Bench, minutes: float, parts: list[str]) -> dict[str, Any]:
    """The result of each part, or why there is none."""
    end = time.monotonic() + 60 * minutes
    found: dict[str, Any] = {}
    for number, name in enumerate(parts):
        begin = time.monotonic()
        after = sum(SHARES[later] for later in parts[number + 1 :])
        bench.deadline = end - 60 * minutes * after
        if begin > end:
            found[name] = {"skipped": "no time left"}
            continue
        try:
            found[name] = PARTS[name](bench)
        except Exception as error:  # the others are still wanted
            traceback.print_exc()
            found[name] = {"error": short(error)}
        found[name]["took_s"] = round(time.monotonic() - begin, 1)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    return found


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The aims for a card of its class, held or missed."""
    cnn14 = found.get("networks", {}).get("Cnn14", {})
    rates = [
        row["clips_per_s"]
        for key, row in cnn14.items()
        if key.startswith("bfloat16") and "clips_per_s" in row
    ]
    hours_key = f"hours_of_{PUBLISHED_STEPS}_steps"
    hours = [
        row[hours_key]
        for row in found.get("training", {}).values()
        if isinstance(row, dict) and hours_key in row
    ]
    rows: list[dict[str, Any]] = []
    if rates:
        most = max(rates)
        rows.append({"goal": "clips of 10 s a second, Cnn14, bfloat16", "got": most, "aim": AIM_CLIPS_PER_S})
        rows[-1]["held"] = most >= AIM_CLIPS_PER_S
    if hours:
        least = min(hours)
        rows.append({"goal": "hours of 600,000 steps of Cnn14", "got": least, "aim": AIM_HOURS})
        rows[-1]["held"] = least <= AIM_HOURS
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder of the result")
    given = parser.parse_args()
    if not given.minutes > 0:
        parser.error(f"--minutes {given.minutes}: a number above 0 is needed")
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --quick shows that the script runs")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    bench = Bench(given.device, given.quick)
    begun = time.monotonic()
    found = measured(bench, given.minutes, given.parts)
    on_gpu = bench.device.type == "cuda"
    stated = {
        "device": bench.device.type,
        "device_name": torch.cuda.get_device_name() if on_gpu else conditions.cpu_model(),
        "driver_cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cpu": conditions.cpu_model(),
        "cores": n_processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": conditions.commit(),
        "libraries": conditions.versions(("torch", "numpy", "scipy", "numba", "panns-inference")),
        "quick": given.quick,
        "took_s": round(time.monotonic() - begun, 1),
        "time_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    given.output.mkdir(parents=True, exist_ok=True)
    when = stated["time_utc"][:16].replace(":", "")
    path = given.output / f"{results.slug(stated['device_name'])}_{when}.json"
    with replacing(path) as temporary:
        content = {"benchmark": "gpu", "conditions": stated, "goals": goals(found), "parts": found}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(path)
    return 0 if all("error" not in part for part in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""How long and with how much memory from a fresh process to the first tags, and how long to read Cnn14?

    python -m benchmarks.startup

Processes run in alternation, with warm caches of files and compiled code. Importing torch, which they do not
need, is timed beside them. Memory is the greatest that was resident, files of libraries included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks import harness
from benchmarks.conditions import ROOT
from benchmarks.material import seeded_model
from benchmarks.results import Comparison, Entry, Fact, Findings, Goal
from benchmarks.timing import Times, alternate, paired_difference
from pannsx.models.convert import to_published
from pannsx.weights import load, read_state_dict
from pannsx.weights.state_dict import FRONT_END_PREFIXES

QUESTION = harness.Question(
    "startup",
    "How long and with how much memory from a fresh process to the first tags, and how long to read Cnn14?",
    rounds=5,
    quick_rounds=2,
)
SCENE = ROOT / "examples" / "scene.flac"
BARE, IMPORT, TORCH = "python", "import pannsx", "import torch"
SHELL = "pannsx tag, a file of 6 s at 44.1 kHz"
TAGS, TAGS_44 = "first tags of a file at 32 kHz", "first tags of a file at 44.1 kHz"
FIRST_TAGS = (
    "import sys; from pannsx import AudioTagger; AudioTagger(device='cpu').inference(sys.argv[1]).top(3)"
)
SHORT = "short.flac"
MEGABYTE = 1e6
# Of a process that a small one has started: a child's peak begins with the memory of its parent.
USE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
if status:
    raise SystemExit(f"status {status} of {sys.argv[1:]}")
print(used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""
NUMBERS_IN_A_PAGE = 1024  # four bytes each, pages of 4 kB
KERNEL = """
import time, numba, numpy
from pannsx.frontend.settings import FrontEnd
front_end = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14000)
begin = time.perf_counter()
from pannsx.frontend.numba_logmel import LogMelKernel
LogMelKernel(front_end)(numpy.zeros(320000, numpy.float32))
print(time.perf_counter() - begin)
"""


def main() -> None:
    harness.run(QUESTION, measure)


def measure(given: argparse.Namespace) -> Findings:
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        found.comparisons.append(_processes(Path(folder), given.rounds))
        times = {entry.name: entry.times for entry in found.comparisons[0].entries}
        found.facts.append(
            Fact(
                "import pannsx, beyond a bare interpreter",
                paired_difference(times[IMPORT].seconds, times[BARE].seconds),
                "s",
            )
        )
        used = [_used(_shell(Path(folder))) for _ in range(given.rounds)]
        processor_s = Times(tuple(seconds for seconds, _ in used)).median
        memory = max(n_bytes for _, n_bytes in used) / MEGABYTE
        found.facts.append(Fact(f"{SHELL}: processor time", processor_s, "s"))
        found.goals += [
            Goal("from the shell to the tags of a file of 6 s, s", times[SHELL].median, at_most=1.2, aim=0.8),
            Goal("memory of that, MB", memory, at_most=180, aim=120),
        ]
        found.goals += _kernel(Path(folder) / "numba", given.rounds)
        found.comparisons.append(_reading(Path(folder), max(3, given.rounds)))
    reading = found.comparisons[-1]
    what = "reading Cnn14 from safetensors, times the time to read the file"
    found.goals.append(Goal(what, reading.ratio(reading.entries[0].name, to=FILE), at_most=2.0))
    return found


def _processes(folder: Path, rounds: int) -> Comparison:
    recording = folder / "clip.flac"
    for path, seconds in ((recording, 10), (folder / SHORT, 6)):
        command = [sys.executable, "-m", "benchmarks.recordings", str(path), str(seconds)]
        subprocess.run(command, cwd=ROOT, check=True)
    programs: dict[str, Callable[[], object]] = {
        SHELL: partial(subprocess.run, _shell(folder), cwd=ROOT, check=True, stdout=subprocess.DEVNULL),
        TAGS: partial(_python, FIRST_TAGS, str(SCENE)),
        TAGS_44: partial(_python, FIRST_TAGS, str(recording)),
        TORCH: partial(_python, "import torch"),
        IMPORT: partial(_python, "import pannsx"),
        BARE: partial(_python, "pass"),
    }
    times = alternate(programs, rounds=rounds, warm_ups=1, shortest_s=0)
    entries = tuple(Entry(name, times[name]) for name in programs)
    return Comparison("A fresh process, from its start to its end", entries)


def _shell(folder: Path) -> list[str]:
    return [sys.executable, "-m", "pannsx", "tag", str(folder / SHORT)]


def _used(command: list[str]) -> tuple[float, int]:
    """Processor seconds of a process, and the most bytes of memory that it had."""
    seconds, n_bytes = _python(USE, *command).split()
    return float(seconds), int(n_bytes)


def _kernel(cache: Path, rounds: int) -> list[Goal]:
    """First use of the log-mel kernel after importing numba: compiled, and from the cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    cold = float(_python(KERNEL, environment=environment))
    warm = sorted(float(_python(KERNEL, environment=environment)) for _ in range(rounds))
    return [
        Goal("first use of the log-mel kernel, warm cache, s", warm[len(warm) // 2], at_most=0.3),
        Goal("first use of the log-mel kernel, nothing compiled yet, s", cold, at_most=15.0),
    ]


FILE = "the bytes of the file"


def _reading(folder: Path, rounds: int) -> Comparison:
    from safetensors.torch import save_file

    path = folder / "Cnn14.safetensors"
    state = to_published(seeded_model("Cnn14"))
    save_file(
        {key: value.contiguous() for key, value in state.items() if not key.startswith(FRONT_END_PREFIXES)},
        path,
    )
    calls: dict[str, Callable[[], object]] = {
        "its tensors, every page of them read": lambda: touch(read_state_dict(path)),
        "its tensors, mapped": partial(read_state_dict, path),
        "the model, ready to be prepared": partial(load, "Cnn14", checkpoint=path),
        FILE: path.read_bytes,
    }
    times = alternate(calls, rounds=rounds, warm_ups=1, shortest_s=0)
    title = f"Reading Cnn14, {path.stat().st_size / 1e6:.0f} MB of safetensors"
    return Comparison(title, tuple(Entry(name, times[name]) for name in calls))


def touch(tensors: dict[str, Tensor]) -> float:
    """Read one number of every page, as mapped memory is not yet loaded."""
    return sum(float(tensor.reshape(-1)[::NUMBERS_IN_A_PAGE].sum()) for tensor in tensors.values())


def _python(program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """The output of a fresh interpreter."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"a process failed:\n{run.stderr}")
    return run.stdout


if __name__ == "__main__":
    main()

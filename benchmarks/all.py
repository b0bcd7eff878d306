"""All benchmarks, one after the other, on the CPU; then the page.

    python -m benchmarks.all

About a quarter of an hour on two cores.  A failure does not stop the others.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import conditions

QUESTIONS: dict[str, tuple[str, ...]] = {
    "frontend": (),
    "resampler": (),
    "models": ("--all",),
    "end_to_end": (),
    "files": (),
    "ragged": (),
    "callers": (),
    "memory": (),
    "corpus": ("--clips", "2000", "--hours", "1"),
    "startup": (),
    "yamnet": (),
    "metrics": (),
    "generation": (),
    "events": (),
    "packing": (),
    "train_loader": (),
    "train_startup": (),
    "train_index": (),
    "quantisation": ("--data", "../shared/data"),
}
"""Each benchmark, with its own arguments in addition to the common ones."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.all", description="All benchmarks, one after the other; then the page."
    )
    parser.add_argument("--quick", action="store_true", help="a trial of each; nothing is stored")
    parser.add_argument(
        "--folder", type=Path, help="folder for results, including those of a trial; the page stays unchanged"
    )
    parser.add_argument("--tflite", type=Path, help="YAMNet's file")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, metavar="NAME", help="only these benchmarks")
    given = parser.parse_args()
    common = ["--quick"] if given.quick else []
    common += ["--folder", str(given.folder.resolve())] if given.folder else []
    begin = time.perf_counter()
    failed = []
    for name in given.only or QUESTIONS:
        own = list(QUESTIONS[name])
        print(f"\n== {name}", flush=True)
        if name == "yamnet":
            if given.tflite is None:
                print("left out: it needs YAMNet's file (--tflite)")
                continue
            own += ["--tflite", str(given.tflite.resolve())]
        command = [sys.executable, "-m", f"benchmarks.{name}", *common, *own]
        if subprocess.run(command, cwd=conditions.ROOT, check=False).returncode:
            failed.append(name)
    if not given.quick and given.folder is None:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=conditions.ROOT, check=True)
    print(f"\n{(time.perf_counter() - begin) / 60:.1f} minutes" + (f"; failed: {failed}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

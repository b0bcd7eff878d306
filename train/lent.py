"""Train for the minutes that a machine with a GPU is lent, on a packed subset of the banks.

python -m train.lent SUBSET OUT --teacher mn04_as_mAP_432.pt --start MobileNetV1_distilled --minutes 8
                     [--recipe MobileNetV1_distilled] [table.key=value ...]

Unpacks the subset of :mod:`train.subset`, trains by the recipe from the weights of ``--start`` until the
minutes are over, unpacking included, and exports the averaged weights to OUT, with the run's log.  The
learning rate stays at its maximum: the run that continues on all clips ends with the decay:

    python -m train.run MobileNetV1_distilled data.train=BANKS model.start=OUT

Nothing is fetched: subset, teacher and weights are files that were carried along.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pannsx.errors import WeightsError
from train import run
from train.data.subset import unpack
from train.export import export
from train.loop.checkpoints import CheckpointError

ENDLESS_STEPS = 10_000_000
"""Steps and scenes of the recipe: the minutes end the run, long before; no scene comes twice."""

EXPORT_S = 20
"""Seconds kept for saving and export."""

MOST_WORKERS = 16


def main(arguments: Sequence[str] | None = None) -> int:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="train.lent", description="Train for some minutes on a packed subset, and export the weights."
    )
    parser.add_argument("subset", type=Path, help="folder of train.subset")
    parser.add_argument("out", type=Path, help="folder for the weights and the log")
    parser.add_argument("overrides", nargs="*", metavar="table.key=value", help="as run.batch_size=128")
    parser.add_argument("--teacher", type=Path, required=True, help="file of the teacher's weights")
    parser.add_argument("--start", required=True, help="weights to begin with: a file or a name")
    parser.add_argument("--minutes", type=float, required=True, help="time for everything")
    parser.add_argument(
        "--recipe", default="MobileNetV1_distilled", help="name or file (default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument(
        "--work", type=Path, help="folder for bank and checkpoints, kept (default: a temporary one)"
    )
    given = parser.parse_intermixed_args(arguments)
    work = given.work or Path(tempfile.mkdtemp(prefix="pannsx-lent-"))
    try:
        bank = work / "banks" / "subset"
        if not bank.exists():
            n_clips = unpack(given.subset, bank)
            print(f"{n_clips:,} clips after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        left = given.minutes - (time.monotonic() - begun + EXPORT_S) / 60
        if left <= 0:
            raise ValueError(f"--minutes {given.minutes}: unpacking and export alone take longer")
        command = [
            given.recipe,
            f"data.train={bank.parent}",
            f"distil.teacher={given.teacher}",
            f"model.start={given.start}",
            f"data.workers={_n_workers()}",
            f"run.steps={ENDLESS_STEPS}",
            f"scenes.n_scenes={ENDLESS_STEPS}",
            *given.overrides,
            "--folder", str(work / "run"), "--minutes", str(left),
            *(["--device", given.device] if given.device else []),
        ]  # fmt: skip
        if status := run.main(command):
            return status
        record = export(work / "run", given.out)
        shutil.copyfile(work / "run" / "log.jsonl", given.out / "log.jsonl")
        print(f"{given.out / str(record.filename)}: {record.trained_on}")
    except (OSError, ValueError, WeightsError, CheckpointError) as error:
        print(f"train.lent: {error}", file=sys.stderr)
        return 1
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    return 0


def _n_workers() -> int:
    """All processors but one, which runs the steps."""
    return max(0, min(MOST_WORKERS, (os.cpu_count() or 1) - 1))


if __name__ == "__main__":
    sys.exit(main())

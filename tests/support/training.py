"""Small training runs for the tests: packed noise, a recipe of a second, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from packing import LABELS, clip_ids
from torch import Tensor

from train.data.store_writer import write_store
from train.loop import checkpoints

REPOSITORY = Path(__file__).resolve().parent.parent.parent
RATE, N_SAMPLES, N_CLIPS = 8000, 4000, 40


def tone(number: int) -> NDArray[np.int16]:
    """``(N_SAMPLES,)``: a tone that tells the clip's label, in noise that tells the clip."""
    rng = np.random.default_rng(number)
    times = np.arange(N_SAMPLES) / RATE
    wave = np.sin(2 * np.pi * 300 * (1 + number % len(LABELS)) * times) + 0.1 * rng.standard_normal(N_SAMPLES)
    return (8000 * wave).astype(np.int16)


def make_store(folder: Path, n_clips: int = N_CLIPS) -> Path:
    """A store of tones; clip ``i`` has label ``i % K``."""
    clips = ((clip_ids(n_clips)[i], [i % len(LABELS)], tone(i)) for i in range(n_clips))
    write_store(folder, clips, labels=LABELS, sample_rate=RATE, n_samples=N_SAMPLES)
    return folder


def overrides(store: Path, **more: Any) -> list[str]:
    """A run of LeeNet11, the smallest architecture, with dropout, mixup and two workers.

    Keys have two underscores for the point: ``run__steps=5``.
    """
    values = {
        "model__sample_rate": RATE, "model__labels": "data", "data__train": store, "data__evaluation": "",
        "data__workers": 2, "run__steps": 12, "run__batch_size": 4, "keep__log_every": 1,
        "keep__evaluate_every": 1000, "keep__save_every": 3, "keep__keep_every": 0,
        "average__kind": "exponential", "augment__gain_db": 3.0, "augment__roll_s": 0.1, **more,
    }  # fmt: skip
    return [f"{key.replace('__', '.')}={value}" for key, value in values.items()]


def command(folder: Path, given: Sequence[str], recipe: str = "LeeNet11") -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "train.run", recipe, *given, "--folder", str(folder), "--device", "cpu"]


def environment(**more: str) -> dict[str, str]:
    """Of a process of the tests: one thread, so that sums are always in the same order."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **more}


def run(arguments: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        list(arguments), cwd=REPOSITORY, env=environment(**more), capture_output=True, text=True, timeout=120
    )


def last_state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    state = checkpoints.newest(folder)
    assert state is not None
    return state


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Bit for bit, however deep."""
    assert type(a) is type(b), where
    if isinstance(a, Mapping):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}/{number}")
    else:
        assert a == b, where

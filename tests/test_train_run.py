"""Training runs: killed at any moment and resumed bit for bit, stopped, spoilt and refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training import assert_same, command, environment, last_state, make_store, overrides, run

from pannsx.metrics import TaggingScores
from train.data.loader import LoaderError, Readers, as_waveform, ordered_batches, training_batches
from train.data.samplers import Uniform
from train.data.store import Store, part_path
from train.loop import checkpoints, log
from train.loop.pace import Pace
from train.run import main

N_STEPS = 12
FLOAT16_LOSS = 0.01
"""Relative: float16 keeps 11 bits in each of about twenty layers."""

pytestmark = [
    # Workers are forked from a process in which other tests may have started threads.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning"),
]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order as in the runs of their own process."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("packed") / "store")


@pytest.fixture(scope="module")
def reference(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    with one_thread():
        assert train_here(folder, overrides(store)) == 0
    return folder


def train_here(folder: Path, given: list[str]) -> int:
    return main(["LeeNet11", *given, "--folder", str(folder), "--device", "cpu"])


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in log.read(folder) if entry["kind"] == "train"]


def wait_until(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.005)


# Dies in the middle of writing the checkpoint of step 6: its bytes are there, its name is not.
DIES_WRITING = """
import os, signal, sys
from train.run import main
fsync, n_saved = os.fsync, 0
def die(descriptor):
    global n_saved
    n_saved += 1
    if n_saved == 3:  # file and folder of the first, file of the second
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)
os.fsync = die
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_killed_at_random_moments_and_resumed_bit_for_bit(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    whole = command(tmp_path, overrides(store))
    died = run([sys.executable, "-c", DIES_WRITING, *whole[3:]])
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [step for step, _ in checkpoints.present(tmp_path)] == [3]
    assert list((tmp_path / "checkpoints").glob("*.tmp"))

    moments = random.Random(4)
    every_step = command(tmp_path, overrides(store, keep__save_every=1))
    for _ in range(2):
        n_before = len(losses(tmp_path))
        process = subprocess.Popen(every_step, env=environment(), stderr=subprocess.DEVNULL)
        wait_until(lambda n=n_before: len(losses(tmp_path)) > min(n, N_STEPS - 1), process)
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        process.wait()
    with one_thread():
        assert train_here(tmp_path, overrides(store)) == 0
    killed, undisturbed = last_state(tmp_path), last_state(reference)
    assert killed["step"] == N_STEPS
    for state in (killed, undisturbed):
        del state["recipe"], state["versions"]  # save_every differed on the way; so may the commit
    assert_same(killed, undisturbed)
    assert losses(tmp_path) == losses(reference)
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to a process on Windows")
def test_sigterm_to_all_processes_saves_and_stops(store: Path, reference: Path, tmp_path: Path) -> None:
    given = overrides(store, keep__save_every=1000)
    process = subprocess.Popen(
        command(tmp_path, given), env=environment(), stderr=subprocess.PIPE, start_new_session=True
    )
    wait_until(lambda: losses(tmp_path), process)
    os.killpg(process.pid, signal.SIGTERM)  # to its workers as well, as schedulers do
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    step = last_state(tmp_path)["step"]
    assert 1 <= step < N_STEPS
    assert f"stopped at step {step}; run the same command again to resume" in said.decode()
    with one_thread():
        assert train_here(tmp_path, [*given, "data.workers=0"]) == 0
    for part in ("model", "optimiser", "average", "sampler"):
        assert_same(last_state(tmp_path)[part], last_state(reference)[part], part)


def test_kept_by_rule(store: Path, tmp_path: Path) -> None:
    given = overrides(
        store, data__workers=0, data__evaluation=store, run__steps=6, keep__save_every=1, keep__keep_every=4,
        keep__evaluate_every=2,
    )  # fmt: skip
    assert train_here(tmp_path, given) == 0
    scores = {entry["step"]: entry["mAP"] for entry in log.read(tmp_path) if entry["kind"] == "evaluate"}
    assert set(scores) == {2, 4, 6}
    best = max(scores, key=lambda step: scores[step])
    assert last_state(tmp_path)["best"] == [scores[best], best]
    assert [step for step, _ in checkpoints.present(tmp_path)] == sorted({best, 4, 5, 6})
    assert (
        (tmp_path / "classes.csv").read_text().startswith("label,n_positive,average_precision,auc,d_prime\n")
    )


def test_a_run_learns(store: Path, tmp_path: Path) -> None:
    """Nine tones are told apart: every part of the way from file to weights does what it should."""
    given = overrides(
        store, data__workers=0, data__evaluation=store, run__steps=80, run__batch_size=8, keep__save_every=80,
        average__decay=0.9, augment__mixup="none", optimiser__learning_rate=3e-3,
    )  # fmt: skip
    assert train_here(tmp_path, given) == 0
    scores = [entry for entry in log.read(tmp_path) if entry["kind"] == "evaluate"]
    assert scores[-1]["mAP"] > 0.9


def test_a_loss_that_is_not_finite_stops_with_the_ids(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = overrides(store, data__workers=0, keep__save_every=1)
    assert train_here(tmp_path, [*given, "run.steps=2"]) == 0
    assert train_here(tmp_path, [*given, "optimiser.learning_rate=1e30", "--may-differ"]) == 1
    said = capsys.readouterr().err
    assert "the loss or its gradient is not finite" in said
    assert checkpoints.present(tmp_path)[-1][0] >= 2
    (written,) = (tmp_path / "not_finite").iterdir()
    note = json.loads(written.read_text())
    assert len(note["ids"]) == 8
    assert set(note["ids"]) <= set(Store(store).ids)
    weights = last_state(tmp_path)["model"]
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def spoil_steps(monkeypatch: pytest.MonkeyPatch, spoilt: set[int]) -> None:
    """Give the clips of some steps, counted from 1, a sample that is not finite."""
    counted = iter(range(1, 1000))

    def spoiling(pcm: torch.Tensor) -> torch.Tensor:
        waveform = as_waveform(pcm)
        if next(counted) in spoilt:
            waveform[0, 5] = torch.nan
        return waveform

    monkeypatch.setattr("train.run.as_waveform", spoiling)


def test_a_batch_that_is_not_finite_is_skipped_on_request(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = overrides(store, data__workers=0, run__steps=4, run__skip_not_finite=1, keep__save_every=1)
    spoil_steps(monkeypatch, {2})
    assert train_here(tmp_path / "one", given) == 0
    assert "step 2 is skipped, 1 so far" in capsys.readouterr().err
    before, after = (checkpoints.load(checkpoints.path_of(tmp_path / "one", step)) for step in (3, 4))
    assert before["n_skipped"] == after["n_skipped"] == 1
    assert all(bool(tensor.isfinite().all()) for tensor in after["model"].values())
    assert [step for step, loss in losses(tmp_path / "one") if loss is None] == [2]
    spoil_steps(monkeypatch, {2, 3})
    assert train_here(tmp_path / "two", given) == 1
    assert "step 3: the loss or its gradient is not finite" in capsys.readouterr().err
    assert last_state(tmp_path / "two")["step"] == 2


def test_a_skipped_step_changes_neither_weights_nor_statistics(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = overrides(
        store, data__workers=0, run__steps=2, run__skip_not_finite=1, keep__save_every=1, average__kind="none"
    )
    spoil_steps(monkeypatch, {2})
    assert train_here(tmp_path, given) == 0
    first, second = (checkpoints.load(checkpoints.path_of(tmp_path, step)) for step in (1, 2))
    assert_same(second["model"], first["model"])
    assert_same(second["optimiser"], first["optimiser"])


def test_the_best_of_all_evaluations_is_kept(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = iter([0.2, 0.7, 0.4, 0.6])

    def scores(*_: Any, **__: Any) -> TaggingScores:
        one = np.array([next(pending)])
        return TaggingScores(one, one, one, np.array([1]), 2)

    monkeypatch.setattr("train.run.evaluate", scores)
    given = overrides(
        store, data__workers=0, data__evaluation=store, run__steps=4, keep__evaluate_every=1,
        keep__save_every=3, keep__keep_last=1,
    )  # fmt: skip
    assert train_here(tmp_path, given) == 0
    assert [step for step, _ in checkpoints.present(tmp_path)] == [2, 4]
    assert last_state(tmp_path)["best"] == [0.7, 2]


def test_a_finished_run_says_so(store: Path, reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_here(reference, overrides(store)) == 0
    assert f"is finished: {N_STEPS} of {N_STEPS} steps" in capsys.readouterr().err


def test_float16_scales_the_loss_and_learns_finite_weights(store: Path, tmp_path: Path) -> None:
    found = {}
    for precision in ("float16", "float32"):
        given = overrides(store, data__workers=0, run__steps=8, run__precision=precision)
        assert train_here(tmp_path / precision, given) == 0
        found[precision] = losses(tmp_path / precision)
    # The scale begins too large, and first steps may be skipped: only the first loss is of the same weights.
    assert found["float16"][0][1] == pytest.approx(found["float32"][0][1], rel=FLOAT16_LOSS)
    state = last_state(tmp_path / "float16")
    assert 1.0 <= state["scaler"]["scale"] <= 2.0**16
    assert all(0 < float(of_weight["step"]) <= 8 for of_weight in state["optimiser"]["state"].values())
    assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


def test_waiting_for_clips_is_told_apart_and_said_once() -> None:
    now = 0.0

    def slow_clips() -> Iterator[int]:
        nonlocal now
        for number in range(6):
            now += 3.0
            yield number

    pace, said = Pace(clock=lambda: now), []
    for number in pace.timed(slow_clips()):
        now += 1.0  # the step itself
        if number % 2:
            assert pace.since_last(n_clips=8) == pytest.approx((2.0, 0.75))
            said.append(pace.is_slow)
    assert said == [False, True, False]
    assert pace.advice.startswith("75% of the time is spent waiting for clips")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files on Windows")
def test_a_full_disk_costs_no_checkpoint(
    store: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    shutil.copytree(reference, tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    given = overrides(store, data__workers=0, run__steps=N_STEPS + 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, before[1]))
    try:
        assert train_here(tmp_path / "run", given) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "step-00000012.pt is whole. Make room and run the same command again" in capsys.readouterr().err
    assert last_state(tmp_path / "run")["step"] == N_STEPS
    assert train_here(tmp_path / "run", given) == 0
    assert last_state(tmp_path / "run")["step"] == N_STEPS + 2


def test_threads_train_as_processes_do(store: Path, reference: Path, tmp_path: Path) -> None:
    with one_thread():
        assert (
            train_here(tmp_path, overrides(store, data__readers="threads", data__workers=3, run__steps=6))
            == 0
        )
        assert train_here(tmp_path, overrides(store)) == 0  # resumed with the other kind
    assert_same(last_state(tmp_path)["model"], last_state(reference)["model"])
    assert losses(tmp_path) == losses(reference)


def test_threads_end_with_the_batches_that_are_wanted(store: Path) -> None:
    batches = training_batches(Store(store), Uniform(40, 1), 6, (0, 6), 1000, workers=3, readers="threads")
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.mark.parametrize("readers", ["processes", "threads"])
def test_a_damaged_shard_is_named(tmp_path: Path, readers: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store")
    path = part_path(store, 0)
    content = bytearray(path.read_bytes())
    content[:] = bytes(byte ^ 255 for byte in content)
    path.write_bytes(content)
    assert train_here(tmp_path / "run", overrides(store, data__readers=readers)) == 1
    assert "a clip cannot be read: " in (said := capsys.readouterr().err)
    assert "00000.bin is damaged: clip" in said


class Deadly(Store):
    """A store whose reader dies at one clip, as one does whose memory is taken away."""

    def read(self, index: int) -> NDArray[np.int16]:
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)

    def __reduce__(self) -> tuple[Any, ...]:
        return Deadly, (self.folder,)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_worker_that_dies_is_reported(store: Path) -> None:
    with pytest.raises(LoaderError, match=r"a worker that reads clips died.*lower data.workers"):
        list(ordered_batches(Deadly(store), 0, 40, 4, workers=2))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_a_run_whose_worker_dies_says_so_and_goes_on_later(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = overrides(store, keep__save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr("train.run.open_clips", lambda *_: Deadly(store))
        assert train_here(tmp_path, given) == 1
    assert "a worker that reads clips died" in capsys.readouterr().err
    for _, path in checkpoints.present(tmp_path):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("workers", "readers"), [(0, "processes"), (2, "processes"), (0, "threads"), (3, "threads")]
)
def test_batches_come_in_the_samplers_order_with_its_state(
    store: Path, workers: int, readers: Readers
) -> None:
    clips, sampler, ahead = Store(store), Uniform(40, 1), Uniform(40, 1)
    batches = list(training_batches(clips, ahead, 6, (2, 5), 9, workers=workers, readers=readers))
    assert len(batches) == 9
    for batch in batches:
        rows = sampler.draw(6)[2:5]
        assert batch.rows.tolist() == rows.tolist()
        assert batch.sampler_state == sampler.state_dict()
        np.testing.assert_array_equal(batch.pcm.numpy(), [clips.read(int(row)) for row in rows])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["optimiser.learning_rate=0.5"],
            "started with another recipe (optimiser.learning_rate: 0.001, 0.5)",
        ),
        (["run.seed=7"], "started with another recipe (run.seed: 1234, 7)"),
        (["run.batch_size=3", "run.accumulate=2"], "cannot be divided among 1 ranks and 2 parts"),
        (["run.batch_size=1"], "batch norm needs at least two clips"),
        (["model.sample_rate=16000"], "have 8000 Hz, the recipe 16000 Hz"),
        (["model.labels=audioset"], "give model.labels=data"),
        (["data.train=nowhere"], "nowhere"),
        (["distil.teacher=nowhere.npy", "distil.weight=0.5"], "cannot read the teacher's logits nowhere.npy"),
        (["run.stpes=1"], "did you mean 'run.steps'"),
    ],
)
def test_what_cannot_be_is_refused(
    store: Path, reference: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_here(reference, [*overrides(store, data__workers=0), *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith("train.run: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_damaged_checkpoint_is_named(reference: Path, tmp_path: Path) -> None:
    path = checkpoints.path_of(tmp_path, 12)
    path.parent.mkdir()
    content = checkpoints.path_of(reference, 12).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(checkpoints.CheckpointError, match=r"cannot read .*step-00000012\.pt.*remove it"):
        checkpoints.newest(tmp_path)
    torch.save({"format": 0}, path)
    with pytest.raises(checkpoints.CheckpointError, match="not a checkpoint of format 1"):
        checkpoints.newest(tmp_path)


def test_the_log_forgets_what_was_not_saved(tmp_path: Path) -> None:
    with log.opened(tmp_path, 0) as entries:
        for step in (1, 2, 3):
            entries.add("train", step, loss=float(step), gradient_norm=float("nan"))
    with (tmp_path / log.NAME).open("a") as file:
        file.write('{"kind": "train", "st')  # cut short by a kill
    with log.opened(tmp_path, 2) as entries:
        entries.add("train", 3, loss=30.0)
    assert [(entry["step"], entry["loss"]) for entry in log.read(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert log.read(tmp_path)[0]["gradient_norm"] is None

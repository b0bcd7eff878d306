"""Ray Data runs the stage: the same table as one machine gives, whatever is killed on the way."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from corpus_runs import is_whole, table_of
from corpus_stages import NoStage, StubStage, run_stub, write_manifest
from parties import party

from pannsx.cli import main
from pannsx.corpus import RunError, Stage
from pannsx.corpus.folder import RunFolder
from pannsx.corpus.schema import to_table

ray: Any = party("ray", "ray")
party("ray.data", "ray")
party("pyarrow", "parquet")

from pannsx.corpus import ray as on_ray  # noqa: E402

N_ROWS, ROWS_OF_TASK = 60, 6
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
SUPPORT = Path(__file__).parent / "support"

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray and its processes warn of themselves


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, whose processes find the stages of the tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), *sys.path])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
            object_store_memory=100_000_000, _metrics_export_port=None, configure_logging=False,
        )  # fmt: skip
    ray.data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield
    ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stub(write_manifest(folder / "manifest.jsonl", N_ROWS), folder / "out")
    return table_of(folder / "out")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.jsonl", N_ROWS)


def test_the_same_table_as_on_one_machine(
    cluster: None, manifest: Path, tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    seen: list[Any] = []
    looks: list[RunFolder] = []
    look = RunFolder.parts

    def counted(folder: RunFolder) -> Any:
        looks.append(folder)
        return look(folder)

    monkeypatch.setattr(RunFolder, "parts", counted)
    how: dict[str, Any] = {"stage": StubStage(), "rows_of_task": ROWS_OF_TASK}
    summary = on_ray.run(manifest, out, on_progress=seen.append, **how)
    assert len(looks) == 2, "parts are read before the first round, and once after each"
    assert is_whole(out, N_ROWS)
    assert table_of(out).equals(undisturbed)
    assert summary[1:4] == (N_ROWS, 0, 0)
    assert summary.audio_s == 1.5 * N_ROWS
    assert seen[-1].n_done == N_ROWS
    with pytest.raises(RunError, match="holds a run already"):
        on_ray.run(manifest, out, **how)
    with pytest.raises(RunError, match="other settings"):
        on_ray.run(manifest, out, stage=StubStage(name="other"), resume=True)
    next(iter(sorted(out.glob("part-*")))).unlink()
    again = on_ray.run(manifest, out, resume=True, **how)
    assert again.n_before == N_ROWS - ROWS_OF_TASK
    assert table_of(out).equals(undisturbed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_ends_a_process_is_survived(
    seed: int, cluster: None, manifest: Path, tmp_path: Path, undisturbed: Any
) -> None:
    """A worker that dies, two actors that are killed, and a recording that always ends its process."""
    deeds = ("once die", "once kill parent", "once kill parent", "die")
    chosen = sorted(random.Random(seed).sample(range(N_ROWS), 4))
    does = {f"r{i}": deed for i, deed in zip(chosen, deeds, strict=True)}
    out = tmp_path / "out"
    summary = on_ray.run(manifest, out, stage=StubStage(does, tmp_path), rows_of_task=ROWS_OF_TASK)
    assert all((tmp_path / f"r{i}").exists() for i in chosen[:3])
    assert is_whole(out, N_ROWS)
    assert summary.n_failed == 1
    others = [i for i in range(N_ROWS) if i != chosen[3]]
    assert table_of(out).take(others).equals(undisturbed.take(others))
    assert table_of(out)["status"][chosen[3]].as_py() == "error"


def test_rows_that_failed_are_tried_again(
    cluster: None, manifest: Path, tmp_path: Path, undisturbed: Any
) -> None:
    """Where the other engine has begun the run."""
    stage = StubStage({f"r{i}": "fail" for i in (3, 4, 50)}, tmp_path)
    out = tmp_path / "out"
    run_stub(manifest, out, stage, shard=(0, 2))
    how: dict[str, Any] = {"stage": stage, "rows_of_task": ROWS_OF_TASK}
    assert on_ray.run(manifest, out, resume=True, **how).n_failed == 3
    (tmp_path / "healed").touch()
    summary = on_ray.run(manifest, out, retry_failed=True, **how)
    assert summary[1:4] == (N_ROWS, N_ROWS, 0)
    assert summary.n_retried == 3
    assert is_whole(out, N_ROWS)
    assert table_of(out).equals(undisturbed)


def test_a_stage_that_does_not_open(cluster: None, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such network"):
        on_ray.run(manifest, tmp_path / "out", stage=NoStage())


_DRIVER = """
import sys, warnings
warnings.simplefilter("ignore")
import ray
from corpus_stages import StubStage
from pannsx.corpus import ray as on_ray
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
on_ray.run(
    sys.argv[1], sys.argv[2], stage=StubStage(), rows_of_task=3, resume=True,
    on_progress=lambda progress: print(progress.n_done, flush=True),
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_that_is_killed(
    seed: int, cluster: None, manifest: Path, tmp_path: Path, undisturbed: Any
) -> None:
    out = tmp_path / "out"
    run = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(manifest), str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "RAY_ADDRESS": "local"},
    )  # fmt: skip
    assert run.stdout is not None
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 4)):
        assert run.stdout.readline().strip()
    time.sleep(rng.uniform(0, 0.3))
    run.kill()
    run.wait()
    assert list(out.glob("part-*"))
    _wait_for_quiet(out)
    on_ray.run(manifest, out, stage=StubStage(), resume=True, rows_of_task=ROWS_OF_TASK)
    assert is_whole(out, N_ROWS)
    assert table_of(out).equals(undisturbed)
    os.killpg(run.pid, signal.SIGKILL)


def _wait_for_quiet(out: Path) -> None:
    """Until the killed driver's actors have ended, too."""
    deadline = time.monotonic() + 60
    seen: list[str] = []
    while (now := sorted(path.name for path in out.iterdir())) != seen:
        assert time.monotonic() < deadline
        seen = now
        time.sleep(3)


def test_a_dataset_of_ones_own(cluster: None, tmp_path: Path) -> None:
    """Rows equal those of the stage alone; a bad file is a row with its reason."""
    rng = np.random.default_rng(0)
    paths = []
    for number, n in enumerate((16_000, 40_000, 9_000)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, rng.normal(0, 0.1, n), 32_000)
        paths.append(str(path))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    paths.append(str(tmp_path / "bad.wav"))
    settings: dict[str, Any] = {"outputs": ["tags", "embedding"], "top_k": 2}
    dataset = ray.data.from_items([{"id": str(i), "path": path} for i, path in enumerate(paths)])
    found = on_ray.process(dataset, batch_size=2, compute=ray.data.ActorPoolStrategy(size=1), **settings)
    rows = {row["id"]: row for row in found.take_all()}
    stage = Stage(**settings)
    expected = to_table(stage({"id": list("0123"), "path": paths}), stage.schema).to_pylist()
    assert set(rows) == set("0123")
    for row in expected:
        got = rows[row["id"]]
        assert (got["status"], got["error"]) == (row["status"], row["error"])
        if row["status"] == "ok":
            np.testing.assert_allclose(got["embedding"], row["embedding"], atol=2e-6)
            assert [tag["label"] for tag in got["tags"]] == [tag["label"] for tag in row["tags"]]
    assert rows["3"]["status"] == "error"


def test_processors_of_an_actor_with_a_gpu() -> None:
    """An actor fits onto each node with GPUs; others do not count."""

    def node(is_alive: bool = True, **resources: float) -> dict[str, Any]:
        return {"Alive": is_alive, "Resources": resources}

    nodes = [node(CPU=128), node(CPU=64, GPU=4), node(CPU=16, GPU=2), node(False, CPU=1, GPU=1)]
    assert on_ray._processors_of(1, nodes) == 8
    assert on_ray._processors_of(0.5, nodes[:2]) == 8
    assert on_ray._processors_of(0.1, nodes[2:]) == 1
    assert on_ray._processors_of(0.5, nodes[:1]) == 1


def test_options_that_are_not_for_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["corpus", str(tmp_path), "-o", str(tmp_path / "out"), "--engine", "ray"]
    assert main([*common, "--shard", "0/2"]) == 2
    assert "--shard is not for --engine ray" in capsys.readouterr().err
    with pytest.raises(ValueError, match="rows_of_task is 0"):
        on_ray.run(tmp_path, tmp_path / "out", rows_of_task=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_is_lost(seed: int, manifest: Path, tmp_path: Path, undisturbed: Any) -> None:
    """In a process of its own, as a process is connected to one cluster."""
    program = """
import os, sys, warnings
warnings.simplefilter("ignore")
import ray
from ray.cluster_utils import Cluster
from corpus_stages import StubStage
from pannsx.corpus import ray as on_ray
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
node = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
ray.init(address=cluster.address, log_to_driver=False)
lost = []
def say(progress):
    if progress.n_done >= int(sys.argv[3]) and not lost:
        lost.append(progress.n_done)
        cluster.remove_node(node, allow_graceful=False)
on_ray.run(sys.argv[1], sys.argv[2], stage=StubStage(), rows_of_task=3, on_progress=say)
print("lost after", lost, flush=True)
ray.shutdown()
cluster.shutdown()
os._exit(0)  # what Ray does at the end of a process fails without the node
"""
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(manifest), str(out), str(3 * random.Random(seed).randint(1, 10))],
        capture_output=True, text=True, timeout=280, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "lost after [" in done.stdout
    assert is_whole(out, N_ROWS)
    assert table_of(out).equals(undisturbed)
    assert json.loads((out / "_run.json").read_text("utf-8"))["settings"]["model"] == "stub"

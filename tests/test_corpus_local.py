"""A run of a corpus on one machine: every row once, whatever happens to it."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus_runs
import pytest
from corpus_runs import N_ROWS, is_whole, start, table_of
from corpus_stages import GROUP, Accelerated, NoStage, OpensOnce, StubStage, run_stub, write_manifest
from filelock import FileLock

from pannsx.corpus import Row, RunError, folder, ranges, rows_from, run, shards
from pannsx.corpus.folder import RunFolder
from pannsx.corpus.shards import Shard
from pannsx.corpus.sinks import SINKS

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

manifest, out = corpus_runs.manifest, corpus_runs.out
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL and no file limits")


@pytest.fixture(scope="module")
def undisturbed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stub(write_manifest(folder / "manifest.jsonl", N_ROWS), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def undisturbed(undisturbed_run: Path) -> Any:
    return table_of(undisturbed_run)


@pytest.fixture
def done(undisturbed_run: Path, out: Path) -> Path:
    """A folder with a run that is done."""
    shutil.copytree(undisturbed_run, out)
    return out


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and messages; the end of the messages is also that of its workers."""
    _, messages = process.communicate(timeout=60)
    return process.returncode, messages


def test_a_run(manifest: Path, out: Path) -> None:
    seen: list[run.Progress] = []
    summary = run_stub(manifest, out, on_progress=seen.append)
    assert is_whole(out)
    assert summary[:5] == (out, N_ROWS, 0, 0, len(list(out.glob("part-*"))))
    assert summary.audio_s == 1.5 * N_ROWS
    assert seen[-1] == (N_ROWS, N_ROWS, 0, 1.5 * N_ROWS)
    assert {*out.glob("*.parquet")} == {*out.glob("part-*")}, "as DuckDB and polars read a table"
    assert json.loads(pq.read_schema(next(out.glob("part-*"))).metadata[b"pannsx"])["model"] == "stub"
    again = run_stub(manifest, out, resume=True)
    assert again[:5] == (out, N_ROWS, N_ROWS, 0, summary.n_parts)


def test_what_a_lost_process_was_writing_is_removed(manifest: Path, out: Path) -> None:
    left = out / "_part-000000000003-000003.parquet.99.tmp"
    run_stub(manifest, out, on_progress=lambda progress: left.touch())
    assert is_whole(out)


@on_posix
@pytest.mark.parametrize("seed", [0, 1])
def test_a_driver_that_is_killed(seed: int, manifest: Path, out: Path, undisturbed: Any) -> None:
    _kill_drivers(random.Random(seed), 1, manifest, out, undisturbed)


@pytest.mark.slow
@on_posix
@pytest.mark.parametrize("seed", range(2, 6))
def test_drivers_that_are_killed_often(seed: int, manifest: Path, out: Path, undisturbed: Any) -> None:
    _kill_drivers(random.Random(seed), 5, manifest, out, undisturbed)


def _kill_drivers(rng: random.Random, times: int, manifest: Path, out: Path, undisturbed: Any) -> None:
    """Kill runs while they work and write, then let one end."""
    for _ in range(times):
        run = start(manifest, out, resume=True, part_rows=GROUP)
        assert run.stdout is not None
        for _ in range(rng.randint(1, 5)):
            if not run.stdout.readline():
                assert run.wait(60) == 0, "it ended before it was killed, and not because all is done"
                break
        run.kill()
        outcome(run)  # the worker ends, too, and writes nothing more
    run_stub(manifest, out, resume=True)
    assert is_whole(out)
    assert table_of(out).equals(undisturbed)


@on_posix
def test_a_worker_that_kills_its_driver(manifest: Path, out: Path, tmp_path: Path, undisturbed: Any) -> None:
    run = start(manifest, out, does={"r31": "kill parent"}, part_rows=GROUP)
    assert outcome(run)[0] == -signal.SIGKILL
    assert list(out.glob("part-*"))
    run_stub(manifest, out, resume=True)
    assert is_whole(out)
    assert table_of(out).equals(undisturbed)


@on_posix
@pytest.mark.parametrize("seed", [0, 1])
def test_workers_that_are_killed(
    seed: int, manifest: Path, out: Path, tmp_path: Path, undisturbed: Any
) -> None:
    rng = random.Random(seed)
    does = {f"r{i}": "once die" for i in rng.sample(range(N_ROWS), 3)}
    summary = run_stub(manifest, out, StubStage(does, tmp_path), workers=1 + seed)
    assert summary.n_failed == 0
    assert is_whole(out)
    assert table_of(out).equals(undisturbed)


@on_posix
@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("die", "ended by SIGKILL, as the system does when memory runs out"),
        ("raise", "RuntimeError: r7 is too much"),
    ],
)
def test_a_recording_that_ends_its_worker(
    deed: str, reason: str, manifest: Path, out: Path, undisturbed: Any
) -> None:
    summary = run_stub(manifest, out, StubStage({"r7": deed}))
    assert summary.n_failed == 1
    assert is_whole(out)
    table = table_of(out)
    row = table.slice(7, 1).to_pylist()[0]
    assert (row["status"], row["embedding"], row["path"]) == ("error", None, "/sounds/7.wav")
    assert reason in row["error"]
    others = [i for i in range(N_ROWS) if i != 7]
    assert table.take(others).equals(undisturbed.take(others))


@on_posix
def test_workers_that_end_again_and_again(manifest: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_MOST_DEATHS", 3)
    everyone = {f"r{i}": "die" for i in range(12, N_ROWS)}
    with pytest.raises(RunError, match=r"3 workers ended one after another.*resume=True"):
        run_stub(manifest, out, StubStage(everyone), part_rows=1000)
    assert table_of(out)["id"].to_pylist()[:12] == [f"r{i}" for i in range(12)]


def test_a_stage_that_does_not_open(manifest: Path, out: Path) -> None:
    with pytest.raises(ValueError, match="there is no such network"):
        run_stub(manifest, out, NoStage())
    assert not list(out.glob("part-*"))
    run_stub(manifest, out)  # nothing was begun


@on_posix
def test_rows_that_ended_their_workers_are_tried_again(
    out: Path, tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker is left when the rows of a part are to be tried again; names are not always text."""
    monkeypatch.setattr(run, "_MOST_TRIES", 1)
    manifest = write_manifest(tmp_path / "manifest.jsonl", 2 * GROUP)
    manifest.write_text(manifest.read_text().replace("/sounds/5.wav", "\\udcff.wav"))
    stage = StubStage({"r0": "fail", "r5": "die"}, tmp_path)
    assert run_stub(manifest, out, stage, part_rows=GROUP, retry_failed=True).n_failed == 2
    assert is_whole(out, 2 * GROUP)
    assert table_of(out)["path"][5].as_py() == str(tmp_path / "\\udcff.wav")
    assert table_of(out).slice(1, 4).equals(undisturbed.slice(1, 4))


@on_posix
def test_a_worker_that_is_killed_while_it_starts(
    manifest: Path, out: Path, tmp_path: Path, undisturbed: Any
) -> None:
    """The run goes on with the others."""
    assert run_stub(manifest, out, OpensOnce(memory=tmp_path), workers=2).n_failed == 0
    assert len(list(tmp_path.glob("opened-*"))) == 2
    assert table_of(out).equals(undisturbed)


@pytest.fixture
def threads_of_workers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads of each worker that is started, on a machine of eight processors."""
    found = []

    class Counted(run.Worker):
        def __init__(self, stage: bytes, threads: int, messages: Any) -> None:
            found.append(threads)
            super().__init__(stage, threads, messages)

    monkeypatch.setattr(run, "Worker", Counted)
    monkeypatch.setattr(run, "n_processors", lambda: 8)
    return found


def test_one_worker_for_an_accelerator(manifest: Path, out: Path, threads_of_workers: list[int]) -> None:
    run_stub(manifest, out, Accelerated(), workers=None)
    assert threads_of_workers == [4, 8]
    assert is_whole(out)


def test_a_few_recordings_are_divided_among_workers(
    tmp_path: Path, out: Path, threads_of_workers: list[int]
) -> None:
    """They may be of hours; there are no more workers than recordings."""
    run_stub(write_manifest(tmp_path / "manifest.jsonl", 2), out, workers=8)
    assert threads_of_workers == [1, 1]


def test_rows_that_failed_are_tried_again(
    manifest: Path, out: Path, tmp_path: Path, undisturbed: Any
) -> None:
    import pyarrow.dataset  # here: with it comes pandas

    stage = StubStage({f"r{i}": "fail" for i in (0, 5, 6, 39)}, tmp_path)
    summary = run_stub(manifest, out, stage)
    assert (summary.n_failed, table_of(out)["error"][5].as_py()) == (4, "it failed")
    assert run_stub(manifest, out, stage, resume=True).n_failed == 4  # resuming alone does not
    (tmp_path / "healed").touch()
    before = {path.name for path in out.iterdir()}
    assert run_stub(manifest, out, stage, retry_failed=True).n_failed == 0
    assert {path.name for path in out.iterdir()} == before
    assert pyarrow.dataset.dataset(out).to_table()["id"].to_pylist() == [f"r{i}" for i in range(N_ROWS)]
    assert table_of(out).equals(undisturbed)


@on_posix
def test_a_full_disk(manifest: Path, done: Path, undisturbed: Any) -> None:
    size = next(done.glob("part-*")).stat().st_size
    for path in sorted(done.glob("part-*"))[2:]:
        path.unlink()
    kept = {path.name: path.read_bytes() for path in done.glob("part-*")}
    status, messages = outcome(start(manifest, done, resume=True, file_limit=size // 2, part_rows=GROUP))
    assert status == 1
    assert "RunError: cannot write" in messages
    assert "File too large; the parts that are done are kept: make room" in messages
    assert {path.name: path.read_bytes() for path in done.glob("part-*")} == kept
    run_stub(manifest, done, resume=True)
    assert is_whole(done)
    assert table_of(done).equals(undisturbed)


def test_a_place_that_cannot_be_written(manifest: Path, tmp_path: Path) -> None:
    for place in (manifest, manifest / "out"):
        with pytest.raises(RunError, match=r"cannot write .*name another folder"):
            run_stub(manifest, place)


def test_a_format_whose_package_is_not_installed(
    manifest: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(ImportError, match=r"the format lance needs pylance: pip install .pannsx\[lance\]"):
        run_stub(manifest, out, table="lance")
    assert not out.exists()


def test_a_damaged_part_is_made_again(manifest: Path, done: Path, undisturbed: Any) -> None:
    part = sorted(done.glob("part-*"))[1]
    part.write_bytes(part.read_bytes()[:-100])
    summary = run_stub(manifest, done, resume=True)
    ((aside, reason),) = summary.damaged
    assert aside.read_bytes()
    assert aside.name == f"_{part.name}.damaged"
    assert reason
    assert summary.n_before == N_ROWS - 2 * GROUP
    assert table_of(done).equals(undisturbed)


def test_a_part_within_another_is_removed(manifest: Path, done: Path, undisturbed: Any) -> None:
    """As a process writes that was taken for lost: a shorter part, and one across the border of two."""
    parts = sorted(done.glob("part-*"))
    first, n = (int(each) for each in parts[0].stem.split("-")[1:])
    whole = pq.read_table(parts[0])
    pq.write_table(whole.slice(0, GROUP), done / f"part-{first:012d}-{GROUP:06d}.parquet")
    across = done / f"part-{first + n - GROUP:012d}-{2 * GROUP:06d}.parquet"
    pq.write_table(
        pa.concat_tables([whole.slice(n - GROUP), pq.read_table(parts[1]).slice(0, GROUP)]), across
    )
    parts[1].unlink()
    summary = run_stub(manifest, done, resume=True)
    assert is_whole(done)
    assert not summary.damaged
    assert table_of(done).equals(undisturbed)


def test_the_parts_of_a_range_do_not_depend_on_time(
    done: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in done.glob("part-*"):
        part.unlink()
    clock = itertools.count(0, 1000)
    monkeypatch.setattr(run.time, "monotonic", lambda: next(clock))
    runner = ranges.RangeRunner(folder.RunView(done, "parquet"), StubStage(), 1)
    assert runner.run(0, N_ROWS)[:2] == (N_ROWS, 0)
    assert [path.name for path in done.glob("part-*")] == [f"part-{0:012d}-{N_ROWS:06d}.parquet"]
    assert table_of(done).equals(undisturbed)
    for worker in runner._run._workers:
        worker.kill()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "pannsx corpus 1"}', '{"format": 1, "settings": {}}']
)
def test_a_damaged_record_of_a_run(content: str, manifest: Path, done: Path) -> None:
    parts = {path.name: path.read_bytes() for path in done.glob("part-*")}
    (done / "_run.json").write_text(content)
    with pytest.raises(RunError, match=r"_run.json is damaged .*parts beside it are untouched"):
        run_stub(manifest, done, resume=True)
    (done / "_run.json").unlink()
    with pytest.raises(RunError, match=r"holds parts of a run, but not its _run.json"):
        run_stub(manifest, done, resume=True)
    assert {path.name: path.read_bytes() for path in done.glob("part-*")} == parts


@pytest.mark.parametrize(
    "damage", [lambda content: content[:100], lambda content: content[:60] + b"damage" + content[66:]]
)
def test_a_damaged_list_of_rows_is_written_again(damage: Any, manifest: Path, done: Path) -> None:
    listed = done / "_manifest.rows"
    before = listed.read_bytes()
    listed.write_bytes(damage(before))
    sorted(done.glob("part-*"))[0].unlink()
    run_stub(manifest, done, resume=True)
    assert listed.read_bytes() == before
    assert is_whole(done)


def test_an_earlier_run_is_not_overwritten(manifest: Path, done: Path) -> None:
    with pytest.raises(RunError, match="holds a run already; go on with it by resume=True"):
        run_stub(manifest, done)


def test_other_settings_are_refused(manifest: Path, done: Path) -> None:
    with pytest.raises(RunError, match=r"\(model: stub then, other now\); repeat"):
        run_stub(manifest, done, StubStage(name="other"), resume=True)
    with pytest.raises(RunError, match=r"\(table: parquet then, csv now\)"):
        run_stub(manifest, done, table="csv", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, '{"id": "new", "path": "n"}'], "40 rows then, 41 now; row 40, 'new', is new"),
        (lambda lines: lines[:-1], "39 now; row 39, 'r39', is gone"),
        (
            lambda lines: [lines[0].replace("0.wav", "x.wav"), *lines[1:]],
            "row 0: path '/sounds/0.wav' then, '/sounds/x.wav' now",
        ),
        (lambda lines: lines[::-1], "row 0: id 'r0' then, 'r39' now"),
    ],
)
def test_a_manifest_that_changed_is_refused(change: Any, message: str, manifest: Path, done: Path) -> None:
    manifest.write_text("\n".join(change(manifest.read_text().splitlines())) + "\n")
    with pytest.raises(RunError, match=f"the manifest has changed .*{message}"):
        run_stub(manifest, done, resume=True)


def test_two_runs_at_once(manifest: Path, out: Path) -> None:
    with RunFolder(out), pytest.raises(RunError, match="another run is writing"):
        run_stub(manifest, out)
    with RunFolder(out, shard=Shard(1, 4)):
        for shard in ((0, 1), (0, 2), (1, 4)):
            with pytest.raises(RunError, match="another run is writing"):
                RunFolder(out, shard=Shard(*shard))
        with RunFolder(out, shard=Shard(0, 4)):
            pass
    run_stub(manifest, out)
    assert is_whole(out)


def test_shards(manifest: Path, out: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "STRIPE_ROWS", 2 * GROUP)
    counts = [run_stub(manifest, out, shard=(i, 3)).n_rows for i in (2, 0)]
    assert counts == [12, 16]
    assert run_stub(manifest, out, shard=(1, 2), resume=True)[1:3] == (20, 11)  # of another division
    assert [sum(b - a for a, b in Shard(i, 64).ranges(1000)) for i in (0, 63)] == [16, 12]
    with pytest.raises(RunError, match="holds a run already"):
        run_stub(manifest, out, shard=(0, 3))
    assert run_stub(manifest, out, resume=True).n_before == 37  # the whole fills in what is missing
    assert is_whole(out)
    assert table_of(out).equals(undisturbed)


def test_shards_read_their_manifest_at_the_same_time(manifest: Path, done: Path) -> None:
    rows = list(rows_from([manifest]))

    def read() -> Iterator[Row]:
        with FileLock(done / folder._START, timeout=0):
            yield from rows

    with RunFolder(done, shard=Shard(0, 2)) as one:
        assert one.begin(read(), rows, resume=True) == N_ROWS


@on_posix
def test_shards_that_begin_together(manifest: Path, out: Path, undisturbed: Any) -> None:
    runs = [start(manifest, out, shard=[i, 2]) for i in range(2)]
    assert [outcome(run) for run in runs] == [(0, ""), (0, "")]
    assert is_whole(out)
    assert table_of(out).equals(undisturbed)


def test_wrong_arguments(manifest: Path, out: Path) -> None:
    for how, message in (
        ({"shard": (3, 3)}, "shard is 3/3; 0/3 to 2/3"),
        ({"table": "xls"}, "table is 'xls'"),
        ({"outputs": ["tags"]}, "outputs: settings are those of the stage"),
    ):
        with pytest.raises(ValueError, match=message):
            run_stub(manifest, out, **how)
    assert not out.exists()


@pytest.mark.parametrize("table", ["jsonl", "csv"])
def test_tables_of_text(table: str, manifest: Path, out: Path, tmp_path: Path, undisturbed: Any) -> None:
    stage = StubStage({"r3": "fail"}, tmp_path)
    assert run_stub(manifest, out, stage, table=table).n_failed == 1
    *_, one, two, three = sorted(out.glob(f"part-*.{table}"))
    one.write_bytes(one.read_bytes()[:-30])
    two.write_bytes(b"".join(two.read_bytes().splitlines(keepends=True)[:-1]))
    three.write_bytes(b"")
    summary = run_stub(manifest, out, stage, table=table, resume=True)
    assert (summary.n_failed, len(summary.damaged)) == (1, 3)
    (tmp_path / "healed").touch()
    assert run_stub(manifest, out, stage, table=table, retry_failed=True).n_failed == 0
    parts = [SINKS[table]().read(path, undisturbed.schema) for path in sorted(out.glob("part-*"))]
    assert pa.concat_tables(parts).equals(undisturbed)

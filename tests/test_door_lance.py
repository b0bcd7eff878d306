"""A table as a Lance dataset: every row once in its version, whatever was killed or done again."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import corpus_runs
import numpy as np
import pytest
from corpus_runs import N_ROWS, start
from corpus_stages import GROUP, StubStage, run_stub, write_manifest
from docs_pages import ROOT, file_of
from parties import party

from pannsx.cli import main
from pannsx.corpus import OUTPUTS, RunError, output_schema
from pannsx.corpus.sinks import LANCE_TABLE, LanceSink

lance: Any = party("lance", "lance")
pa: Any = party("pyarrow", "parquet")
party("pyarrow.dataset", "parquet")


manifest, out = corpus_runs.manifest, corpus_runs.out


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_stub(write_manifest(folder / "manifest.jsonl", N_ROWS), folder / "out")
    return pa.dataset.dataset(folder / "out").to_table()


def dataset(out: Path) -> Any:
    return lance.dataset(str(out / LANCE_TABLE))


def same(out: Path, undisturbed: Any) -> None:
    """Every row once, in the order of the manifest, as in Parquet."""
    found = dataset(out).to_table()
    assert found["id"].to_pylist() == [f"r{i}" for i in range(N_ROWS)]
    assert found.cast(undisturbed.schema).equals(undisturbed)


def test_a_run(manifest: Path, out: Path, undisturbed: Any) -> None:
    summary = run_stub(manifest, out, table="lance")
    assert summary[1:4] == (N_ROWS, 0, 0)
    same(out, undisturbed)
    assert json.loads(dataset(out).schema.metadata[b"pannsx"])["model"] == "stub"
    version = dataset(out).version
    assert run_stub(manifest, out, table="lance", resume=True).n_before == N_ROWS
    assert dataset(out).version == version
    with pytest.raises(RunError, match="table: lance then, parquet now"):
        run_stub(manifest, out, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("seed", [0])
def test_a_driver_that_is_killed(seed: int, manifest: Path, out: Path, undisturbed: Any) -> None:
    run = start(manifest, out, resume=True, part_rows=GROUP, table="lance")
    assert run.stdout is not None
    for _ in range(random.Random(seed).randint(2, 5)):
        assert run.stdout.readline().strip()
    run.kill()
    run.communicate()
    assert list(out.glob("part-*.lance.json"))
    assert not (out / LANCE_TABLE / "_versions").exists()
    run_stub(manifest, out, table="lance", resume=True)
    same(out, undisturbed)


def test_shards_and_rows_that_failed(manifest: Path, out: Path, tmp_path: Path, undisturbed: Any) -> None:
    """The last shard makes the table; a row that is tried again replaces its part."""
    stage = StubStage({"r7": "fail"}, tmp_path)
    run_stub(manifest, out, stage, table="lance", shard=(1, 2))
    assert not (out / LANCE_TABLE / "_versions").exists()
    run_stub(manifest, out, stage, table="lance", shard=(0, 2))
    statuses = dataset(out).to_table(["status"])["status"].to_pylist()
    assert [i for i, status in enumerate(statuses) if status == "error"] == [7]
    (tmp_path / "healed").touch()
    summary = run_stub(manifest, out, stage, table="lance", retry_failed=True)
    assert summary.n_failed == 0
    same(out, undisturbed)


def test_data_files_that_are_damaged_or_gone(manifest: Path, out: Path, undisturbed: Any) -> None:
    run_stub(manifest, out, table="lance", part_rows=GROUP)
    first, second, third = sorted(out.glob("part-*"))[:3]
    first.write_text("{}", "utf-8")
    data = out / LANCE_TABLE / "data"
    names = [json.loads(p.read_text("utf-8"))["fragments"][0]["files"][0]["path"] for p in (second, third)]
    (data / names[0]).unlink()
    with (data / names[1]).open("r+b") as file:
        file.truncate(100)
    summary = run_stub(manifest, out, table="lance", resume=True)
    reasons = " ".join(reason for _, reason in summary.damaged)
    assert len(summary.damaged) == 3
    for text in ("no record of a part", "is not there", "of 100 bytes instead of"):
        assert text in reasons
    same(out, undisturbed)


def test_every_output_comes_back(tmp_path: Path) -> None:
    schema = output_schema(OUTPUTS, embedding_size=4, n_classes=2, embedding_dtype="float16", about={})
    tags = [{"label": "Dog", "mid": None, "probability": 0.5}]
    events = [{"label": "Dog", "mid": "/m/0", "onset_s": 0.0, "offset_s": 1.0, "probability": 0.5}]
    good = {
        "id": "a", "path": "a.wav", "offset_s": 0.0, "duration_s": 1.0, "status": "ok", "error": None,
        "tags": tags, "embedding": np.ones(4, np.float16), "events": events, "logits": [0.0, 1.0],
        "framewise": [[0.5, 0.5], [0.25, 1.0]],
    }  # fmt: skip
    bad = dict.fromkeys(good) | {"id": "b", "offset_s": 0.0, "status": "error", "error": "why"}
    table = pa.Table.from_pylist([good, bad], schema=schema)
    part = tmp_path / "part-0.lance.json"
    sink = LanceSink()
    sink.write(table, part)
    assert sink.look(part) == (2, 1)
    assert sink.read(part, schema).equals(table)
    sink.finish([part])
    assert dataset(tmp_path).to_table().cast(schema).equals(table)


def test_search_as_in_the_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dog.wav", "rain.flac", "lecture.flac"):
        (tmp_path / "recordings").mkdir(exist_ok=True)
        shutil.copyfile(ROOT / "examples" / "scene.flac", tmp_path / "recordings" / f"{name}.flac")
    assert main(["corpus", "recordings", "-o", "lance-table", "--format", "lance", "--quiet"]) == 0
    namespace: dict[str, Any] = {}
    exec(file_of(ROOT / "docs" / "how-to" / "large-corpora.md", "search.py"), namespace)
    nearest = namespace["nearest"]
    assert len(nearest) == 3
    assert nearest["_distance"].to_pylist() == pytest.approx([0, 0, 0], abs=1e-5)  # copies of one recording
